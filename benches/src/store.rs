//! Message logs at the same work: appending with a sync for each batch, acknowledging, opening.
//!
//! Each contender runs each shape in a process and a directory of its own, in turn.

mod contenders;

use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::figures::{Good, best, median, ratios, spread};
use crate::report::{Table, progress, progress_done};
use crate::settings::Settings;
use crate::sys;

/// Octets of a message.
const MESSAGE: usize = 1024;
/// Acknowledgements with one sync.
const ACKNOWLEDGED: usize = 64;

/// A store of messages by ascending places.
pub(super) trait Store: Sized {
    /// Opens what is in the directory, or makes it; knows afterwards which messages are left.
    fn open(directory: &Path) -> io::Result<Self>;
    /// Stores messages from a place on, and, if `sync`, returns when they are safe.
    fn append(&mut self, first: u64, count: u64, payload: &[u8], sync: bool) -> io::Result<()>;
    /// Messages are not needed any more; returns when that is safe.
    fn acknowledge(&mut self, places: &[u64]) -> io::Result<()>;
    /// The first message that is left, and the octets of its payload.
    fn first(&mut self) -> io::Result<Option<(u64, usize)>>;
    /// What its users do between batches.
    fn maintain(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Ends in order.
    fn close(self) -> io::Result<()>;
}

/// Of one run: how many messages, and in what time.
#[derive(Serialize, Deserialize, Clone, Copy, Default)]
struct Run {
    messages: u64,
    seconds: f64,
    /// Processor time outside the kernel, and in all.
    user: f64,
    cpu: f64,
}

#[derive(Serialize)]
pub(crate) struct Stores {
    messages_at_restart: u64,
    shapes: Vec<Shape>,
}

#[derive(Serialize)]
struct Shape {
    name: &'static str,
    stores: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    runs: Vec<Run>,
}

const NAMES: [&str; 4] = ["ropewalk", "redb", "open-wal", "fjall"];
const SHAPES: [&str; 5] = ["append 1", "append 64", "append 512", "acknowledge", "restart"];

/// Runs each store in turn, as often as there are rounds; restarts once only, since filling a
/// store takes long.
pub(crate) fn measure(settings: &Settings) -> io::Result<Stores> {
    let mut shapes = Vec::new();
    let wanted = |shape: &&str| {
        settings.shapes.as_ref().is_none_or(|parts| parts.iter().any(|part| shape.contains(part)))
    };
    for shape in SHAPES.into_iter().filter(wanted) {
        let taking_part = NAMES.iter().enumerate().filter(|(i, name)| settings.wants(*i, name));
        let mut stores: Vec<Record> =
            taking_part.map(|(_, name)| Record { name, runs: Vec::new() }).collect();
        let rounds = if shape == "restart" { 1 } else { settings.rounds };
        for round in 1..=rounds {
            for Record { name, runs } in &mut stores {
                progress(&format!("store, {shape}: round {round} of {rounds}, {name}"));
                runs.push(in_a_child(name, shape, settings)?);
            }
        }
        shapes.push(Shape { name: shape, stores });
    }
    progress_done();
    Ok(Stores { messages_at_restart: settings.stored_messages, shapes })
}

/// A directory beside the binary that goes when this does.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn in_a_child(name: &str, shape: &str, settings: &Settings) -> io::Result<Run> {
    let program = std::env::current_exe()?;
    let beside = program.parent().unwrap_or(Path::new("."));
    let place = Place(beside.join(format!("store-{}", std::process::id())));
    let _ = std::fs::remove_dir_all(&place.0);
    std::fs::create_dir_all(&place.0)?;
    let mut command = Command::new(&program);
    command.args(["store-of", name, shape]).arg(&place.0);
    command.args([settings.stored_messages.to_string(), settings.duration.as_micros().to_string()]);
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{name}: {}", output.status)));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The child's part: `NAME SHAPE DIRECTORY MESSAGES MICROSECONDS`, and a run as JSON on standard
/// output.
pub(crate) fn in_this_process(arguments: &[String]) -> io::Result<()> {
    let [name, shape, directory, messages, duration] = arguments else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let work = Work {
        shape,
        directory: Path::new(directory),
        messages: messages.parse().map_err(io::Error::other)?,
        duration: Duration::from_micros(duration.parse().map_err(io::Error::other)?),
    };
    let run = match name.as_str() {
        "ropewalk" => work.done_by::<contenders::Ropewalk>(),
        "redb" => work.done_by::<contenders::Redb>(),
        "open-wal" => work.done_by::<contenders::OpenWal>(),
        "fjall" => work.done_by::<contenders::Fjall>(),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }?;
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

struct Work<'a> {
    shape: &'a str,
    directory: &'a Path,
    messages: u64,
    duration: Duration,
}

impl Work<'_> {
    fn done_by<S: Store>(&self) -> io::Result<Run> {
        match self.shape {
            "append 1" => self.append::<S>(1),
            "append 64" => self.append::<S>(64),
            "append 512" => self.append::<S>(512),
            "acknowledge" => self.acknowledge::<S>(),
            "restart" => self.restart::<S>(),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn append<S: Store>(&self, batch: u64) -> io::Result<Run> {
        let mut store = S::open(self.directory)?;
        let payload = payload();
        // Warm: files exist, and the first of everything is over.
        let mut place = 0;
        while place < 2 * batch {
            store.append(place, batch, &payload, true)?;
            store.maintain()?;
            place += batch;
        }
        let clock = Clock::start();
        let from = place;
        while clock.began.elapsed() < self.duration {
            store.append(place, batch, &payload, true)?;
            store.maintain()?;
            place += batch;
        }
        let run = clock.stop(place - from);
        store.close()?;
        Ok(run)
    }

    fn acknowledge<S: Store>(&self) -> io::Result<Run> {
        let mut store = S::open(self.directory)?;
        let payload = payload();
        let messages = (self.messages / 10).max(5000);
        fill(&mut store, messages, &payload)?;
        let clock = Clock::start();
        let mut done = 0;
        while clock.began.elapsed() < self.duration && done + (ACKNOWLEDGED as u64) <= messages {
            // Consumers finish in nearly the order in which they began.
            let mut places: Vec<u64> = (done..done + ACKNOWLEDGED as u64).collect();
            for pair in places.chunks_exact_mut(2).step_by(4) {
                pair.swap(0, 1);
            }
            store.acknowledge(&places)?;
            store.maintain()?;
            done += ACKNOWLEDGED as u64;
        }
        let run = clock.stop(done);
        check_first(&mut store, done)?;
        store.close()?;
        Ok(run)
    }

    fn restart<S: Store>(&self) -> io::Result<Run> {
        let mut store = S::open(self.directory)?;
        let payload = payload();
        fill(&mut store, self.messages, &payload)?;
        let acknowledged = self.messages / 10;
        for first in (0..acknowledged).step_by(1000) {
            let places: Vec<u64> = (first..(first + 1000).min(acknowledged)).collect();
            store.acknowledge(&places)?;
            store.maintain()?;
        }
        store.close()?;
        let clock = Clock::start();
        let mut store = S::open(self.directory)?;
        check_first(&mut store, acknowledged)?;
        Ok(clock.stop(self.messages))
    }
}

fn payload() -> Vec<u8> {
    (0..MESSAGE).map(|place| (place as u8).wrapping_mul(37)).collect()
}

fn fill<S: Store>(store: &mut S, messages: u64, payload: &[u8]) -> io::Result<()> {
    for first in (0..messages).step_by(1000) {
        let count = 1000.min(messages - first);
        // Some syncs, or what is not synced fills the memory of some.
        store.append(first, count, payload, first % 50_000 == 0)?;
        store.maintain()?;
    }
    Ok(())
}

fn check_first<S: Store>(store: &mut S, expected: u64) -> io::Result<()> {
    match black_box(store.first()?) {
        Some((place, octets)) if place == expected && octets == MESSAGE => Ok(()),
        other => Err(io::Error::other(format!("{other:?} comes first, instead of {expected}"))),
    }
}

struct Clock {
    began: Instant,
    user: Duration,
    cpu: Duration,
}

impl Clock {
    fn start() -> Clock {
        let (user, cpu) = sys::processor_times();
        Clock { began: Instant::now(), user, cpu }
    }

    fn stop(&self, messages: u64) -> Run {
        let seconds = self.began.elapsed().as_secs_f64();
        let (user, cpu) = sys::processor_times();
        Run {
            messages,
            seconds,
            user: (user - self.user).as_secs_f64(),
            cpu: (cpu - self.cpu).as_secs_f64(),
        }
    }
}

impl Stores {
    pub(crate) fn print(&self) {
        for shape in &self.shapes {
            if shape.name == "restart" {
                println!(
                    "store, restart with {} messages of {MESSAGE} octets\n",
                    self.messages_at_restart
                );
                let mut table = Table::new(["", "ms", "CPU ms"]);
                for Record { name, runs } in &shape.stores {
                    let ms = |seconds: f64| format!("{:.1}", seconds * 1e3);
                    table.row([(*name).to_owned(), ms(runs[0].seconds), ms(runs[0].cpu)]);
                }
                table.print();
                continue;
            }
            println!("store, {}, messages of {MESSAGE} octets\n", shape.name);
            let mut table =
                Table::new(["", "messages/s", "(median)", "first ÷ this", "user µs", "CPU µs"]);
            let rates = |record: &Record| -> Vec<f64> {
                record.runs.iter().map(|run| run.messages as f64 / run.seconds).collect()
            };
            let measure = shape.stores.first().map(rates).unwrap_or_default();
            for record in &shape.stores {
                let rate = rates(record);
                let times = ratios(&measure, &rate);
                let each = |time: fn(&Run) -> f64| {
                    let each = record.runs.iter().map(|run| time(run) * 1e6 / run.messages as f64);
                    format!("{:.2}", best(&each.collect::<Vec<_>>(), Good::Small))
                };
                table.row([
                    record.name.to_owned(),
                    format!("{:.0}", best(&rate, Good::Large)),
                    format!("{:.0}", median(&rate)),
                    spread(&times),
                    each(|run| run.user),
                    each(|run| run.cpu),
                ]);
            }
            table.print();
        }
    }
}
