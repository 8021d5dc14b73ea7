//! What an operator asks of connections, whatever they speak: how long they may be silent, how fast
//! they may be, how many there may be. The reactor sees to it, beneath TLS and the protocol, so a
//! protocol knows nothing of it; a connection without a policy pays for none.
//!
//! [`Policy`] is the list of wishes, and the budget that its connections share; the files of this
//! directory have one subject each.

pub(crate) mod police;
pub(crate) mod rate;
pub(crate) mod rations;
pub(crate) mod seats;
mod timeouts;
pub(crate) mod traffic;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Nanos;
use rate::Rate;
use seats::Seats;
use traffic::TrafficLog;

/// Of an IPv6 address, what one customer commonly has (RFC 6177, RFC 7934): within it he may use as
/// many addresses as he likes.
const IPV6_PREFIX: u8 = 64;

/// Limits that any service can be given: of time, of bytes per second, of connections.
///
/// ```
/// use std::time::Duration;
/// use ropewalk_reactor::{ListenOptions, Policy, Rate};
///
/// let policy = Policy::new()
///     .idle_timeout(Duration::from_secs(300))
///     .max_connections_per_peer(10)
///     .rate_out(Rate::per_second(1 << 20));
/// let options = ListenOptions::default().policy(policy.clone());
/// assert_eq!(policy.counts().connections, 0);
/// ```
///
/// Clones are one policy: given to several listeners, on any number of reactors in this process,
/// what is limited is all of their connections together, and [`counts`](Self::counts) counts these.
/// Whoever sets something on a clone has a policy of its own, whose counts begin at zero.
///
/// Bytes are those of the wire: with TLS the encrypted ones, handshakes included (but not the header
/// of a PROXY protocol, nor what TCP and IP add).
#[derive(Clone)]
pub struct Policy(Arc<Shared>);

/// What the clones of one policy share.
struct Shared {
    limits: Limits,
    state: State,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) read_timeout: Option<Duration>,
    pub(crate) write_timeout: Option<Duration>,
    pub(crate) max_lifetime: Option<Duration>,
    /// Of each connection, by [`Direction`].
    pub(crate) rates: [Option<Rate>; 2],
    /// Of all together, by [`Direction`].
    pub(crate) total_rates: [Option<Rate>; 2],
    pub(crate) max_connections: Option<usize>,
    pub(crate) max_per_peer: Option<usize>,
    pub(crate) when_full: WhenFull,
    pub(crate) ipv4_prefix: u8,
    pub(crate) ipv6_prefix: u8,
    pub(crate) traffic: Option<TrafficLog>,
}

/// What has become of it so far. Other reactors, on their threads, may have the same policy.
#[derive(Default)]
struct State {
    seats: Mutex<Seats>,
    /// When the buckets of all connections together are full again, by [`Direction`].
    full_at: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    refused: AtomicU64,
    timed_out: AtomicU64,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    In = 0,
    Out = 1,
}

/// What becomes of whoever calls while there are
/// [`max_connections`](Policy::max_connections) already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenFull {
    /// The connection is accepted and closed at once: the caller knows, and can go elsewhere.
    #[default]
    Refuse,
    /// Nothing is accepted. Callers wait in the kernel's backlog
    /// ([`backlog`](crate::ListenOptions::backlog)) until a connection has gone; to them it looks
    /// as if the service were slow.
    Wait,
}

/// What a policy has counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Connections that there are now, those included that are closing, and those whose PROXY
    /// header has not come yet.
    pub connections: usize,
    /// Callers who were refused, since there were too many connections.
    pub refused: u64,
    /// Connections that a timeout of the policy has closed.
    pub timed_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes that the kernel took to send.
    pub bytes_out: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy {
    /// A policy without a limit. It counts, though.
    pub fn new() -> Self {
        let limits = Limits {
            idle_timeout: None,
            read_timeout: None,
            write_timeout: None,
            max_lifetime: None,
            rates: [None; 2],
            total_rates: [None; 2],
            max_connections: None,
            max_per_peer: None,
            when_full: WhenFull::default(),
            ipv4_prefix: 32,
            ipv6_prefix: IPV6_PREFIX,
            traffic: None,
        };
        Self::of(limits)
    }

    fn of(limits: Limits) -> Self {
        Self(Arc::new(Shared { limits, state: State::default() }))
    }

    fn with(self, set: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = self.0.limits.clone();
        set(&mut limits);
        Self::of(limits)
    }

    /// Closes a connection on which nothing was sent or received for so long, in order, with
    /// [`Reason::IdleTimeout`](crate::Reason::IdleTimeout).
    ///
    /// Time in which it was held up on this side does not count: while its protocol has paused
    /// reading, or a rate makes it wait.
    #[doc(alias = "setTimeout")]
    #[doc(alias = "TimeoutMixin")]
    #[must_use]
    pub fn idle_timeout(self, limit: Duration) -> Self {
        self.with(|limits| limits.idle_timeout = Some(limit))
    }

    /// Closes a connection on which nothing was received for so long, whatever was sent, in order,
    /// with [`Reason::ReadTimeout`](crate::Reason::ReadTimeout). Time in which it was not read does
    /// not count, as for [`idle_timeout`](Self::idle_timeout), nor if that is since too much waits to be
    /// sent ([`stop_reading_mark`](crate::ConnectionOptions::stop_reading_mark)); neither does that
    /// after the peer's end of input.
    #[must_use]
    pub fn read_timeout(self, limit: Duration) -> Self {
        self.with(|limits| limits.read_timeout = Some(limit))
    }

    /// Aborts a connection whose peer has taken nothing for so long of what waits to be sent, with
    /// [`Reason::WriteTimeout`](crate::Reason::WriteTimeout). Time in which a rate made it wait does
    /// not count.
    #[must_use]
    pub fn write_timeout(self, limit: Duration) -> Self {
        self.with(|limits| limits.write_timeout = Some(limit))
    }

    /// Closes a connection so long after it was made, however busy it is, in order, with
    /// [`Reason::Lifetime`](crate::Reason::Lifetime). What waits to be sent then has
    /// [`flush_timeout`](crate::ConnectionOptions::flush_timeout), all in all; then the connection is
    /// aborted.
    #[must_use]
    pub fn max_lifetime(self, limit: Duration) -> Self {
        self.with(|limits| limits.max_lifetime = Some(limit))
    }

    /// What each connection may receive. Beyond it the reactor stops reading, so the peer's own
    /// sending stops once the kernel's buffers are full.
    #[doc(alias = "ThrottlingFactory")]
    #[must_use]
    pub fn rate_in(self, rate: impl Into<Rate>) -> Self {
        self.with(|limits| limits.rates[Direction::In as usize] = Some(rate.into()))
    }

    /// What each connection may send. What is written beyond it waits in the connection, and counts
    /// for the water marks: a producer is paused as by a slow peer.
    #[must_use]
    pub fn rate_out(self, rate: impl Into<Rate>) -> Self {
        self.with(|limits| limits.rates[Direction::Out as usize] = Some(rate.into()))
    }

    /// What all connections together may receive. Those that have to wait get equal shares, by
    /// turns.
    #[doc(alias = "readLimit")]
    #[must_use]
    pub fn total_rate_in(self, rate: impl Into<Rate>) -> Self {
        self.with(|limits| limits.total_rates[Direction::In as usize] = Some(rate.into()))
    }

    /// What all connections together may send; shared as by [`total_rate_in`](Self::total_rate_in).
    #[doc(alias = "writeLimit")]
    #[must_use]
    pub fn total_rate_out(self, rate: impl Into<Rate>) -> Self {
        self.with(|limits| limits.total_rates[Direction::Out as usize] = Some(rate.into()))
    }

    /// The most connections at a time; what becomes of the next is
    /// [`when_full`](Self::when_full). Connections that are made from here count, and are never
    /// refused.
    #[doc(alias = "LimitTotalConnectionsFactory")]
    #[must_use]
    pub fn max_connections(self, most: usize) -> Self {
        self.with(|limits| limits.max_connections = Some(most))
    }

    /// The most connections of one peer at a time; the next is closed at once. Whoever calls from
    /// the same IPv4 address or the same /64 of IPv6 is one peer (see
    /// [`ipv4_prefix`](Self::ipv4_prefix) and [`ipv6_prefix`](Self::ipv6_prefix)). With the PROXY
    /// protocol, it is the client who is meant. Who calls through a Unix socket is not limited.
    #[doc(alias = "LimitConnectionsByPeer")]
    #[must_use]
    pub fn max_connections_per_peer(self, most: usize) -> Self {
        self.with(|limits| limits.max_per_peer = Some(most))
    }

    /// What becomes of whoever calls while there are
    /// [`max_connections`](Self::max_connections) (refused).
    #[must_use]
    pub fn when_full(self, what: WhenFull) -> Self {
        self.with(|limits| limits.when_full = what)
    }

    /// How many leading bits of an IPv4 address say who the peer is (32; more is taken as that).
    #[must_use]
    pub fn ipv4_prefix(self, bits: u8) -> Self {
        self.with(|limits| limits.ipv4_prefix = bits.min(32))
    }

    /// How many leading bits of an IPv6 address say who the peer is (64; at most 128). An IPv4
    /// address that is written as one of IPv6 counts as IPv4.
    #[must_use]
    pub fn ipv6_prefix(self, bits: u8) -> Self {
        self.with(|limits| limits.ipv6_prefix = bits.min(128))
    }

    /// Writes down all that the connections say: see [`TrafficLog`].
    #[doc(alias = "TrafficLoggingFactory")]
    #[must_use]
    pub fn traffic_log(self, log: TrafficLog) -> Self {
        self.with(|limits| limits.traffic = Some(log))
    }

    /// What was counted so far, in all connections that have this policy or a clone of it.
    pub fn counts(&self) -> Counts {
        let state = &self.0.state;
        let [bytes_in, bytes_out] = state.bytes.each_ref();
        Counts {
            connections: self.seats().taken(),
            refused: state.refused.load(Ordering::Relaxed),
            timed_out: state.timed_out.load(Ordering::Relaxed),
            bytes_in: bytes_in.load(Ordering::Relaxed),
            bytes_out: bytes_out.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Whether both are clones of one.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// (Nothing in there panics half-way.)
    fn seats(&self) -> MutexGuard<'_, Seats> {
        self.0.state.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_bytes(&self, direction: Direction, bytes: usize) {
        self.0.state.bytes[direction as usize].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn count_timeout(&self) {
        self.0.state.timed_out.fetch_add(1, Ordering::Relaxed);
    }

    fn count_refused(&self) {
        self.0.state.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What is left in the bucket of all together. Two reactors may see the same bytes and both take
    /// them: the bucket is in debt then, and nobody gets anything until that is made up for.
    fn level(&self, direction: Direction, rate: Rate, now: Nanos) -> usize {
        rate.level(self.full_at(direction), now)
    }

    fn full_at(&self, direction: Direction) -> Nanos {
        self.0.state.full_at[direction as usize].load(Ordering::Relaxed)
    }

    /// Moves the time at which the bucket of all together is full again.
    fn move_full_at(&self, direction: Direction, to: impl Fn(Nanos) -> Nanos) {
        let full_at = &self.0.state.full_at[direction as usize];
        let _ = full_at.try_update(Ordering::Relaxed, Ordering::Relaxed, |at| Some(to(at)));
    }
}

impl PartialEq for Policy {
    /// Whether both are clones of one.
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for Policy {}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("limits", &self.0.limits)
            .field("counts", &self.counts())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_can_be_shared_with_other_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        shared(&Policy::new());
    }

    #[test]
    fn clones_are_one_policy_until_one_of_them_is_changed() {
        let policy = Policy::new().max_connections(3);
        let clone = policy.clone();
        assert_eq!(policy, clone);
        let other = clone.idle_timeout(Duration::from_secs(1));
        assert_ne!(policy, other);
        assert_eq!(other.limits().max_connections, Some(3));
        assert_eq!(policy.limits().idle_timeout, None);
    }
}
