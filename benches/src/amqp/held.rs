//! What consumers without a prefetch cost the server: one that reads nothing, and one that reads
//! a whole backlog and acknowledges nothing of it.

use std::io;
use std::time::Duration;

use serde::Serialize;

use super::backlog::{self, start, wait};
use super::client::Client;
use super::durable::{BODY, KEPT, Lane};
use super::load::{self, Consumer};
use super::named;
use super::shapes::Shape;
use crate::child::{Data, Server};
use crate::report::{Table, mib, progress};
use crate::settings::Settings;
use crate::sys::Epoll;

#[derive(Serialize)]
pub(super) struct Held {
    name: &'static str,
    messages: u64,
    /// Resident, in octets: with the backlog and no consumer, with one that does not read, and
    /// with one that has got everything.
    backlog: u64,
    deaf: u64,
    unacknowledged: u64,
}

pub(super) fn measure(lane: &Lane, settings: &Settings) -> io::Result<Option<Held>> {
    let data = Data::new("held")?;
    let messages = settings.backlog_messages / 5;
    let Some(server) = start(lane, settings, &data)? else { return Ok(None) };
    progress(&format!("consumers without a prefetch: {}", lane.name));
    let shape = Shape {
        in_flight: Some(1000),
        durable: Some(lane.queue),
        backlog: messages as usize,
        ..KEPT
    };
    shape.declare(&mut Client::open(server.port)?)?;
    backlog::publish(&shape, &server, messages).map_err(|e| named(lane.name, e))?;
    let backlog = settled(&server)?;
    let mut client = Client::open(server.port)?;
    client.consume_backlog(&Shape::queue(0))?;
    let deaf = settled(&server)?;
    drop(client);
    let client = hold(&shape, &server, messages).map_err(|e| named(lane.name, e))?;
    let unacknowledged = settled(&server)?;
    drop(client);
    Ok(Some(Held { name: lane.name, messages, backlog, deaf, unacknowledged }))
}

/// Reads all of a backlog; gives the connection, on which nothing is acknowledged.
fn hold(shape: &Shape, server: &Server, count: u64) -> io::Result<Client> {
    let mut client = Client::open(server.port)?;
    let epoll = Epoll::new()?;
    client.consume_backlog(&Shape::queue(0))?;
    let mut consumer = Consumer::new(load::watched(&client, &epoll, 0)?, shape);
    let mut delivered = 0;
    while delivered < count {
        wait(&epoll)?;
        delivered += consumer.received()?;
    }
    Ok(client)
}

/// Resident memory, when what was begun has had its time.
fn settled(server: &Server) -> io::Result<u64> {
    std::thread::sleep(Duration::from_secs(3));
    server.resident()
}

pub(super) fn print(all: &[Held]) {
    let Some(any) = all.first() else { return };
    println!("Consumers without a prefetch: {} messages of {BODY} bytes\n", any.messages);
    let mut table = Table::new([
        "server",
        "resident with the backlog, MiB",
        "a consumer that does not read",
        "one that acknowledges nothing",
        "bytes a message of that",
    ]);
    for it in all {
        let grown = it.unacknowledged.saturating_sub(it.backlog) / it.messages;
        let (backlog, deaf) = (mib(it.backlog), mib(it.deaf));
        let held = mib(it.unacknowledged);
        table.row([it.name.to_owned(), backlog, deaf, held, grown.to_string()]);
    }
    table.print();
}
