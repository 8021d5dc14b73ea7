//! Publishing: checks, routing, storing once, and a copy of a handle for each queue.

use crate::backlog::{Entry, NEVER};
use crate::broker::Broker;
use crate::error::{Result, access_refused, not_implemented, precondition_failed, text};
use crate::ids::{ChannelId, ExchangeId, QueueId};
use crate::message::Publish;
use crate::messages::MessageId;
use crate::queue::Queue;
use crate::routing::LazyHeaders;

impl Broker {
    /// Publishes a message (`basic.publish`). On a channel with confirms it gets the next number;
    /// a publish that fails gets none, since its channel ends.
    pub fn publish(&mut self, channel: ChannelId, publish: &Publish<'_>) -> Result<()> {
        let exchange = self.check_publish(channel, publish)?;
        let ttl = expiration(publish.properties.expiration)?;
        let mut headers = LazyHeaders {
            raw: publish.properties.raw,
            present: publish.properties.has_headers,
            read: None,
        };
        self.begin_routing();
        self.route(exchange, publish.routing_key, &mut headers);
        let queues = std::mem::take(&mut self.scratch.queues);
        if queues.is_empty() {
            if publish.mandatory {
                let message = self.messages.insert(publish, ttl, 1);
                self.outbox.give_back(channel, message);
            }
            self.scratch.queues = queues;
            self.confirm(channel, false, false);
            return Ok(());
        }
        let message = self.messages.insert(publish, ttl, queues.len() as u32);
        let mut must_store = false;
        for &queue in &queues {
            must_store |= publish.properties.persistent && self.queues[queue].durable;
            self.enqueue(queue, message);
        }
        self.scratch.queues = queues;
        self.confirm(channel, false, must_store);
        Ok(())
    }

    /// Puts a message, of which the caller hands over one reference, into a queue, or straight
    /// into the hands of a consumer who waits.
    pub(crate) fn enqueue(&mut self, queue: QueueId, message: MessageId) {
        let state = &mut self.queues[queue];
        let entry = Entry { position: state.next_position, expires: NEVER, message, returns: 0 };
        state.next_position += 1;
        if state.ready.is_empty()
            && !state.ring.is_empty()
            && (state.settings.is_some() || self.outbox.has_room(&self.config))
            && let Some(consumer) = self.next_consumer(queue)
        {
            self.hand_over(queue, consumer, entry);
            return;
        }
        let stored = self.messages.get(message);
        let (priority, bytes) = (stored.priority(), stored.body().len() as u64);
        let state = &mut self.queues[queue];
        let priority = state.level_of(priority);
        state.ready.push(entry, priority, bytes);
        self.schedule(queue);
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
                exchange
            }
        };
        if let Some(claimed) = publish.properties.user_id {
            let user = &self.connections[state.connection].user;
            if **user != *claimed {
                return Err(precondition_failed(format!(
                    "user_id property set to '{}' but authenticated user was '{}'",
                    text(claimed),
                    text(user)
                )));
            }
        }
        Ok(exchange)
    }
}

impl Queue {
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
        _ => Err(invalid(format!("{{value_too_big,{number}}}"))),
    }
}
