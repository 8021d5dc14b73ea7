//! What the connections of a server share: the broker, who is connected, and the way out for what
//! the broker wants sent.
//!
//! The one rule: between two callbacks the broker's outbox is empty. Whoever calls the broker
//! calls `drain` before the callback returns, and before any answer that must not overtake what
//! the broker said earlier.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ropewalk_broker::{
    Broker, Delivery, Destination, Entropy, Event, Message, PasswordHash, Permission, User,
};
use ropewalk_reactor::{ConnectionId, Reactor, Transport};
use ropewalk_store::{Disk, Options};
use slab::Slab;

use crate::codec::method::{basic, connection};
use crate::codec::{EncodeMethod, Encoder, FrameWriter, ReplyCode, ShortStr, Sink};

use super::alarm::Alarms;
use super::config::Config;
use super::connection::Connection;
use super::convert::{BasicCodec, with_delivery_count};
use super::entropy::{POOL, Pool};
use super::peer::{Gathered, Peer, RUN, SPARES};
use super::sink::TransportSink;
use super::store::{self, Keeper, Opened};
use super::unfinished::Unfinished;
use super::{LOG, Shared};

/// Frames for all connections are gathered up to this, about: 32 runs.
const GATHERED_MAX: usize = 32 * RUN;

pub(crate) struct Hub {
    pub(crate) broker: Broker,
    pub(crate) encoder: Encoder,
    pub(crate) entropy: Pool,
    /// Connections that have passed the handshake. The index is the key by which the broker
    /// knows them.
    pub(super) peers: Slab<Peer>,
    pub(super) alarms: Alarms,
    /// The store, if there is one.
    pub(super) keeper: Option<Keeper>,
    pub(super) unfinished: Unfinished,
    gathered: Gathered,
    /// Connections that filled up in this drain: to be turned off when no event is at hand.
    filled: Vec<usize>,
    /// The broker's clock begins here.
    epoch: Instant,
    /// When the earliest timer is set to ring.
    timer: Option<Duration>,
    /// Every connection was told that the server goes: nothing is delivered any more.
    is_closing: bool,
}

/// Who can reach a connection: a transport, and the reactor between callbacks.
pub(crate) trait Reach {
    fn reach(&mut self, id: ConnectionId) -> Option<Transport<'_>>;
    fn clock(&self) -> (Instant, SystemTime);
    /// Has `call` made after `delay`, whatever connection goes.
    fn call_later(&mut self, delay: Duration, call: Box<dyn FnOnce(&mut Reactor)>);
}

impl Reach for Transport<'_> {
    fn reach(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        self.connection(id)
    }

    fn clock(&self) -> (Instant, SystemTime) {
        (self.now(), self.wall_clock())
    }

    fn call_later(&mut self, delay: Duration, call: Box<dyn FnOnce(&mut Reactor)>) {
        self.local().call_soon(move |reactor| {
            reactor.call_later(delay, call);
        });
    }
}

impl Reach for Reactor {
    fn reach(&mut self, id: ConnectionId) -> Option<Transport<'_>> {
        self.connection(id)
    }

    fn clock(&self) -> (Instant, SystemTime) {
        (self.now(), self.wall_clock())
    }

    fn call_later(&mut self, delay: Duration, call: Box<dyn FnOnce(&mut Reactor)>) {
        Reactor::call_later(self, delay, call);
    }
}

impl Hub {
    pub(crate) fn new(config: &Config, epoch: Instant, seed: &[u8; POOL]) -> Hub {
        let entropy = Pool::new(seed);
        let broker = Broker::new(config.broker.clone(), entropy.clone(), BasicCodec);
        Hub {
            broker,
            encoder: Encoder::new(),
            entropy,
            peers: Slab::new(),
            alarms: Alarms::new(config),
            keeper: None,
            unfinished: Unfinished::new(config),
            gathered: Gathered::default(),
            filled: Vec::new(),
            epoch,
            timer: None,
            is_closing: false,
        }
    }

    /// Makes the broker what it was when the store was closed, and lets it journal.
    pub(crate) fn open_store(
        &mut self,
        config: &Config,
        disk: Arc<dyn Disk>,
        salt: u64,
    ) -> Result<Opened, ropewalk_store::Error> {
        let options = Options::new().segment_octets(config.segment_octets).salt(salt);
        let (log, opened) = store::open(&mut self.broker, disk, options)?;
        self.keeper = Some(Keeper::new(log));
        Ok(opened)
    }

    /// Makes what the configuration wants to be there; of the users only if the broker is new.
    pub(crate) fn furnish(&mut self, config: &Config, is_new: bool) {
        for vhost in &config.vhosts {
            self.broker.add_vhost(vhost);
        }
        let Some((name, password)) = config.default_user.as_ref().filter(|_| is_new) else {
            return;
        };
        let mut salt = [0; 4];
        self.entropy.fill(&mut salt);
        let mut user = User::new(Some(PasswordHash::new(password, salt)));
        user.tags = vec!["administrator".to_owned()];
        self.broker.put_user(name, user);
        for vhost in [b"/".to_vec()].iter().chain(&config.vhosts) {
            self.broker.set_user_permission(name, vhost, Some(Permission::everything()));
        }
    }

    /// Where the next connection will be found: its key for the broker.
    pub(crate) fn next_key(&self) -> usize {
        self.peers.vacant_key()
    }

    /// Lets a connection in, that the broker knows by [`next_key`](Self::next_key).
    pub(super) fn enter(&mut self, peer: Peer) {
        self.peers.insert(peer);
    }

    /// A connection is no longer served: the broker closes its channels, takes back what it had
    /// not acknowledged, and gives it to others.
    pub(crate) fn leave(&mut self, key: usize, reach: &mut impl Reach) {
        if let Some(peer) = self.peers.try_remove(key) {
            self.alarms.blocked -= usize::from(peer.blocked);
            self.broker.close_connection(peer.broker);
            self.drain(reach);
        }
    }

    // Flow.

    /// The reactor says that a connection's output is above high water, or below low water again.
    pub(crate) fn set_paused(&mut self, key: usize, paused: bool, reach: &mut impl Reach) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.paused = paused;
            self.flow(key, reach);
        }
    }

    /// A turn later: a connection that had enough may be able to take more.
    pub(crate) fn set_hungry(&mut self, key: usize, reach: &mut impl Reach) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.sated = false;
            self.flow(key, reach);
        }
    }

    fn flow(&mut self, key: usize, reach: &mut impl Reach) {
        let Some(peer) = self.peers.get(key) else { return };
        let open = !(peer.paused || peer.sated || self.is_closing);
        self.broker.set_flow(peer.broker, open);
        if open {
            self.drain(reach);
        }
    }

    /// An answer to a connection waits for the store: what the broker says to it waits, too, and
    /// it is fed no more.
    pub(super) fn hold(&mut self, key: usize) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.held = true;
            self.broker.set_flow(peer.broker, false);
        }
    }

    /// The answer is out: what waited follows.
    pub(super) fn release(&mut self, key: usize, reach: &mut impl Reach) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.held = false;
            self.hand_over_all(reach);
            self.flow(key, reach);
        }
    }

    // Time.

    /// Tells the broker the time. What that makes it say goes out with the next drain.
    pub(crate) fn tick(&mut self, reach: &impl Reach) {
        let (now, wall_clock) = reach.clock();
        self.broker.set_wall_clock(wall_clock.duration_since(UNIX_EPOCH).unwrap_or_default());
        self.broker.tick(now.saturating_duration_since(self.epoch));
    }

    /// Sets a timer for the broker's next deadline, if none is set that rings before. Earlier
    /// ones ring in vain: harmless, and rarer than moving one for each message would cost.
    pub(crate) fn set_timer(&mut self, shared: &Rc<Shared>, reach: &mut impl Reach) {
        let Some(deadline) = self.broker.next_deadline() else { return };
        if self.timer.is_some_and(|timer| timer <= deadline) {
            return;
        }
        self.timer = Some(deadline);
        let now = reach.clock().0.saturating_duration_since(self.epoch);
        let shared = Rc::downgrade(shared);
        let ring = move |reactor: &mut Reactor| ring(&shared, reactor);
        reach.call_later(deadline.saturating_sub(now), Box::new(ring));
    }

    // The way out.

    /// Writes all that the broker wants sent to the connections that it is for.
    pub(crate) fn drain(&mut self, reach: &mut impl Reach) {
        self.gather(reach);
        self.hand_over_all(reach);
        self.turn_off_filled();
    }

    /// Empties the broker's outbox, in the middle of a callback: small frames stay `staged` until
    /// the drain that must come before anything else is written, or that ends the callback.
    pub(crate) fn gather(&mut self, reach: &mut impl Reach) {
        loop {
            self.turn_off_filled();
            let Some(event) = self.broker.next_event() else { break };
            let Some(to) = destination(&event) else { continue };
            let key = to.key as usize; // it came from `next_key`
            let Some(peer) = self.peers.get_mut(key) else { continue };
            if let Event::ConsumerTimedOut { timeout, .. } = event {
                close_timed_out(peer.id, to.channel, timeout, reach);
                continue;
            }
            if large_body(&event) && !peer.held {
                // In order: what is staged first, then the body without a copy.
                peer.hand_over(key, reach, &mut self.filled);
                if let Some(mut target) = reach.reach(peer.id) {
                    let mut sink = TransportSink(&mut target);
                    write_event(&mut self.encoder.frames_to(&mut sink, peer.frame_max), &event);
                    peer.judge(key, target, &mut self.filled);
                }
                continue;
            }
            let before = peer.staged.len();
            if peer.staged.capacity() == 0 {
                peer.staged = self.gathered.spare.pop().unwrap_or_default();
                self.gathered.keys.push(key);
            }
            write_event(&mut Encoder::frames_in(&mut peer.staged, peer.frame_max), &event);
            self.gathered.octets += peer.staged.len() - before;
            if peer.staged.len() >= RUN {
                peer.hand_over(key, reach, &mut self.filled);
            }
            if self.gathered.octets >= GATHERED_MAX {
                self.hand_over_all(reach);
            }
        }
    }

    /// Writes what is staged for anyone.
    fn hand_over_all(&mut self, reach: &mut impl Reach) {
        let Hub { peers, gathered, filled, .. } = self;
        let Gathered { keys, spare, .. } = gathered;
        keys.retain(|&key| {
            let Some(peer) = peers.get_mut(key) else { return false };
            if peer.held {
                return true;
            }
            peer.hand_over(key, reach, filled);
            let mut buffer = std::mem::take(&mut peer.staged);
            if spare.len() < SPARES {
                buffer.shrink_to(2 * RUN);
                spare.push(buffer);
            }
            false
        });
        self.gathered.octets = 0;
    }

    /// Between two events, when the broker can be called.
    #[inline]
    fn turn_off_filled(&mut self) {
        while let Some(key) = self.filled.pop() {
            if let Some(peer) = self.peers.get(key) {
                self.broker.set_flow(peer.broker, false);
            }
        }
    }

    /// Tells every connection that the server goes. The reactor closes them right afterwards, so
    /// that nothing is written behind it.
    fn say_goodbye(&mut self, reactor: &mut Reactor) {
        self.is_closing = true;
        let text = ReplyCode::ConnectionForced
            .text("broker forced connection closure with reason 'shutdown'");
        let close = connection::Close {
            reply_code: ReplyCode::ConnectionForced.number(),
            reply_text: ShortStr::cut_text(&text),
            class_id: 0,
            method_id: 0,
        };
        for (_, peer) in &self.peers {
            // What others give back would count as handed out to it, and never be.
            self.broker.set_flow(peer.broker, false);
            if let Some(mut target) = reactor.connection(peer.id) {
                let mut sink = TransportSink(&mut target);
                self.encoder.frames_to(&mut sink, peer.frame_max).method(0, &close);
            }
        }
    }
}

fn destination(event: &Event<'_>) -> Option<Destination> {
    match event {
        Event::Delivered(delivery) => Some(delivery.to),
        Event::Returned { to, .. }
        | Event::Confirmed { to, .. }
        | Event::Cancelled { to, .. }
        | Event::ConsumerTimedOut { to, .. } => Some(*to),
        event => {
            log::error!(target: LOG, "the broker says what this server cannot: {event:?}");
            None
        }
    }
}

/// Whether the body goes out without a copy.
fn large_body(event: &Event<'_>) -> bool {
    match event {
        Event::Delivered(Delivery { message, .. }) | Event::Returned { message, .. } => {
            message.shared_body().is_some()
        }
        _ => false,
    }
}

fn write_event<S: Sink>(frames: &mut FrameWriter<'_, S>, event: &Event<'_>) {
    match event {
        Event::Delivered(delivery) => {
            let message = delivery.message;
            let deliver = basic::Deliver {
                consumer_tag: ShortStr::cut(delivery.consumer_tag),
                delivery_tag: delivery.delivery_tag,
                redelivered: delivery.redelivered,
                exchange: ShortStr::cut(message.exchange()),
                routing_key: ShortStr::cut(message.routing_key()),
            };
            write_content(frames, delivery.to.channel, &deliver, message, delivery.delivery_count);
        }
        Event::Returned { to, message } => {
            let returned = basic::Return {
                reply_code: ReplyCode::NoRoute.number(),
                reply_text: ShortStr::literal("NO_ROUTE"),
                exchange: ShortStr::cut(message.exchange()),
                routing_key: ShortStr::cut(message.routing_key()),
            };
            write_content(frames, to.channel, &returned, message, None);
        }
        Event::Confirmed { to, delivery_tag, multiple, taken } => {
            let (delivery_tag, multiple) = (*delivery_tag, *multiple);
            if *taken {
                frames.method(to.channel, &basic::Ack { delivery_tag, multiple });
            } else {
                let nack = basic::Nack { delivery_tag, multiple, requeue: false };
                frames.method(to.channel, &nack);
            }
        }
        Event::Cancelled { to, consumer_tag } => {
            let consumer_tag = ShortStr::cut(*consumer_tag);
            frames.method(to.channel, &basic::Cancel { consumer_tag, nowait: true });
        }
        _ => {} // it is not written, and does not come here
    }
}

/// A method and the message that follows it.
#[inline]
pub(crate) fn write_content<S: Sink>(
    frames: &mut FrameWriter<'_, S>,
    channel: u16,
    method: &impl EncodeMethod,
    message: &Message,
    delivery_count: Option<u32>,
) {
    let counted;
    let properties = match delivery_count {
        None => message.properties(),
        Some(count) => {
            counted = with_delivery_count(message.properties(), count);
            &counted
        }
    };
    match message.shared_body() {
        Some(body) => frames.content(channel, method, properties, body),
        None => frames.content_copied(channel, method, properties, message.body()),
    }
}

/// Has the session close a channel that acknowledges too late.
#[cold]
fn close_timed_out(id: ConnectionId, channel: u16, timeout: Duration, reach: &mut impl Reach) {
    if let Some(mut target) = reach.reach(id) {
        let close = move |connection: &mut Connection, transport: &mut Transport<'_>| {
            connection.consumer_timed_out(channel, timeout, transport);
        };
        target.call_later(Duration::ZERO, close);
    }
}

/// The broker's deadline has come.
fn ring(shared: &Weak<Shared>, reactor: &mut Reactor) {
    if let Some(shared) = shared.upgrade() {
        shared.change(reactor, |hub, _| hub.timer = None);
    }
}

/// Has every connection told why it ends when the reactor stops.
pub(crate) fn say_goodbye_at_shutdown(shared: &Rc<Shared>, reactor: &mut Reactor) {
    let shared = Rc::downgrade(shared);
    reactor.during_shutdown(move |reactor| {
        if let Some(shared) = shared.upgrade()
            && let Some(hub) = shared.hub()
        {
            let hub: &RefCell<Hub> = hub;
            hub.borrow_mut().say_goodbye(reactor);
        }
    });
}
