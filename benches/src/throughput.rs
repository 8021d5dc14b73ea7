//! Requests on busy connections: how many, how soon, and at what cost to the server.

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use crate::child::{Missing, Server};
use crate::figures::{Good, best, median, ratios, spread};
use crate::load::{Load, Work, drive};
use crate::report::{Table, progress, progress_done};
use crate::servers::Contender;
use crate::settings::Settings;
use crate::trace::{Tracer, per_request};

/// What kind of load.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    pub(crate) work: Work,
    pub(crate) connections: usize,
    /// In flight on each connection.
    pub(crate) depth: usize,
}

/// All runs of all servers under one kind of load.
#[derive(Serialize)]
pub(crate) struct Throughput {
    title: String,
    connections: usize,
    depth: usize,
    servers: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    what: &'static str,
    /// Why there are no runs, if there are none.
    absent: Option<String>,
    runs: Vec<Run>,
    /// For a request, by name, counted in a run of its own.
    system_calls: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct Run {
    requests_per_second: f64,
    server_cpu_us_per_request: f64,
    /// 1 is a server that never waited.
    server_busy: f64,
    p50_us: f64,
    p99_us: f64,
}

/// Runs each server in turn, as often as there are rounds: A B C A B C …
pub(crate) fn measure(
    title: &str,
    contenders: &[Contender],
    Kind { work, connections, depth }: Kind,
    settings: &Settings,
) -> io::Result<Throughput> {
    let taking_part = contenders.iter().enumerate().filter(|(i, c)| settings.wants(*i, c.name));
    let mut servers: Vec<Record> = taking_part
        .map(|(_, contender)| Record {
            name: contender.name,
            what: contender.what,
            absent: None,
            runs: Vec::new(),
            system_calls: BTreeMap::new(),
        })
        .collect();
    let load = Load {
        port: 0,
        connections,
        depth,
        work,
        warm_up: settings.warm_up,
        duration: settings.duration,
    };
    for round in 1..=settings.rounds {
        for record in servers.iter_mut().filter(|record| record.absent.is_none()) {
            let name = record.name;
            progress(&format!("{title}: round {round} of {}, {name}", settings.rounds));
            match one_run(name, &load, settings) {
                Ok(run) => record.runs.push(run),
                Err(Missing::Absent(why)) => record.absent = Some(why),
                Err(Missing::Failed(e)) => return Err(named(name, e)),
            }
        }
    }
    for record in servers.iter_mut().filter(|record| record.absent.is_none()) {
        progress(&format!("{title}: counting system calls, {}", record.name));
        match count_calls(record.name, &load, settings) {
            Ok(calls) => record.system_calls = calls,
            // Some containers forbid tracing; all else can be measured without.
            Err(Missing::Failed(e)) if e.kind() == io::ErrorKind::PermissionDenied => {}
            Err(Missing::Failed(e)) => return Err(named(record.name, e)),
            Err(Missing::Absent(why)) => record.absent = Some(why),
        }
    }
    progress_done();
    Ok(Throughput { title: title.to_owned(), connections, depth, servers })
}

fn named(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

fn one_run(name: &str, load: &Load, settings: &Settings) -> Result<Run, Missing> {
    let server = Server::start(name, settings.server_core)?;
    let mut edges = Vec::with_capacity(2);
    let outcome = drive(&Load { port: server.port, ..*load }, || edges.push(server.cpu_time()))?;
    let [before, after] = <[_; 2]>::try_from(edges).map_err(|_| io::ErrorKind::InvalidData)?;
    let cpu = (after? - before?).as_secs_f64();
    let (requests, elapsed) = (outcome.requests as f64, outcome.elapsed.as_secs_f64());
    Ok(Run {
        requests_per_second: requests / elapsed,
        server_cpu_us_per_request: cpu * 1e6 / requests,
        server_busy: cpu / elapsed,
        p50_us: outcome.latency.quantile(0.5).as_secs_f64() * 1e6,
        p99_us: outcome.latency.quantile(0.99).as_secs_f64() * 1e6,
    })
}

fn count_calls(
    name: &str,
    load: &Load,
    settings: &Settings,
) -> Result<BTreeMap<String, f64>, Missing> {
    let server = Server::start(name, settings.server_core)?;
    let load = Load { port: server.port, ..*load };
    let tracer = Tracer::attach(server)?;
    let mut edges = Vec::with_capacity(2);
    let outcome = drive(&load, || edges.push(tracer.counts()))?;
    let [before, after] = <[_; 2]>::try_from(edges).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(per_request(&before, &after, outcome.requests))
}

impl Throughput {
    pub(crate) fn print(&self) {
        println!(
            "{}: {} connections, {} in flight on each\n",
            self.title, self.connections, self.depth
        );
        let mut table = Table::new([
            "server",
            "CPU µs/request, best",
            "median",
            "× first, bests",
            "× first, by round",
            "requests/s, best",
            "median",
            "p50 µs",
            "p99 µs",
            "busy",
            "calls/request",
        ]);
        let Some(first) = self.servers.first() else { return };
        let measure = first.all(|run| run.server_cpu_us_per_request);
        for record in &self.servers {
            if let Some(why) = &record.absent {
                table.row([record.name, &format!("absent: {why}")]);
                continue;
            }
            let cpu = record.all(|run| run.server_cpu_us_per_request);
            let speed = record.all(|run| run.requests_per_second);
            let calls: f64 = record.system_calls.values().sum();
            table.row([
                record.name.to_owned(),
                format!("{:.3}", best(&cpu, Good::Small)),
                format!("{:.3}", median(&cpu)),
                format!("{:.2}", best(&cpu, Good::Small) / best(&measure, Good::Small)),
                spread(&ratios(&cpu, &measure)),
                format!("{:.0}", best(&speed, Good::Large)),
                format!("{:.0}", median(&speed)),
                format!("{:.0}", median(&record.all(|run| run.p50_us))),
                format!("{:.0}", median(&record.all(|run| run.p99_us))),
                format!("{:.0} %", median(&record.all(|run| run.server_busy)) * 100.0),
                if record.system_calls.is_empty() { "–".into() } else { format!("{calls:.3}") },
            ]);
        }
        table.print();
        println!("System calls for a request, of a server kept busy:");
        for record in self.servers.iter().filter(|record| !record.system_calls.is_empty()) {
            let mut calls: Vec<_> = record.system_calls.iter().collect();
            calls.sort_by(|a, b| b.1.total_cmp(a.1));
            let often = calls.iter().filter(|(_, count)| **count >= 0.0005);
            let shown: Vec<_> = often.map(|(call, count)| format!("{call} {count:.3}")).collect();
            println!("- {}: {}", record.name, shown.join(", "));
        }
        println!();
    }
}

impl Record {
    fn all(&self, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }
}
