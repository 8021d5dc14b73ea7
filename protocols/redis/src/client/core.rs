//! What the connections of a client share: the commands under way, the subscriptions, and which
//! connections there are.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_reactor::{
    ConnectionId, Deferred, Error, Local, Promise, Reactor, ReconnectingClient,
};

use super::link::{Link, Role};
use super::own::Publication;
use super::{ClientError, ClientOptions, Kind, Message, Notice};
use crate::codec::Value;

pub(crate) type Told = Box<dyn FnMut(&mut Reactor, Notice)>;
pub(crate) type Heard = Box<dyn FnMut(&mut Reactor, Message)>;
pub(crate) type Key = (Kind, Bytes);

/// One connection, as the core knows it.
#[derive(Default)]
pub(crate) struct Lane {
    /// Connecting has begun; given up with the client.
    pub(crate) connecting: Option<Deferred<Error>>,
    /// There from the moment that it is made; closed with the client.
    pub(crate) made: Option<ConnectionId>,
    /// The same, once the server has greeted.
    pub(crate) connection: Option<ConnectionId>,
    /// Sent on it, and without a reply: those come in the same order.
    pub(crate) sent: VecDeque<Sent>,
    /// The connection before this one, if it may have left publications behind.
    pub(crate) left: Option<Left>,
}

/// A command that was not sent yet.
pub(crate) struct Command {
    pub(crate) wire: Bytes,
    pub(crate) promise: Promise<Value>,
    pub(crate) publication: Option<Publication>,
}

/// What is to be answered.
pub(crate) enum Sent {
    Command {
        bytes: usize,
        promise: Promise<Value>,
        publication: Option<Publication>,
    },
    /// The beginning or the end of a subscription.
    Subscription(Key),
    /// Whether the server is there.
    Ping,
}

/// How a server calls a connection that was lost: its number, and the name that it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) id: i64,
    pub(crate) name: Bytes,
}

/// All who have subscribed to one name.
#[derive(Default)]
pub(crate) struct Topic {
    /// By number. `None` while one is called.
    pub(crate) listeners: BTreeMap<u64, Option<Heard>>,
    /// The server has confirmed it on this connection.
    pub(crate) is_confirmed: bool,
    /// The server's error, if it refused it there. With the next connection it is tried again.
    pub(crate) refused: Option<String>,
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
    /// Of these, and of those that are sent and have no reply.
    pub(crate) waiting_bytes: usize,
    pub(crate) topics: BTreeMap<Key, Topic>,
    /// What came and was not handed on yet.
    pub(crate) inbox: VecDeque<(Key, Message)>,
    /// The listener of the first message there that has heard it last: another one has panicked.
    heard_by: u64,
    pub(crate) last_listener: u64,
    /// Streams that hold too much; while there are any, nothing is read.
    pub(crate) full_streams: usize,
    /// Who is told of the connections. `None` while that one is called.
    pub(crate) told: Option<Told>,
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
            waiting_bytes: 0,
            topics: BTreeMap::new(),
            inbox: VecDeque::new(),
            heard_by: 0,
            last_listener: 0,
            full_streams: 0,
            told: None,
            is_closed: false,
        }
    }

    /// The connection for this; one that is for both is the lane of commands.
    pub(crate) fn lane(&mut self, role: Role) -> &mut Lane {
        match role {
            Role::Commands | Role::Both => &mut self.commands,
            Role::Subscriptions if self.options.without_own => &mut self.commands,
            Role::Subscriptions => &mut self.subscriptions,
        }
    }

    /// The connection that is subscribed, once it is there.
    pub(crate) fn subscribed(&mut self) -> Option<ConnectionId> {
        self.lane(Role::Subscriptions).connection
    }
}

/// Begins to connect, unless that has begun.
pub(crate) fn connect(core: &Rc<RefCell<Core>>, role: Role) {
    let mut inner = core.borrow_mut();
    let role = if inner.options.without_own { Role::Both } else { role };
    if inner.is_closed || inner.lane(role).connecting.is_some() {
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
pub(crate) fn send(core: &Rc<RefCell<Core>>, command: Command) {
    let Command { wire, promise, publication } = command;
    let mut inner = core.borrow_mut();
    if inner.is_closed {
        return promise.fail(ClientError::Closed.into());
    }
    let limit = inner.options.waiting_limit;
    if inner.waiting_bytes + wire.len() > limit {
        return promise.fail(ClientError::TooMuchWaiting(limit).into());
    }
    inner.waiting_bytes += wire.len();
    inner.unsent.push_back(Command { wire, promise, publication });
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
        self.waiting_bytes = 0;
        let (topics, told) = (std::mem::take(&mut self.topics), self.told.take());
        let lanes = [std::mem::take(&mut self.commands), std::mem::take(&mut self.subscriptions)];
        // Listeners own users' values, which are dropped from the loop.
        self.local.call_soon(move |reactor| {
            drop((topics, told));
            for mut lane in lanes {
                if let Some(connecting) = &mut lane.connecting {
                    connecting.cancel();
                }
                for sent in lane.sent {
                    if let Sent::Command { promise, .. } = sent {
                        promise.fail(ClientError::Closed.into());
                    }
                }
                if let Some(id) = lane.made {
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

/// Tells of a connection, from the loop.
pub(crate) fn tell(core: &Rc<RefCell<Core>>, notice: Notice) {
    let (weak, inner) = (Rc::downgrade(core), core.borrow());
    inner.local.call_soon(move |reactor| {
        let Some(core) = weak.upgrade() else { return };
        let told = core.borrow_mut().told.take();
        let Some(mut told) = told else { return };
        told(reactor, notice);
        let mut inner = core.borrow_mut();
        if !inner.is_closed {
            inner.told.get_or_insert(told);
        }
    });
}

/// Hands on what has come, one message after the other.
pub(crate) fn hand_on(core: &Rc<RefCell<Core>>, reactor: &mut Reactor) {
    // Whatever a listener panics at, the rest is heard.
    let _rest = Rest(core);
    while let Some((key, message, number)) = next_listener(core) {
        let taken = listener(core, &key, number).and_then(|mut place| place.take());
        let Some(mut heard) = taken else { continue };
        heard(reactor, message);
        // It may have ended its own subscription meanwhile; then it is dropped here.
        if let Some(mut place) = listener(core, &key, number) {
            *place = Some(heard);
        }
    }
}

/// Who is to hear the first message that some have not heard.
fn next_listener(core: &Rc<RefCell<Core>>) -> Option<(Key, Message, u64)> {
    let inner = &mut *core.borrow_mut();
    while let Some((key, message)) = inner.inbox.front() {
        let topic = inner.topics.get(key);
        let next = topic.and_then(|topic| topic.listeners.range(inner.heard_by + 1..).next());
        if let Some((&number, _)) = next {
            inner.heard_by = number;
            return Some((key.clone(), message.clone(), number));
        }
        inner.inbox.pop_front();
        inner.heard_by = 0;
    }
    None
}

/// Sees to it that messages are handed on even if a listener has panicked.
struct Rest<'a>(&'a Rc<RefCell<Core>>);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let inner = self.0.borrow();
        if !inner.inbox.is_empty() {
            let core = self.0.clone();
            inner.local.call_soon(move |reactor| hand_on(&core, reactor));
        }
    }
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
