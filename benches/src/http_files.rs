//! A large file over HTTP: what it costs to send it to one reader who takes all that comes, and what
//! memory a hundred take who hardly read.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::child::{Data, Missing, Server};
use crate::figures::{Good, best, median, ratios, spread};
use crate::report::{Table, mib, progress, progress_done};
use crate::servers::{Contender, HTTP_FILES};
use crate::settings::Settings;

/// The file's name, and how many read it slowly.
const NAME: &str = "large";
const SLOW_READERS: usize = 100;
/// What each of these reads, at once and again and again.
const SIP: usize = 64 * 1024;
const SIPS: usize = 20;

#[derive(Serialize)]
pub(crate) struct Files {
    file: u64,
    servers: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    what: &'static str,
    absent: Option<String>,
    /// Processor time of the server a GiB, in seconds.
    cpu: Vec<f64>,
    gib_a_second: Vec<f64>,
    /// What the slow readers have added, at most.
    grown: Vec<f64>,
}

pub(crate) fn measure(settings: &Settings) -> io::Result<Files> {
    let data = Data::new("files")?;
    let length = settings.large_file;
    write_file(&data, length)?;
    let taking_part = HTTP_FILES.iter().enumerate();
    let taking_part = taking_part.filter(|(place, one)| settings.wants(*place, one.name));
    let mut servers: Vec<_> = taking_part.map(|(_, contender)| Record::of(contender)).collect();
    for round in 1..=settings.rounds {
        for record in servers.iter_mut().filter(|record| record.absent.is_none()) {
            progress(&format!("files: {}, round {round}", record.name));
            match Server::start_on(record.name, settings.server_core, Some(data.path())) {
                Ok(server) => record.measure(&server, length)?,
                Err(Missing::Absent(why)) => record.absent = Some(why),
                Err(Missing::Failed(error)) => return Err(error),
            }
        }
    }
    progress_done();
    Ok(Files { file: length, servers })
}

/// All of it is written, so that it is in the system's cache and has blocks of its own.
fn write_file(data: &Data, length: u64) -> io::Result<()> {
    let mut file = std::fs::File::create(data.path().join(NAME))?;
    let piece: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left).map_or(piece.len(), |left| left.min(piece.len()));
        file.write_all(&piece[..part])?;
        left -= part as u64;
    }
    Ok(())
}

impl Record {
    fn of(contender: &Contender) -> Self {
        let (name, what) = (contender.name, contender.what);
        let (cpu, gib_a_second, grown) = (Vec::new(), Vec::new(), Vec::new());
        Self { name, what, absent: None, cpu, gib_a_second, grown }
    }

    fn measure(&mut self, server: &Server, length: u64) -> io::Result<()> {
        // The first one brings the file into the cache, and the server's own into being.
        read_whole(server.port, length)?;
        let gib = length as f64 / f64::from(1 << 30);
        let (before, began) = (server.cpu_time()?, Instant::now());
        read_whole(server.port, length)?;
        self.gib_a_second.push(gib / began.elapsed().as_secs_f64());
        self.cpu.push((server.cpu_time()? - before).as_secs_f64() / gib);

        let before = server.resident()?;
        let mut readers = Vec::new();
        for _ in 0..SLOW_READERS {
            readers.push(ask(server.port, length)?);
        }
        let mut sip = vec![0; SIP];
        let mut most = server.resident()?;
        for _ in 0..SIPS.min(usize::try_from(length).unwrap_or(SIPS) / SIP) {
            for reader in &mut readers {
                reader.read_exact(&mut sip)?;
            }
            most = most.max(server.resident()?);
        }
        std::thread::sleep(Duration::from_millis(200)); // what is read ahead is there
        most = most.max(server.resident()?);
        self.grown.push(most.saturating_sub(before) as f64);
        Ok(())
    }
}

/// Asks for the file, and reads the head.
fn ask(port: u16, length: u64) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut stream = BufReader::new(stream);
    let request = format!("GET /{NAME} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.get_mut().write_all(request.as_bytes())?;
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let told = format!("\r\nContent-Length: {length}\r\n");
    match head.starts_with("HTTP/1.1 200 ") && head.contains(&told) {
        true => Ok(stream),
        false => Err(io::Error::other(format!("another answer: {head}"))),
    }
}

fn read_whole(port: u16, length: u64) -> io::Result<()> {
    let mut stream = ask(port, length)?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        let most = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = stream.read(&mut buffer[..most])?;
        let at = length - left;
        // The first byte of each piece: the reader must be no slower than it has to be.
        if count == 0 || u64::from(buffer[0]) != (at % (1 << 20)) % 251 {
            return Err(io::Error::other(format!("another file, from {at} on")));
        }
        left -= count as u64;
    }
    Ok(())
}

impl Files {
    pub(crate) fn print(&self) {
        println!("A file of {} MiB over HTTP, and {SLOW_READERS} slow readers\n", mib(self.file));
        let mut table = Table::new([
            "server",
            "CPU s a GiB, best",
            "median",
            "GiB/s, best",
            "MiB for the slow readers, median",
            "largest",
            "CPU ÷ the first's, by round",
        ]);
        let measure = self.servers.first().map(|first| &first.cpu[..]).unwrap_or_default();
        for record in &self.servers {
            if let Some(why) = &record.absent {
                table.row([record.what, &format!("absent: {why}")]);
                continue;
            }
            table.row([
                record.what.to_owned(),
                format!("{:.3}", best(&record.cpu, Good::Small)),
                format!("{:.3}", median(&record.cpu)),
                format!("{:.2}", best(&record.gib_a_second, Good::Large)),
                mib(median(&record.grown) as u64),
                mib(best(&record.grown, Good::Large) as u64),
                match measure.is_empty() {
                    true => String::new(),
                    false => spread(&ratios(&record.cpu, measure)),
                },
            ]);
        }
        table.print();
    }
}
