//! A connection as its users hold it, and how one comes by it.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::rc::{Rc, Weak};
use std::time::Duration;

use ropewalk_reactor::{Deferred, Local, Reactor};

use super::channel::{Channel, ChannelShared};
use super::core::Phase;
use super::error::fail;
use super::hub::Hub;
use super::lane::Lane;
use super::link::Link;
use super::requests::Request;
use super::{Error, Options, Result};
use crate::codec::method::connection;
use crate::codec::{Secret, ShortStr, TableBuf};

/// How long [`Client::run`] lets the work go on after a signal: it hears at once that its
/// connection is closed, and what else it does is its own affair.
const WORK_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a client begins.
#[derive(Clone, Copy, Debug)]
pub struct Client;

impl Client {
    /// Connects to a broker, by a URI or by [`Options`]. The deferred fires once the connection is
    /// open and the virtual host entered.
    ///
    /// It fails, without another attempt unless [`Reconnect::initially`](super::Reconnect::initially)
    /// asks for that, with [`Error::Uri`], [`Error::Reactor`] (nobody is there),
    /// [`Error::ConnectionClosed`] or [`Error::Refused`] (wrong password or virtual host),
    /// [`Error::TimedOut`] and what else can go wrong in the greeting.
    ///
    /// A connection that is open is closed in order when the reactor is stopped in order.
    pub fn connect<O>(reactor: &mut Reactor, options: O) -> Deferred<Connection>
    where
        O: TryInto<Options>,
        O::Error: Into<Error>,
    {
        Client::connect_from(&reactor.local(), options)
    }

    /// For a program that is nothing but a client: a reactor of its own, a connection, and `work`
    /// on it, with the connection closed in order at the end. SIGINT and SIGTERM close it too.
    ///
    /// ```no_run
    /// # use ropewalk_amqp::client::{Client, Properties, Result};
    /// fn main() -> Result {
    ///     Client::run("amqp://localhost", async |connection| {
    ///         let channel = connection.open_channel().await?;
    ///         channel.publish("", "hello", Properties::new(), "Hello World!")
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect) and of `work`; and [`Error::Closed`] if a signal came
    /// and `work` did not end when the connection did.
    pub fn run<O, W, F, T>(options: O, work: W) -> Result<T>
    where
        O: TryInto<Options>,
        O::Error: Into<Error>,
        W: FnOnce(Connection) -> F + 'static,
        F: Future<Output = Result<T>> + 'static,
        T: 'static,
    {
        let mut reactor = Reactor::new()?;
        reactor.stop_on_signals()?;
        let connecting = Client::connect(&mut reactor, options);
        let outcome = Rc::new(Cell::new(None));
        let told = outcome.clone();
        let working = async move {
            let connection = connecting.await?;
            let result = work(connection.clone()).await;
            connection.close().await?;
            result
        };
        let (ended, has_ended) = reactor.deferred();
        reactor.before_shutdown(move |_| has_ended.timeout(WORK_TIMEOUT));
        reactor.spawn(working).then(move |reactor, result| {
            told.set(Some(result.map_err(Error::from).flatten()));
            ended.succeed(());
            reactor.stop();
        });
        reactor.run()?;
        outcome.take().unwrap_or(Err(Error::Closed))
    }

    /// As [`connect`](Self::connect), for code that holds no reactor: futures, and callbacks of
    /// other connections.
    pub fn connect_from<O>(local: &Local, options: O) -> Deferred<Connection>
    where
        O: TryInto<Options>,
        O::Error: Into<Error>,
    {
        let (promise, deferred) = local.deferred();
        match options.try_into() {
            Err(error) => fail(promise, &error.into()),
            Ok(options) => {
                let hub = Hub::new(local.clone(), options, promise);
                local.call_soon(move |reactor| {
                    let weak = Rc::downgrade(&hub);
                    reactor.before_shutdown(move |_| close_in_order(&weak));
                    Link::attempt(&hub, reactor);
                });
            }
        }
        deferred
    }
}

fn close_in_order(hub: &Weak<Hub>) -> Option<Deferred<()>> {
    let hub = hub.upgrade()?;
    let is_open = hub.core.borrow().is_open();
    is_open.then(|| hub.close())
}

/// What happens to a connection; `Display` puts it in words for a log.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Notice {
    /// The server takes no messages for now, for this reason: publishing piles up.
    Blocked(String),
    /// The server takes messages again.
    Unblocked,
    /// The connection was lost. Another one is being made, unless `Closed` follows.
    Lost(Error),
    /// There is another connection, with channels, topology and consumers as before.
    Recovered,
    /// There is another connection, but the server refused this part of what was there.
    RecoveryFailed {
        /// Such as `queue 'tasks'`.
        what: String,
        /// What the server said.
        error: Error,
    },
    /// A queue that the server names has another name now. This client's own requests may go on
    /// using the old one; others, who answer to it (`reply_to`), have to be told.
    QueueRenamed {
        /// Its name on the lost connection.
        old: String,
        /// Its name now.
        new: String,
    },
    /// There is no connection, and there will be none: the last notice.
    Closed(Error),
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked(reason) => write!(f, "the server blocks publishers: {reason}"),
            Self::Unblocked => f.write_str("the server takes messages again"),
            Self::Lost(error) => write!(f, "lost: {error}"),
            Self::Recovered => f.write_str("recovered"),
            Self::RecoveryFailed { what, error } => {
                write!(f, "after the reconnection, {what} is missing: {error}")
            }
            Self::QueueRenamed { old, new } => write!(f, "queue '{old}' is now '{new}'"),
            Self::Closed(error) => write!(f, "closed: {error}"),
        }
    }
}

/// A connection to a broker. A clone is the same connection.
///
/// It lives until it is [closed](Self::close), by the server for good, or with its reactor;
/// dropping the handles changes nothing, so consumers with callbacks go on.
///
/// When it is lost, it is made again (see [`Reconnect`](super::Reconnect)), and all that was
/// declared, bound and consumed on it is brought back. What was under way fails: requests with
/// the reason, messages that were to be confirmed with [`Error::Unconfirmed`] (they are not sent
/// again: the server may have them). Until it is there again, requests fail at once with
/// [`Error::Reconnecting`].
#[derive(Clone)]
pub struct Connection {
    hub: Rc<Hub>,
}

impl Connection {
    pub(super) fn from_hub(hub: Rc<Hub>) -> Connection {
        Connection { hub }
    }

    /// Opens a channel.
    ///
    /// Fails with [`Error::NoChannelLeft`] when as many are open as the server allows. A channel
    /// stays open until it or the connection is closed.
    pub fn open_channel(&self) -> Deferred<Channel> {
        let (promise, deferred) = self.hub.local.deferred();
        let mut core = self.hub.core.borrow_mut();
        let number = match core.usable().and_then(|()| core.free_number()) {
            Ok(number) => number,
            Err(error) => {
                fail(promise, &error);
                return deferred;
            }
        };
        let shared = Rc::new(ChannelShared::new(self.hub.clone(), number));
        let lane = Lane::new(Some(shared), core.options.max_message_size);
        core.open_lane(number, lane, Request::OpenChannel(promise));
        drop(core);
        self.hub.schedule();
        deferred
    }

    /// The reactor, for futures: to sleep, to spawn, to connect elsewhere.
    #[must_use]
    pub fn local(&self) -> Local {
        self.hub.local.clone()
    }

    /// Closes the connection in order, with all that was published before; or stops trying to get
    /// it back. It never fails: a server that does not answer in time
    /// ([`close_timeout`](Options::close_timeout)) is left.
    pub fn close(&self) -> Deferred<()> {
        self.hub.close()
    }

    /// Fires when there will be no connection any more.
    ///
    /// Fails with the reason, unless it was [closed](Self::close) from here.
    pub fn until_closed(&self) -> Deferred<()> {
        self.hub.until_closed()
    }

    /// Fires once publishing makes sense: the connection is there (again), the server does not
    /// block it, and its output is below the high-water mark. Whoever publishes much awaits this
    /// between messages.
    ///
    /// Fails only when there will be no connection any more.
    #[doc(alias = "drain")]
    pub fn ready(&self) -> Deferred<()> {
        self.hub.ready()
    }

    /// Whether [`ready`](Self::ready) would fire at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.hub.is_writable()
    }

    /// Whether there is a connection, and all of it is there.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.hub.core.borrow().is_open()
    }

    /// Why there will be no connection any more, if so.
    #[must_use]
    pub fn closed(&self) -> Option<Error> {
        match self.hub.core.borrow().phase() {
            Phase::Over(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Calls `callback` with what happens to the connection, in place of an earlier callback.
    pub fn on_notice(&self, callback: impl FnMut(&mut Reactor, Notice) + 'static) {
        self.hub.on_notice(Box::new(callback));
    }

    /// What the server says about itself: product, version, capabilities.
    #[must_use]
    pub fn server_properties(&self) -> TableBuf {
        self.hub.core.borrow().server_properties.clone()
    }

    /// The largest frame in octets, as negotiated.
    #[must_use]
    pub fn frame_max(&self) -> u32 {
        self.hub.core.borrow().limits.frame_max
    }

    /// The most channels, as negotiated.
    #[must_use]
    pub fn channel_max(&self) -> u16 {
        self.hub.core.borrow().limits.channel_max
    }

    /// The interval of heartbeats in seconds, as negotiated; 0 for none.
    #[must_use]
    pub fn heartbeat(&self) -> u16 {
        self.hub.core.borrow().limits.heartbeat
    }

    /// The name that a queue has now which the server named, by any name that it had before.
    #[must_use]
    pub fn current_name(&self, queue: &str) -> String {
        self.hub.core.borrow().topology.current(queue).to_owned()
    }

    /// Replaces a token that runs out (RabbitMQ's extension). `reason` is for its log. Later
    /// connections log in with it too.
    pub fn update_secret(&self, secret: &str, reason: &str) -> Deferred<()> {
        let (promise, deferred) = self.hub.local.deferred();
        let mut core = self.hub.core.borrow_mut();
        if let Err(error) = core.usable() {
            fail(promise, &error);
            return deferred;
        }
        let new_secret = Secret(secret.as_bytes());
        core.send(0, &connection::UpdateSecret { new_secret, reason: ShortStr::cut_text(reason) });
        core.options.password = secret.to_owned();
        core.secrets.push_back(promise);
        drop(core);
        self.hub.schedule();
        deferred
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_open", &self.is_open()).finish_non_exhaustive()
    }
}
