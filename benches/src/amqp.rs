//! A message queue at work and at rest: what a message costs each server, in each shape of work,
//! and what connections, channels and queues do that say nothing.
//!
//! Both servers run all the time, on one core, but the one that is not measured is stopped by a
//! signal: RabbitMQ takes too long to start to be started for each run.

mod backlog;
mod churn;
mod client;
pub(crate) mod durable;
mod held;
mod load;
mod rest;
mod shapes;

use std::collections::BTreeMap;
use std::io;

use serde::Serialize;

use crate::child::{Missing, Server};
use crate::figures::{Good, best, median, ratios, spread};
use crate::report::{Table, progress, progress_done};
use crate::servers::{AMQP, Contender};
use crate::settings::Settings;
use crate::trace::{Tracer, per_request};
use client::Client;
use rest::Rest;
use shapes::{SHAPES, Shape};

/// It is not started again to have its system calls counted: that takes seconds, and they would
/// tell nobody anything.
const UNCOUNTED: &str = "amqp-rabbitmq";
/// Knows only one queue, or several that all get everything, and keeps no memory worth a figure.
const LIMIT: &str = "amqp-epoll";

#[derive(Serialize)]
pub(crate) struct Amqp {
    /// Why a server did not take part.
    absent: BTreeMap<&'static str, String>,
    shapes: Vec<Worked>,
    rest: Vec<Rest>,
}

/// All runs of one shape.
#[derive(Serialize)]
struct Worked {
    shape: &'static str,
    servers: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    runs: Vec<Run>,
    /// For a message, by name, counted in a run of its own.
    system_calls: BTreeMap<String, f64>,
}

#[derive(Serialize)]
struct Run {
    messages_per_second: f64,
    server_cpu_us_per_message: f64,
    /// 1 is a server that never waited.
    server_busy: f64,
    /// From publishing to the confirm; without confirms, 0.
    p50_us: f64,
    p99_us: f64,
}

pub(crate) fn measure(settings: &Settings, descriptors: u64) -> io::Result<Amqp> {
    let mut absent = BTreeMap::new();
    let contenders: Vec<&Contender> = AMQP
        .iter()
        .enumerate()
        .filter(|(i, contender)| settings.wants(*i, contender.name))
        .map(|(_, contender)| contender)
        .collect();
    let mut rest = Vec::new();
    if wanted(settings, "memory") {
        for contender in contenders.iter().filter(|contender| contender.name != LIMIT) {
            rest.push(rest::measure(contender.name, settings, descriptors)?);
        }
    }
    let mut servers = Vec::new();
    for contender in contenders {
        progress(&format!("starting {}", contender.name));
        match Server::start(contender.name, settings.server_core) {
            Ok(server) => {
                server.pause()?;
                servers.push((contender.name, server));
            }
            Err(Missing::Absent(why)) => {
                absent.insert(contender.name, why);
            }
            Err(Missing::Failed(e)) => return Err(named(contender.name, e)),
        }
    }
    let mut worked = Vec::new();
    for shape in SHAPES.iter().filter(|shape| wanted(settings, shape.name)) {
        let able = servers.iter().filter(|(name, _)| *name != LIMIT || shape.has_one_route());
        let able: Vec<_> = able.map(|(name, server)| (*name, server)).collect();
        worked.push(measure_shape(&shape.scaled(settings.quick), &able, settings)?);
    }
    progress_done();
    Ok(Amqp { absent, shapes: worked, rest })
}

fn wanted(settings: &Settings, shape: &str) -> bool {
    let shapes = settings.shapes.as_ref();
    shapes.is_none_or(|shapes| shapes.iter().any(|part| shape.contains(part.as_str())))
}

/// Runs each server in turn, as often as there are rounds: A B A B …
fn measure_shape(
    shape: &Shape,
    servers: &[(&'static str, &Server)],
    settings: &Settings,
) -> io::Result<Worked> {
    for (name, server) in servers {
        progress(&format!("{}: declaring, {name}", shape.name));
        awake(name, server, || shape.declare(&mut Client::open(server.port)?))?;
    }
    let records = servers.iter().map(|&(name, _)| Record {
        name,
        runs: Vec::new(),
        system_calls: BTreeMap::new(),
    });
    let mut records: Vec<Record> = records.collect();
    for round in 1..=settings.rounds {
        for ((name, server), record) in servers.iter().zip(&mut records) {
            progress(&format!("{}: round {round} of {}, {name}", shape.name, settings.rounds));
            record.runs.push(awake(name, server, || one_run(shape, server, settings))?);
        }
    }
    for (name, server) in servers {
        awake(name, server, || shape.undo(&mut Client::open(server.port)?))?;
    }
    for record in records.iter_mut().filter(|record| record.name != UNCOUNTED) {
        progress(&format!("{}: counting system calls, {}", shape.name, record.name));
        match count_calls(shape, record.name, settings) {
            Ok(calls) => record.system_calls = calls,
            // Some containers forbid tracing; all else can be measured without.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {}
            Err(e) => return Err(named(record.name, e)),
        }
    }
    Ok(Worked { shape: shape.name, servers: records })
}

/// Lets a server run while `call` does.
fn awake<R>(name: &str, server: &Server, call: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
    server.resume()?;
    let done = call().map_err(|error| named(name, error));
    server.pause()?;
    done
}

fn named(name: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{name}: {error}"))
}

fn one_run(shape: &Shape, server: &Server, settings: &Settings) -> io::Result<Run> {
    let mut edges = Vec::with_capacity(2);
    let times = (settings.warm_up, settings.duration);
    let outcome = load::drive(shape, server.port, times, || edges.push(server.cpu_time()))?;
    let [before, after] = <[_; 2]>::try_from(edges).map_err(|_| io::ErrorKind::InvalidData)?;
    let cpu = (after? - before?).as_secs_f64();
    let (messages, elapsed) = (outcome.messages as f64, outcome.elapsed.as_secs_f64());
    Ok(Run {
        messages_per_second: messages / elapsed,
        server_cpu_us_per_message: cpu * 1e6 / messages,
        server_busy: cpu / elapsed,
        p50_us: outcome.latency.quantile(0.5).as_secs_f64() * 1e6,
        p99_us: outcome.latency.quantile(0.99).as_secs_f64() * 1e6,
    })
}

fn count_calls(
    shape: &Shape,
    name: &str,
    settings: &Settings,
) -> io::Result<BTreeMap<String, f64>> {
    let server = match Server::start(name, settings.server_core) {
        Ok(server) => server,
        Err(Missing::Failed(e)) => return Err(e),
        Err(Missing::Absent(_)) => return Ok(BTreeMap::new()),
    };
    let port = server.port;
    // Its queues stay while this lives, and longer.
    shape.declare(&mut Client::open(port)?)?;
    let tracer = Tracer::attach(server)?;
    let mut edges = Vec::with_capacity(2);
    let times = (settings.warm_up, settings.duration);
    let outcome = load::drive(shape, port, times, || edges.push(tracer.counts()))?;
    let [before, after] = <[_; 2]>::try_from(edges).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(per_request(&before, &after, outcome.messages))
}

impl Amqp {
    pub(crate) fn print(&self) {
        for (name, why) in &self.absent {
            println!("{name} is absent: {why}\n");
        }
        println!("A message queue: transient messages, one core for the server\n");
        let mut table = Table::new([
            "work",
            "server",
            "CPU µs/message, best",
            "median",
            "first ÷ this, bests",
            "by round",
            "messages/s, best",
            "median",
            "confirm p50 µs",
            "p99 µs",
            "busy",
            "calls/message",
        ]);
        for worked in &self.shapes {
            let Some(first) = worked.servers.first() else { continue };
            let measure = first.all(|run| run.server_cpu_us_per_message);
            for record in &worked.servers {
                table.row(record.cells(worked.shape, &measure));
            }
        }
        table.print();
        rest::print(&self.rest);
    }
}

impl Record {
    fn all(&self, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }

    fn cells(&self, shape: &str, measure: &[f64]) -> Vec<String> {
        let cpu = self.all(|run| run.server_cpu_us_per_message);
        let speed = self.all(|run| run.messages_per_second);
        let calls: f64 = self.system_calls.values().sum();
        let latency = |figures: Vec<f64>| match best(&figures, Good::Large) {
            0.0 => "–".to_owned(),
            _ => format!("{:.0}", median(&figures)),
        };
        let mut cells = vec![shape.to_owned(), self.name.to_owned()];
        cells.extend(compared(&cpu, measure, 3, &speed));
        cells.extend([
            latency(self.all(|run| run.p50_us)),
            latency(self.all(|run| run.p99_us)),
            format!("{:.0} %", median(&self.all(|run| run.server_busy)) * 100.0),
            if self.system_calls.is_empty() { "–".into() } else { format!("{calls:.4}") },
        ]);
        cells
    }
}

/// What all tables of work begin with: processor time, best and median, to so many places; how many
/// times less it is than `measure`, and by round; and messages a second, best and median.
fn compared(cpu: &[f64], measure: &[f64], places: usize, speed: &[f64]) -> [String; 6] {
    [
        format!("{:.places$}", best(cpu, Good::Small)),
        format!("{:.places$}", median(cpu)),
        format!("{:.1}", best(measure, Good::Small) / best(cpu, Good::Small)),
        spread(&ratios(measure, cpu)),
        format!("{:.0}", best(speed, Good::Large)),
        format!("{:.0}", median(speed)),
    ]
}
