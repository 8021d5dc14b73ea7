//! Files to readers who take all that comes: what a GiB costs the server. The readers throw it away in
//! the kernel, so that they are never the slower side.

use std::io::{self, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::child::{Missing, Server};
use crate::figures::{Good, best, median, ratios, spread};
use crate::report::{Table, progress, progress_done};
use crate::servers::{Contender, FILES};
use crate::settings::Settings;
use crate::sys;

/// What the servers send over and over: it fits into the page cache of any machine, and into no
/// processor's.
pub(crate) const FILE: u64 = 64 << 20;
/// Answered to each byte that a reader sends.
pub(crate) const REPLY: u64 = 4 * FILE;

const GIB: f64 = (1u64 << 30) as f64;

#[derive(Serialize)]
pub(crate) struct Files {
    readers: usize,
    servers: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    what: &'static str,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    server_cpu_ms_per_gib: f64,
    gib_per_second: f64,
    /// 1 is a server that never waited.
    server_busy: f64,
    peak_mib: f64,
}

pub(crate) fn measure(settings: &Settings, readers: usize) -> io::Result<Files> {
    let taking_part = FILES.iter().enumerate().filter(|(i, c)| settings.wants(*i, c.name));
    let mut servers: Vec<Record> = taking_part
        .map(|(_, &Contender { name, what, .. })| Record { name, what, runs: Vec::new() })
        .collect();
    for round in 1..=settings.rounds {
        for record in &mut servers {
            progress(&format!("files: round {round} of {}, {}", settings.rounds, record.name));
            match one_run(record.name, readers, settings) {
                Ok(run) => record.runs.push(run),
                Err(Missing::Failed(e)) => return Err(e),
                Err(Missing::Absent(why)) => return Err(io::Error::other(why)),
            }
        }
    }
    progress_done();
    Ok(Files { readers, servers })
}

fn one_run(name: &str, readers: usize, settings: &Settings) -> Result<Run, Missing> {
    let server = Server::start(name, settings.server_core)?;
    let mut streams = Vec::new();
    for _ in 0..readers {
        streams.push(TcpStream::connect(("127.0.0.1", server.port))?);
    }
    round(&mut streams)?; // the file is in the cache, the buffers have grown
    let (before, began) = (server.cpu_time()?, Instant::now());
    let mut sent = 0;
    while began.elapsed() < settings.duration {
        sent += round(&mut streams)?;
    }
    let (elapsed, cpu) = (began.elapsed(), server.cpu_time()? - before);
    let (gib, seconds) = (sent as f64 / GIB, Duration::as_secs_f64);
    Ok(Run {
        server_cpu_ms_per_gib: seconds(&cpu) * 1e3 / gib,
        gib_per_second: gib / seconds(&elapsed),
        server_busy: seconds(&cpu) / seconds(&elapsed),
        peak_mib: server.peak()? as f64 / f64::from(1 << 20),
    })
}

/// Each reader asks once and takes all; how many bytes that were.
fn round(streams: &mut [TcpStream]) -> io::Result<u64> {
    let mut left: Vec<u64> = Vec::new();
    for stream in streams.iter_mut() {
        stream.write_all(b"!")?;
        left.push(REPLY);
    }
    // One after the other, as long as any has not had all: nobody's buffer stays full for long.
    while left.iter().any(|&left| left > 0) {
        for (stream, left) in streams.iter().zip(&mut left).filter(|(_, left)| **left > 0) {
            match sys::discard(stream.as_raw_fd(), (*left).min(1 << 20) as usize)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => *left -= count as u64,
            }
        }
    }
    Ok(REPLY * streams.len() as u64)
}

impl Files {
    pub(crate) fn print(&self) {
        println!("files: {} readers, who take all that comes\n", self.readers);
        let mut table = Table::new([
            "server",
            "what",
            "CPU ms/GiB, best",
            "median",
            "× first, by round",
            "GiB/s, median",
            "busy",
            "peak MiB",
        ]);
        let Some(first) = self.servers.first() else { return };
        let measure = first.all(|run| run.server_cpu_ms_per_gib);
        for record in &self.servers {
            let cpu = record.all(|run| run.server_cpu_ms_per_gib);
            table.row([
                record.name.to_owned(),
                record.what.to_owned(),
                format!("{:.1}", best(&cpu, Good::Small)),
                format!("{:.1}", median(&cpu)),
                spread(&ratios(&cpu, &measure)),
                format!("{:.2}", median(&record.all(|run| run.gib_per_second))),
                format!("{:.0} %", median(&record.all(|run| run.server_busy)) * 100.0),
                format!("{:.1}", median(&record.all(|run| run.peak_mib))),
            ]);
        }
        table.print();
    }
}

impl Record {
    fn all(&self, figure: impl Fn(&Run) -> f64) -> Vec<f64> {
        self.runs.iter().map(figure).collect()
    }
}
