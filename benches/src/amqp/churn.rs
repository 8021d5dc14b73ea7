//! What a log keeps of what is gone: a standing backlog, while many times as much is
//! published, consumed and acknowledged. Judged is what the files take, by what is live.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::backlog::{self, start};
use super::client::{Client, PATIENCE};
use super::durable::{BODY, KEPT, Lane};
use super::load::{self, Consumer, Publisher};
use super::named;
use super::shapes::{Route, Shape};
use crate::child::Data;
use crate::figures::{Good, best, median};
use crate::report::{Table, mib, progress};
use crate::settings::Settings;
use crate::sys::{Epoll, NO_EVENT};

const PREFETCH: u16 = 1000;

/// How often the files are looked at.
const SAMPLE: Duration = Duration::from_millis(50);

/// The share of the messages that stays where not all are consumed.
const STAYS: u64 = 10;

#[derive(Serialize)]
pub(super) struct Churn {
    name: &'static str,
    work: &'static str,
    /// That stand at the end.
    standing: u64,
    passed: u64,
    messages_per_second: f64,
    resident_peak: u64,
    /// What the files took, and the bodies that were live, over time; in octets.
    samples: Vec<(u64, u64)>,
    /// A while later, with nothing to do.
    settled: u64,
}

/// First in, first out, behind a backlog; and a tenth that stays, so that every file has a little
/// in it that is live.
pub(super) fn measure(lane: &Lane, settings: &Settings) -> io::Result<Vec<Churn>> {
    let standing = settings.backlog_messages / 5;
    let mut all = Vec::new();
    for sparse in [false, true] {
        let data = Data::new("churn")?;
        let Some(server) = start(lane, settings, &data)? else { return Ok(all) };
        let kept = Shape { durable: Some(lane.queue), ..KEPT };
        let work = if sparse { "a tenth stays" } else { "first in, first out" };
        progress(&format!("{work}: {}", lane.name));
        let shape = Shape {
            route: if sparse { Route::Sparse(STAYS as usize) } else { Route::Kept },
            in_flight: Some(PREFETCH.into()),
            prefetch: Some(PREFETCH),
            backlog: 8 * usize::from(PREFETCH),
            ..kept
        };
        shape.declare(&mut Client::open(server.port)?)?;
        let before = if sparse { 0 } else { standing };
        if before > 0 {
            let filling = Shape { backlog: before as usize, ..shape };
            backlog::publish(&filling, &server, before).map_err(|e| named(lane.name, e))?;
        }
        let count = standing * STAYS;
        let began = Instant::now();
        let samples = churn(&shape, server.port, &data, before, count, sparse);
        let mut samples = samples.map_err(|e| named(lane.name, e))?;
        let elapsed = began.elapsed().as_secs_f64();
        std::thread::sleep(Duration::from_secs(if settings.quick { 1 } else { 5 }));
        let live = standing * BODY as u64;
        // With little live a few files are many times it; that says nothing.
        samples.retain(|(_, bodies)| *bodies >= live / 4);
        all.push(Churn {
            name: lane.name,
            work,
            standing,
            passed: count,
            messages_per_second: count as f64 / elapsed,
            resident_peak: server.peak()?,
            samples,
            settled: data.octets()?,
        });
    }
    Ok(all)
}

/// Publishes so many while a consumer takes from the head, or all but what stays.
fn churn(
    shape: &Shape,
    port: u16,
    data: &Data,
    before: u64,
    count: u64,
    sparse: bool,
) -> io::Result<Vec<(u64, u64)>> {
    let (mut publishing, mut consuming) = (Client::open(port)?, Client::open(port)?);
    publishing.confirm()?;
    consuming.prefetch(PREFETCH)?;
    let epoll = Epoll::new()?;
    consuming.consume_backlog(&Shape::queue(0))?;
    let mut consumer = Consumer::new(load::watched(&consuming, &epoll, 0)?, shape);
    let mut publisher = Publisher::new(load::watched(&publishing, &epoll, 1)?, shape);
    let wanted = if sparse { count - count / STAYS } else { count };
    let (mut delivered, mut samples, mut next) = (0, Vec::new(), Instant::now());
    let mut events = [NO_EVENT; 4];
    while publisher.confirmed < count || delivered < wanted {
        // Of what was delivered all is acknowledged, but perhaps not yet taken note of.
        let now = Instant::now();
        if now >= next {
            let stands = (before + publisher.confirmed).saturating_sub(delivered);
            samples.push((data.octets()?, stands * BODY as u64));
            next = now + SAMPLE;
        }
        let arrived = if sparse { delivered + delivered / (STAYS - 1) } else { delivered };
        // It does not stop at once: a few more than `count` do no harm.
        let last = publisher.published() >= count;
        publisher.publish(arrived, now, last)?;
        let ready = epoll.wait(&mut events, PATIENCE.as_millis() as i32)?;
        if ready.is_empty() {
            let confirmed = publisher.confirmed;
            let text = format!("silence after {confirmed} confirmed, {delivered} delivered");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        for event in ready {
            match event.u64 {
                // The backlog is to stand: what the socket holds is left there until as many
                // have come in.
                0 if !sparse && delivered >= publisher.confirmed => {}
                0 => delivered += consumer.received()?,
                _ => publisher.received()?,
            }
        }
    }
    Ok(samples)
}

pub(super) fn print(all: &[Churn]) {
    let Some(any) = all.first() else { return };
    println!(
        "What stays on the disk: {} messages of {BODY} bytes stand, {} pass\n",
        any.standing, any.passed
    );
    let mut table = Table::new([
        "work",
        "server",
        "messages/s",
        "disk ÷ live bodies, median",
        "at most",
        "at the end",
        "5 s later",
        "resident at most, MiB",
    ]);
    for it in all {
        let ratio = |&(disk, live): &(u64, u64)| disk as f64 / live as f64;
        let ratios: Vec<f64> = it.samples.iter().map(ratio).collect();
        let live = it.standing * BODY as u64;
        table.row([
            it.work.to_owned(),
            it.name.to_owned(),
            format!("{:.0}", it.messages_per_second),
            format!("{:.2}", median(&ratios)),
            format!("{:.2}", best(&ratios, Good::Large)),
            format!("{:.2}", ratios.last().copied().unwrap_or(f64::NAN)),
            format!("{:.2}", it.settled as f64 / live as f64),
            mib(it.resident_peak),
        ]);
    }
    table.print();
}
