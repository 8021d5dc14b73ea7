//! Messages as a stream: a future awaits one after the other.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use ropewalk_reactor::{Deferred, Reactor};

use super::core::Core;
use super::link::Link;
use super::subscription::{Subscription, subscribe};
use super::{Kind, Message};

/// The messages of one subscription. Dropping it ends that.
///
/// What is not read is held, [`stream_limit`](super::ClientOptions::stream_limit) bytes of it; then
/// the client reads nothing more from the server until half of it has been read, for none of its
/// subscriptions.
pub struct Messages {
    subscription: Subscription,
    held: Rc<RefCell<Held>>,
    core: Rc<RefCell<Core>>,
}

#[derive(Default)]
struct Held {
    messages: VecDeque<Message>,
    bytes: usize,
    waker: Option<Waker>,
    is_full: bool,
}

/// What a message takes besides its bytes, about.
const MESSAGE_COSTS: usize = 128;

fn size(message: &Message) -> usize {
    message.payload.len() + message.channel.len() + MESSAGE_COSTS
}

impl Messages {
    pub(crate) fn new(core: &Rc<RefCell<Core>>, kind: Kind, name: &[u8]) -> Self {
        let held = Rc::new(RefCell::new(Held::default()));
        let feed = Feed { held: held.clone(), core: Rc::downgrade(core) };
        let heard = move |_: &mut Reactor, message| feed.take_in(message);
        let subscription = subscribe(core, kind, name, Box::new(heard));
        Self { subscription, held, core: core.clone() }
    }

    /// As [`Subscription::confirmed`].
    ///
    /// # Errors
    /// [`ClientError::Closed`](super::ClientError::Closed).
    pub fn confirmed(&self) -> Deferred<()> {
        self.subscription.confirmed()
    }

    /// The next message; `None` once the client is closed and all were read.
    pub async fn next(&mut self) -> Option<Message> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The same, as a future polls it.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let mut held = self.held.borrow_mut();
        let Some(message) = held.messages.pop_front() else {
            if self.core.borrow().is_closed {
                return Poll::Ready(None);
            }
            held.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        held.bytes -= size(&message);
        if held.is_full && held.bytes <= self.core.borrow().options.stream_limit / 2 {
            held.is_full = false;
            emptied(&self.core);
        }
        Poll::Ready(Some(message))
    }
}

/// What fills a stream, in the hands of the core.
struct Feed {
    held: Rc<RefCell<Held>>,
    core: Weak<RefCell<Core>>,
}

impl Feed {
    fn take_in(&self, message: Message) {
        let mut held = self.held.borrow_mut();
        held.bytes += size(&message);
        held.messages.push_back(message);
        if let Some(waker) = held.waker.take() {
            waker.wake();
        }
        let Some(core) = self.core.upgrade() else { return };
        let mut core = core.borrow_mut();
        if held.is_full || held.bytes <= core.options.stream_limit {
            return;
        }
        held.is_full = true;
        core.full_streams += 1;
        if let (1, Some(id)) = (core.full_streams, core.subscribed()) {
            core.local.call_soon(move |reactor| {
                let _ = reactor.with_protocol::<Link, _>(id, |_, transport| {
                    transport.pause_reading();
                });
            });
        }
    }
}

impl Drop for Feed {
    /// Nothing more comes: whoever waits is woken, and sees the end.
    fn drop(&mut self) {
        if let Some(waker) = self.held.borrow_mut().waker.take() {
            waker.wake();
        }
    }
}

/// One that was full is not any more.
fn emptied(core: &Rc<RefCell<Core>>) {
    let mut core = core.borrow_mut();
    core.full_streams -= 1;
    if let (0, Some(id)) = (core.full_streams, core.subscribed()) {
        core.local.call_soon(move |reactor| {
            let _ = reactor.with_protocol::<Link, _>(id, |_, transport| transport.resume_reading());
        });
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        if self.held.borrow().is_full {
            emptied(&self.core);
        }
    }
}
