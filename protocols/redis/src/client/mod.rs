//! The client: publishes, and hears what others publish, as long as it is wanted. A connection that
//! is lost is made again, and what was subscribed to is subscribed to again.
//!
//! It keeps two connections, each made when it is first needed: one for commands, one that is
//! subscribed, since in RESP2 such a one takes no commands; or one, which is asked for by
//! [`without_own`](ClientOptions::without_own). `link` is one of them and `greeting` its beginning,
//! `own` knows what was published from here, `core` is what connections share, `subscription` and
//! `messages` what a user holds. The one rule: users' code runs from the loop alone, never while the
//! core is borrowed.
//!
//! ```
//! # use ropewalk_reactor::{Reactor, Result};
//! use ropewalk_redis::client::Client;
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! let client = Client::new(&reactor, "127.0.0.1:6379")?;
//! client.subscribe("news", |_, message| println!("{:?}", message.payload)).forget();
//! client.publish("news", "hello").then(|_, heard| println!("{heard:?}"));
//! # reactor.stop();
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```

mod core;
mod error;
mod greeting;
mod link;
mod message;
mod messages;
mod notice;
mod options;
mod own;
mod subscription;

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use ropewalk_reactor::{Deferred, Error, IntoEndpoint, Reactor, ReconnectingClient};

pub use self::error::ClientError;
pub use self::message::Message;
pub use self::messages::Messages;
pub use self::notice::Notice;
pub use self::options::ClientOptions;
pub use self::subscription::Subscription;

use self::core::{Command, Core};
use self::own::Publication;
use crate::codec::{Value, encode_command};
pub(crate) use crate::kind::Kind;

/// A client of a Redis server; clones are the same client, which is closed with the last of them and of
/// its [subscriptions](Subscription).
#[derive(Clone)]
pub struct Client {
    core: Rc<RefCell<Core>>,
}

impl Client {
    /// A client of the server at `endpoint`. It connects when it has something to do.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn new(reactor: &Reactor, endpoint: impl IntoEndpoint) -> Result<Self, Error> {
        Self::with_options(reactor, endpoint, ClientOptions::default())
    }

    /// As [`new`](Self::new), with a password, limits and delays.
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn with_options(
        reactor: &Reactor,
        endpoint: impl IntoEndpoint,
        options: ClientOptions,
    ) -> Result<Self, Error> {
        let connecting = ReconnectingClient::new(endpoint)?
            .options(options.connect.clone())
            .first_delay(options.first_delay)
            .max_delay(options.max_delay);
        let core = Core::new(reactor.local(), connecting, options);
        Ok(Self { core: Rc::new(RefCell::new(core)) })
    }

    /// Sends a message to all who have subscribed to `channel`, and answers how many got it. Without
    /// a connection it waits for one.
    ///
    /// # Errors
    /// A [`ClientError`] in [`Error::Other`].
    pub fn publish(&self, channel: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Deferred<i64> {
        self.count(false, channel.as_ref(), payload.as_ref())
    }

    /// The same on a sharded channel (Redis 7).
    ///
    /// # Errors
    /// A [`ClientError`] in [`Error::Other`].
    pub fn spublish(&self, channel: impl AsRef<[u8]>, payload: impl AsRef<[u8]>) -> Deferred<i64> {
        self.count(true, channel.as_ref(), payload.as_ref())
    }

    fn count(&self, is_sharded: bool, channel: &[u8], payload: &[u8]) -> Deferred<i64> {
        let (promise, deferred) = self.core.borrow().local.deferred();
        let word: &[u8] = if is_sharded { b"SPUBLISH" } else { b"PUBLISH" };
        let reply = self.send(&[word, channel, payload], |wire| {
            // It is the last of them.
            let end = wire.len() - b"\r\n".len();
            let payload = wire.slice(end - payload.len()..end);
            Publication { is_sharded, channel: Bytes::copy_from_slice(channel), payload }
        });
        reply.then(move |_, reply| match reply {
            Ok(value) => match value.as_integer() {
                Some(count) => promise.succeed(count),
                None => promise.fail(ClientError::Unexpected.into()),
            },
            Err(error) => promise.fail(error),
        });
        deferred
    }

    /// Sends any command, and answers its reply; commands are sent in the order of the calls, and
    /// many may be under way. Those that subscribe or change the connection (`SUBSCRIBE`, `HELLO`,
    /// `CLIENT REPLY`, `RESET`, `MONITOR`) are none of these.
    ///
    /// # Errors
    /// A [`ClientError`] in [`Error::Other`]: the server's error, too.
    pub fn call(&self, words: &[&[u8]]) -> Deferred<Value> {
        self.send(words, |_| None)
    }

    fn send<P: Into<Option<Publication>>>(
        &self,
        words: &[&[u8]],
        publication: impl FnOnce(&Bytes) -> P,
    ) -> Deferred<Value> {
        let inner = self.core.borrow();
        let ((promise, deferred), without_own) =
            (inner.local.deferred(), inner.options.without_own);
        drop(inner);
        let mut wire = Vec::new();
        encode_command(&mut wire, words);
        let wire = Bytes::from(wire);
        let publication = if without_own { publication(&wire).into() } else { None };
        core::send(&self.core, Command { wire, promise, publication });
        deferred
    }

    /// Calls `heard` with each message of `channel`, until the subscription is dropped. Several may
    /// subscribe to one channel. One that panics hears no more; the others do.
    pub fn subscribe(
        &self,
        channel: impl AsRef<[u8]>,
        heard: impl FnMut(&mut Reactor, Message) + 'static,
    ) -> Subscription {
        subscription::subscribe(&self.core, Kind::Channel, channel.as_ref(), Box::new(heard))
    }

    /// The same for all channels that match `pattern`.
    pub fn psubscribe(
        &self,
        pattern: impl AsRef<[u8]>,
        heard: impl FnMut(&mut Reactor, Message) + 'static,
    ) -> Subscription {
        subscription::subscribe(&self.core, Kind::Pattern, pattern.as_ref(), Box::new(heard))
    }

    /// The same for a sharded channel (Redis 7).
    pub fn ssubscribe(
        &self,
        channel: impl AsRef<[u8]>,
        heard: impl FnMut(&mut Reactor, Message) + 'static,
    ) -> Subscription {
        subscription::subscribe(&self.core, Kind::Shard, channel.as_ref(), Box::new(heard))
    }

    /// The messages of `channel`, for a future to await one after the other.
    pub fn messages(&self, channel: impl AsRef<[u8]>) -> Messages {
        Messages::new(&self.core, Kind::Channel, channel.as_ref())
    }

    /// The same for all channels that match `pattern`.
    pub fn pattern_messages(&self, pattern: impl AsRef<[u8]>) -> Messages {
        Messages::new(&self.core, Kind::Pattern, pattern.as_ref())
    }

    /// Whether there is a connection for commands, with a server that has greeted.
    pub fn is_connected(&self) -> bool {
        self.core.borrow().commands.connection.is_some()
    }

    /// Calls `callback` with what happens to its connections, in place of an earlier callback.
    pub fn on_notice(&self, callback: impl FnMut(&mut Reactor, Notice) + 'static) {
        let mut inner = self.core.borrow_mut();
        let callback: core::Told = Box::new(callback);
        let earlier = match inner.is_closed {
            true => Some(callback),
            false => inner.told.replace(callback),
        };
        // It owns users' values, which are dropped from the loop.
        inner.local.call_soon(move |_| drop(earlier));
    }

    /// Closes its connections once what was sent is out, and makes no others. What waits fails with
    /// [`ClientError::Closed`], streams end, and callbacks hear no more.
    pub fn close(&self) {
        self.core.borrow_mut().close();
    }
}
