//! Delivering: a message goes to the subscribers of its channel, then to those of each pattern that
//! matches it.
//!
//! The way of a delivery has no allocation, hash or format on it. The message is encoded when the
//! first subscriber of a version is met, and copied behind what each one has waiting; one of 16 KiB
//! or more is shared instead of copied.

use bytes::Bytes;
use ropewalk_reactor::{ConnectionId, Transport, Written};

use super::hub::{Hub, Kind};
use super::registry::Subscriber;
use crate::codec::{Encoder, Version, matches};

/// From this size on, subscribers share a message; the reactor queues such a one as it is.
const SHARED_FROM: usize = 16 * 1024;
/// The buffers keep room for messages of this size.
const KEPT: usize = 64 * 1024;

/// A message in both forms, as far as somebody needs them.
#[derive(Debug, Default)]
pub(crate) struct Message {
    forms: [Form; 2],
}

/// Empty until the first subscriber of this version is met.
#[derive(Debug, Default)]
struct Form {
    bytes: Vec<u8>,
    shared: Option<Bytes>,
}

impl Message {
    fn clear(&mut self) {
        for form in &mut self.forms {
            form.bytes.clear();
            form.bytes.shrink_to(KEPT);
            form.shared = None;
        }
    }

    fn form(&mut self, version: Version, parts: &Parts<'_>) -> &Form {
        let form = &mut self.forms[usize::from(version == Version::Resp3)];
        if form.bytes.is_empty() && form.shared.is_none() {
            parts.encode(&mut form.bytes, version);
            if form.bytes.len() >= SHARED_FROM {
                form.shared = Some(std::mem::take(&mut form.bytes).into());
            }
        }
        form
    }
}

/// What a message says.
struct Parts<'a> {
    kind: &'static str,
    pattern: Option<&'a [u8]>,
    channel: &'a [u8],
    payload: &'a [u8],
}

impl Parts<'_> {
    fn encode(&self, out: &mut Vec<u8>, version: Version) {
        let names = self.pattern.map_or(0, <[u8]>::len) + self.channel.len();
        // The rest: five lengths at most, and the kind.
        out.reserve(names + self.payload.len() + 80);
        let mut encoder = Encoder::new(out, version);
        encoder.push(if self.pattern.is_some() { 4 } else { 3 });
        encoder.bulk(self.kind);
        if let Some(pattern) = self.pattern {
            encoder.bulk(pattern);
        }
        encoder.bulk(self.channel);
        encoder.bulk(self.payload);
    }
}

/// Where messages go out.
struct Delivery<'a, 'b> {
    transport: &'a mut Transport<'b>,
    /// The one who publishes. What it gets itself goes between its replies.
    own: ConnectionId,
    out: &'a mut Vec<u8>,
    lagging: &'a mut Vec<(Subscriber, usize)>,
    /// Bytes waiting, above which a subscriber is noted as lagging.
    noted_above: usize,
}

impl Delivery<'_, '_> {
    /// How many have it now.
    fn deliver(
        &mut self,
        subscribers: &[Subscriber],
        message: &mut Message,
        parts: &Parts<'_>,
    ) -> i64 {
        let mut delivered = 0;
        for subscriber in subscribers {
            let form = message.form(subscriber.version, parts);
            if subscriber.connection == self.own {
                self.out.extend_from_slice(form.shared.as_deref().unwrap_or(&form.bytes));
                delivered += 1;
                continue;
            }
            let Some(mut transport) = self.transport.connection(subscriber.connection) else {
                continue;
            };
            let written = match &form.shared {
                None => transport.write(&form.bytes),
                Some(shared) => transport.write_bytes(shared.clone()),
            };
            match written {
                Written::Taken => {}
                Written::Gone => continue,
                Written::AboveHighWater => {
                    let waiting = transport.buffered();
                    if waiting > self.noted_above {
                        self.lagging.push((*subscriber, waiting));
                    }
                }
            }
            delivered += 1;
        }
        delivered
    }
}

impl Hub {
    /// Delivers a message, and answers how many have got it.
    pub(crate) fn publish(
        &mut self,
        transport: &mut Transport<'_>,
        kind: Kind,
        channel: &[u8],
        payload: &[u8],
    ) -> i64 {
        let limit = self.config.soft_limit.min(self.config.hard_limit);
        let own = transport.id();
        let mut delivery = Delivery {
            own,
            transport,
            out: &mut self.out,
            lagging: &mut self.lagging,
            // Where somebody's time runs, whoever has less waiting than the limit counts, too.
            noted_above: if self.soft > 0 { 0 } else { limit },
        };
        let (subscribers, name) = match kind {
            Kind::Shard => (self.shards.subscribers(channel), "smessage"),
            Kind::Channel | Kind::Pattern => (self.channels.subscribers(channel), "message"),
        };
        let mut delivered = 0;
        if !subscribers.is_empty() {
            let parts = Parts { kind: name, pattern: None, channel, payload };
            delivered += delivery.deliver(subscribers, &mut self.message, &parts);
            self.message.clear();
        }
        if kind != Kind::Shard {
            for pattern in self.patterns.iter().filter(|found| matches(&found.name, channel)) {
                let parts =
                    Parts { kind: "pmessage", pattern: Some(&pattern.name), channel, payload };
                delivered += delivery.deliver(&pattern.subscribers, &mut self.message, &parts);
                self.message.clear();
            }
        }
        if !self.lagging.is_empty() {
            self.judge_lagging(transport);
        }
        delivered
    }
}
