//! What ten thousand clients do to all others who each send a head one byte at a time, and never end it:
//! how soon others are answered without them, and with them.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::child::{Missing, Server};
use crate::figures::{Good, best, median, ratios, spread};
use crate::load::{Dialogue, Load, Work, drive};
use crate::report::{Table, progress, progress_done};
use crate::servers::HTTP;
use crate::settings::Settings;

/// All others.
const CONNECTIONS: usize = 64;
/// Each of the slow ones sends a byte in so long, in turns, so that there is always one that does.
const DRIP: Duration = Duration::from_secs(10);

#[derive(Serialize)]
pub(crate) struct Slowloris {
    slow: usize,
    servers: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    what: &'static str,
    absent: Option<String>,
    calm_p99_us: Vec<f64>,
    attacked_p99_us: Vec<f64>,
    /// That were not closed when the measured time was over.
    held: Vec<usize>,
}

pub(crate) fn measure(settings: &Settings, descriptors: u64) -> io::Result<Slowloris> {
    let slow = settings.idle_connections.min(descriptors.saturating_sub(200) as usize);
    let taking_part = HTTP.iter().enumerate().filter(|(place, it)| settings.wants(*place, it.name));
    let mut servers: Vec<_> = taking_part
        .map(|(_, contender)| Record {
            name: contender.name,
            what: contender.what,
            absent: None,
            calm_p99_us: Vec::new(),
            attacked_p99_us: Vec::new(),
            held: Vec::new(),
        })
        .collect();
    for round in 1..=settings.rounds {
        for record in servers.iter_mut().filter(|record| record.absent.is_none()) {
            progress(&format!("slowloris: {}, round {round}", record.name));
            match Server::start(record.name, settings.server_core) {
                Ok(server) => record.measure(&server, slow, settings)?,
                Err(Missing::Absent(why)) => record.absent = Some(why),
                Err(Missing::Failed(error)) => return Err(error),
            }
        }
    }
    progress_done();
    Ok(Slowloris { slow, servers })
}

impl Record {
    fn measure(&mut self, server: &Server, slow: usize, settings: &Settings) -> io::Result<()> {
        let load = Load {
            port: server.port,
            connections: CONNECTIONS,
            depth: 1,
            work: Work::Dialogue(Dialogue::Http),
            warm_up: settings.warm_up,
            duration: settings.duration,
        };
        let p99 = || -> io::Result<f64> {
            Ok(drive(&load, || ())?.latency.quantile(0.99).as_secs_f64() * 1e6)
        };
        self.calm_p99_us.push(p99()?);
        let attackers = Attackers::begin(server.port, slow)?;
        let attacked = p99();
        self.held.push(attackers.end());
        self.attacked_p99_us.push(attacked?);
        Ok(())
    }
}

/// The slow ones, and the thread that speaks for them.
struct Attackers {
    is_over: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Attackers {
    fn begin(port: u16, count: usize) -> io::Result<Self> {
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.write_all(b"GET / HTTP/1.1\r\nX: ")?;
            stream.set_nonblocking(true)?;
            streams.push(stream);
        }
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        let thread = thread::spawn(move || {
            // In a hundred turns, each with a pause behind it.
            let pause = DRIP / 100;
            let mut turns = (0..100).cycle();
            while !over.load(Ordering::Relaxed) {
                let turn = turns.next().unwrap_or_default();
                for stream in streams.iter_mut().skip(turn).step_by(100) {
                    let _ = stream.write(b"x"); // whoever was closed is counted in the end
                }
                thread::sleep(pause);
            }
            let is_held = |stream: &&TcpStream| {
                stream.peek(&mut [0]).is_err_and(|it| it.kind() == io::ErrorKind::WouldBlock)
            };
            streams.iter().filter(is_held).count()
        });
        Ok(Self { is_over, thread })
    }

    /// Ends them: how many the server had not closed.
    fn end(self) -> usize {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

impl Slowloris {
    pub(crate) fn print(&self) {
        println!("{} clients whose heads never end, and {CONNECTIONS} others\n", self.slow);
        let mut table = Table::new([
            "server",
            "p99 of the others without them, best µs",
            "with them, best µs",
            "median",
            "with ÷ without, by round",
            "not closed, fewest",
        ]);
        for record in &self.servers {
            if let Some(why) = &record.absent {
                table.row([record.what, &format!("absent: {why}")]);
                continue;
            }
            table.row([
                record.what.to_owned(),
                format!("{:.0}", best(&record.calm_p99_us, Good::Small)),
                format!("{:.0}", best(&record.attacked_p99_us, Good::Small)),
                format!("{:.0}", median(&record.attacked_p99_us)),
                spread(&ratios(&record.attacked_p99_us, &record.calm_p99_us)),
                record.held.iter().min().map(usize::to_string).unwrap_or_default(),
            ]);
        }
        table.print();
    }
}
