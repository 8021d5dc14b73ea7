//! A bridge as its users hold it: its beginning, its end, and what both sides share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use log::{info, warn};
use ropewalk_amqp::client::{Properties, Reconnect};
use ropewalk_reactor::{Deferred, Error, Local, Promise, Reactor, Result};
use ropewalk_redis::client::{Client, Subscription};

use crate::channels::ToRedis;
use crate::exchange::{self, ToAmqp};
use crate::{Direction, HEADER, LOG, Options};

/// How long a stop waits for what is under way. A program's own stop takes no longer.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of randomness in the name that stands in [`HEADER`]: no two bridges have the same.
const ID: usize = 8;

/// What a bridge has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Messages that the Redis server has taken.
    pub to_redis: u64,
    /// Messages that went out to the broker.
    pub to_amqp: u64,
    /// Messages that were dropped: too many waited, they were too large, or had a name that cannot be.
    pub dropped: u64,
    /// Messages that were under way to the Redis server when its connection was lost.
    pub unknown: u64,
}

/// A bridge; clones are the same one. It goes on until it is [stopped](Self::stop), or with its
/// reactor; dropping the handles changes nothing.
///
/// Each message is carried at most once: what was under way when a connection was lost is not sent
/// again, and what is published while the bridge itself is away from there is lost to it.
#[derive(Clone)]
pub struct Bridge {
    shared: Rc<Shared>,
}

/// What its two sides have in common.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) local: Local,
    pub(crate) redis: Client,
    pub(crate) properties: Properties,
    pub(crate) to_redis: RefCell<ToRedis>,
    pub(crate) to_amqp: RefCell<ToAmqp>,
    pub(crate) counts: Cell<Counts>,
    /// Its subscription is there, where it has one.
    pub(crate) has_redis: Cell<bool>,
    pub(crate) has_amqp: Cell<bool>,
    pub(crate) is_stopping: Cell<bool>,
    subscription: RefCell<Option<Subscription>>,
    /// The side of AMQP.
    task: RefCell<Option<Deferred<()>>>,
    /// Whoever waits until nothing is under way.
    drained: RefCell<Vec<Promise<()>>>,
    /// Of what has been warned. What ends is taken out again.
    warned: RefCell<BTreeSet<Warning>>,
}

/// Of what is warned once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Warning {
    Name,
    Size,
    /// Until all that waits has gone.
    ForRedis,
    ForAmqp,
}

impl Bridge {
    /// Begins to connect to both, and never ends trying.
    ///
    /// # Errors
    /// [`Error::BadAddress`], and [`Error::Other`] where the system gives no randomness.
    pub fn start(reactor: &mut Reactor, options: Options) -> Result<Self, Error> {
        let mut chance = [0; ID];
        reactor.random(&mut chance).map_err(|error| Error::Other(error.into()))?;
        let id: String = chance.iter().map(|byte| format!("{byte:02x}")).collect();
        let redis = options.redis_options.clone();
        let redis = redis.name(&options.name).delays(options.first_delay, options.max_delay);
        let mut redis = redis.waiting_limit(usize::MAX); // the window has a limit of its own
        if options.direction == Direction::Both {
            redis = redis.without_own();
        }
        let redis = Client::with_options(reactor, options.redis.clone(), redis)?;
        let shared = Rc::new(Shared {
            local: reactor.local(),
            redis,
            properties: Properties::new().header(HEADER, &*id),
            to_redis: RefCell::new(ToRedis::new(options.buffer)),
            to_amqp: RefCell::new(ToAmqp::new(options.buffer)),
            counts: Cell::default(),
            has_redis: Cell::new(false),
            has_amqp: Cell::new(false),
            is_stopping: Cell::new(false),
            subscription: RefCell::default(),
            task: RefCell::default(),
            drained: RefCell::default(),
            warned: RefCell::default(),
            options,
        });
        let weak = Rc::downgrade(&shared);
        // Before the AMQP client's own, which would connect again.
        reactor.before_shutdown(move |_| weak.upgrade().map(|shared| Self { shared }.stop()));
        shared.begin_channels();
        let task = exchange::run(shared.clone());
        *shared.task.borrow_mut() = Some(reactor.spawn(task));
        Ok(Self { shared })
    }

    /// Stops it: takes nothing more, waits for what is under way, for 5 seconds at most, and closes both
    /// connections. It never fails.
    pub fn stop(&self) -> Deferred<()> {
        let shared = self.shared.clone();
        let is_first = !shared.is_stopping.replace(true);
        let subscription = shared.subscription.borrow_mut().take();
        drop(subscription);
        let (promise, drained) = shared.local.deferred();
        // (A stop may come while another is under way.)
        shared.drained.borrow_mut().push(promise);
        shared.look_whether_drained();
        let local = shared.local.clone();
        local.spawn(async move {
            let _ = drained.timeout(STOP_TIMEOUT).await;
            let task = shared.task.borrow_mut().take();
            if let Some(mut task) = task {
                task.cancel();
            }
            shared.redis.close();
            let connection = shared.to_amqp.borrow_mut().connection.take();
            if let Some(connection) = connection {
                let _ = connection.close().await;
            }
            if is_first {
                info!(target: LOG, "{}: stopped: {}", shared.options.name, shared.counts.get());
            }
        })
    }

    /// Whether both sides are there.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.shared.is_joined()
    }

    /// Bytes that wait in it, for Redis and for AMQP, what is under way not among them.
    #[must_use]
    pub fn waiting(&self) -> (usize, usize) {
        (self.shared.to_redis.borrow().waiting(), self.shared.to_amqp.borrow().waiting())
    }

    /// What it has done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.counts.get()
    }
}

impl Shared {
    pub(crate) fn is_joined(&self) -> bool {
        self.has_redis.get() && self.has_amqp.get()
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }

    /// One side is there, or not any more.
    pub(crate) fn note(&self, side: &Cell<bool>, is_there: bool, what: &str) {
        let is_known = side.replace(is_there) == is_there;
        if self.is_stopping.get() {
            return self.look_whether_drained(); // who waits for a side that has gone, waits no more
        }
        if is_known {
            return;
        }
        let Options { name, channels, exchange, redis, .. } = &self.options;
        if !is_there {
            warn!(target: LOG, "{name}: {what}; up to {} bytes wait for it", self.options.buffer);
        } else if self.is_joined() {
            let channels = channels.escape_ascii();
            info!(target: LOG, "{name}: channels {channels} of {redis} and exchange {exchange} are joined");
        }
    }

    /// A message is dropped; the log has the first one.
    pub(crate) fn dropped(&self, warning: Warning, count: usize, why: impl fmt::Display) {
        self.count(|counts| counts.dropped += count as u64);
        if count > 0 && self.warned.borrow_mut().insert(warning) {
            warn!(target: LOG, "{}: messages are dropped: {why}", self.options.name);
        }
    }

    /// What was warned of is over.
    pub(crate) fn is_over(&self, warning: Warning) {
        if self.warned.borrow_mut().remove(&warning) {
            let Counts { dropped, .. } = self.counts.get();
            let name = &self.options.name;
            warn!(target: LOG, "{name}: no more messages are dropped; {dropped} were, so far");
        }
    }

    pub(crate) fn keep(&self, subscription: Subscription) {
        *self.subscription.borrow_mut() = Some(subscription);
    }

    /// Is there once the server has confirmed the subscription.
    pub(crate) fn confirmed(&self) -> Option<Deferred<()>> {
        self.subscription.borrow().as_ref().map(Subscription::confirmed)
    }

    /// Lets a stop go on when nothing is under way, or its other side is not there.
    pub(crate) fn look_whether_drained(&self) {
        let to_redis = self.to_redis.borrow().is_idle() || !self.redis.is_connected();
        let to_amqp = self.to_amqp.borrow().is_idle() || !self.has_amqp.get();
        if to_redis && to_amqp {
            for promise in self.drained.take() {
                promise.succeed(());
            }
        }
    }

    /// How the AMQP client connects: for ever.
    pub(crate) fn reconnect(&self) -> Reconnect {
        let reconnect = Reconnect::default().initially(true);
        reconnect.first_delay(self.options.first_delay).max_delay(self.options.max_delay)
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to_redis, to_amqp, dropped, unknown } = self;
        write!(
            f,
            "{to_amqp} messages to AMQP, {to_redis} to Redis, {dropped} dropped, {unknown} unknown"
        )
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge")
            .field("name", &self.shared.options.name)
            .field("is_joined", &self.is_joined())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
