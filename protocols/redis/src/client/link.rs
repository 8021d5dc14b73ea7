//! One connection of a client: the greeting, then commands and their replies, or messages.

use std::cell::RefCell;
use std::rc::{Rc, Weak};

use bytes::{Buf, BytesMut};
use log::{debug, warn};
use ropewalk_reactor::{Protocol, Reason, Result, Transport};

use super::core::{Command, Core, hand_on};
use super::message::Event;
use super::{ClientError, Kind};
use crate::LOG;
use crate::codec::{ReplyDecoder, Value, encode_command};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Commands,
    Subscriptions,
}

/// How far the greeting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// `HELLO 3` is sent.
    Hello,
    /// The server does not know it; so many replies to what RESP2 has for it are still to come.
    Older(usize),
    Ready,
}

pub(crate) struct Link {
    core: Weak<RefCell<Core>>,
    role: Role,
    stage: Stage,
    decoder: ReplyDecoder,
}

impl Link {
    pub(crate) fn new(core: &Rc<RefCell<Core>>, role: Role) -> Self {
        let core = Rc::downgrade(core);
        Self { core, role, stage: Stage::Hello, decoder: ReplyDecoder::default() }
    }

    /// The server has answered: whether it knows RESP3, or this client at all.
    fn greeted(&mut self, transport: &mut Transport<'_>, value: &Value) -> Result {
        let core = self.core.upgrade().ok_or(ClientError::Closed)?;
        let inner = core.borrow();
        let options = &inner.options;
        let error = match value {
            Value::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        };
        let left = match (self.stage, error) {
            (Stage::Hello, None) => 0,
            (Stage::Hello, Some(text)) if is_too_new(&text) => {
                debug!(target: LOG, "{}: RESP2, since it says {text}", transport.peer());
                let mut wire = Vec::new();
                let mut commands = 0;
                if let Some(password) = &options.password {
                    match &options.user {
                        Some(user) => encode_command(&mut wire, &[b"AUTH", user, password]),
                        None => encode_command(&mut wire, &[b"AUTH", password]),
                    }
                    commands += 1;
                }
                if !options.name.is_empty() {
                    encode_command(&mut wire, &[b"CLIENT", b"SETNAME", &options.name]);
                    commands += 1;
                }
                transport.write(&wire);
                commands
            }
            (Stage::Older(left), None) => left - 1,
            (_, Some(text)) => return Err(ClientError::Server(text).into()),
            (Stage::Ready, None) => return Ok(()),
        };
        drop(inner);
        if left > 0 {
            self.stage = Stage::Older(left);
            return Ok(());
        }
        self.stage = Stage::Ready;
        core.borrow_mut().lane(self.role).connection = Some(transport.id());
        match self.role {
            Role::Commands => self.send_commands(transport),
            Role::Subscriptions => self.subscribe_again(transport, &core),
        }
        Ok(())
    }

    pub(crate) fn send_commands(&mut self, transport: &mut Transport<'_>) {
        let Some(core) = self.core.upgrade() else { return };
        let mut core = core.borrow_mut();
        while let Some(Command { wire, promise }) = core.unsent.pop_front() {
            transport.write(&wire);
            core.sent.push_back((wire.len(), promise));
        }
    }

    fn subscribe_again(&mut self, transport: &mut Transport<'_>, core: &Rc<RefCell<Core>>) {
        let core = core.borrow();
        for (kind, name) in core.topics.keys() {
            send_subscription(transport, *kind, name, true);
        }
        if core.full_streams > 0 {
            transport.pause_reading();
        }
    }

    fn replied(&mut self, core: &Rc<RefCell<Core>>, value: Value) -> Result {
        let mut inner = core.borrow_mut();
        let Some((bytes, promise)) = inner.sent.pop_front() else {
            return Err(ClientError::Unexpected.into());
        };
        inner.waiting_bytes -= bytes;
        drop(inner);
        match value {
            Value::Error(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                promise.fail(ClientError::Server(text).into());
            }
            value => promise.succeed(value),
        }
        Ok(())
    }

    /// Whether something is to be handed on.
    fn happened(&mut self, core: &Rc<RefCell<Core>>, value: &Value) -> Result<bool> {
        match Event::read(value) {
            Some(Event::Message(kind, message)) => {
                let name = message.pattern.clone().unwrap_or_else(|| message.channel.clone());
                core.borrow_mut().inbox.push_back(((kind, name), message));
                return Ok(true);
            }
            Some(Event::Subscribed(kind, name)) => {
                if let Some(topic) = core.borrow_mut().topics.get_mut(&(kind, name)) {
                    topic.is_confirmed = true;
                    topic.waiting.drain(..).for_each(|promise| promise.succeed(()));
                }
            }
            Some(Event::Unsubscribed) => {}
            None => {
                if let Value::Error(text) = value {
                    let text = String::from_utf8_lossy(text).into_owned();
                    return Err(ClientError::Server(text).into());
                }
                debug!(target: LOG, "a push of another kind is left alone: {value:?}");
            }
        }
        Ok(false)
    }
}

/// Whether the error is that of a server that does not know RESP3.
fn is_too_new(error: &str) -> bool {
    error.starts_with("NOPROTO") || error.contains("unknown command")
}

pub(crate) fn send_subscription(
    transport: &mut Transport<'_>,
    kind: Kind,
    name: &[u8],
    begins: bool,
) {
    let word: &[u8] = match (kind, begins) {
        (Kind::Channel, true) => b"SUBSCRIBE",
        (Kind::Channel, false) => b"UNSUBSCRIBE",
        (Kind::Pattern, true) => b"PSUBSCRIBE",
        (Kind::Pattern, false) => b"PUNSUBSCRIBE",
        (Kind::Shard, true) => b"SSUBSCRIBE",
        (Kind::Shard, false) => b"SUNSUBSCRIBE",
    };
    let mut wire = Vec::new();
    encode_command(&mut wire, &[word, name]);
    transport.write(&wire);
}

impl Protocol for Link {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let core = self.core.upgrade().ok_or(ClientError::Closed)?;
        let inner = core.borrow();
        if inner.is_closed {
            transport.lose_connection();
            return Ok(());
        }
        let options = &inner.options;
        let mut words: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = &options.password {
            let user = options.user.as_deref().unwrap_or(b"default");
            words.extend([b"AUTH", user, password]);
        }
        if !options.name.is_empty() {
            words.extend([&b"SETNAME"[..], &options.name]);
        }
        let mut wire = Vec::new();
        encode_command(&mut wire, &words);
        transport.write(&wire);
        Ok(())
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        let Some(core) = self.core.upgrade() else {
            transport.lose_connection();
            return Ok(());
        };
        let mut has_news = false;
        let result = loop {
            let (used, value) = match self.decoder.decode(data) {
                Ok(decoded) => decoded,
                Err(error) => break Err(error.into()),
            };
            data.advance(used);
            let Some(value) = value else { break Ok(()) };
            let done = match (self.stage, self.role, &value) {
                (Stage::Ready, _, Value::Push(_)) | (Stage::Ready, Role::Subscriptions, _) => {
                    self.happened(&core, &value).map(|news| has_news |= news)
                }
                (Stage::Ready, Role::Commands, _) => self.replied(&core, value),
                _ => self.greeted(transport, &value),
            };
            if done.is_err() {
                break done;
            }
        };
        if has_news {
            let local = core.borrow().local.clone();
            local.call_soon(move |reactor| hand_on(&core, reactor));
        }
        result
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        let Some(core) = self.core.upgrade() else { return };
        let mut core = core.borrow_mut();
        if !core.is_closed {
            warn!(target: LOG, "{}: {reason}", transport.peer());
        }
        core.lane(self.role).connection = None;
        match self.role {
            Role::Commands => {
                for (bytes, promise) in std::mem::take(&mut core.sent) {
                    core.waiting_bytes -= bytes;
                    promise.fail(ClientError::Lost.into());
                }
            }
            Role::Subscriptions => {
                core.topics.values_mut().for_each(|topic| topic.is_confirmed = false);
            }
        }
    }
}
