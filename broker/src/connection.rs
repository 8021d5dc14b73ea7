//! Connections: who has which channels and exclusive queues, and whether it can take more.

use std::collections::BTreeMap;

use crate::access::Permissions;
use crate::broker::Broker;
use crate::error::Result;
use crate::ids::{ChannelId, ConnectionId, ConsumerId, QueueId, VhostId};
use crate::names::Name;

pub(crate) struct Connection {
    pub(crate) vhost: VhostId,
    pub(crate) key: u64,
    pub(crate) user: Name,
    pub(crate) cancel_notify: bool,
    /// One of the broker's users has it, and loses what that loses.
    pub(crate) is_users: bool,
    /// `None`: everything is allowed.
    pub(crate) permissions: Option<Box<dyn Permissions>>,
    /// Below its high-water mark: its consumers are fed.
    pub(crate) writable: bool,
    pub(crate) channels: BTreeMap<u16, ChannelId>,
    /// The exclusive queues it declared.
    pub(crate) exclusive: Vec<QueueId>,
    /// Consumers that were passed over while it was not writable.
    pub(crate) waiting: Vec<ConsumerId>,
}

/// What [`Broker::open_connection`] takes.
#[derive(Debug, Clone, Copy)]
pub struct OpenConnection<'a> {
    /// The virtual host's name.
    pub vhost: &'a [u8],
    /// The user who logged in.
    pub user: &'a [u8],
    /// Handed back with every event for this connection: the caller's own id for it.
    pub key: u64,
    /// Whether the client said that it understands `basic.cancel` from the server
    /// (`consumer_cancel_notify`).
    pub cancel_notify: bool,
}

impl Broker {
    /// Opens a connection to a virtual host for whoever the caller lets in: `NOT_ALLOWED` if
    /// there is none of that name, or if a limit on connections is reached. It may do everything,
    /// unless [`set_permissions`](Broker::set_permissions) says otherwise; for the broker's own
    /// users there is [`open_connection_as_user`](Broker::open_connection_as_user).
    pub fn open_connection(&mut self, open: &OpenConnection<'_>) -> Result<ConnectionId> {
        let vhost = self.vhost(open.vhost)?;
        self.check_connection_limits(vhost, open.user)?;
        self.vhosts[vhost].connections += 1;
        Ok(self.connections.insert(Connection {
            vhost,
            key: open.key,
            user: open.user.into(),
            cancel_notify: open.cancel_notify,
            is_users: false,
            permissions: None,
            writable: true,
            channels: BTreeMap::new(),
            exclusive: Vec::new(),
            waiting: Vec::new(),
        }))
    }

    /// Says whether the connection can take more output. While it cannot, its consumers are
    /// passed over and the backlog waits in the queues; what is in the outbox already still goes
    /// out. A connection that has gone is ignored.
    pub fn set_flow(&mut self, connection: ConnectionId, writable: bool) {
        let Some(state) = self.connections.get_mut(connection) else { return };
        state.writable = writable;
        if writable {
            let waiting = std::mem::take(&mut state.waiting);
            self.wake(&waiting);
            self.finish();
        }
    }

    /// Ends a connection, whether it closed or was lost: its channels close in order of their
    /// numbers, then its exclusive queues go. One that has gone is ignored.
    pub fn close_connection(&mut self, connection: ConnectionId) {
        let Some(state) = self.connections.get_mut(connection) else { return };
        state.writable = false;
        let channels = std::mem::take(&mut state.channels);
        for channel in channels.into_values() {
            self.drop_channel(channel);
        }
        let exclusive = match self.connections.get_mut(connection) {
            Some(state) => std::mem::take(&mut state.exclusive),
            None => return,
        };
        for queue in exclusive {
            self.remove_queue(queue);
        }
        if let Some(state) = self.connections.remove(connection) {
            self.vhosts[state.vhost].connections -= 1;
        }
        self.finish();
    }
}
