//! What both connections of a client share: the commands under way, the subscriptions, and which
//! connections there are.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_reactor::{
    ConnectionId, Deferred, Error, Local, Promise, Reactor, ReconnectingClient,
};

use super::link::{Link, Role};
use super::{ClientError, ClientOptions, Kind, Message};
use crate::codec::Value;

pub(crate) type Heard = Box<dyn FnMut(&mut Reactor, Message)>;
pub(crate) type Key = (Kind, Bytes);

/// One connection, as the core knows it.
#[derive(Default)]
pub(crate) struct Lane {
    /// Connecting has begun; given up with the client.
    pub(crate) connecting: Option<Deferred<Error>>,
    /// There once the server has greeted.
    pub(crate) connection: Option<ConnectionId>,
}

/// A command that has no reply yet.
pub(crate) struct Command {
    pub(crate) wire: Vec<u8>,
    pub(crate) promise: Promise<Value>,
}

/// All who have subscribed to one name.
#[derive(Default)]
pub(crate) struct Topic {
    /// By number. `None` while one is called.
    pub(crate) listeners: BTreeMap<u64, Option<Heard>>,
    /// The server has confirmed it on this connection.
    pub(crate) is_confirmed: bool,
    pub(crate) waiting: Vec<Promise<()>>,
}

pub(crate) struct Core {
    pub(crate) local: Local,
    pub(crate) options: ClientOptions,
    reconnecting: ReconnectingClient,
    pub(crate) commands: Lane,
    pub(crate) subscriptions: Lane,
    /// Not sent yet.
    pub(crate) unsent: VecDeque<Command>,
    /// Sent, and without a reply; how many bytes each had.
    pub(crate) sent: VecDeque<(usize, Promise<Value>)>,
    /// Of both.
    pub(crate) waiting_bytes: usize,
    pub(crate) topics: BTreeMap<Key, Topic>,
    /// What came and was not handed on yet.
    pub(crate) inbox: VecDeque<(Key, Message)>,
    pub(crate) last_listener: u64,
    /// Streams that hold too much; while there are any, nothing is read.
    pub(crate) full_streams: usize,
    pub(crate) is_closed: bool,
}

impl Core {
    pub(crate) fn new(
        local: Local,
        reconnecting: ReconnectingClient,
        options: ClientOptions,
    ) -> Self {
        Self {
            local,
            options,
            reconnecting,
            commands: Lane::default(),
            subscriptions: Lane::default(),
            unsent: VecDeque::new(),
            sent: VecDeque::new(),
            waiting_bytes: 0,
            topics: BTreeMap::new(),
            inbox: VecDeque::new(),
            last_listener: 0,
            full_streams: 0,
            is_closed: false,
        }
    }

    pub(crate) fn lane(&mut self, role: Role) -> &mut Lane {
        match role {
            Role::Commands => &mut self.commands,
            Role::Subscriptions => &mut self.subscriptions,
        }
    }
}

/// Begins to connect, unless that has begun.
pub(crate) fn connect(core: &Rc<RefCell<Core>>, role: Role) {
    let inner = core.borrow();
    let lane = if role == Role::Commands { &inner.commands } else { &inner.subscriptions };
    if inner.is_closed || lane.connecting.is_some() {
        return;
    }
    let weak = Rc::downgrade(core);
    inner.local.call_soon(move |reactor| {
        let Some(core) = weak.upgrade() else { return };
        let mut inner = core.borrow_mut();
        if inner.is_closed || inner.lane(role).connecting.is_some() {
            return;
        }
        let reconnecting = inner.reconnecting.clone();
        let factory = move |_| weak.upgrade().map(|core| Link::new(&core, role));
        inner.lane(role).connecting = Some(reconnecting.start(reactor, factory));
    });
}

/// Sends a command as soon as there is a connection.
pub(crate) fn send(core: &Rc<RefCell<Core>>, wire: Vec<u8>, promise: Promise<Value>) {
    let mut inner = core.borrow_mut();
    if inner.is_closed {
        return promise.fail(ClientError::Closed.into());
    }
    let limit = inner.options.waiting_limit;
    if inner.waiting_bytes + wire.len() > limit {
        return promise.fail(ClientError::TooMuchWaiting(limit).into());
    }
    inner.waiting_bytes += wire.len();
    inner.unsent.push_back(Command { wire, promise });
    // One call sends all that was asked for before it is made.
    if inner.unsent.len() == 1
        && let Some(id) = inner.commands.connection
    {
        inner.local.call_soon(move |reactor| {
            let _ = reactor.with_protocol::<Link, _>(id, Link::send_commands);
        });
    }
    drop(inner);
    connect(core, Role::Commands);
}

impl Core {
    /// Ends everything.
    pub(crate) fn close(&mut self) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        for Command { promise, .. } in std::mem::take(&mut self.unsent) {
            promise.fail(ClientError::Closed.into());
        }
        for (_, promise) in std::mem::take(&mut self.sent) {
            promise.fail(ClientError::Closed.into());
        }
        self.waiting_bytes = 0;
        let topics = std::mem::take(&mut self.topics);
        let lanes = [std::mem::take(&mut self.commands), std::mem::take(&mut self.subscriptions)];
        // Listeners own users' values, which are dropped from the loop.
        self.local.call_soon(move |reactor| {
            drop(topics);
            for mut lane in lanes {
                if let Some(connecting) = &mut lane.connecting {
                    connecting.cancel();
                }
                if let Some(id) = lane.connection {
                    let _ = reactor.with_protocol::<Link, _>(id, |_, transport| {
                        transport.lose_connection();
                    });
                }
            }
        });
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.close();
    }
}

/// Hands on what has come, one message after the other.
pub(crate) fn hand_on(core: &Rc<RefCell<Core>>, reactor: &mut Reactor) {
    while let Some((key, message)) = take_one(core) {
        let numbers: Vec<u64> = match core.borrow().topics.get(&key) {
            Some(topic) => topic.listeners.keys().copied().collect(),
            None => continue,
        };
        for number in numbers {
            let taken = listener(core, &key, number).and_then(|mut place| place.take());
            let Some(mut heard) = taken else { continue };
            heard(reactor, message.clone());
            // It may have ended its own subscription meanwhile; then it is dropped here.
            if let Some(mut place) = listener(core, &key, number) {
                *place = Some(heard);
            }
        }
    }
}

fn take_one(core: &Rc<RefCell<Core>>) -> Option<(Key, Message)> {
    core.borrow_mut().inbox.pop_front()
}

fn listener<'a>(
    core: &'a Rc<RefCell<Core>>,
    key: &Key,
    number: u64,
) -> Option<std::cell::RefMut<'a, Option<Heard>>> {
    std::cell::RefMut::filter_map(core.borrow_mut(), |inner| {
        inner.topics.get_mut(key)?.listeners.get_mut(&number)
    })
    .ok()
}
