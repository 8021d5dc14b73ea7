//! A subscription with a callback; it ends when it is dropped.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_reactor::Deferred;

use super::core::{Core, Heard, Key, Topic, connect};
use super::link::{Link, Role};
use super::{ClientError, Kind};

/// One who hears messages. Dropping it ends that, and [`forget`](Self::forget) lets it go on for as
/// long as the client is.
#[must_use = "dropping a subscription ends it; say `.forget()` to keep it for as long as the client"]
pub struct Subscription {
    core: Rc<RefCell<Core>>,
    key: Key,
    number: u64,
    is_kept: bool,
}

pub(crate) fn subscribe(
    core: &Rc<RefCell<Core>>,
    kind: Kind,
    name: &[u8],
    heard: Heard,
) -> Subscription {
    let key = (kind, Bytes::copy_from_slice(name));
    let mut inner = core.borrow_mut();
    inner.last_listener += 1;
    let number = inner.last_listener;
    if inner.is_closed {
        let local = inner.local.clone();
        local.call_soon(move |_| drop(heard));
    } else {
        let topic = inner.topics.entry(key.clone()).or_default();
        let is_new = topic.listeners.is_empty();
        topic.listeners.insert(number, Some(heard));
        if is_new {
            tell(&mut inner, &key, true);
        }
    }
    drop(inner);
    connect(core, Role::Subscriptions);
    Subscription { core: core.clone(), key, number, is_kept: false }
}

/// Subscribes or unsubscribes on the connection, if there is one.
fn tell(core: &mut Core, key: &Key, begins: bool) {
    let Some(id) = core.subscribed() else { return };
    let key = key.clone();
    core.local.call_soon(move |reactor| {
        let _ = reactor.with_protocol::<Link, _>(id, |link, transport| {
            link.tell(transport, key, begins);
        });
    });
}

impl Subscription {
    /// Is there once the server has confirmed the subscription: what is published from then on is
    /// heard, while the connection holds.
    ///
    /// # Errors
    /// [`ClientError::Server`] in [`Error::Other`](ropewalk_reactor::Error::Other) if the server has
    /// refused it, which is tried again with the next connection; [`ClientError::Closed`].
    pub fn confirmed(&self) -> Deferred<()> {
        let mut core = self.core.borrow_mut();
        let (promise, deferred) = core.local.deferred();
        match core.topics.get_mut(&self.key) {
            Some(Topic { is_confirmed: true, .. }) => promise.succeed(()),
            Some(Topic { refused: Some(text), .. }) => {
                promise.fail(ClientError::Server(text.clone()).into());
            }
            Some(topic) => topic.waiting.push(promise),
            None => promise.fail(ClientError::Closed.into()),
        }
        deferred
    }

    /// Keeps it for as long as the client is.
    pub fn forget(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        let mut core = self.core.borrow_mut();
        let Some(topic) = core.topics.get_mut(&self.key) else { return };
        let heard = topic.listeners.remove(&self.number);
        if topic.listeners.is_empty() {
            let topic = core.topics.remove(&self.key);
            tell(&mut core, &self.key, false);
            core.local.call_soon(move |_| drop(topic));
        }
        // It owns users' values, which are dropped from the loop.
        core.local.call_soon(move |_| drop(heard));
    }
}
