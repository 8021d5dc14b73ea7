//! Publishing: checks, routing, storing once, and a copy of a handle for each queue.

use crate::access::Access;
use crate::backlog::{Entry, NEVER};
use crate::broker::Broker;
use crate::channel::Mode;
use crate::delivery::Fed;
use crate::error::{Result, access_refused, not_implemented, precondition_failed, text};
use crate::ids::{ChannelId, ExchangeId, QueueId};
use crate::message::{Properties, Publish};
use crate::messages::{MessageId, Stored};
use crate::queue::Queue;
use crate::reply_to::is_reply;
use crate::returns::Returns;
use crate::routing::LazyHeaders;

impl Broker {
    /// Publishes a message (`basic.publish`). On a channel with confirms it gets the next number;
    /// a publish that fails gets none, since its channel ends.
    pub fn publish(&mut self, channel: ChannelId, publish: &Publish<'_>) -> Result<()> {
        let exchange = self.check_publish(channel, publish)?;
        let addressed = match publish.properties.reply_to {
            Some(_) => self.address_replies(channel, publish)?,
            None => None,
        };
        self.check_claimed_user(channel, publish)?;
        let ttl = expiration(publish.properties.expiration)?;
        if let Some(raw) = addressed {
            let properties = Properties { raw: &raw, reply_to: None, ..publish.properties };
            let publish = Publish { properties, ..publish.clone() };
            return self.publish_checked(channel, exchange, &publish, ttl);
        }
        self.publish_checked(channel, exchange, publish, ttl)
    }

    fn publish_checked(
        &mut self,
        channel: ChannelId,
        exchange: ExchangeId,
        publish: &Publish<'_>,
        ttl: Option<u64>,
    ) -> Result<()> {
        let mut headers = LazyHeaders {
            raw: publish.properties.raw,
            present: publish.properties.has_headers,
            read: None,
        };
        let (copies, without_bcc) = match publish.properties.has_headers {
            true => self.copies_of(channel, exchange, publish)?,
            false => (Vec::new(), None),
        };
        self.route(exchange, publish.routing_key, &copies, &mut headers);
        let stripped;
        let publish = match &without_bcc {
            None => publish,
            Some(raw) => {
                let properties = Properties { raw, ..publish.properties };
                stripped = Publish { properties, ..publish.clone() };
                &stripped
            }
        };
        let queues = std::mem::take(&mut self.scratch.queues);
        if let Mode::Transaction(_) = self.channel(channel)?.mode {
            self.publish_later(channel, publish, ttl, &queues)?;
            self.scratch.queues = queues;
            return Ok(());
        }
        if queues.is_empty() {
            self.scratch.queues = queues;
            self.publish_unrouted(channel, publish, ttl);
            return Ok(());
        }
        let stored = Stored {
            id: self.messages.insert(publish, ttl, queues.len() as u32),
            priority: publish.properties.priority,
            persistent: publish.properties.persistent,
            bytes: publish.body.as_slice().len() as u64,
            ttl,
            is_letter: false,
        };
        let mut refused = false;
        for &queue in &queues {
            if self.refuses(queue, &stored) {
                self.messages.release(stored.id);
                refused = true;
                continue;
            }
            self.enqueue(queue, &stored);
        }
        self.scratch.queues = queues;
        let kept = self.journal_message(stored.id);
        self.confirm(channel, refused, stored.id, kept);
        if !self.letters.is_empty() {
            self.finish();
        }
        Ok(())
    }

    /// Puts a message, of which the caller hands over one reference, into a queue, or straight
    /// into the hands of a consumer who waits. Once all its queues have had it, the caller calls
    /// [`journal_message`](Self::journal_message).
    #[inline]
    pub(crate) fn enqueue(&mut self, queue: QueueId, stored: &Stored) {
        let room = self.outbox.has_room(&self.config);
        let state = &mut self.queues[queue];
        let position = state.next_position;
        state.next_position += 1;
        let has_settings = state.settings.is_some();
        let keeps = stored.persistent && state.store.as_ref().is_some_and(|store| store.keeps);
        let may_be_given = state.ready.is_empty() && !state.ring.is_empty() && !state.is_paged();
        let expires = match has_settings || stored.ttl.is_some() {
            true => self.expiry_of(queue, stored.ttl),
            false => NEVER,
        };
        let mut entry =
            Entry { position, expires, message: stored.id, returns: Returns::default() };
        if keeps {
            entry.returns = entry.returns.stored();
        }
        let is_held = keeps && stored.is_letter && self.hold_letter(queue, position, expires);
        if may_be_given && !is_held && (has_settings || room) {
            match self.feed(queue, entry, stored.bytes) {
                Fed::Nobody => {}
                Fed::Held if keeps => {
                    self.lease_new(queue, position);
                    return self.refer(queue, &entry);
                }
                Fed::Held | Fed::Sent => return,
            }
        }
        if self.journal.is_none() || !self.keep_stored(queue, &entry, stored) {
            self.keep(queue, entry, stored);
        }
    }

    fn keep(&mut self, queue: QueueId, entry: Entry, stored: &Stored) {
        let state = &mut self.queues[queue];
        let priority = state.level_of(stored.priority);
        state.ready.push(entry, priority, stored.bytes);
        state.may_expire |= entry.expires != NEVER;
        let may_expire = state.may_expire;
        self.drop_head(queue);
        if may_expire {
            self.drop_expired(queue); // it, or what has become the head
            self.set_alarm(queue);
        }
        self.schedule(queue);
    }

    /// What reaches no queue may be a reply, comes back if it is mandatory, or is dropped; either
    /// way it has been taken over.
    fn publish_unrouted(&mut self, channel: ChannelId, publish: &Publish<'_>, ttl: Option<u64>) {
        if publish.mandatory || is_reply(publish.exchange, publish.routing_key) {
            let message = self.messages.insert(publish, ttl, 1);
            self.end_unrouted(channel, message, publish.mandatory);
        }
        self.confirm(channel, false, MessageId::NONE, 0);
    }

    pub(crate) fn end_unrouted(&mut self, channel: ChannelId, message: MessageId, mandatory: bool) {
        if self.deliver_reply(message) {
            return;
        }
        match mandatory {
            true => self.outbox.give_back(channel, message),
            false => self.messages.release(message),
        }
    }

    fn check_publish(&self, channel: ChannelId, publish: &Publish<'_>) -> Result<ExchangeId> {
        let state = self.channel(channel)?;
        if publish.immediate {
            return Err(not_implemented("immediate=true"));
        }
        let (size, limit) = (publish.body.as_slice().len() as u64, self.config.max_message_size);
        if size > limit {
            return Err(precondition_failed(format!(
                "message size {size} is larger than configured max size {limit}"
            )));
        }
        self.permit_exchange(channel, Access::Write, publish.exchange)?;
        let vhost = &self.vhosts[state.vhost];
        let exchange = match publish.exchange {
            b"" => vhost.default_exchange,
            name => {
                let exchange = self.find_exchange(state.vhost, name)?;
                if self.exchanges[exchange].internal {
                    let exchange = self.exchange_resource(state.vhost, name);
                    let text = format!("cannot publish to internal {exchange}");
                    return Err(access_refused(text));
                }
                self.permit_topic(channel, Access::Write, exchange, publish.routing_key)?;
                exchange
            }
        };
        Ok(exchange)
    }

    /// A message may name no user but the one who publishes it.
    fn check_claimed_user(&self, channel: ChannelId, publish: &Publish<'_>) -> Result<()> {
        if let Some(claimed) = publish.properties.user_id {
            let connection = self.channel(channel)?.connection;
            let user = &self.connections[connection].user;
            if **user != *claimed && !self.may_impersonate(connection) {
                return Err(precondition_failed(format!(
                    "user_id property set to '{}' but authenticated user was '{}'",
                    text(claimed),
                    text(user)
                )));
            }
        }
        Ok(())
    }
}

impl Queue {
    /// Whether it was declared as a quorum queue: its messages carry how often they came back.
    pub(crate) fn is_quorum(&self) -> bool {
        self.settings.as_ref().is_some_and(|settings| settings.quorum)
    }

    /// Whether a message that came back this often is given up: a limit of L is L + 1 deliveries.
    pub(crate) fn is_over_delivery_limit(&self, returns: u32) -> bool {
        let limit = self.settings.as_ref().and_then(|settings| settings.delivery_limit);
        limit.is_some_and(|limit| u64::from(returns) > limit)
    }

    /// The level of a message's priority here: those above the queue's highest count as that.
    pub(crate) fn level_of(&self, priority: u8) -> u8 {
        self.settings.as_ref().map_or(0, |settings| priority.min(settings.max_priority))
    }
}

/// A message's time to live in milliseconds, from the decimal text that AMQP carries.
fn expiration(text_given: Option<&[u8]>) -> Result<Option<u64>> {
    use crate::arguments::MAX_EXPIRY;
    let Some(given) = text_given else { return Ok(None) };
    let invalid = |reason: String| {
        precondition_failed(format!("invalid expiration '{}': {reason}", text(given)))
    };
    let signs = usize::from(matches!(given.first(), Some(b'+' | b'-')));
    let digits = given[signs..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err(invalid("no_integer".to_owned()));
    }
    let (number, rest) = given.split_at(signs + digits);
    if !rest.is_empty() {
        return Err(invalid(format!("{{leftover_string,\"{}\"}}", text(rest))));
    }
    let number = text(number);
    match number.parse::<i64>() {
        Ok(value @ 0..=MAX_EXPIRY) => Ok(Some(value as u64)),
        Ok(value) if value < 0 => Err(invalid(format!("{{value_negative,{value}}}"))),
        _ if number.starts_with('-') => Err(invalid(format!("{{value_negative,{number}}}"))),
        _ => Err(invalid(format!("{{value_too_large,{number}}}"))),
    }
}
