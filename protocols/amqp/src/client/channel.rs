//! A channel as its users hold it: every request of AMQP 0-9-1, each a method.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_reactor::{Deferred, Promise, Reactor};

use super::confirms::Confirms;
use super::connection::Connection;
use super::consumer::{Consumer, Subscription};
use super::core::{Core, Settle};
use super::declare::{ConsumeOptions, ExchangeDeclare, Publish, QueueDeclare};
use super::error::fail;
use super::hub::Hub;
use super::lane::{Consuming, Lane, Mode, Stage};
use super::message::{Confirmation, DeclaredQueue, Delivery, Fetched, Returned};
use super::publishing::Outgoing;
use super::requests::{Consumed, Request};
use super::topology::{Binding, Destination};
use super::{Error, Properties, Result};
use crate::codec::method::{basic, confirm, exchange, queue, tx};
use crate::codec::{FRAME_OVERHEAD, ReplyCode, ShortStr, Table};

/// What the handles of one channel share.
pub(super) struct ChannelShared {
    pub(super) hub: Rc<Hub>,
    pub(super) number: u16,
    /// Why it is closed, once it is: its number may be another channel's then.
    pub(super) end: RefCell<Option<Error>>,
}

impl ChannelShared {
    pub(super) fn new(hub: Rc<Hub>, number: u16) -> ChannelShared {
        ChannelShared { hub, number, end: RefCell::new(None) }
    }
}

/// A channel of a [`Connection`]. A clone is the same channel.
///
/// Requests may be made without waiting for the answer to the one before: the server takes them
/// in order. What it refuses closes the channel ([`Error::ChannelClosed`]), and with it fails
/// whatever was asked after that.
///
/// A channel lives through reconnections; once it is closed, it stays so.
#[derive(Clone)]
pub struct Channel {
    shared: Rc<ChannelShared>,
}

/// The arguments of most methods have room beside two names and some bits in the smallest frame.
const NAMES_ROOM: usize = 1024;

impl Channel {
    pub(super) fn from_shared(shared: Rc<ChannelShared>) -> Channel {
        Channel { shared }
    }

    /// Its number on the wire.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.shared.number
    }

    /// Its connection.
    #[must_use]
    pub fn connection(&self) -> Connection {
        Connection::from_hub(self.shared.hub.clone())
    }

    /// Why it is closed, if it is.
    #[must_use]
    pub fn closed(&self) -> Option<Error> {
        self.shared.end.borrow().clone()
    }

    /// Closes it. What was delivered and not settled goes back to its queues.
    pub fn close(&self) -> Deferred<()> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        let mut core = self.shared.hub.core.borrow_mut();
        if let Some(Lane { stage: Stage::Closing(promises), .. }) = core.lane_of(&self.shared) {
            promises.push(promise);
            return deferred;
        }
        let is_closed = self.shared.end.borrow().is_some();
        if is_closed || !core.is_up() {
            // Gone already; or it will not be brought back.
            core.end_lane_of(&self.shared);
            promise.succeed(());
        } else {
            core.close_lane(self.shared.number, ReplyCode::ReplySuccess, "Goodbye");
            *self.shared.end.borrow_mut() = Some(Error::Closed);
            if let Some(lane) = core.lane_mut(self.shared.number) {
                lane.fail_requests(&Error::Closed);
                lane.stage = Stage::Closing(vec![promise]);
            }
        }
        drop(core);
        self.shared.hub.schedule();
        deferred
    }

    // Exchanges.

    /// Declares an exchange.
    pub fn exchange_declare(&self, declare: ExchangeDeclare) -> Deferred<()> {
        let size = declare.arguments.as_table().as_bytes().len();
        let names = [("exchange's name", &*declare.exchange), ("exchange's type", &*declare.kind)];
        if let Err(error) = self.check(&names, size) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            let method = declare.method();
            core.request(number, &method, Request::DeclareExchange(declare.clone(), promise));
        })
    }

    /// Deletes an exchange, whether or not it is there; only if it has no bindings if `if_unused`.
    pub fn exchange_delete(&self, exchange: &str, if_unused: bool) -> Deferred<()> {
        if let Err(error) = self.check(&[("exchange's name", exchange)], 0) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            let name = ShortStr::cut(exchange);
            let method = exchange::Delete { exchange: name, if_unused, ..Default::default() };
            core.request(number, &method, Request::DeleteExchange(exchange.to_owned(), promise));
        })
    }

    /// Binds an exchange to another one (RabbitMQ's extension).
    pub fn exchange_bind(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding = match self.binding(
            Destination::Exchange,
            [destination, source, routing_key],
            arguments,
        ) {
            Ok(binding) => binding,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let method = binding.exchange_method();
            core.request(number, &method, Request::BindExchange(binding.clone(), promise));
        })
    }

    /// Takes back such a binding.
    pub fn exchange_unbind(
        &self,
        destination: &str,
        source: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding = match self.binding(
            Destination::Exchange,
            [destination, source, routing_key],
            arguments,
        ) {
            Ok(binding) => binding,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let bound = binding.exchange_method();
            let method = exchange::Unbind {
                destination: bound.destination,
                source: bound.source,
                routing_key: bound.routing_key,
                arguments: bound.arguments,
                ..Default::default()
            };
            core.request(number, &method, Request::UnbindExchange(binding.clone(), promise));
        })
    }

    // Queues. Wherever one is named, an empty name stands for the channel's last declared one.

    /// Declares a queue.
    pub fn queue_declare(&self, declare: QueueDeclare) -> Deferred<DeclaredQueue> {
        let size = declare.arguments.as_table().as_bytes().len();
        if let Err(error) = self.check(&[("queue's name", &*declare.queue)], size) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            let method = declare.method();
            core.request(number, &method, Request::DeclareQueue(declare.clone(), promise));
        })
    }

    /// Binds a queue to an exchange.
    pub fn queue_bind(&self, queue: &str, exchange: &str, routing_key: &str) -> Deferred<()> {
        self.queue_bind_with(queue, exchange, routing_key, Table::EMPTY)
    }

    /// As [`queue_bind`](Self::queue_bind), with arguments, as a headers exchange asks for.
    pub fn queue_bind_with(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding =
            match self.binding(Destination::Queue, [queue, exchange, routing_key], arguments) {
                Ok(binding) => binding,
                Err(error) => return self.refused(&error),
            };
        self.ask(|core, number, promise| {
            let method = binding.queue_method();
            core.request(number, &method, Request::BindQueue(binding.clone(), promise));
        })
    }

    /// Takes back a binding, with the arguments that it was made with.
    pub fn queue_unbind(
        &self,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: Table<'_>,
    ) -> Deferred<()> {
        let binding =
            match self.binding(Destination::Queue, [queue, exchange, routing_key], arguments) {
                Ok(binding) => binding,
                Err(error) => return self.refused(&error),
            };
        self.ask(|core, number, promise| {
            let bound = binding.queue_method();
            let method = queue::Unbind {
                queue: bound.queue,
                exchange: bound.exchange,
                routing_key: bound.routing_key,
                arguments: bound.arguments,
                ..Default::default()
            };
            core.request(number, &method, Request::UnbindQueue(binding.clone(), promise));
        })
    }

    /// Drops every message that is ready in a queue, and tells how many.
    pub fn queue_purge(&self, queue: &str) -> Deferred<u32> {
        let queue = match self.queue_name(queue) {
            Ok(queue) => queue,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let method = queue::Purge { queue: ShortStr::cut(&queue), ..Default::default() };
            core.request(number, &method, Request::PurgeQueue(promise));
        })
    }

    /// Deletes a queue, whether or not it is there, and tells how many messages went with it.
    pub fn queue_delete(&self, queue: &str) -> Deferred<u32> {
        self.queue_delete_if(queue, false, false)
    }

    /// As [`queue_delete`](Self::queue_delete), but only if the queue has no consumers, or no
    /// messages; else the channel is closed with 406.
    pub fn queue_delete_if(&self, queue: &str, unused: bool, empty: bool) -> Deferred<u32> {
        let queue = match self.queue_name(queue) {
            Ok(queue) => queue,
            Err(error) => return self.refused(&error),
        };
        self.ask(|core, number, promise| {
            let method = queue::Delete {
                queue: ShortStr::cut(&queue),
                if_unused: unused,
                if_empty: empty,
                ..Default::default()
            };
            core.request(number, &method, Request::DeleteQueue(queue.clone(), promise));
        })
    }

    // Consuming.

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

    // Publishing.

    /// Publishes a message. `Ok` means that it is on its way, and no more than that:
    /// [`publish_confirmed`](Self::publish_confirmed) tells what became of it.
    ///
    /// It never waits. Whoever publishes much awaits [`Connection::ready`] now and then, or gets
    /// [`Error::OutputFull`] in the end.
    ///
    /// # Errors
    /// [`Error::Reconnecting`], [`Error::OutputFull`], [`Error::TooLong`], [`Error::TooLarge`], or
    /// why the channel is closed; nothing has been sent then.
    pub fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: impl AsRef<Properties>,
        body: impl Into<Bytes>,
    ) -> Result {
        let (properties, body) = (properties.as_ref(), &body.into());
        self.put(&Outgoing { exchange, routing_key, mandatory: false, properties, body }, None)
    }

    /// As [`publish`](Self::publish), with all that can be said of it.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_with(&self, publish: Publish<'_>, body: impl Into<Bytes>) -> Result {
        let Publish { exchange, routing_key, mandatory, properties } = publish;
        let (properties, body) = (&properties, &body.into());
        self.put(&Outgoing { exchange, routing_key, mandatory, properties, body }, None)
    }

    /// Publishes a message, and tells what became of it. The first use makes this a channel with
    /// confirms.
    ///
    /// Fails with [`Error::Unconfirmed`] if the connection or the channel ends first: the server
    /// may or may not have the message. Any other error: nothing has been sent.
    pub fn publish_confirmed(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: impl AsRef<Properties>,
        body: impl Into<Bytes>,
    ) -> Deferred<Confirmation> {
        let (properties, body) = (properties.as_ref(), &body.into());
        self.put_confirmed(&Outgoing { exchange, routing_key, mandatory: false, properties, body })
    }

    /// As [`publish_confirmed`](Self::publish_confirmed), with all that can be said of it. A
    /// mandatory message that comes back is [`Confirmation::Returned`].
    pub fn publish_confirmed_with(
        &self,
        publish: Publish<'_>,
        body: impl Into<Bytes>,
    ) -> Deferred<Confirmation> {
        let Publish { exchange, routing_key, mandatory, properties } = publish;
        let (properties, body) = (&properties, &body.into());
        self.put_confirmed(&Outgoing { exchange, routing_key, mandatory, properties, body })
    }

    /// Asks for confirms of all that is published from now on.
    pub fn confirm_select(&self) -> Deferred<()> {
        if let Some(error) = self.mode_forbids(|mode| matches!(mode, Mode::Transaction)) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            if let Some(lane) = core.lane_mut(number)
                && let Mode::Plain = lane.mode
            {
                lane.mode = Mode::Confirm(Confirms::default());
            }
            let request = Request::SelectConfirm(Some(promise));
            core.request(number, &confirm::Select::default(), request);
        })
    }

    /// Fires once all that was published so far on this channel with confirms is confirmed: with
    /// false if the server refused any of it since this was last asked. Fails with
    /// [`Error::Unconfirmed`] if confirms can no longer come.
    pub fn wait_for_confirms(&self) -> Deferred<bool> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        let mut core = self.shared.hub.core.borrow_mut();
        if let Err(error) = self.usable(&mut core) {
            fail(promise, &error);
            return deferred;
        }
        match core.lane_mut(self.shared.number).map(|lane| &mut lane.mode) {
            Some(Mode::Confirm(confirms)) => confirms.when_settled(promise),
            _ => fail(promise, &Error::WrongMode("without confirms")),
        }
        deferred
    }

    /// Calls `callback` with each message that the server sends back, but for those of
    /// [`publish_confirmed_with`](Self::publish_confirmed_with), whose confirmation says so.
    pub fn on_return(&self, callback: impl FnMut(&mut Reactor, Returned) + 'static) {
        let callback = Box::new(callback);
        self.set(|lane| lane.on_return.replace(callback));
    }

    /// Calls `callback` when the channel ends otherwise than by [`close`](Self::close).
    pub fn on_close(&self, callback: impl FnOnce(&mut Reactor, Error) + 'static) {
        let callback = Box::new(callback);
        self.set(|lane| lane.on_close.replace(callback));
    }

    // Transactions.

    /// Makes the channel transactional: what is published and acknowledged on it counts with the
    /// next [`tx_commit`](Self::tx_commit). What was under way when a connection is lost is lost.
    pub fn tx_select(&self) -> Deferred<()> {
        if let Some(error) = self.mode_forbids(|mode| matches!(mode, Mode::Confirm(_))) {
            return self.refused(&error);
        }
        self.ask(|core, number, promise| {
            if let Some(lane) = core.lane_mut(number) {
                lane.mode = Mode::Transaction;
            }
            core.request(number, &tx::Select {}, Request::SelectTx(promise));
        })
    }

    /// Makes all since the last one count.
    pub fn tx_commit(&self) -> Deferred<()> {
        self.ask(|core, number, promise| {
            core.request(number, &tx::Commit {}, Request::CommitTx(promise));
        })
    }

    /// Forgets all since the last one.
    pub fn tx_rollback(&self) -> Deferred<()> {
        self.ask(|core, number, promise| {
            core.request(number, &tx::Rollback {}, Request::RollbackTx(promise));
        })
    }

    // What deliveries and consumers need.

    pub(super) fn epoch(&self) -> u64 {
        self.shared.hub.core.borrow().epoch
    }

    /// Settles a delivery of the connection `epoch`; nothing, if that one is gone.
    pub(super) fn settle(&self, epoch: u64, delivery_tag: u64, how: Settle) -> Result {
        let mut core = self.shared.hub.core.borrow_mut();
        if core.epoch != epoch {
            log::debug!(target: super::LOG, "a stale delivery was settled ({how:?})");
            return Ok(());
        }
        self.usable(&mut core)?;
        core.settle(self.shared.number, delivery_tag, how);
        drop(core);
        self.shared.hub.schedule();
        Ok(())
    }

    /// A delivery that waited in a stream has been taken.
    pub(super) fn taken(&self, cost: usize) {
        let mut core = self.shared.hub.core.borrow_mut();
        core.release(cost);
        if self.shared.hub.is_paused.get() {
            drop(core);
            self.shared.hub.schedule();
        }
    }

    /// A stream has been dropped: what is `left` in it goes back, and it is cancelled.
    pub(super) fn abandon(&self, subscription: &Rc<Subscription>, left: VecDeque<Delivery>) {
        let (channel, subscription) = (self.clone(), subscription.clone());
        // It may be dropped anywhere, even where the state is borrowed.
        self.shared.hub.local.call_soon(move |_| {
            for delivery in left {
                channel.taken(delivery.cost());
                if !delivery.is_settled() {
                    let _ = delivery.reject(true); // if the channel is gone, it has gone back
                }
            }
            let mut core = channel.shared.hub.core.borrow_mut();
            let is_up = core.is_up();
            let number = channel.shared.number;
            let Some(lane) = core.lane_of(&channel.shared) else { return };
            let mut consumers = lane.consumers.iter_mut();
            let Some(consuming) =
                consumers.find(|found| Rc::ptr_eq(&found.subscription, &subscription))
            else {
                return;
            };
            if std::mem::replace(&mut consuming.is_abandoned, true) {
                return;
            }
            let tag = subscription.tag.clone();
            if is_up && !matches!(lane.stage, Stage::Closing(_)) {
                let consumer_tag = ShortStr::cut(tag.as_bytes());
                let method = basic::Cancel { consumer_tag, nowait: false };
                core.request(number, &method, Request::Cancel(tag.clone(), None));
                drop(core);
                channel.shared.hub.schedule();
            } else {
                lane.remove_consumer(tag.as_bytes());
            }
        });
    }

    // Helpers.

    fn usable(&self, core: &mut Core) -> Result {
        if let Some(end) = &*self.shared.end.borrow() {
            return Err(end.clone());
        }
        core.usable()
    }

    /// Whether these names fit, and arguments of this size.
    fn check(&self, names: &[(&'static str, &str)], size: usize) -> Result {
        for &(what, name) in names {
            if name.len() > ShortStr::MAX_LEN {
                return Err(Error::TooLong(what));
            }
        }
        let frame_max = self.shared.hub.core.borrow().limits.frame_max as usize;
        let limit = frame_max - FRAME_OVERHEAD - NAMES_ROOM;
        if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
    }

    /// The name that a queue has now, after any reconnection.
    fn queue_name(&self, queue: &str) -> Result<String> {
        self.check(&[("queue's name", queue)], 0)?;
        let mut core = self.shared.hub.core.borrow_mut();
        let last = match core.lane_mut(self.shared.number) {
            Some(lane) if queue.is_empty() && lane.is_reopened => lane.last_queue.clone(),
            _ => queue.to_owned(),
        };
        Ok(core.topology.current(&last).to_owned())
    }

    fn binding(
        &self,
        kind: Destination,
        names: [&str; 3],
        arguments: Table<'_>,
    ) -> Result<Binding> {
        let [destination, source, routing_key] = names;
        let checked = [
            ("destination's name", destination),
            ("source's name", source),
            ("routing key", routing_key),
        ];
        self.check(&checked, arguments.as_bytes().len())?;
        let destination = match kind {
            Destination::Queue => self.queue_name(destination)?,
            Destination::Exchange => destination.to_owned(),
        };
        Ok(Binding {
            kind,
            destination,
            source: source.to_owned(),
            routing_key: routing_key.to_owned(),
            arguments: arguments.as_bytes().to_vec(),
        })
    }

    /// The error, if the channel's mode is one that forbids this.
    fn mode_forbids(&self, forbids: impl FnOnce(&Mode) -> bool) -> Option<Error> {
        let mut core = self.shared.hub.core.borrow_mut();
        let mode = &core.lane_of(&self.shared)?.mode;
        forbids(mode).then(|| {
            Error::WrongMode(match mode {
                Mode::Transaction => "transactional",
                _ => "one with confirms",
            })
        })
    }

    /// Makes a request if one can be made now.
    fn ask<T: 'static>(&self, request: impl FnOnce(&mut Core, u16, Promise<T>)) -> Deferred<T> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        let mut core = self.shared.hub.core.borrow_mut();
        match self.usable(&mut core) {
            Ok(()) => request(&mut core, self.shared.number, promise),
            Err(error) => fail(promise, &error),
        }
        drop(core);
        self.shared.hub.schedule();
        deferred
    }

    fn refused<T: 'static>(&self, error: &Error) -> Deferred<T> {
        let (promise, deferred) = self.shared.hub.local.deferred();
        fail(promise, error);
        deferred
    }

    fn put(&self, message: &Outgoing<'_>, promise: Option<Promise<Confirmation>>) -> Result {
        let hub = &self.shared.hub;
        let mut core = hub.core.borrow_mut();
        let checked = self.usable(&mut core).and_then(|()| {
            core.check_message(self.shared.number, message, hub.output.buffered.get())
        });
        match (checked, promise) {
            (Ok(()), promise) => core.publish(self.shared.number, message, promise),
            (Err(error), None) => {
                drop(core);
                hub.schedule(); // perhaps there is room, and nobody has looked
                return Err(error);
            }
            (Err(error), Some(promise)) => fail(promise, &error),
        }
        drop(core);
        hub.schedule();
        Ok(())
    }

    fn put_confirmed(&self, message: &Outgoing<'_>) -> Deferred<Confirmation> {
        if let Some(error) = self.mode_forbids(|mode| matches!(mode, Mode::Transaction)) {
            return self.refused(&error);
        }
        let (promise, deferred) = self.shared.hub.local.deferred();
        let _ = self.put(message, Some(promise)); // with a promise, that is told
        deferred
    }

    /// Changes something, and drops what was there before where that is safe.
    fn set<T>(&self, set: impl FnOnce(&mut Lane) -> Option<T>) {
        let earlier = self.shared.hub.core.borrow_mut().lane_of(&self.shared).and_then(set);
        drop(earlier);
    }
}

impl Core {
    /// The lane of this channel, unless it has gone and its number is another's.
    fn lane_of(&mut self, shared: &Rc<ChannelShared>) -> Option<&mut Lane> {
        let lane = self.lane_mut(shared.number)?;
        lane.shared.as_ref().is_some_and(|found| Rc::ptr_eq(found, shared)).then_some(lane)
    }

    /// Forgets a channel that is closed while there is no connection.
    fn end_lane_of(&mut self, shared: &Rc<ChannelShared>) {
        if !self.is_up() && self.lane_of(shared).is_some() {
            self.end_lane(shared.number, &Error::Closed);
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Channel").field(&self.shared.number).finish()
    }
}
