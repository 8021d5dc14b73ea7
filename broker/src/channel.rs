//! Channels: opening and closing, prefetch limits, recovery, and the tags that deliveries get.

use std::collections::BTreeMap;

use crate::broker::Broker;
use crate::confirms::Confirms;
use crate::consumer_timeout::Marks;
use crate::error::{Error, ErrorKind, Result, not_implemented};
use crate::ids::{ChannelId, ConnectionId, ConsumerId, VhostId};
use crate::names::Name;
use crate::reply_to::ReplyConsumer;
use crate::transaction::Transaction;
use crate::unacked::UnackedList;

pub(crate) struct Channel {
    pub(crate) connection: ConnectionId,
    pub(crate) vhost: VhostId,
    pub(crate) number: u16,
    /// The last delivery tag given; the first is 1.
    pub(crate) last_tag: u64,
    pub(crate) unacked: UnackedList,
    /// Since when they are out.
    pub(crate) marks: Marks,
    /// The prefetch of consumers to come; 0 is unlimited.
    pub(crate) consumer_prefetch: u32,
    /// The prefetch that all consumers of the channel share; 0 is unlimited.
    pub(crate) shared_prefetch: u32,
    /// Unacknowledged deliveries to consumers: those fetched by `get` do not count.
    pub(crate) outstanding: u32,
    /// Consumers that were passed over because the shared prefetch was used up.
    pub(crate) waiting: Vec<ConsumerId>,
    /// By tag.
    pub(crate) consumers: BTreeMap<Name, ConsumerId>,
    /// What an empty queue name means.
    pub(crate) last_queue: Option<Name>,
    pub(crate) mode: Mode,
    /// Its consumer of direct replies.
    pub(crate) reply: Option<ReplyConsumer>,
}

/// What happens to publishes and acknowledgements on a channel.
pub(crate) enum Mode {
    Plain,
    Confirm(Confirms),
    Transaction(Transaction),
}

impl Channel {
    /// Whether the prefetch that its consumers share is used up.
    pub(crate) fn is_full(&self) -> bool {
        self.shared_prefetch != 0 && self.outstanding >= self.shared_prefetch
    }
}

impl Broker {
    /// Opens channel `number` of a connection. `CHANNEL_ERROR` if it is open already, or if the
    /// connection has gone; `NOT_ALLOWED` if its user may have no more channels.
    pub fn open_channel(&mut self, connection: ConnectionId, number: u16) -> Result<ChannelId> {
        self.check_channel_limit(connection)?;
        let Some(state) = self.connections.get_mut(connection) else { return Err(no_channel()) };
        if state.channels.contains_key(&number) {
            return Err(Error::new(ErrorKind::ChannelError, "second 'channel.open' seen"));
        }
        let id = self.channels.insert(Channel {
            connection,
            vhost: state.vhost,
            number,
            last_tag: 0,
            unacked: UnackedList::default(),
            marks: Marks::default(),
            consumer_prefetch: 0,
            shared_prefetch: 0,
            outstanding: 0,
            waiting: Vec::new(),
            consumers: BTreeMap::new(),
            last_queue: None,
            mode: Mode::Plain,
            reply: None,
        });
        state.channels.insert(number, id);
        self.watch_channels();
        Ok(id)
    }

    /// Closes a channel, whoever wished it: its consumers go, what it had not acknowledged goes
    /// back to its place, and events still in the outbox for it are dropped. One that has gone
    /// is ignored.
    pub fn close_channel(&mut self, channel: ChannelId) {
        let Some(state) = self.channels.get(channel) else { return };
        let (connection, number) = (state.connection, state.number);
        if let Some(connection) = self.connections.get_mut(connection) {
            connection.channels.remove(&number);
        }
        self.drop_channel(channel);
        self.finish();
    }

    /// Sets the prefetch (`basic.qos`): for the channel as a whole if `global`, else for each
    /// consumer made from now on, and then none for the channel, as in RabbitMQ. 0 is no limit. A
    /// size is `NOT_IMPLEMENTED`.
    pub fn qos(&mut self, channel: ChannelId, size: u32, count: u16, global: bool) -> Result<()> {
        if size != 0 {
            return Err(not_implemented(format!("prefetch_size!=0 ({size})")));
        }
        let state = self.channel_mut(channel)?;
        if global {
            state.shared_prefetch = count.into();
        } else {
            state.consumer_prefetch = count.into();
            state.shared_prefetch = 0;
        }
        self.wake_channel(channel);
        self.finish();
        Ok(())
    }

    /// Puts all that the channel has not acknowledged back into its queues, to be delivered again
    /// (`basic.recover`). The `recover-ok` goes out before the events that this makes.
    /// `NOT_IMPLEMENTED` unless `requeue`, as in RabbitMQ.
    pub fn recover(&mut self, channel: ChannelId, requeue: bool) -> Result<()> {
        if !requeue {
            return Err(not_implemented("requeue=false"));
        }
        self.channel(channel)?;
        self.requeue_all(channel);
        self.finish();
        Ok(())
    }

    /// Requeues, cancels and forgets; the connection's own list is the caller's affair.
    pub(crate) fn drop_channel(&mut self, channel: ChannelId) {
        let Some(state) = self.channels.get_mut(channel) else { return };
        let consumers = std::mem::take(&mut state.consumers);
        self.end_replies(channel);
        // Consumers go first, lest they be given what the channel itself gives back; the queues
        // that live only as long as their consumers go last, with all that came back to them.
        let mut abandoned = Vec::new();
        for consumer in consumers.into_values() {
            abandoned.extend(self.unlink_consumer(consumer, false));
        }
        self.undo(channel);
        self.requeue_all(channel);
        self.channels.remove(channel);
        for queue in abandoned {
            self.remove_queue_if_abandoned(queue);
        }
    }

    /// The last in first, so that each finds its place at the head.
    fn requeue_all(&mut self, channel: ChannelId) {
        while let Some(unacked) = self.channels[channel].unacked.take_last() {
            self.settle(channel, &unacked);
            self.requeue(unacked);
        }
        self.wake_channel(channel);
    }

    /// Puts consumers that waited for the shared prefetch back into their queues' rings, if there
    /// is room now.
    pub(crate) fn wake_channel(&mut self, channel: ChannelId) {
        let Some(state) = self.channels.get_mut(channel) else { return };
        if !state.waiting.is_empty() && !state.is_full() {
            let waiting = std::mem::take(&mut state.waiting);
            self.wake(&waiting);
        }
    }

    #[inline]
    pub(crate) fn channel(&self, channel: ChannelId) -> Result<&Channel> {
        self.channels.get(channel).ok_or_else(no_channel)
    }

    #[inline]
    pub(crate) fn channel_mut(&mut self, channel: ChannelId) -> Result<&mut Channel> {
        self.channels.get_mut(channel).ok_or_else(no_channel)
    }
}

/// RabbitMQ's answer to a method on a channel that is not open.
#[cold]
fn no_channel() -> Error {
    Error::new(ErrorKind::ChannelError, "expected 'channel.open'")
}
