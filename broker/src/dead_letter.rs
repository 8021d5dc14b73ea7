//! Dead-lettering: what a queue gives up goes to its dead-letter exchange, with its history.
//!
//! The letters wait in a list until the call that made them is done, since each may push others
//! out of full queues: a chain of any length, but no recursion. The history (`x-death`) is an
//! array of tables, newest first, one for each pair of queue and reason.

use crate::backlog::Entry;
use crate::broker::Broker;
use crate::copies::copies;
use crate::ids::{ExchangeId, QueueId};
use crate::message::{Body, Properties, Publish, SHARED_BODY};
use crate::messages::Stored;
use crate::names::Name;
use crate::routing::LazyHeaders;
use crate::seams::PropertyEdit;
use crate::value::{Table, Value};

/// Why a queue gives a message up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Rejected,
    Expired,
    MaxLength,
    DeliveryLimit,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Reason::Rejected => "rejected",
            Reason::Expired => "expired",
            Reason::MaxLength => "maxlen",
            Reason::DeliveryLimit => "delivery_limit",
        }
    }
}

/// A message on its way to a dead-letter exchange; it owns one reference.
pub(crate) struct Letter {
    entry: Entry,
    queue: QueueId,
    reason: Reason,
}

impl Broker {
    /// Ends the life of a message in a queue, whose reference the caller hands over.
    pub(crate) fn give_up(&mut self, queue: QueueId, entry: Entry, reason: Reason) {
        let settings = self.queues.get(queue).and_then(|state| state.settings.as_ref());
        if settings.is_some_and(|settings| settings.dead_letter.is_some()) {
            self.letters.push_back(Letter { entry, queue, reason });
        } else {
            self.end_stored(queue, &entry);
            self.messages.release(entry.message);
        }
    }

    /// What every call that changes queues ends with: letters go out, consumers are fed.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if !self.overfull.is_empty() {
            self.trim();
        }
        self.deliver_pass();
        while !self.letters.is_empty() {
            self.send_letters();
            self.deliver_pass();
        }
    }

    /// Gives up what queues hold too much, or held too long, of what came back to them.
    #[cold]
    fn trim(&mut self) {
        while let Some(queue) = self.overfull.pop() {
            self.drop_head(queue);
            self.drop_expired(queue);
        }
    }

    #[cold]
    pub(crate) fn send_letters(&mut self) {
        while let Some(letter) = self.letters.pop_front() {
            self.send_letter(&letter);
            // After its copy: a crash between the two leaves both, never neither.
            self.end_stored(letter.queue, &letter.entry);
            self.messages.release(letter.entry.message);
        }
    }

    fn send_letter(&mut self, letter: &Letter) {
        let Some(queue) = self.queues.get(letter.queue) else { return };
        let Some(settings) = &queue.settings else { return };
        let Some(target) = settings.dead_letter.clone() else { return };
        let (vhost, queue_name) = (queue.vhost, queue.name.clone());
        let Ok(exchange) = self.find_exchange(vhost, &target.exchange) else { return };
        let message = self.messages.get(letter.entry.message);
        let mut headers = match message.has_headers() {
            true => self.codec.headers(message.properties()),
            false => Table::new(),
        };
        let copies = copies(&headers);
        let death = Death {
            queue: &queue_name,
            reason: letter.reason,
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            copies: &copies,
            ttl: message.ttl(),
            time: self.wall_clock / 1000,
        };
        let deaths = death.record(&mut headers);
        let keys: Vec<Name> = match target.routing_key {
            Some(key) => {
                headers.remove("CC");
                vec![key]
            }
            None => std::iter::once(message.routing_key().into()).chain(copies).collect(),
        };
        let edit = PropertyEdit {
            headers: Some(&headers),
            remove_expiration: message.ttl().is_some(),
            reply_to: None,
        };
        let raw = self.codec.edit(message.properties(), &edit);
        // The old message may go while the new one is stored: a small body is copied.
        let body = match message.shared_body() {
            Some(shared) => shared.clone(),
            None => bytes::Bytes::copy_from_slice(message.body()),
        };
        debug_assert!(message.shared_body().is_none() || body.len() >= SHARED_BODY);
        let (persistent, priority) = (message.persistent(), message.priority());
        let publish = Publish {
            exchange: &target.exchange,
            routing_key: &keys[0],
            mandatory: false,
            immediate: false,
            properties: Properties {
                raw: &raw,
                persistent,
                priority,
                has_headers: true,
                ..Properties::default()
            },
            body: Body::Shared(body),
        };
        let queues = self.route_letter(exchange, &keys, headers, &raw);
        let targets: Vec<QueueId> = queues
            .into_iter()
            .filter(|&queue| {
                letter.reason == Reason::Rejected || !is_cycle(&self.queues[queue].name, &deaths)
            })
            .collect();
        if targets.is_empty() {
            return;
        }
        let message = self.messages.insert(&publish, None, targets.len() as u32);
        let is_letter = letter.entry.returns.is_stored();
        let stored = Stored { is_letter, ..self.messages.stored(message) };
        for queue in targets {
            // Nobody waits for a confirm of it: what a full queue refuses is gone.
            match self.refuses(queue, &stored) {
                true => self.messages.release(message),
                false => self.enqueue(queue, &stored),
            }
        }
        self.journal_message(message);
    }

    fn route_letter(
        &mut self,
        exchange: ExchangeId,
        keys: &[Name],
        headers: Table,
        raw: &[u8],
    ) -> Vec<QueueId> {
        let mut headers = LazyHeaders { raw, present: true, read: Some(headers) };
        if let Some((first, copies)) = keys.split_first() {
            self.route(exchange, first, copies, &mut headers);
        }
        std::mem::take(&mut self.scratch.queues)
    }
}

/// One end of a message's life in a queue.
struct Death<'a> {
    queue: &'a [u8],
    reason: Reason,
    exchange: &'a [u8],
    routing_key: &'a [u8],
    copies: &'a [Name],
    ttl: Option<u64>,
    time: u64,
}

impl Death<'_> {
    /// Writes it into the headers and returns the whole history.
    fn record(&self, headers: &mut Table) -> Vec<Value> {
        let mut deaths = match headers.remove("x-death") {
            Some(Value::Array(deaths)) => deaths,
            _ => Vec::new(),
        };
        let is_same = |death: &Value| match death {
            Value::Table(death) => {
                says(death, "queue", self.queue)
                    && says(death, "reason", self.reason.name().as_bytes())
            }
            _ => false,
        };
        let newest = match deaths.iter().position(is_same).map(|at| deaths.remove(at)) {
            Some(Value::Table(mut death)) => {
                let count = death.get("count").and_then(Value::as_integer).unwrap_or(0);
                death.set("count", Value::I64(count.saturating_add(1)));
                death
            }
            _ => self.table(),
        };
        deaths.insert(0, Value::Table(newest));
        headers.set("x-death", Value::Array(deaths.clone()));
        let ends = [
            ("reason", Value::text(self.reason.name())),
            ("queue", Value::text(self.queue)),
            ("exchange", Value::text(self.exchange)),
        ];
        for (what, value) in ends {
            let first = format!("x-first-death-{what}");
            if headers.get(&first).is_none() {
                headers.set(&first, value.clone());
            }
            headers.set(format!("x-last-death-{what}"), value);
        }
        deaths
    }

    fn table(&self) -> Table {
        let keys = std::iter::once(self.routing_key).chain(self.copies.iter().map(|key| &**key));
        let mut table = Table::from([
            ("count", Value::I64(1)),
            ("reason", Value::text(self.reason.name())),
            ("queue", Value::text(self.queue)),
            ("time", Value::Timestamp(self.time)),
            ("exchange", Value::text(self.exchange)),
            ("routing-keys", Value::Array(keys.map(Value::text).collect())),
        ]);
        if let Some(ttl) = self.ttl {
            table.set("original-expiration", Value::text(ttl.to_string()));
        }
        table
    }
}

/// Whether a queue is reached again without anyone having rejected the message on the way.
fn is_cycle(queue: &[u8], deaths: &[Value]) -> bool {
    let tables = || {
        deaths.iter().filter_map(|death| match death {
            Value::Table(death) => Some(death),
            _ => None,
        })
    };
    match tables().position(|death| says(death, "queue", queue)) {
        Some(at) => tables().take(at + 1).all(|death| !says(death, "reason", b"rejected")),
        None => false,
    }
}

fn says(table: &Table, name: &str, text: &[u8]) -> bool {
    table.get(name).and_then(Value::as_text) == Some(text)
}
