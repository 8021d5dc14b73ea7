//! A backlog: a million persistent messages of 1 KiB that nobody consumes for now. What they cost
//! in memory and on the disk, how soon a server listens again that was killed over them, and
//! whether the last ones go in and out as fast as the first.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::client::{Client, PATIENCE};
use super::durable::{BODY, KEPT, Lane};
use super::load::{self, Consumer, Publisher};
use super::named;
use super::shapes::Shape;
use crate::child::{Data, Missing, Server};
use crate::report::{Table, mib, progress};
use crate::settings::Settings;
use crate::sys::{Epoll, NO_EVENT};

/// So many are published and not confirmed, or delivered and not acknowledged: the server is to
/// be the slower side.
const IN_FLIGHT: u16 = 1000;

#[derive(Serialize)]
pub(super) struct Backlog {
    name: &'static str,
    messages: u64,
    publishing: Pace,
    /// In octets, once all are published: resident then, and at most so far.
    resident: u64,
    resident_peak: u64,
    on_disk: u64,
    /// From the start of the process that follows a killed one, with none of the data in the
    /// system's cache, until it accepted a connection.
    started_in_ms: f64,
    /// Octets that it had read by then.
    read_at_start: u64,
    resident_restarted: u64,
    consuming: Pace,
    consuming_peak: u64,
    on_disk_after: u64,
}

/// The first and the last tenth.
#[derive(Serialize)]
pub(super) struct Pace {
    first: Stretch,
    last: Stretch,
}

#[derive(Clone, Copy, Serialize)]
struct Stretch {
    messages_per_second: f64,
    cpu_us_per_message: f64,
}

impl Pace {
    fn cells(&self) -> [String; 4] {
        let Pace { first, last } = self;
        [
            format!("{:.0}", first.messages_per_second),
            format!("{:.0}", last.messages_per_second),
            format!("{:.2}", first.cpu_us_per_message),
            format!("{:.2}", last.cpu_us_per_message),
        ]
    }
}

pub(super) fn measure(lane: &Lane, settings: &Settings) -> io::Result<Option<Backlog>> {
    let data = Data::new("backlog")?;
    let count = settings.backlog_messages;
    let Some(server) = start(lane, settings, &data)? else { return Ok(None) };
    let shape = Shape {
        in_flight: Some(IN_FLIGHT.into()),
        durable: Some(lane.queue),
        backlog: count as usize,
        ..KEPT
    };
    progress(&format!("a backlog of {count}: published, {}", lane.name));
    shape.declare(&mut Client::open(server.port)?)?;
    let publishing = publish(&shape, &server, count).map_err(|e| named(lane.name, e))?;
    let (resident, resident_peak) = (server.resident()?, server.peak()?);
    let on_disk = data.octets()?;
    drop(server); // that kills it
    data.forget()?;
    progress(&format!("a backlog of {count}: started again, {}", lane.name));
    let Some(server) = start(lane, settings, &data)? else { return Ok(None) };
    let (read_at_start, resident_restarted) = (server.read()?, server.resident()?);
    progress(&format!("a backlog of {count}: consumed, {}", lane.name));
    let consuming = consume(&shape, &server, count).map_err(|e| named(lane.name, e))?;
    Ok(Some(Backlog {
        name: lane.name,
        messages: count,
        publishing,
        resident,
        resident_peak,
        on_disk,
        started_in_ms: server.started_in.as_secs_f64() * 1000.0,
        read_at_start,
        resident_restarted,
        consuming,
        consuming_peak: server.peak()?,
        on_disk_after: data.octets()?,
    }))
}

pub(super) fn start(lane: &Lane, settings: &Settings, data: &Data) -> io::Result<Option<Server>> {
    match Server::start_on(lane.server, settings.server_core, Some(data.path())) {
        Ok(server) => Ok(Some(server)),
        Err(Missing::Absent(_)) => Ok(None),
        Err(Missing::Failed(e)) => Err(named(lane.name, e)),
    }
}

/// Publishes so many, and waits until all are confirmed.
pub(super) fn publish(shape: &Shape, server: &Server, count: u64) -> io::Result<Pace> {
    let mut client = Client::open(server.port)?;
    client.confirm()?;
    let epoll = Epoll::new()?;
    let mut publisher = Publisher::new(load::watched(&client, &epoll, 0)?, shape);
    let pace = paced(server, count, |now| {
        publisher.publish(0, now, false)?;
        wait(&epoll)?;
        publisher.received()?;
        Ok(publisher.confirmed)
    })?;
    client.stream.set_nonblocking(false)?;
    client.close()?;
    Ok(pace)
}

/// Consumes and acknowledges so many.
pub(super) fn consume(shape: &Shape, server: &Server, count: u64) -> io::Result<Pace> {
    let mut client = Client::open(server.port)?;
    client.prefetch(IN_FLIGHT)?;
    let epoll = Epoll::new()?;
    client.consume_backlog(&Shape::queue(0))?;
    let stream = load::watched(&client, &epoll, 0)?;
    let mut consumer = Consumer::new(stream, &Shape { prefetch: Some(IN_FLIGHT), ..*shape });
    let mut delivered = 0;
    let pace = paced(server, count, |_| {
        wait(&epoll)?;
        delivered += consumer.received()?;
        Ok(delivered)
    })?;
    client.stream.set_nonblocking(false)?;
    client.close()?;
    Ok(pace)
}

pub(super) fn wait(epoll: &Epoll) -> io::Result<()> {
    match epoll.wait(&mut [NO_EVENT; 4], PATIENCE.as_millis() as i32)? {
        [] => Err(io::Error::new(io::ErrorKind::TimedOut, "silence")),
        _ => Ok(()),
    }
}

/// Calls `step`, which says how many are done, until all are.
fn paced(
    server: &Server,
    count: u64,
    mut step: impl FnMut(Instant) -> io::Result<u64>,
) -> io::Result<Pace> {
    let tenth = count.div_ceil(10);
    // How many were done, when, and the server's processor time until then.
    let mark = |done| Ok::<_, io::Error>((done, Instant::now(), server.cpu_time()?));
    let begun = mark(0)?;
    let (mut first, mut last, mut done) = (None, None, 0);
    while done < count {
        done = step(Instant::now())?;
        if first.is_none() && done >= tenth {
            first = Some(mark(done)?);
        }
        if last.is_none() && done >= count - tenth {
            last = Some(mark(done)?);
        }
    }
    let ended = mark(done)?;
    let stretch = |from: (u64, Instant, Duration), to: (u64, Instant, Duration)| {
        let messages = (to.0 - from.0) as f64;
        Stretch {
            messages_per_second: messages / (to.1 - from.1).as_secs_f64(),
            cpu_us_per_message: (to.2 - from.2).as_secs_f64() * 1e6 / messages,
        }
    };
    let (first, last) = first.zip(last).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(Pace { first: stretch(begun, first), last: stretch(last, ended) })
}

pub(super) fn print(all: &[Backlog]) {
    let Some(any) = all.first() else { return };
    let count = any.messages;
    println!("A backlog of {count} persistent messages of {BODY} bytes, in one durable queue\n");
    let mut table = Table::new([
        "server",
        "published/s, first tenth",
        "last tenth",
        "CPU µs each, first tenth",
        "last tenth",
        "resident, MiB",
        "at most",
        "on disk, MiB",
        "killed, then listening in ms",
        "read by then, MiB",
        "resident, MiB",
        "consumed/s, first tenth",
        "last tenth",
        "CPU µs each, first tenth",
        "last tenth",
        "resident at most, MiB",
        "on disk then, MiB",
    ]);
    for it in all {
        let mut row = vec![it.name.to_owned()];
        row.extend(it.publishing.cells());
        row.extend([
            mib(it.resident),
            mib(it.resident_peak),
            mib(it.on_disk),
            format!("{:.0}", it.started_in_ms),
            mib(it.read_at_start),
            mib(it.resident_restarted),
        ]);
        row.extend(it.consuming.cells());
        row.extend([mib(it.consuming_peak), mib(it.on_disk_after)]);
        table.row(row);
    }
    table.print();
}
