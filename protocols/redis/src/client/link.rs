//! One connection of a client: the greeting, then commands and their replies, or messages, or both.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bytes::{Buf, BytesMut};
use log::{debug, warn};
use ropewalk_reactor::{Protocol, Reason, Result, Transport};

use super::core::{Command, Core, Key, Left, Sent, hand_on, tell};
use super::greeting::Greeting;
use super::message::Event;
use super::own::Own;
use super::{ClientError, Kind, Notice};
use crate::LOG;
use crate::codec::{ReplyDecoder, Value, encode_command};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Commands,
    Subscriptions,
    /// For what the client asks, and what others publish (RESP3).
    Both,
}

pub(crate) struct Link {
    core: Weak<RefCell<Core>>,
    role: Role,
    /// `None` before the connection is made, and once the server has greeted.
    greeting: Option<Greeting>,
    decoder: ReplyDecoder,
    own: Own,
    /// How the server calls this connection.
    name: Option<Left>,
    /// Something has come since it was last looked at.
    has_heard: bool,
    /// It was asked whether it is there, and nothing has come since.
    is_asked: bool,
}

impl Link {
    pub(crate) fn new(core: &Rc<RefCell<Core>>, role: Role) -> Self {
        let (core, decoder) = (Rc::downgrade(core), ReplyDecoder::default());
        let (own, has_heard, is_asked) = (Own::default(), true, false);
        Self { core, role, greeting: None, decoder, own, name: None, has_heard, is_asked }
    }

    /// A reply to the greeting; once that is over, everything begins.
    fn greeted(
        &mut self,
        transport: &mut Transport<'_>,
        core: &Rc<RefCell<Core>>,
        value: &Value,
    ) -> Result {
        let Some(greeting) = &mut self.greeting else { return Ok(()) };
        if !greeting.heard(&core.borrow().options, transport, value)? {
            return Ok(());
        }
        self.name = greeting.own.take();
        self.greeting = None;
        let mut inner = core.borrow_mut();
        let lane = inner.lane(self.role);
        (lane.connection, lane.left) = (Some(transport.id()), None);
        drop(inner);
        // What is published from here is known as one's own once the server has confirmed these.
        if self.role != Role::Commands {
            self.subscribe_again(transport, core);
        }
        if self.role != Role::Subscriptions {
            self.send_commands(transport);
        }
        tell(core, Notice::Connected);
        self.watch(transport, core);
        Ok(())
    }

    /// Looks in a while whether the server has said anything.
    fn watch(&self, transport: &mut Transport<'_>, core: &Rc<RefCell<Core>>) {
        let interval = core.borrow().options.ping_interval;
        if !interval.is_zero() {
            transport.call_later(interval, |link: &mut Self, transport| link.look(transport));
        }
    }

    fn look(&mut self, transport: &mut Transport<'_>) {
        let Some(core) = self.core.upgrade() else { return };
        // While nothing is read, the silence is one's own.
        if std::mem::take(&mut self.has_heard) || transport.is_reading_paused() {
            self.is_asked = false;
        } else if std::mem::replace(&mut self.is_asked, true) {
            warn!(target: LOG, "{}: it says nothing any more", transport.peer());
            return transport.abort_connection();
        } else {
            let mut wire = Vec::new();
            encode_command(&mut wire, &[b"PING"]);
            transport.write(&wire);
            core.borrow_mut().lane(self.role).sent.push_back(Sent::Ping);
        }
        self.watch(transport, &core);
    }

    pub(crate) fn send_commands(&mut self, transport: &mut Transport<'_>) {
        let Some(core) = self.core.upgrade() else { return };
        let mut core = core.borrow_mut();
        while let Some(Command { wire, promise, publication }) = core.unsent.pop_front() {
            let bytes = wire.len();
            transport.write_bytes(wire);
            let sent = Sent::Command { bytes, promise, publication };
            core.lane(self.role).sent.push_back(sent);
        }
    }

    fn subscribe_again(&mut self, transport: &mut Transport<'_>, core: &Rc<RefCell<Core>>) {
        let keys: Vec<Key> = core.borrow().topics.keys().cloned().collect();
        for key in keys {
            self.tell(transport, key, true);
        }
        if core.borrow().full_streams > 0 {
            transport.pause_reading();
        }
    }

    /// Subscribes or unsubscribes.
    pub(crate) fn tell(&mut self, transport: &mut Transport<'_>, key: Key, begins: bool) {
        let Some(core) = self.core.upgrade() else { return };
        let word: &[u8] = match (key.0, begins) {
            (Kind::Channel, true) => b"SUBSCRIBE",
            (Kind::Channel, false) => b"UNSUBSCRIBE",
            (Kind::Pattern, true) => b"PSUBSCRIBE",
            (Kind::Pattern, false) => b"PUNSUBSCRIBE",
            (Kind::Shard, true) => b"SSUBSCRIBE",
            (Kind::Shard, false) => b"SUNSUBSCRIBE",
        };
        let mut wire = Vec::new();
        encode_command(&mut wire, &[word, &key.1]);
        transport.write(&wire);
        core.borrow_mut().lane(self.role).sent.push_back(Sent::Subscription(key));
    }

    /// A reply to what was sent first. Subscriptions have none but errors: they are confirmed by
    /// events.
    fn replied(&mut self, core: &Rc<RefCell<Core>>, value: Value) -> Result {
        let mut inner = core.borrow_mut();
        let error = match &value {
            Value::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        match (inner.lane(self.role).sent.pop_front(), error) {
            (Some(Sent::Command { bytes, promise, publication }), error) => {
                inner.waiting_bytes -= bytes;
                if let Some(publication) = publication {
                    let receivers = value.as_integer().unwrap_or(0);
                    self.own.answered(&publication, receivers, &mut inner.inbox);
                }
                drop(inner);
                match error {
                    Some(text) => promise.fail(ClientError::Server(text).into()),
                    None => promise.succeed(value),
                }
                Ok(())
            }
            (Some(Sent::Subscription((kind, name))), Some(text)) => {
                warn!(target: LOG, "no subscription to {}: {text}", name.escape_ascii());
                if let Some(topic) = inner.topics.get_mut(&(kind, name)) {
                    let refused = || ClientError::Server(text.clone()).into();
                    topic.waiting.drain(..).for_each(|promise| promise.fail(refused()));
                    topic.refused = Some(text);
                }
                Ok(())
            }
            // Whatever it says, it is there.
            (Some(Sent::Ping), _) => Ok(()),
            (Some(Sent::Subscription(_)), None) if self.role == Role::Subscriptions => {
                debug!(target: LOG, "a reply of another kind is left alone: {value:?}");
                Ok(())
            }
            (None, Some(text)) => Err(ClientError::Server(text).into()),
            (None | Some(Sent::Subscription(_)), _) => Err(ClientError::Unexpected.into()),
        }
    }

    fn happened(&mut self, core: &Rc<RefCell<Core>>, event: Event) {
        let mut inner = core.borrow_mut();
        let inner = &mut *inner;
        match event {
            Event::Message(kind, message) => {
                let name = message.pattern.clone().unwrap_or_else(|| message.channel.clone());
                let message = ((kind, name), message);
                if self.role != Role::Both {
                    return inner.inbox.push_back(message);
                }
                let next = match inner.commands.sent.front() {
                    Some(Sent::Command { publication, .. }) => publication.as_ref(),
                    _ => None,
                };
                self.own.heard(next, message, &mut inner.inbox);
            }
            Event::Subscribed(kind, name) => {
                let key = (kind, name);
                confirmed(&mut inner.lane(self.role).sent, &key);
                if let Some(topic) = inner.topics.get_mut(&key) {
                    (topic.is_confirmed, topic.refused) = (true, None);
                    topic.waiting.drain(..).for_each(|promise| promise.succeed(()));
                }
                self.own.subscribed(key);
            }
            Event::Unsubscribed(kind, name) => {
                let key = (kind, name);
                confirmed(&mut inner.lane(self.role).sent, &key);
                self.own.unsubscribed(&key);
            }
        }
    }
}

/// A subscription has begun or ended, as it was asked for; or else by the server itself.
fn confirmed(sent: &mut VecDeque<Sent>, key: &Key) {
    if matches!(sent.front(), Some(Sent::Subscription(first)) if first == key) {
        sent.pop_front();
    }
}

impl Protocol for Link {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let core = self.core.upgrade().ok_or(ClientError::Closed)?;
        let mut inner = core.borrow_mut();
        if inner.is_closed {
            transport.lose_connection();
            return Ok(());
        }
        // A reply has its limits in the decoder.
        transport.set_options(transport.options().receive_limit(usize::MAX));
        let lane = inner.lane(self.role);
        lane.made = Some(transport.id());
        let left = lane.left.clone();
        self.greeting = Some(Greeting::begin(&inner.options, left, transport)?);
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let Some(core) = self.core.upgrade() else {
            transport.lose_connection();
            return Ok(());
        };
        self.has_heard = true;
        let result = loop {
            let (used, value) = match self.decoder.decode(data) {
                Ok(decoded) => decoded,
                Err(error) => break Err(error.into()),
            };
            data.advance(used);
            let Some(value) = value else { break Ok(()) };
            let done = match &self.greeting {
                Some(_) => self.greeted(transport, &core, &value),
                None if self.role == Role::Commands && !matches!(value, Value::Push(_)) => {
                    self.replied(&core, value)
                }
                None => match Event::read(&value) {
                    Some(event) if self.role != Role::Both || matches!(value, Value::Push(_)) => {
                        self.happened(&core, event);
                        Ok(())
                    }
                    _ if matches!(value, Value::Push(_)) => {
                        debug!(target: LOG, "a push of another kind is left alone: {value:?}");
                        Ok(())
                    }
                    _ => self.replied(&core, value),
                },
            };
            if done.is_err() {
                break done;
            }
        };
        if !core.borrow().inbox.is_empty() {
            let local = core.borrow().local.clone();
            local.call_soon(move |reactor| hand_on(&core, reactor));
        }
        result
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let Some(core) = self.core.upgrade() else { return };
        if core.borrow().is_closed {
            return;
        }
        warn!(target: LOG, "{}: {reason}", transport.peer());
        if self.greeting.is_none() {
            tell(&core, Notice::Lost(reason.to_string()));
        }
        let mut core = core.borrow_mut();
        let lane = core.lane(self.role);
        (lane.made, lane.connection) = (None, None);
        let mut published = false;
        for sent in std::mem::take(&mut lane.sent) {
            if let Sent::Command { bytes, promise, publication } = sent {
                published |= publication.is_some();
                core.waiting_bytes -= bytes;
                promise.fail(ClientError::Lost.into());
            }
        }
        if published {
            core.lane(self.role).left = self.name.take();
        }
        if self.role != Role::Commands {
            for topic in core.topics.values_mut() {
                (topic.is_confirmed, topic.refused) = (false, None);
            }
        }
    }
}
