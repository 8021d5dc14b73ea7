//! A client that connects again, for as long as it is wanted: after a loss, and after a failure,
//! with a delay that grows and is never the same for two clients.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use log::{debug, warn};

use crate::address::Address;
use crate::endpoint::{Endpoint, IntoEndpoint};
use crate::local::Local;
use crate::options::ConnectOptions;
use crate::protocol::Reason;
use crate::{ConnectionId, Deferred, Error, Factory, LOG, Reactor};

/// Twisted's `initialDelay`: long enough for a server that restarts, short enough for a person.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// A service that was away for an hour is found again within a minute. (Twisted waits an hour.)
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Keeps a connection: connects, and when the connection fails or is lost, waits and connects
/// again.
///
/// The delay before the attempt *n* is drawn between half of and the whole of
/// `first_delay` × 2ⁿ, and is never above `max_delay`; so a thousand clients of a server that
/// restarts do not come back at once. A connection that has held for longer than the last delay
/// begins the count anew. (One that is accepted and closed at once, by a proxy whose server is
/// down, say, counts as a failure.)
///
/// ```
/// # use ropewalk_reactor::{Protocol, Reactor, ReconnectingClient, Result, Transport};
/// # use bytes::BytesMut;
/// # struct Client;
/// # impl Protocol for Client {
/// #     fn data_received(&mut self, _: &mut Transport<'_>, _: &mut BytesMut) -> Result { Ok(()) }
/// # }
/// # fn main() -> Result {
/// let mut reactor = Reactor::new()?;
/// let client = ReconnectingClient::new("127.0.0.1:7007")?;
/// let mut client = client.start(&mut reactor, |_| Client);
/// // …
/// client.cancel(); // or .forget() above, to keep it for as long as the reactor runs
/// # Ok(())
/// # }
/// ```
#[doc(alias = "ReconnectingClientFactory")]
#[derive(Debug, Clone)]
pub struct ReconnectingClient {
    endpoint: Endpoint,
    options: ConnectOptions,
    first_delay: Duration,
    max_delay: Duration,
    max_attempts: u32,
}

impl ReconnectingClient {
    /// A client of `endpoint`; nothing happens until it is [started](Self::start).
    ///
    /// # Errors
    /// [`Error::BadAddress`].
    pub fn new(endpoint: impl IntoEndpoint) -> Result<Self, Error> {
        let endpoint = endpoint.into_endpoint()?;
        endpoint.check_stream()?;
        endpoint.check_connectable()?;
        Ok(Self {
            endpoint,
            options: ConnectOptions::default(),
            first_delay: FIRST_DELAY,
            max_delay: MAX_DELAY,
            max_attempts: u32::MAX,
        })
    }

    /// How to connect each time.
    #[must_use]
    pub fn options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// The longest that the first attempt after a loss waits (1 s).
    #[must_use]
    #[doc(alias = "initialDelay")]
    pub fn first_delay(mut self, delay: Duration) -> Self {
        self.first_delay = delay;
        self
    }

    /// The longest that any attempt waits (60 s).
    #[must_use]
    #[doc(alias = "maxDelay")]
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// Gives up after so many failures in a row (never).
    #[must_use]
    #[doc(alias = "maxRetries")]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts.max(1);
        self
    }

    /// Begins to connect, and gives each connection a protocol from `factory`.
    ///
    /// The deferred has a result when it is over: the last error, once there were
    /// [`max_attempts`](Self::max_attempts), or [`Error::Stopped`] with the reactor. Cancelling it
    /// ends all attempts and leaves a connection that is there alone; dropping it lets the client
    /// go on.
    #[doc(alias = "stopTrying")]
    pub fn start(self, reactor: &mut Reactor, factory: impl Factory) -> Deferred<Error> {
        let (local, factory) = (reactor.local(), Rc::new(RefCell::new(factory)));
        reactor.spawn(self.run(local, factory))
    }

    async fn run<F: Factory>(self, local: Local, factory: Rc<RefCell<F>>) -> Error {
        // Failures and waits in a row.
        let (mut failed, mut waited) = (0, 0);
        let mut delay = Duration::ZERO;
        loop {
            let error = match self.connect(&local, factory.clone()).await {
                Ok((id, since)) => {
                    let lost = local.call(move |reactor| reactor.when_lost(id));
                    let reason = match lost.await {
                        Ok(lost) => lost.await,
                        Err(error) => return error,
                    };
                    if let Ok(Reason::Stopped) = reason {
                        return Error::Stopped;
                    }
                    match local.call(move |reactor| reactor.now().duration_since(since)).await {
                        Ok(held) if held > delay => (failed, waited) = (0, 0),
                        Ok(_) => failed += 1,
                        Err(error) => return error,
                    }
                    match reason {
                        Ok(reason) => Error::Other(reason.to_string().into()),
                        Err(error) => error,
                    }
                }
                Err(error) => {
                    failed += 1;
                    error
                }
            };
            if matches!(error, Error::Stopped) {
                return error;
            }
            if failed >= self.max_attempts {
                warn!(target: LOG, "{}: {error}; that was the last attempt", self.endpoint);
                return error;
            }
            delay = self.delay(&local, waited).await;
            waited = waited.saturating_add(1);
            warn!(target: LOG, "{}: {error}; connecting again in {delay:.1?}", self.endpoint);
            if let Err(error) = local.sleep(delay).await {
                return error;
            }
        }
    }

    /// Connects once; and when that was.
    async fn connect<F: Factory>(
        &self,
        local: &Local,
        factory: Rc<RefCell<F>>,
    ) -> Result<(ConnectionId, Instant), Error> {
        let (endpoint, options) = (self.endpoint.clone(), self.options.clone());
        // One attempt at a time, so nobody else borrows it.
        let factory = move |peer: Address| factory.borrow_mut().build_protocol(peer);
        let connecting =
            local.call(move |reactor| reactor.connect_with(options, endpoint, factory));
        let id = connecting.await?.await?;
        let now = local.call(|reactor| reactor.now()).await?;
        debug!(target: LOG, "{}: connected", self.endpoint);
        Ok((id, now))
    }

    /// Somewhere from half of the delay before the attempt `attempt` (from 0) to all of it. Where
    /// there is no chance to be had it is all of it.
    async fn delay(&self, local: &Local, attempt: u32) -> Duration {
        let factor = 1_u32.checked_shl(attempt).unwrap_or(u32::MAX);
        let longest = self.first_delay.saturating_mul(factor).min(self.max_delay);
        let drawn = local.call(|reactor| {
            let mut chance = [0; 4];
            reactor.random(&mut chance).map(|()| u32::from_le_bytes(chance))
        });
        let drawn = drawn.await.ok().and_then(Result::ok).unwrap_or(u32::MAX);
        longest.mul_f64(0.5 + f64::from(drawn) / f64::from(u32::MAX) / 2.0)
    }
}
