//! What it costs to keep messages: persistent ones of 1 KiB to a durable queue, published only,
//! each confirmed after its sync.
//!
//! The servers keep their data in the system's directory for temporary files, which has to be on
//! a disk. That they sync is not believed but counted: what the disk was told to flush.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::Client;
use super::shapes::{PLAIN, Route, Shape};
use super::{awake, named};
use super::{backlog, churn, held, load};
use crate::child::{Missing, Server};
use crate::figures::{Good, best, median, ratios, spread};
use crate::histogram::Histogram;
use crate::report::{Table, progress, progress_done};
use crate::settings::Settings;
use crate::sys;

/// Of the messages, in octets; with its frames and properties a message is little larger.
pub(super) const BODY: usize = 1024;

pub(super) const KEPT: Shape = Shape {
    name: "persistent",
    body: BODY,
    route: Route::Kept,
    durable: Some("classic"),
    backlog: u32::MAX as usize,
    ..PLAIN
};

const SHAPES: [Shape; 2] = [
    Shape { name: "100 in flight", in_flight: Some(100), ..KEPT },
    Shape { name: "one at a time", in_flight: Some(1), ..KEPT },
];

/// A server and a type of queue. The first is the measure.
pub(super) struct Lane {
    pub(super) name: &'static str,
    /// For `--only`.
    key: &'static str,
    pub(super) server: &'static str,
    pub(super) queue: &'static str,
}

pub(super) const ROPEWALK: &str = "amqp-ropewalk-durable";

const LANES: [Lane; 3] = [
    Lane {
        name: "RabbitMQ, classic queue",
        key: "amqp-rabbitmq-classic",
        server: "amqp-rabbitmq",
        queue: "classic",
    },
    Lane {
        name: "RabbitMQ, quorum queue",
        key: "amqp-rabbitmq-quorum",
        server: "amqp-rabbitmq",
        queue: "quorum",
    },
    Lane { name: "Ropewalk", key: ROPEWALK, server: ROPEWALK, queue: "classic" },
];

/// Answers each message with a confirm, and keeps nothing.
const BARE: &str = "amqp-epoll";

/// The bare file is so long, and its zeros are written before, as a careful log's are.
const FILE: u64 = 64 << 20;

#[derive(Default, Serialize)]
pub(crate) struct Durable {
    absent: BTreeMap<&'static str, String>,
    shapes: Vec<Worked>,
    limit: Vec<Limit>,
    backlog: Vec<backlog::Backlog>,
    churn: Vec<churn::Churn>,
    held: Vec<held::Held>,
}

#[derive(Serialize)]
struct Worked {
    shape: &'static str,
    lanes: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    messages_per_second: f64,
    server_cpu_us_per_message: f64,
    server_busy: f64,
    /// From publishing to the confirm.
    p50_us: f64,
    p99_us: f64,
    /// Of the whole disk; `None` if the system does not count them.
    flushes_per_second: Option<f64>,
}

/// What nobody can do without who confirms after a sync, one message at a time: medians.
#[derive(Serialize)]
struct Limit {
    round_trip_us: f64,
    write_and_sync_us: f64,
}

pub(crate) fn measure(settings: &Settings) -> io::Result<Durable> {
    let mut durable = at_work(settings)?;
    for lane in LANES.iter().filter(|lane| settings.wants(1, lane.key)) {
        if super::wanted(settings, "backlog") {
            durable.backlog.extend(backlog::measure(lane, settings)?);
        }
        if super::wanted(settings, "held") {
            durable.held.extend(held::measure(lane, settings)?);
        }
        if super::wanted(settings, "churn") {
            durable.churn.extend(churn::measure(lane, settings)?);
        }
    }
    progress_done();
    Ok(durable)
}

/// The shapes, with all servers there throughout.
fn at_work(settings: &Settings) -> io::Result<Durable> {
    let mut absent = BTreeMap::new();
    let mut servers: BTreeMap<&str, Server> = BTreeMap::new();
    let wanted = || SHAPES.iter().filter(|shape| super::wanted(settings, shape.name));
    let lanes = || LANES.iter().filter(|lane| settings.wants(1, lane.key));
    for name in lanes().map(|lane| lane.server).chain([BARE]) {
        if wanted().next().is_none() || servers.contains_key(name) || absent.contains_key(name) {
            continue;
        }
        progress(&format!("starting {name}"));
        match Server::start(name, settings.server_core) {
            Ok(server) => {
                server.pause()?;
                servers.insert(name, server);
            }
            Err(Missing::Absent(why)) => {
                absent.insert(name, why);
            }
            Err(Missing::Failed(e)) => return Err(named(name, e)),
        }
    }
    let mut durable = Durable { absent, ..Durable::default() };
    for shape in wanted() {
        let lanes = lanes().filter(|lane| servers.contains_key(lane.server));
        let mut lanes: Vec<_> =
            lanes.map(|lane| (lane, Record { name: lane.name, runs: Vec::new() })).collect();
        for round in 1..=settings.rounds {
            for (lane, record) in &mut lanes {
                let rounds = settings.rounds;
                progress(&format!("{}: round {round} of {rounds}, {}", shape.name, lane.name));
                let shape = Shape { durable: Some(lane.queue), ..*shape };
                let server = &servers[lane.server];
                record.runs.push(awake(lane.name, server, || one_run(&shape, server, settings))?);
            }
            if shape.in_flight == Some(1) {
                progress(&format!("{}: round {round}, the limit", shape.name));
                durable.limit.push(limit(&servers[BARE], settings)?);
            }
        }
        let lanes = lanes.into_iter().map(|(_, record)| record).collect();
        durable.shapes.push(Worked { shape: shape.name, lanes });
    }
    Ok(durable)
}

/// With a queue of its own, so that no run pays for what the one before has left.
fn one_run(shape: &Shape, server: &Server, settings: &Settings) -> io::Result<Run> {
    shape.declare(&mut Client::open(server.port)?)?;
    let mut edges = Vec::with_capacity(2);
    let times = (settings.warm_up, settings.duration);
    let outcome =
        load::drive(shape, server.port, times, || edges.push((server.cpu_time(), flushes())))?;
    shape.undo(&mut Client::open(server.port)?)?;
    let [before, after] = <[_; 2]>::try_from(edges).map_err(|_| io::ErrorKind::InvalidData)?;
    let cpu = (after.0? - before.0?).as_secs_f64();
    let (messages, elapsed) = (outcome.messages as f64, outcome.elapsed.as_secs_f64());
    let flushed = before.1.zip(after.1).map(|(before, after)| after - before);
    Ok(Run {
        messages_per_second: messages / elapsed,
        server_cpu_us_per_message: cpu * 1e6 / messages,
        server_busy: cpu / elapsed,
        p50_us: micros(&outcome.latency, 0.5),
        p99_us: micros(&outcome.latency, 0.99),
        flushes_per_second: flushed.map(|count| count as f64 / elapsed),
    })
}

fn micros(latency: &Histogram, share: f64) -> f64 {
    latency.quantile(share).as_secs_f64() * 1e6
}

/// How often the disk that the servers use was told to flush what it holds back.
fn flushes() -> Option<u64> {
    let device = std::fs::metadata(std::env::temp_dir()).ok()?.dev();
    let (major, minor) = (libc::major(device).to_string(), libc::minor(device).to_string());
    let statistics = std::fs::read_to_string("/proc/diskstats").ok()?;
    statistics.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let here = fields.next() == Some(&*major) && fields.next() == Some(&*minor);
        // Behind the name, as the kernel's iostats.rst counts them: field 16.
        here.then(|| fields.nth(16)?.parse().ok()).flatten()
    })
}

/// One message after the other to a server that only confirms, and then as many octets to a file.
fn limit(server: &Server, settings: &Settings) -> io::Result<Limit> {
    let shape = Shape { durable: None, ..SHAPES[1] };
    let times = (settings.warm_up, settings.duration);
    let outcome = awake(BARE, server, || {
        shape.declare(&mut Client::open(server.port)?)?;
        load::drive(&shape, server.port, times, || ())
    })?;
    let core = settings.server_core;
    let thread = std::thread::spawn(move || {
        core.map_or(Ok(()), sys::pin_to)?;
        let place = std::env::temp_dir().join(format!("ropewalk-bench-{}", std::process::id()));
        let latency = write_and_sync(&place, times);
        std::fs::remove_file(&place)?;
        latency
    });
    let latency = thread.join().map_err(|_| io::Error::other("the thread ended"))??;
    Ok(Limit {
        round_trip_us: micros(&outcome.latency, 0.5),
        write_and_sync_us: micros(&latency, 0.5),
    })
}

fn write_and_sync(
    place: &Path,
    (warm_up, duration): (Duration, Duration),
) -> io::Result<Histogram> {
    let file = File::options().create(true).truncate(true).write(true).open(place)?;
    for at in (0..FILE).step_by(1 << 20) {
        file.write_all_at(&[0; 1 << 20], at)?;
    }
    file.sync_all()?;
    let (message, mut latency, start) = ([7; BODY], Histogram::new(), Instant::now());
    for at in (0..FILE).step_by(BODY) {
        let began = Instant::now();
        file.write_all_at(&message, at)?;
        file.sync_data()?;
        if began - start > warm_up {
            latency.record(began.elapsed());
        }
        if began - start > warm_up + duration {
            break;
        }
    }
    Ok(latency)
}

impl Durable {
    pub(crate) fn print(&self) {
        for (name, why) in &self.absent {
            println!("{name} is absent: {why}\n");
        }
        backlog::print(&self.backlog);
        held::print(&self.held);
        churn::print(&self.churn);
        if self.shapes.is_empty() {
            return;
        }
        println!("Persistent messages of {BODY} bytes, published only, one core for the server\n");
        let mut table = Table::new([
            "confirms",
            "server",
            "CPU µs/message, best",
            "median",
            "first ÷ this, bests",
            "by round",
            "messages/s, best",
            "median",
            "p50 µs, best",
            "median",
            "p99 µs",
            "busy",
            "flushes/s",
        ]);
        for worked in &self.shapes {
            let Some(first) = worked.lanes.first() else { continue };
            let measure = first.all(|run| run.server_cpu_us_per_message);
            for record in &worked.lanes {
                table.row(record.cells(worked.shape, &measure));
            }
        }
        table.print();
        self.print_limit();
    }

    fn print_limit(&self) {
        let Some(lanes) = self.shapes.iter().find(|worked| worked.shape == SHAPES[1].name) else {
            return;
        };
        let sums = self.limit.iter().map(|it| it.round_trip_us + it.write_and_sync_us);
        let sums: Vec<f64> = sums.collect();
        println!("One at a time, against a bare confirm and a bare write with fdatasync: p50 µs\n");
        let mut table = Table::new(["", "best", "median", "÷ the sum, bests", "by round"]);
        let mut row = |name: &str, all: &[f64], compared: bool| {
            let bests = best(all, Good::Small) / best(&sums, Good::Small);
            table.row([
                name.to_owned(),
                format!("{:.0}", best(all, Good::Small)),
                format!("{:.0}", median(all)),
                if compared { format!("{bests:.2}") } else { "–".into() },
                if compared { spread(&ratios(all, &sums)) } else { "–".into() },
            ]);
        };
        let all = |figure: fn(&Limit) -> f64| self.limit.iter().map(figure).collect::<Vec<f64>>();
        row("a bare confirm", &all(|it| it.round_trip_us), false);
        row("a bare write and fdatasync", &all(|it| it.write_and_sync_us), false);
        row("their sum", &sums, true);
        for record in &lanes.lanes {
            row(record.name, &record.all(|run| run.p50_us), true);
        }
        table.print();
    }
}

impl Record {
    fn all(&self, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }

    fn cells(&self, shape: &str, measure: &[f64]) -> Vec<String> {
        let cpu = self.all(|run| run.server_cpu_us_per_message);
        let speed = self.all(|run| run.messages_per_second);
        let p50 = self.all(|run| run.p50_us);
        let flushes: Vec<f64> = self.runs.iter().filter_map(|run| run.flushes_per_second).collect();
        let mut cells = vec![shape.to_owned(), self.name.to_owned()];
        cells.extend(super::compared(&cpu, measure, 2, &speed));
        cells.extend([
            format!("{:.0}", best(&p50, Good::Small)),
            format!("{:.0}", median(&p50)),
            format!("{:.0}", median(&self.all(|run| run.p99_us))),
            format!("{:.0} %", median(&self.all(|run| run.server_busy)) * 100.0),
            if flushes.is_empty() { "–".into() } else { format!("{:.0}", median(&flushes)) },
        ]);
        cells
    }
}
