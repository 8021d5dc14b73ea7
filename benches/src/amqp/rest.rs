//! What a message queue costs that does nothing: how soon it listens, its resident memory when it
//! is alone, and how that grows with connections, with a channel on each, and with queues.

use std::io;

use serde::Serialize;

use super::client::Client;
use crate::child::{Missing, Server};
use crate::figures::{Good, best, median};
use crate::report::{Table, progress};
use crate::settings::Settings;

/// Memory hardly varies. RabbitMQ, which takes ten seconds to start, is started once.
const ROUNDS: usize = 5;
const SLOW: f64 = 1.0;

#[derive(Serialize)]
pub(super) struct Rest {
    name: &'static str,
    absent: Option<String>,
    connections: usize,
    queues: usize,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    started_in_ms: f64,
    /// Resident, in bytes, with no connection.
    alone: f64,
    connection: f64,
    /// A connection and the channel on it.
    with_channel: f64,
    queue: f64,
}

pub(super) fn measure(
    name: &'static str,
    settings: &Settings,
    descriptors: u64,
) -> io::Result<Rest> {
    let connections = (settings.idle_connections / 5).min(descriptors.saturating_sub(100) as usize);
    let queues = settings.idle_connections;
    let mut rest = Rest { name, absent: None, connections, queues, runs: Vec::new() };
    for round in 1..=ROUNDS {
        progress(&format!("at rest: {name}, round {round}"));
        match Server::start(name, settings.server_core) {
            Ok(server) => rest.runs.push(one_run(&server, connections, queues)?),
            Err(Missing::Absent(why)) => {
                rest.absent = Some(why);
                break;
            }
            Err(Missing::Failed(e)) => return Err(super::named(name, e)),
        }
        if rest.runs.iter().any(|run| run.started_in_ms > SLOW * 1000.0) {
            break;
        }
    }
    Ok(rest)
}

fn one_run(server: &Server, connections: usize, queues: usize) -> io::Result<Run> {
    let alone = server.resident()? as f64;
    // What the first of a kind brings into being, the later ones share.
    let mut first = Client::open(server.port)?;
    first.declare_queue("the first")?;
    let before = server.resident()? as f64;
    let mut clients = Vec::with_capacity(connections);
    for _ in 0..connections {
        clients.push(Client::connect(server.port)?);
    }
    let connected = server.resident()? as f64;
    for client in &mut clients {
        client.open_channel()?;
    }
    let opened = server.resident()? as f64;
    for i in 0..queues {
        first.declare_queue(&format!("queue-{i:05}"))?;
    }
    let declared = server.resident()? as f64;
    Ok(Run {
        started_in_ms: server.started_in.as_secs_f64() * 1000.0,
        alone,
        connection: (connected - before) / connections as f64,
        with_channel: (opened - before) / connections as f64,
        queue: (declared - opened) / queues as f64,
    })
}

pub(super) fn print(all: &[Rest]) {
    let Some(first) = all.first() else { return };
    println!(
        "At rest: {} connections, {} queues; bytes of resident memory, median\n",
        first.connections, first.queues
    );
    let mut table = Table::new([
        "server",
        "start to listening, ms, best",
        "median",
        "alone, MiB",
        "a connection",
        "with a channel",
        "a queue",
    ]);
    for rest in all {
        if let Some(why) = &rest.absent {
            table.row([rest.name, &format!("absent: {why}")]);
            continue;
        }
        let all = |figure: fn(&Run) -> f64| rest.runs.iter().map(figure).collect::<Vec<f64>>();
        table.row([
            rest.name.to_owned(),
            format!("{:.1}", best(&all(|run| run.started_in_ms), Good::Small)),
            format!("{:.1}", median(&all(|run| run.started_in_ms))),
            format!("{:.1}", median(&all(|run| run.alone)) / 1024.0 / 1024.0),
            format!("{:.0}", median(&all(|run| run.connection))),
            format!("{:.0}", median(&all(|run| run.with_channel))),
            format!("{:.0}", median(&all(|run| run.queue))),
        ]);
    }
    table.print();
}
