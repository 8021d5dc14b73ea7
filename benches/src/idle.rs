//! What a connection costs that says nothing: the server's resident memory with ten thousand
//! of them, after one exchange on each. What the kernel holds for the sockets is not in it.

use std::io;

use serde::Serialize;

use crate::child::{Missing, Server};
use crate::figures::{Good, best, median};
use crate::load::{self, Dialogue};
use crate::report::{Table, progress, progress_done};
use crate::servers::{Contender, ECHO, HTTP, TLS};
use crate::settings::Settings;

/// Memory hardly varies: more runs would say the same.
const ROUNDS: usize = 3;

#[derive(Serialize)]
pub(crate) struct Idle {
    connections: usize,
    servers: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    name: &'static str,
    absent: Option<String>,
    resident_before: Vec<f64>,
    bytes_per_connection: Vec<f64>,
}

pub(crate) fn measure(settings: &Settings, descriptors: u64) -> io::Result<Idle> {
    // Some descriptors are in use already, here and in the server.
    let connections = settings.idle_connections.min(descriptors.saturating_sub(100) as usize);
    let mut servers = Vec::new();
    let suites = [
        (ECHO, Dialogue::Echo { size: 64 }),
        (HTTP, Dialogue::Http),
        (TLS, Dialogue::SecretEcho { size: 64 }),
    ];
    for (suite, dialogue) in suites {
        for (place, contender) in suite.iter().enumerate() {
            if settings.wants(place, contender.name) {
                servers.push(measure_one(contender, dialogue, connections, settings)?);
            }
        }
    }
    progress_done();
    Ok(Idle { connections, servers })
}

fn measure_one(
    contender: &Contender,
    dialogue: Dialogue,
    connections: usize,
    settings: &Settings,
) -> io::Result<Record> {
    let mut record = Record {
        name: contender.name,
        absent: None,
        resident_before: Vec::new(),
        bytes_per_connection: Vec::new(),
    };
    for round in 1..=ROUNDS.min(settings.rounds) {
        progress(&format!("idle connections: {}, round {round}", contender.name));
        let server = match Server::start(contender.name, settings.server_core) {
            Ok(server) => server,
            Err(Missing::Absent(why)) => {
                record.absent = Some(why);
                break;
            }
            Err(Missing::Failed(e)) => return Err(e),
        };
        // What the first connection brings into being, the later ones share.
        let _first = load::idle(server.port, dialogue, 1)?;
        let before = server.resident()? as f64;
        let _idle = load::idle(server.port, dialogue, connections)?;
        let after = server.resident()? as f64;
        record.resident_before.push(before);
        record.bytes_per_connection.push((after - before) / connections as f64);
    }
    Ok(record)
}

impl Idle {
    pub(crate) fn print(&self) {
        println!("{} idle connections, after one exchange on each\n", self.connections);
        let mut table = Table::new([
            "server",
            "bytes of memory a connection, median",
            "smallest",
            "largest",
            "KiB before",
        ]);
        for record in &self.servers {
            if let Some(why) = &record.absent {
                table.row([record.name, &format!("absent: {why}")]);
                continue;
            }
            let bytes = &record.bytes_per_connection;
            table.row([
                record.name.to_owned(),
                format!("{:.0}", median(bytes)),
                format!("{:.0}", best(bytes, Good::Small)),
                format!("{:.0}", best(bytes, Good::Large)),
                format!("{:.0}", median(&record.resident_before) / 1024.0),
            ]);
        }
        table.print();
    }
}
