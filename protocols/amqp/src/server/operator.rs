//! What an operator does to a server that runs: looks at its connections, closes some, deletes a
//! user or a virtual host under those who use it.
//!
//! The one rule: clients are told before they lose anything, by RabbitMQ's 320 and its reason.

use ropewalk_broker::ConnectionInfo as BrokerInfo;
use ropewalk_reactor::{Address, ConnectionId, Reactor};

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
    /// `320 CONNECTION_FORCED - REASON`, and has
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
        let deleted = shared.change(reactor, |hub, _| hub.broker.delete_user(name));
        let deleted = deleted.unwrap_or(false);
        if deleted {
            let reason = format!("user '{}' is deleted", String::from_utf8_lossy(name));
            shared.force(reactor, &reason, |it| it.user == name);
        }
        deleted
    }

    /// Deletes a virtual host, with its queues, their messages, and all that users may do there;
    /// its connections are closed before, with 320. False if there is none.
    ///
    /// # Panics
    /// If called from inside [`with_broker`](Self::with_broker).
    pub fn delete_vhost(&self, reactor: &mut Reactor, name: &[u8]) -> bool {
        let reason = format!("vhost '{}' is deleted", String::from_utf8_lossy(name));
        self.shared.force(reactor, &reason, |it| it.vhost == name);
        let deleted = self.shared.change(reactor, |hub, _| hub.broker.delete_vhost(name));
        deleted.unwrap_or(false)
    }
}

impl Shared {
    fn force(
        &self,
        reactor: &mut Reactor,
        reason: &str,
        mut which: impl FnMut(&ConnectionInfo<'_>) -> bool,
    ) -> usize {
        let Some(hub) = self.hub() else { return 0 };
        let picked = hub.borrow().pick(reactor, &mut which);
        for &id in &picked {
            reactor.with_protocol(id, |connection: &mut Connection, transport| {
                connection.with(transport, |session, context| session.force(context, reason));
            });
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
