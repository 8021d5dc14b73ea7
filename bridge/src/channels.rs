//! The side of Redis: what its subscription hears goes to the exchange, and what comes from there is
//! published, a window of it at a time.

use std::rc::{Rc, Weak};

use ropewalk_amqp::client::Delivery;
use ropewalk_reactor::{Deferred, Promise};
use ropewalk_redis::client::{Client, Notice};
use ropewalk_redis::codec::matches;

use crate::HEADER;
use crate::bridge::{Shared, Warning};
use crate::buffer::Buffer;

/// What is under way to the Redis server and not answered: enough for any line, and little enough
/// that what waits for room waits here.
const WINDOW: usize = 1 << 20;

/// What goes to Redis.
pub(crate) struct ToRedis {
    waiting: Buffer<Delivery>,
    /// Messages that are published and not answered, and their bytes.
    under_way: (usize, usize),
    /// Whoever takes more from the exchange once there is room.
    room: Option<Promise<()>>,
}

impl ToRedis {
    pub(crate) fn new(limit: usize) -> Self {
        Self { waiting: Buffer::new(limit), under_way: (0, 0), room: None }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.bytes()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.under_way.0 == 0
    }
}

impl Shared {
    /// Subscribes, and sees what becomes of the connection.
    pub(crate) fn begin_channels(self: &Rc<Self>) {
        let weak = Rc::downgrade(self);
        self.redis.on_notice(move |_, notice| {
            let Some(shared) = weak.upgrade() else { return };
            match notice {
                Notice::Connected => shared.has_come(),
                Notice::Lost(reason) => shared.has_gone(&reason),
                _ => {}
            }
        });
        if self.options.goes_to_amqp() {
            let weak = Rc::downgrade(self);
            let subscription = self.redis.psubscribe(&self.options.channels, move |_, message| {
                if let Some(shared) = weak.upgrade() {
                    shared.heard(message);
                }
            });
            self.keep(subscription);
        } else {
            // Whether the server is there is known sooner than with the first message.
            self.redis.call(&[b"PING"]).then(|_, _| ());
        }
    }

    fn has_come(self: &Rc<Self>) {
        self.publish_to_redis();
        let weak: Weak<Self> = Rc::downgrade(self);
        let is_there = move |result: ropewalk_reactor::Result<(), ropewalk_reactor::Error>| {
            let Some(shared) = weak.upgrade() else { return };
            match result {
                Ok(()) => shared.note(&shared.has_redis, true, ""),
                Err(error) => {
                    log::warn!(target: crate::LOG, "{}: Redis: {error}", shared.options.name)
                }
            }
        };
        match self.confirmed() {
            Some(confirmed) => confirmed.then(move |_, result| is_there(result)),
            None => is_there(Ok(())),
        }
    }

    fn has_gone(self: &Rc<Self>, reason: &str) {
        self.note(&self.has_redis, false, &format!("Redis was lost: {reason}"));
        // They wait here and not at the broker, where they would have no limit.
        for delivery in self.to_redis.borrow().waiting.iter() {
            let _ = delivery.ack();
        }
        self.make_room();
    }

    /// A message has come from the exchange.
    pub(crate) fn delivered(self: &Rc<Self>, delivery: Delivery) {
        let channel = delivery.routing_key();
        let is_bridged = delivery.properties().is_ok_and(|properties| {
            properties.headers.is_some_and(|headers| headers.get(HEADER).is_some())
        });
        if is_bridged || !matches(&self.options.channels, channel.as_bytes()) {
            let _ = delivery.ack();
            return;
        }
        let size = delivery.body().len();
        if size > self.options.max_message {
            let why = format_args!(
                "one of {size} bytes came, and {} are taken",
                self.options.max_message
            );
            self.dropped(Warning::Size, 1, why);
            let _ = delivery.ack();
            return;
        }
        if !self.redis.is_connected() {
            let _ = delivery.ack();
        }
        let size = size + channel.len();
        let mut to_redis = self.to_redis.borrow_mut();
        to_redis.waiting.push(size, delivery);
        // While it is there, nobody brings more than there is room for.
        let gone = if self.redis.is_connected() { Vec::new() } else { to_redis.waiting.trim() };
        drop(to_redis);
        self.dropped(Warning::ForRedis, gone.len(), "too many wait for Redis");
        self.publish_to_redis();
    }

    /// Publishes what the window has room for.
    fn publish_to_redis(self: &Rc<Self>) {
        loop {
            let mut to_redis = self.to_redis.borrow_mut();
            let Some((size, _)) = to_redis.waiting.front() else { break };
            let (count, bytes) = to_redis.under_way;
            // Without a connection all wait here, where there is an end to it.
            if !self.redis.is_connected() || (count > 0 && bytes + size > WINDOW) {
                break;
            }
            let Some(delivery) = to_redis.waiting.pop() else { break };
            to_redis.under_way = (count + 1, bytes + size);
            drop(to_redis);
            let published = publish(&self.redis, &delivery);
            let shared = self.clone();
            published.then(move |_, result| {
                let _ = delivery.ack();
                match result {
                    Ok(_) => shared.count(|counts| counts.to_redis += 1),
                    Err(_) => shared.count(|counts| counts.unknown += 1),
                }
                let mut to_redis = shared.to_redis.borrow_mut();
                let (count, bytes) = to_redis.under_way;
                to_redis.under_way = (count - 1, bytes - size);
                drop(to_redis);
                shared.publish_to_redis();
            });
        }
        self.make_room();
    }

    /// Tells whoever waits for room, if there is some.
    fn make_room(&self) {
        let mut to_redis = self.to_redis.borrow_mut();
        if to_redis.waiting.is_empty() {
            self.is_over(Warning::ForRedis);
        }
        let has_room = !to_redis.waiting.is_full() || !self.redis.is_connected();
        let waiting = if has_room { to_redis.room.take() } else { None };
        drop(to_redis);
        if let Some(promise) = waiting {
            promise.succeed(());
        }
        self.look_whether_drained();
    }

    /// What is there once another message may come: at once while Redis is away, since then the eldest
    /// go.
    pub(crate) fn room(&self) -> Option<Deferred<()>> {
        let mut to_redis = self.to_redis.borrow_mut();
        if !to_redis.waiting.is_full() || !self.redis.is_connected() {
            return None;
        }
        let (promise, deferred) = self.local.deferred();
        to_redis.room = Some(promise);
        Some(deferred)
    }
}

fn publish(redis: &Client, delivery: &Delivery) -> Deferred<i64> {
    redis.publish(delivery.routing_key().as_bytes(), delivery.body())
}
