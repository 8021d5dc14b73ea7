//! Who takes deliveries: a callback, or a stream that is awaited.
//!
//! The one rule: no user code is called from here while the connection's state is borrowed; the
//! hub takes a callback out, calls it, and puts it back.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ropewalk_reactor::Reactor;

use super::channel::Channel;
use super::message::Delivery;
use super::{Error, Result};

/// What a consumer's callback is to the hub.
pub(super) type DeliveryCallback = Box<dyn FnMut(&mut Reactor, Delivery)>;

/// What became of a delivery that was offered.
pub(super) enum Offered {
    /// It waits in a stream, and so still counts as held.
    Kept,
    /// This is to be called with it, and put back then.
    Call(DeliveryCallback, Delivery),
    /// Nobody is there any more.
    Refused(Delivery),
}

/// A consumer's end on this side.
pub(super) struct Subscription {
    pub(super) tag: Rc<str>,
    pub(super) no_ack: bool,
    sink: RefCell<Sink>,
}

enum Sink {
    /// `None` while it is being called, after it has panicked, and when it is over.
    Callback(Option<DeliveryCallback>),
    Stream(Stream),
}

#[derive(Default)]
struct Stream {
    queue: VecDeque<Delivery>,
    waker: Option<Waker>,
    /// What comes after the queue, once and for all.
    end: Option<Result>,
}

impl Subscription {
    pub(super) fn to_callback(tag: Rc<str>, no_ack: bool, callback: DeliveryCallback) -> Self {
        Self { tag, no_ack, sink: RefCell::new(Sink::Callback(Some(callback))) }
    }

    pub(super) fn to_stream(tag: Rc<str>, no_ack: bool) -> Self {
        Self { tag, no_ack, sink: RefCell::new(Sink::Stream(Stream::default())) }
    }

    /// Hands a delivery on.
    pub(super) fn offer(&self, delivery: Delivery) -> Offered {
        match &mut *self.sink.borrow_mut() {
            Sink::Callback(callback) => match callback.take() {
                Some(callback) => Offered::Call(callback, delivery),
                None => Offered::Refused(delivery),
            },
            Sink::Stream(stream) if stream.end.is_some() => Offered::Refused(delivery),
            Sink::Stream(stream) => {
                stream.queue.push_back(delivery);
                stream.wake();
                Offered::Kept
            }
        }
    }

    /// The callback has returned.
    pub(super) fn put_back(&self, returned: DeliveryCallback) {
        if let Sink::Callback(callback) = &mut *self.sink.borrow_mut() {
            *callback = Some(returned);
        }
    }

    /// Nothing comes after what has been offered. Gives back the callback, to be dropped where
    /// that is safe.
    pub(super) fn end(&self, result: Result) -> Option<DeliveryCallback> {
        match &mut *self.sink.borrow_mut() {
            Sink::Callback(callback) => callback.take(),
            Sink::Stream(stream) => {
                stream.end.get_or_insert(result);
                stream.wake();
                None
            }
        }
    }

    /// The connection was lost: what waits and has not been taken comes again, unless it needed
    /// no acknowledgement. Answers what the dropped deliveries cost.
    pub(super) fn forget_stale(&self) -> usize {
        match &mut *self.sink.borrow_mut() {
            Sink::Stream(stream) if !self.no_ack => {
                stream.queue.drain(..).map(|delivery| delivery.cost()).sum()
            }
            _ => 0,
        }
    }
}

impl Stream {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// A consumer whose deliveries are awaited, one after the other.
///
/// It lives through reconnections: deliveries of a lost connection that were not yet taken are
/// dropped, since the server delivers them again. Dropping it cancels it, and gives back to the
/// server what was not taken.
///
/// What is not taken waits in here, so set a prefetch with
/// [`Channel::qos`](super::Channel::qos); without one, see
/// [`Options::deliveries_limit`](super::Options::deliveries_limit).
///
/// ```no_run
/// # use ropewalk_amqp::client::{Channel, ConsumeOptions, Result};
/// # async fn consume(channel: Channel) -> Result {
/// let mut consumer = channel.subscribe("tasks", ConsumeOptions::new()).await?;
/// while let Some(delivery) = consumer.next().await? {
///     println!("{}", delivery.text());
///     delivery.ack()?;
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "dropping a consumer cancels it"]
pub struct Consumer {
    subscription: Rc<Subscription>,
    channel: Channel,
}

impl Consumer {
    pub(super) fn new(subscription: Rc<Subscription>, channel: Channel) -> Consumer {
        Consumer { subscription, channel }
    }

    /// The consumer's name on its channel.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.subscription.tag
    }

    /// The channel that it is on.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The next delivery; `None` once the consumer has been cancelled from here, or its channel
    /// or connection closed from here.
    ///
    /// # Errors
    /// Once, if it ended otherwise: [`Error::ConsumerCancelled`] by the server,
    /// [`Error::ChannelClosed`], or why the connection is gone for good. Then `None`.
    pub async fn next(&mut self) -> Result<Option<Delivery>> {
        poll_fn(|context| {
            let mut sink = self.subscription.sink.borrow_mut();
            let Sink::Stream(stream) = &mut *sink else { return Poll::Ready(Ok(None)) };
            if let Some(delivery) = stream.queue.pop_front() {
                drop(sink);
                self.channel.taken(delivery.cost());
                return Poll::Ready(Ok(Some(delivery)));
            }
            match &mut stream.end {
                Some(end) => Poll::Ready(match std::mem::replace(end, Ok(())) {
                    Ok(()) | Err(Error::Closed) => Ok(None),
                    Err(error) => Err(error),
                }),
                None => {
                    stream.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Ends it in order: what the server has sent so far can still be taken, then comes `None`.
    pub fn cancel(&self) -> ropewalk_reactor::Deferred<()> {
        self.channel.cancel(self.tag())
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let mut sink = self.subscription.sink.borrow_mut();
        let Sink::Stream(stream) = &mut *sink else { return };
        let is_over = stream.end.replace(Ok(())).is_some();
        let left = std::mem::take(&mut stream.queue);
        drop(sink);
        if !left.is_empty() || !is_over {
            self.channel.abandon(&self.subscription, left);
        }
    }
}
