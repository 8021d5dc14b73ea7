//! Consuming: prefetch, callbacks and streams, and one message at a time.

use std::rc::Rc;

use ropewalk_reactor::{Deferred, Promise, Reactor};

use super::Channel;
use crate::client::Error;
use crate::client::consumer::{Consumer, Subscription};
use crate::client::declare::ConsumeOptions;
use crate::client::lane::Consuming;
use crate::client::message::{Delivery, Fetched};
use crate::client::requests::{Consumed, Request};
use crate::codec::ShortStr;
use crate::codec::method::basic;

impl Channel {
    /// Limits how many deliveries each consumer to come may have that are not settled; 0 for no
    /// limit.
    #[doc(alias = "prefetch")]
    pub fn qos(&self, prefetch_count: u16) -> Deferred<()> {
        self.qos_with(prefetch_count, false)
    }

    /// As [`qos`](Self::qos); if `global`, for all consumers of the channel together.
    pub fn qos_with(&self, prefetch_count: u16, global: bool) -> Deferred<()> {
        self.ask(|core, number, promise| {
            if let Some(lane) = core.lane_mut(number) {
                lane.qos[usize::from(global)] = Some(prefetch_count);
            }
            let method = basic::Qos { prefetch_size: 0, prefetch_count, global };
            core.request(number, &method, Request::Qos(promise));
        })
    }

    /// Consumes from a queue: `callback` gets each delivery. Answers the consumer's name.
    ///
    /// The callback may do anything but block. If it panics, the panic is logged, and the
    /// consumer cancelled; the delivery that it panicked at stays unsettled, so that it does no
    /// harm elsewhere, until the channel is closed.
    pub fn consume(
        &self,
        queue: &str,
        options: ConsumeOptions,
        callback: impl FnMut(&mut Reactor, Delivery) + 'static,
    ) -> Deferred<String> {
        let callback = Box::new(callback);
        self.consume_by(
            queue,
            options,
            |tag, no_ack| Subscription::to_callback(tag, no_ack, callback),
            Consumed::ByCallback,
        )
    }

    /// Consumes from a queue: deliveries are taken by [`Consumer::next`].
    pub fn subscribe(&self, queue: &str, options: ConsumeOptions) -> Deferred<Consumer> {
        self.consume_by(queue, options, Subscription::to_stream, Consumed::ByStream)
    }

    fn consume_by<T: 'static>(
        &self,
        queue: &str,
        mut options: ConsumeOptions,
        subscription: impl FnOnce(Rc<str>, bool) -> Subscription,
        consumed: impl FnOnce(Promise<T>) -> Consumed,
    ) -> Deferred<T> {
        let size = options.arguments.as_table().as_bytes().len();
        let checked = self
            .check(&[("consumer's tag", &*options.tag)], size)
            .and_then(|()| self.queue_name(queue));
        let queue = match checked {
            Ok(queue) => queue,
            Err(error) => return self.refused(&error),
        };
        let mut in_use = false;
        if let Some(lane) = self.shared.hub.core.borrow_mut().lane_mut(self.shared.number) {
            if options.tag.is_empty() {
                lane.tags += 1;
                options.tag = format!("ropewalk-{}-{}", self.shared.number, lane.tags);
            }
            in_use = lane.consuming(options.tag.as_bytes()).is_some();
        }
        if in_use {
            return self.refused(&Error::TagInUse(options.tag)); // it would end the connection
        }
        self.ask(|core, number, promise| {
            let subscription = Rc::new(subscription(Rc::from(&*options.tag), options.no_ack));
            if let Some(lane) = core.lane_mut(number) {
                lane.consumers.push(Consuming {
                    subscription: subscription.clone(),
                    queue: queue.clone(),
                    options: options.clone(),
                    is_started: false,
                    is_abandoned: false,
                });
            }
            let method = basic::Consume {
                queue: ShortStr::cut(&queue),
                consumer_tag: ShortStr::cut(&options.tag),
                no_local: options.no_local,
                no_ack: options.no_ack,
                exclusive: options.exclusive,
                arguments: options.arguments.as_table(),
                ..Default::default()
            };
            core.request(number, &method, Request::Consume(subscription, consumed(promise)));
        })
    }

    /// Ends a consumer. What was delivered to it and is not settled stays with the channel.
    pub fn cancel(&self, consumer_tag: &str) -> Deferred<()> {
        if let Err(error) = self.check(&[("consumer's tag", consumer_tag)], 0) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            let method = basic::Cancel { consumer_tag: ShortStr::cut(consumer_tag), nowait: false };
            let request = Request::Cancel(Rc::from(consumer_tag), Some(promise));
            core.request(number, &method, request);
        })
    }

    /// Calls `callback` with the name of each consumer that the server has cancelled, since its
    /// queue is gone, say.
    pub fn on_cancel(&self, callback: impl FnMut(&mut Reactor, &str) + 'static) {
        let callback = Box::new(callback);
        self.set(|lane| lane.on_cancel.replace(callback));
    }

    /// Fetches one message, if there is one. With `no_ack` it counts as settled.
    pub fn get(&self, queue: &str, no_ack: bool) -> Deferred<Option<Fetched>> {
        let queue = match self.queue_name(queue) {
            Ok(queue) => queue,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let method = basic::Get { ticket: 0, queue: ShortStr::cut(&queue), no_ack };
            core.request(number, &method, Request::Get { no_ack, promise });
        })
    }

    /// Puts back all deliveries of the channel that are not settled, to be made again.
    pub fn recover(&self) -> Deferred<()> {
        self.ask(|core, number, promise| {
            core.request(number, &basic::Recover { requeue: true }, Request::Recover(promise));
        })
    }
}
