//! Steps that publish, take and settle messages, and those of consumers, modes and channels.

use ropewalk_amqp::codec::method::{basic, channel, confirm, connection, queue, tx};
use ropewalk_amqp::codec::{ArrayBuf, BasicProperties, Encoder, ShortStr, TableBuf, Value};

use crate::script::{Maker, Sent, Step, Then, short};
use crate::theme::Theme;
use crate::wire::{FRAME_MAX, encode};

/// The pseudo-queue of direct replies.
const REPLY_TO: ShortStr<'static> = ShortStr::literal("amq.rabbitmq.reply-to");

impl Maker {
    pub(crate) fn publish(&mut self, c: usize, n: u16) {
        let exchange = if self.chance.once_in(3) { String::new() } else { self.exchange_name() };
        let key = if exchange.is_empty() { self.queue_name() } else { self.key() };
        self.publish_to(c, n, &exchange, &key);
    }

    /// To one queue, by its name.
    pub(crate) fn publish_to_a_queue(&mut self, c: usize, n: u16) {
        let queue = self.chance.of(&self.script.queues.clone());
        self.publish_to(c, n, "", &queue);
    }

    /// Several messages to one queue, at once, and none of them wrong.
    pub(crate) fn publish_some(&mut self, c: usize, n: u16) {
        let queue = self.chance.of(&self.script.queues.clone());
        let count = 2 + self.chance.below(4);
        self.good_messages = true;
        self.at_once(c, n, |maker| {
            for _ in 0..count {
                maker.publish_to(c, n, "", &queue);
            }
        });
        self.good_messages = false;
    }

    fn publish_to(&mut self, c: usize, n: u16, exchange: &str, key: &str) {
        let publish = basic::Publish {
            exchange: short(exchange),
            routing_key: short(key),
            mandatory: self.chance.once_in(3),
            immediate: !self.good_messages && self.chance.once_in(80),
            ..Default::default()
        };
        let headers = self.headers();
        let number = self.script.steps.len().to_string();
        let expirations: &[&str] = match self.good_messages {
            true => &["600000", "0"],
            false => &["600000", "0", "0", "soon", "-1", "5 minutes", ""],
        };
        let expiration =
            self.chance.once_in(12).then(|| ShortStr::literal(self.chance.of(expirations)));
        // One that expires at once, above others in a priority queue, stays in RabbitMQ until
        // somebody looks at the head: see `known`.
        let has_priority = expiration != Some(ShortStr::literal("0")) && self.chance.once_in(3);
        let (users, addresses): (&[&str], &[&str]) = match self.good_messages {
            true => (&["guest"], &["somewhere"]),
            false => {
                (&["guest", "guest", "somebody else"], &["somewhere", "amq.rabbitmq.reply-to"])
            }
        };
        let properties = BasicProperties {
            content_type: self.chance.once_in(4).then_some(ShortStr::literal("text/plain")),
            headers: (!headers.as_table().is_empty()).then_some(headers.as_table()),
            delivery_mode: self.chance.once_in(2).then(|| self.chance.of(&[1, 2])),
            priority: has_priority.then(|| self.chance.of(&[0, 1, 2, 3, 5, 9, 11, 255])),
            correlation_id: self.chance.once_in(5).then_some(ShortStr::literal("7")),
            reply_to: self.chance.once_in(16).then(|| ShortStr::literal(self.chance.of(addresses))),
            expiration,
            message_id: Some(short(&number)),
            timestamp: self.chance.once_in(6).then_some(12_345),
            user_id: self.chance.once_in(20).then(|| ShortStr::literal(self.chance.of(users))),
            ..Default::default()
        };
        let length = match self.chance.below(20) {
            0 => 0,
            1 => 200_000 + self.chance.below(100_000),
            _ => 1 + self.chance.below(40),
        };
        let body: Vec<u8> = number.bytes().chain([b'.']).cycle().take(length).collect();
        let text = format!("{publish:?} {properties:?} {length} octets");
        let properties = properties.to_vec();
        self.send(c, n, text, Then::Ping, |frames| {
            frames.content_copied(n, &publish, &properties, &body);
        });
    }

    fn headers(&mut self) -> TableBuf {
        let mut headers = TableBuf::new();
        if self.chance.once_in(3) {
            headers = headers.with("colour", self.chance.of(&["red", "blue"]));
        }
        if self.chance.once_in(5) {
            headers = headers.with("size", self.chance.of(&[1_i64, 2]));
        }
        if self.theme == Theme::Routing && self.chance.once_in(3) {
            let list = ArrayBuf::new().with("one").with(2_i32);
            headers = match self.chance.below(8) {
                0 => headers.with("size", Value::Void),
                1 => headers.with("size", 1.0_f32),
                2 => headers.with("size", Value::Timestamp(2)),
                3 => headers.with("colour", &b"red"[..]),
                4 => headers.with("flag", true),
                5 => headers.with("list", &list),
                _ => headers.with("x-shape", self.chance.of(&["round", "square"])),
            };
        }
        for name in ["CC", "BCC"] {
            if self.chance.once_in(12) {
                // A chain's queues get a message by one way alone.
                let first = match self.theme {
                    Theme::Death => "elsewhere".to_owned(),
                    _ => self.queue_name(),
                };
                let to = ArrayBuf::new().with(first.as_str()).with("a.b");
                headers = headers.with(name, &to);
            }
        }
        if !self.good_messages && self.chance.once_in(80) {
            headers = headers.with("CC", "not an array");
        }
        if self.chance.once_in(80) {
            headers = headers.with("BCC", &ArrayBuf::new().with(7_i32).with("a"));
        }
        headers
    }

    /// A message to take back later comes from the channel's own queue.
    pub(crate) fn get(&mut self, c: usize, n: u16) {
        let own = self.own_queue(c, n);
        let (queue, no_ack) = match self.chance.below(3) {
            0 => (self.queue_name(), true),
            // A get without `no_ack` from a quorum queue counts as a consumer in RabbitMQ.
            _ if self.theme == Theme::Quorum || Maker::only_consumes(n) => (own, true),
            _ => (own, self.chance.once_in(4)),
        };
        self.method(c, n, &basic::Get { queue: short(&queue), no_ack, ..Default::default() });
    }

    pub(crate) fn consume(&mut self, c: usize, n: u16) {
        match self.chance.below(16) {
            1 => self.consume_from(c, n, ""),
            2 => {
                let none = format!("{}none", self.script.prefix);
                self.consume_from(c, n, &none);
            }
            _ => self.consume_own(c, n),
        }
    }

    /// On a channel that gets no other messages: in RabbitMQ replies have no tags of their own.
    pub(crate) fn consume_replies(&mut self, c: usize, _: u16) {
        self.consume_from(c, 1, "amq.rabbitmq.reply-to");
    }

    pub(crate) fn get_beside_replies(&mut self, c: usize, _: u16) {
        self.get(c, 2);
    }

    pub(crate) fn consume_beside_replies(&mut self, c: usize, _: u16) {
        self.consume_own(c, 2);
    }

    pub(crate) fn consume_own(&mut self, c: usize, n: u16) {
        let queue = self.own_queue(c, n);
        let only_gets = match self.theme {
            // Two channels would give back what a quorum queue then delivers in its own order.
            Theme::Quorum => (c, n) != (2, 1),
            _ => self.one_consumer && !Maker::only_consumes(n),
        };
        match only_gets {
            true => self.get(c, n),
            false => self.consume_from(c, n, &queue),
        }
    }

    fn consume_from(&mut self, c: usize, n: u16, queue: &str) {
        let tag = match self.one_consumer {
            true => "one",
            false => self.chance.of(&["", "one", "two", "three", "four"]),
        };
        let mut arguments = TableBuf::new();
        if self.chance.once_in(5) {
            arguments = arguments.with("x-priority", self.chance.of(&[1_i32, -1, 5]));
        }
        if self.chance.once_in(40) {
            arguments = match self.chance.below(3) {
                0 => arguments.with("x-priority", "high"),
                1 => arguments.with("x-stream-offset", "first"),
                _ => arguments.with("x-cancel-on-ha-failover", self.chance.of(&[0_i32, 1])),
            };
        }
        let replies = queue == "amq.rabbitmq.reply-to";
        let no_ack = match replies {
            true => !self.chance.once_in(6),
            // What needs no acknowledgement waits for a limit that is global in RabbitMQ.
            false => !(self.global_limits && Maker::only_consumes(n)) && self.chance.once_in(3),
        };
        let exclusive_in = if self.theme == Theme::Consumers { 4 } else { 8 };
        let consume = basic::Consume {
            queue: short(queue),
            consumer_tag: ShortStr::literal(tag),
            no_ack,
            exclusive: self.chance.once_in(exclusive_in),
            nowait: !tag.is_empty() && self.chance.once_in(12),
            arguments: arguments.as_table(),
            ..Default::default()
        };
        self.method(c, n, &consume);
    }

    pub(crate) fn cancel(&mut self, c: usize, n: u16) {
        let tag = self.chance.of(&["one", "one", "two", "three", "four"]);
        let nowait = self.chance.once_in(12);
        let cancel = basic::Cancel { consumer_tag: ShortStr::literal(tag), nowait };
        self.method(c, n, &cancel);
    }

    pub(crate) fn settle(&mut self, c: usize, n: u16) {
        let delivery_tag = self.chance.of(&[0, 1, 1, 1, 2, 2, 3, 4, 5, 9]);
        let multiple = self.chance.once_in(3);
        let requeue = (self.one_consumer || !multiple) && self.chance.once_in(2);
        match self.chance.below(4) {
            0 => self.method(c, n, &basic::Reject { delivery_tag, requeue }),
            1 => self.method(c, n, &basic::Nack { delivery_tag, multiple, requeue }),
            _ => self.method(c, n, &basic::Ack { delivery_tag, multiple }),
        }
    }

    /// One message alone: of several, the order in which a quorum queue takes them back is its
    /// own.
    pub(crate) fn settle_one(&mut self, c: usize, n: u16) {
        let delivery_tag = self.chance.of(&[1, 1, 1, 1, 2, 2, 2, 3, 3, 4]);
        let requeue = self.chance.once_in(2);
        match self.chance.below(3) {
            0 => self.method(c, n, &basic::Reject { delivery_tag, requeue }),
            1 => self.method(c, n, &basic::Nack { delivery_tag, multiple: false, requeue }),
            _ => self.method(c, n, &basic::Ack { delivery_tag, multiple: false }),
        }
    }

    pub(crate) fn qos(&mut self, c: usize, n: u16) {
        let qos = basic::Qos {
            prefetch_size: if self.chance.once_in(20) { 10 } else { 0 },
            prefetch_count: self.chance.of(&[0, 1, 2, 3]),
            global: self.global_limits && Maker::only_consumes(n) && self.chance.once_in(2),
        };
        self.method(c, n, &qos);
    }

    pub(crate) fn recover(&mut self, c: usize, n: u16) {
        if !self.one_consumer {
            return self.settle(c, n);
        }
        let requeue = !self.chance.once_in(8);
        match self.chance.once_in(4) {
            true => self.method(c, n, &basic::RecoverAsync { requeue }),
            false => self.method(c, n, &basic::Recover { requeue }),
        }
    }

    // Modes.

    pub(crate) fn mode(&mut self, c: usize, n: u16) {
        match self.chance.below(6) {
            0..=2 => self.select_confirms(c, n),
            3 => self.method(c, n, &tx::Select {}),
            4 => self.commit(c, n),
            _ => self.roll_back(c, n),
        }
    }

    pub(crate) fn select_confirms(&mut self, c: usize, n: u16) {
        let nowait = self.chance.once_in(6);
        self.method(c, n, &confirm::Select { nowait });
    }

    pub(crate) fn commit(&mut self, c: usize, n: u16) {
        let commit = tx::Commit {};
        self.send(c, n, format!("{commit:?}"), Then::Answer, |frames| frames.method(n, &commit));
    }

    pub(crate) fn roll_back(&mut self, c: usize, n: u16) {
        self.method(c, n, &tx::Rollback {});
    }

    // Replies.

    /// A message to a queue that asks for direct replies.
    pub(crate) fn request(&mut self, c: usize, n: u16) {
        let queue = self.chance.of(&self.script.queues.clone());
        let publish = basic::Publish { routing_key: short(&queue), ..Default::default() };
        let properties = BasicProperties { reply_to: Some(REPLY_TO), ..Default::default() };
        let properties = properties.to_vec();
        self.send(c, n, format!("a request: {publish:?}"), Then::Ping, |frames| {
            frames.content_copied(n, &publish, &properties, b"request");
        });
    }

    /// A message to an address for direct replies.
    pub(crate) fn reply(&mut self, c: usize, n: u16) {
        let (text, make): (_, fn(u16, &str) -> Vec<u8>) = match self.chance.below(6) {
            // A mandatory one, if it arrives, comes back as well: see `known`.
            0 => ("a reply through amq.direct", |n, address| {
                reply_of(n, "amq.direct", address, true)
            }),
            _ => ("a reply", |n, address| reply_of(n, "", address, false)),
        };
        self.push_to_address(c, n, text, make);
    }

    pub(crate) fn declare_address(&mut self, c: usize, n: u16) {
        let (text, make): (_, fn(u16, &str) -> Vec<u8>) = match self.chance.below(3) {
            0 => ("declares the address passively", |n, address| {
                let queue = short(address);
                encode(n, &queue::Declare { queue, passive: true, ..Default::default() })
            }),
            1 => ("declares the pseudo-queue", |n, _| {
                encode(n, &queue::Declare { queue: REPLY_TO, ..Default::default() })
            }),
            _ => ("gets from the pseudo-queue", |n, _| {
                encode(n, &basic::Get { queue: REPLY_TO, ..Default::default() })
            }),
        };
        self.push_to_address(c, n, text, make);
    }

    fn push_to_address(&mut self, c: usize, n: u16, text: &str, make: fn(u16, &str) -> Vec<u8>) {
        self.push(Step {
            connection: c,
            channel: n,
            text: text.to_owned(),
            sent: Sent::ToAddress(make),
            then: Then::Ping,
        });
    }

    // Channels and connections.

    /// A few steps of one channel at once. An error in the midst leaves the rest unheard; but an
    /// empty name that stands for no queue is a second error in RabbitMQ 3.10, which then closes
    /// the channel twice, and the connection for the answer. Nothing is published here, since it
    /// may or may not come to the channel's own consumer before the error; and what follows a
    /// consume may be answered before it.
    pub(crate) fn burst(&mut self, c: usize, n: u16) {
        let count = 1 + self.chance.below(4);
        self.empty_names = false;
        self.at_once(c, n, |maker| {
            for _ in 0..count {
                match maker.chance.below(5) {
                    0 => maker.get(c, n),
                    1 => maker.settle(c, n),
                    2 => maker.declare_any_queue(c, n),
                    3 => maker.unbind(c, n),
                    _ => maker.bind_any(c, n),
                }
            }
            maker.consume_own(c, n);
        });
        self.empty_names = true;
    }

    /// The next step on it opens it again.
    pub(crate) fn close_channel(&mut self, c: usize, n: u16) {
        let close = channel::Close { reply_code: 200, ..Default::default() };
        self.send(c, n, "channel.close".into(), Then::ChannelEnds, |frames| {
            frames.method(n, &close);
        });
    }

    pub(crate) fn close_connection(&mut self, c: usize, n: u16) {
        let close = connection::Close { reply_code: 200, ..Default::default() };
        self.send(c, n, "connection.close".into(), Then::ConnectionEnds, |frames| {
            frames.method(0, &close);
        });
    }
}

pub(crate) fn reply_of(n: u16, exchange: &str, address: &str, mandatory: bool) -> Vec<u8> {
    let publish = basic::Publish {
        exchange: short(exchange),
        routing_key: short(address),
        mandatory,
        ..Default::default()
    };
    let mut octets = Vec::new();
    let properties = BasicProperties::default().to_vec();
    Encoder::frames_in(&mut octets, FRAME_MAX).content_copied(n, &publish, &properties, b"reply");
    octets
}
