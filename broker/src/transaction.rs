//! Transactions: publishes and acknowledgements that take effect together, at the commit.
//!
//! What is published is checked and routed at once, so that errors come where they were made, and
//! queued at the commit. What is acknowledged is outstanding no longer for the client but still
//! takes room, until the commit settles it or the rollback gives it back.

use crate::acknowledge::Fate;
use crate::broker::Broker;
use crate::channel::Mode;
use crate::error::{Result, precondition_failed};
use crate::ids::{ChannelId, QueueId};
use crate::message::Publish;
use crate::messages::MessageId;
use crate::reply_to::is_reply;
use crate::unacked::Unacked;

/// What a channel has done since its last commit.
#[derive(Default)]
pub(crate) struct Transaction {
    publishes: Vec<Pending>,
    pub(crate) settled: Vec<(Unacked, Fate)>,
}

/// A message to queue at the commit; it owns a reference for each queue, or one if there is none.
struct Pending {
    message: MessageId,
    queues: Vec<QueueId>,
    mandatory: bool,
}

impl Broker {
    /// Makes the channel transactional (`tx.select`); again is no error.
    pub fn select_transaction(&mut self, channel: ChannelId) -> Result<()> {
        let channel = self.channel_mut(channel)?;
        match channel.mode {
            Mode::Plain => channel.mode = Mode::Transaction(Transaction::default()),
            Mode::Transaction(_) => {}
            Mode::Confirm(_) => {
                return Err(precondition_failed("cannot switch from confirm to tx mode"));
            }
        }
        Ok(())
    }

    /// Lets all that was done since the last commit take effect (`tx.commit`).
    /// `PRECONDITION_FAILED` if a full queue refused a message: the rest has taken effect.
    pub fn commit(&mut self, channel: ChannelId) -> Result<()> {
        let Transaction { publishes, settled } = std::mem::take(self.transaction(channel)?);
        let mut refused = false;
        for Pending { message, queues, mandatory } in publishes {
            if queues.is_empty() {
                self.end_unrouted(channel, message, mandatory);
                continue;
            }
            let stored = self.messages.stored(message);
            for queue in queues {
                if self.queues.get(queue).is_none() {
                    self.messages.release(message);
                } else if self.refuses(queue, &stored) {
                    self.messages.release(message);
                    refused = true;
                } else {
                    self.enqueue(queue, &stored);
                }
            }
            self.journal_message(message);
        }
        for (unacked, fate) in settled {
            self.end_delivery(channel, unacked, fate);
        }
        self.wake_channel(channel);
        self.finish();
        match refused {
            true => Err(precondition_failed("partial tx completion")),
            false => Ok(()),
        }
    }

    /// Drops what was published and gives back what was acknowledged since the last commit
    /// (`tx.rollback`).
    pub fn rollback(&mut self, channel: ChannelId) -> Result<()> {
        self.transaction(channel)?;
        self.undo(channel);
        Ok(())
    }

    /// Undoes a transaction, if the channel has one.
    pub(crate) fn undo(&mut self, channel: ChannelId) {
        let Ok(transaction) = self.transaction(channel) else { return };
        let Transaction { publishes, settled } = std::mem::take(transaction);
        for Pending { message, queues, .. } in publishes {
            for _ in 0..queues.len().max(1) {
                self.messages.release(message);
            }
        }
        let back = settled.into_iter().map(|(unacked, _)| unacked);
        self.channels[channel].unacked.restore(back);
    }

    /// Keeps a routed message for the commit.
    pub(crate) fn publish_later(
        &mut self,
        channel: ChannelId,
        publish: &Publish<'_>,
        ttl: Option<u64>,
        queues: &[QueueId],
    ) -> Result<()> {
        let may_be_reply = is_reply(publish.exchange, publish.routing_key);
        if !queues.is_empty() || publish.mandatory || may_be_reply {
            let message = self.messages.insert(publish, ttl, queues.len().max(1) as u32);
            let mandatory = publish.mandatory;
            let pending = Pending { message, queues: queues.to_vec(), mandatory };
            self.transaction(channel)?.publishes.push(pending);
        }
        Ok(())
    }

    fn transaction(&mut self, channel: ChannelId) -> Result<&mut Transaction> {
        match &mut self.channel_mut(channel)?.mode {
            Mode::Transaction(transaction) => Ok(transaction),
            _ => Err(precondition_failed("channel is not transactional")),
        }
    }
}
