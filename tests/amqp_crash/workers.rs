//! Publishers and consumers, each a thread that works until its broker is gone.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chance::Chance;
use crate::client::{Client, Told};
use crate::record::{Delivery, Event, Log, Name, QUEUES, body, name};

/// Where publishers publish to: an exchange, a key, and the queues that get it.
pub(crate) const TARGETS: [(&str, &str, &[usize]); 3] =
    [("", "classic", &[0]), ("", "quorum", &[1]), (BOTH, "", &[2, 3])];

/// The exchange of the queues that share messages.
pub(crate) const BOTH: &str = "both";

/// Where consumers publish to, to learn what is on the disk.
pub(crate) const MARKS: &str = "marks";

/// The octets of a mark, which no other has.
pub(crate) fn mark(connection: u64, tag: u64) -> Vec<u8> {
    format!("mark {tag} of {connection}.").into_bytes()
}

/// Orders what different workers see.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::SeqCst)
    }
}

pub(crate) struct Publisher {
    pub(crate) stream: u64,
    /// One of [`TARGETS`].
    pub(crate) target: usize,
    /// Messages that it may have without a confirm.
    pub(crate) window: usize,
}

impl Publisher {
    pub(crate) fn work(&self, address: SocketAddr) -> Log {
        let (exchange, key, queues) = TARGETS[self.target];
        let (mut count, mut open, mut confirmed) = (0, BTreeMap::new(), Vec::new());
        // An error is the end of the broker; what it had confirmed before may be there yet.
        if let Ok(mut client) = Client::connect(address) {
            let _ = (|| -> io::Result<()> {
                loop {
                    let number = count;
                    count += 1;
                    let octets = body((self.stream, number));
                    open.insert(client.next_tag(), number);
                    client.publish(exchange, key, &octets)?;
                    while open.len() >= self.window {
                        confirm(client.read()?, &mut open, &mut confirmed);
                    }
                }
            })();
            while let Ok(told) = client.read() {
                confirm(told, &mut open, &mut confirmed);
            }
        }
        let published = Some((self.stream, queues, count));
        Log { published, confirmed, ..Log::default() }
    }
}

fn confirm(told: Told, open: &mut BTreeMap<u64, u64>, confirmed: &mut Vec<u64>) {
    let Told::Confirmed { tag, multiple } = told else { panic!("expected a confirm") };
    let from = if multiple { 0 } else { tag };
    let tags: Vec<u64> = open.range(from..=tag).map(|(&tag, _)| tag).collect();
    assert!(tags.last() == Some(&tag), "{tag} is confirmed twice, or was never sent");
    confirmed.extend(tags.iter().filter_map(|tag| open.remove(tag)));
}

pub(crate) struct Consumer {
    /// The number of its first connection; later ones follow.
    pub(crate) connection: u64,
    pub(crate) queue: usize,
    pub(crate) prefetch: u16,
    /// It acknowledges so many at once.
    pub(crate) batch: usize,
    /// Now and then it gives one back, or goes with all it holds.
    pub(crate) is_restless: bool,
    pub(crate) chance: Chance,
}

/// A consumer's work on one connection.
struct Shift<'a> {
    client: Client,
    connection: u64,
    counter: &'a Counter,
    /// Not acknowledged.
    held: Vec<(u64, Option<Name>)>,
    /// Acknowledged since the last mark.
    settled: Vec<Name>,
    /// Marks that were not confirmed, and what had been acknowledged before each.
    marks: VecDeque<(u64, Vec<Name>)>,
}

impl Consumer {
    pub(crate) fn work(mut self, address: SocketAddr, counter: &Counter) -> Log {
        let mut log = Log::default();
        // It ends with an error once the broker is gone.
        while self.shift(address, counter, &mut log).is_ok() {
            self.connection += 1;
        }
        log
    }

    /// Works until it goes, or an error is the end of the broker.
    fn shift(&mut self, address: SocketAddr, counter: &Counter, log: &mut Log) -> io::Result<()> {
        let Log { events, marks: confirmed, .. } = log;
        let mut client = Client::connect(address)?;
        client.consume(QUEUES[self.queue], self.prefetch)?;
        let (held, settled, marks) = Default::default();
        let connection = self.connection;
        let mut shift = Shift { client, connection, counter, held, settled, marks };
        loop {
            match shift.client.read()? {
                Told::Confirmed { tag, multiple } => {
                    shift.confirmed(self.queue, tag, multiple, events);
                    confirmed.push(mark(connection, tag));
                }
                Told::Delivered { tag, redelivered, body } => {
                    let name = name(&body);
                    let delivery = Delivery { connection, queue: self.queue, name, redelivered };
                    events.push((counter.next(), Event::Delivered(delivery)));
                    if self.is_restless && self.chance.one_in(40) {
                        shift.client.give_back(tag)?;
                        continue;
                    }
                    if self.is_restless && self.chance.one_in(200) {
                        return Ok(());
                    }
                    shift.held.push((tag, name));
                    if shift.held.len() >= self.batch {
                        shift.acknowledge(self.queue, events)?;
                    }
                }
                Told::Answered(name, _) => panic!("nobody asked for {name}"),
            }
        }
    }
}

impl Shift<'_> {
    fn acknowledge(&mut self, queue: usize, events: &mut Vec<(u64, Event)>) -> io::Result<()> {
        let Some(&(last, _)) = self.held.last() else { return Ok(()) };
        let multiple = self.held.len() > 1;
        for (_, name) in self.held.drain(..) {
            let Some(name) = name else { continue };
            events.push((self.counter.next(), Event::Acknowledged(queue, name)));
            self.settled.push(name);
        }
        self.client.ack(last, multiple)?;
        if self.settled.len() >= 50 {
            let tag = self.client.next_tag();
            self.marks.push_back((tag, std::mem::take(&mut self.settled)));
            self.client.publish("", MARKS, &mark(self.connection, tag))?;
        }
        Ok(())
    }

    /// A mark is on the disk, and so is what was sent before it.
    fn confirmed(
        &mut self,
        queue: usize,
        tag: u64,
        multiple: bool,
        events: &mut Vec<(u64, Event)>,
    ) {
        while let Some((mark, _)) = self.marks.front()
            && (*mark == tag || multiple && *mark < tag)
        {
            let Some((_, settled)) = self.marks.pop_front() else { return };
            let ends = settled.into_iter().map(|name| Event::Ended(queue, name));
            events.extend(ends.map(|end| (self.counter.next(), end)));
        }
    }
}
