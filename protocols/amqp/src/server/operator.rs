//! What an operator does to a server that runs: looks at its connections, closes some, deletes a
//! user or a virtual host under those who use it.
//!
//! The one rule: clients are told before they lose anything, by RabbitMQ's 320 and its reason.

use std::rc::Rc;
use std::time::Duration;

use ropewalk_broker::ConnectionInfo as BrokerInfo;
use ropewalk_reactor::{Address, ConnectionId, Reactor, Transport};

use crate::codec::{MethodId, ReplyCode};

use super::connection::{Connection, Context, Session, Stage};
use super::fault::Fault;
use super::hub::Hub;
use super::{Server, Shared};

/// A connection that is open, as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionInfo<'a> {
    /// The client's address.
    pub peer: Address,
    /// The user who logged in.
    pub user: &'a [u8],
    /// The virtual host.
    pub vhost: &'a [u8],
    /// How many channels it has open.
    pub channels: usize,
}

/// For operators.
impl Server {
    /// Closes the open connections that `which` picks; returns how many. Each is told
    /// `320 CONNECTION_FORCED - REASON` in this reactor's next turn, and has
    /// [`Config::close_timeout`](super::Config::close_timeout) to answer. What it had not
    /// acknowledged goes to others.
    ///
    /// # Panics
    /// If called from inside [`with_broker`](Self::with_broker), or if `which` calls it.
    pub fn close_connections(
        &self,
        reactor: &mut Reactor,
        reason: &str,
        which: impl FnMut(&ConnectionInfo<'_>) -> bool,
    ) -> usize {
        self.shared.force(reactor, reason, which)
    }

    /// Deletes a user; its connections are closed, with 320. False if there is none.
    ///
    /// # Panics
    /// If called from inside [`with_broker`](Self::with_broker).
    pub fn delete_user(&self, reactor: &mut Reactor, name: &[u8]) -> bool {
        let shared = &self.shared;
        let deleted = shared.change(reactor, |hub| hub.broker.delete_user(name)).unwrap_or(false);
        if deleted {
            let reason = format!("user '{}' is deleted", String::from_utf8_lossy(name));
            shared.force(reactor, &reason, |it| it.user == name);
        }
        deleted
    }

    /// Deletes a virtual host, with its queues, their messages, and all that users may do there;
    /// its connections are closed, with 320. False if there is none. It is gone after the
    /// reactor's next turns, once everybody in it has been told.
    ///
    /// # Panics
    /// If called from inside [`with_broker`](Self::with_broker).
    pub fn delete_vhost(&self, reactor: &mut Reactor, name: &[u8]) -> bool {
        let exists = self.with_broker(|broker| broker.vhost(name).is_ok()).unwrap_or(false);
        if exists {
            delete_vhost(&self.shared, reactor, name);
        }
        exists
    }
}

/// As often as it takes: while the clients of a turn are told, others may come.
fn delete_vhost(shared: &Rc<Shared>, reactor: &mut Reactor, name: &[u8]) {
    let reason = format!("vhost '{}' is deleted", String::from_utf8_lossy(name));
    if shared.force(reactor, &reason, |it| it.vhost == name) == 0 {
        shared.change(reactor, |hub| hub.broker.delete_vhost(name));
        return;
    }
    let (shared, name) = (Rc::downgrade(shared), name.to_vec());
    reactor.call_later(Duration::ZERO, move |reactor| {
        if let Some(shared) = shared.upgrade() {
            delete_vhost(&shared, reactor, &name);
        }
    });
}

impl Shared {
    /// Changes something at the broker; what that makes it say and keep goes out. `None` before
    /// there is a broker.
    fn change<R>(
        self: &Rc<Self>,
        reactor: &mut Reactor,
        call: impl FnOnce(&mut Hub) -> R,
    ) -> Option<R> {
        let hub = &mut *self.hub()?.borrow_mut();
        hub.tick(reactor);
        let answer = call(hub);
        hub.drain(reactor);
        hub.set_timer(self, reactor);
        hub.unblock(reactor);
        hub.keep(self, || reactor.local());
        Some(answer)
    }

    fn force(
        &self,
        reactor: &mut Reactor,
        reason: &str,
        mut which: impl FnMut(&ConnectionInfo<'_>) -> bool,
    ) -> usize {
        let Some(hub) = self.hub() else { return 0 };
        let picked = hub.borrow().pick(reactor, &mut which);
        for &id in &picked {
            if let Some(mut target) = reactor.connection(id) {
                let reason = reason.to_owned();
                let force = move |connection: &mut Connection, transport: &mut Transport<'_>| {
                    connection.with(transport, |session, context| session.force(context, &reason));
                };
                target.call_later(Duration::ZERO, force);
            }
        }
        picked.len()
    }
}

impl Hub {
    /// The connections that `which` picks, in the order of their keys.
    fn pick(
        &self,
        reactor: &mut Reactor,
        which: &mut impl FnMut(&ConnectionInfo<'_>) -> bool,
    ) -> Vec<ConnectionId> {
        let mut is_picked = |id: ConnectionId, info: &BrokerInfo<'_>| {
            let BrokerInfo { user, vhost, channels, .. } = *info;
            let peer = reactor.connection(id)?.peer();
            Some(which(&ConnectionInfo { peer, user, vhost, channels }))
        };
        let peers = self.peers.iter().map(|(_, peer)| peer);
        let picked = peers.filter(|peer| {
            let info = self.broker.connection_info(peer.broker);
            info.and_then(|info| is_picked(peer.id, &info)).unwrap_or(false)
        });
        picked.map(|peer| peer.id).collect()
    }
}

impl Session {
    /// Closes the connection because an operator wants it.
    fn force(&mut self, context: &mut Context<'_, '_>, reason: &str) {
        if matches!(self.stage, Stage::Running(_)) {
            // Its answer has to be read, whatever the connection waited for.
            self.stall = None;
            context.transport.resume_reading();
            self.fail(context, &Fault::new(ReplyCode::ConnectionForced, MethodId::NONE, reason));
        }
    }
}
