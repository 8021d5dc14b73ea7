//! How many connections there are, of whom, and what becomes of one too many.
//!
//! The one rule: whoever is let in holds a [`Seat`], and letting go of it is all there is to leaving.
//! So whatever way a connection ends, before or after its birth, it is counted right.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use log::warn;

use super::{Policy, WhenFull};
use crate::address::Address;
use crate::core::{Alarm, Core};
use crate::handle::Handle;
use crate::identity::ListenerId;
use crate::{LOG, Reactor};

/// After the first refusal has been told, the others are told as a number, once in this time.
const SAID_AGAIN: Duration = Duration::from_secs(60);

/// Who has a seat, and who waits for one.
#[derive(Default)]
pub(crate) struct Seats {
    taken: usize,
    /// Only if there is a limit for each peer; no peer without a seat is in it.
    of_peers: BTreeMap<Peer, usize>,
    /// Listeners that accept again when somebody has left.
    waiting: Vec<(Handle, ListenerId)>,
    /// The first refusal was told, and these have come since.
    refused_since: Option<u64>,
}

impl Seats {
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }
}

/// The leading bits of an address that say who somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    V4(u32),
    V6(u128),
}

/// The right to be there. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Seat {
    policy: Policy,
    peer: Option<Peer>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// There are as many connections as there may be.
    All(usize),
    /// This peer has as many as one may have.
    OfPeer(usize),
}

impl Seat {
    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Counts it as one of `peer`'s, once it is known who that is.
    pub(crate) fn belongs_to(&mut self, peer: &Address) -> Result<(), Full> {
        let limits = self.policy.limits();
        let (Some(most), Some(ip)) = (limits.max_per_peer, peer.ip()) else { return Ok(()) };
        let peer = Peer::of(ip, limits.ipv4_prefix, limits.ipv6_prefix);
        let mut seats = self.policy.seats();
        let count = seats.of_peers.get(&peer).copied().unwrap_or(0);
        if count >= most {
            return Err(Full::OfPeer(most));
        }
        seats.of_peers.insert(peer, count + 1);
        drop(seats);
        self.peer = Some(peer);
        Ok(())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.policy.seats();
        seats.taken -= 1;
        if let Some(peer) = self.peer
            && let Some(count) = seats.of_peers.get_mut(&peer)
        {
            *count -= 1;
            if *count == 0 {
                seats.of_peers.remove(&peer);
            }
        }
        let has_room = self.policy.limits().max_connections.is_none_or(|most| seats.taken < most);
        let waiting = if has_room { std::mem::take(&mut seats.waiting) } else { Vec::new() };
        drop(seats);
        for (reactor, listener) in waiting {
            // One that has gone has no listeners either.
            let _ = reactor.call_from_thread(move |reactor| reactor.seat_is_free(listener));
        }
    }
}

impl Peer {
    fn of(ip: IpAddr, ipv4_prefix: u8, ipv6_prefix: u8) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let bits = u32::MAX.checked_shl(32 - u32::from(ipv4_prefix)).unwrap_or(0);
                Self::V4(Ipv4Addr::to_bits(ip) & bits)
            }
            IpAddr::V6(ip) => {
                let bits = u128::MAX.checked_shl(128 - u32::from(ipv6_prefix)).unwrap_or(0);
                Self::V6(Ipv6Addr::to_bits(ip) & bits)
            }
        }
    }
}

impl Policy {
    /// A seat, if there is one.
    fn seat(&self) -> Result<Seat, Full> {
        let mut seats = self.seats();
        match self.limits().max_connections {
            Some(most) if seats.taken >= most => Err(Full::All(most)),
            _ => {
                seats.taken += 1;
                Ok(Seat { policy: self.clone(), peer: None })
            }
        }
    }

    /// A seat for a connection that is made from here.
    pub(crate) fn seat_without_limit(&self) -> Seat {
        self.seats().taken += 1;
        Seat { policy: self.clone(), peer: None }
    }

    /// A seat, or, if there is none, the promise that the listener is told when there is one.
    fn seat_or_wait(&self, reactor: Handle, listener: ListenerId) -> Option<Seat> {
        let mut seats = self.seats();
        if self.limits().max_connections.is_some_and(|most| seats.taken >= most) {
            seats.waiting.push((reactor, listener));
            return None;
        }
        seats.taken += 1;
        Some(Seat { policy: self.clone(), peer: None })
    }
}

/// How the next caller of a listener comes in, if there is one.
pub(crate) enum Entrance {
    /// Without a policy: as he is.
    Free,
    /// To this seat. He would have to wait for one where he is, so it was looked for first.
    Kept(Seat),
    /// To a seat of this policy, or out again. It is looked for when he is there: until then it
    /// would be taken from the callers of other listeners.
    Asking(Policy),
}

impl Entrance {
    /// The seat of a caller who is there now, or why he has none.
    pub(crate) fn seat(self) -> Result<Option<Seat>, Full> {
        match self {
            Self::Free => Ok(None),
            Self::Kept(seat) => Ok(Some(seat)),
            Self::Asking(policy) => policy.seat().map(Some),
        }
    }
}

impl Core {
    /// How somebody may be accepted; `None` leaves him where he is.
    pub(crate) fn entrance(&mut self, id: ListenerId) -> Option<Entrance> {
        let listener = self.listeners.get_mut(id.slot as usize);
        let listener = listener.filter(|listener| listener.id == id)?;
        let Some(policy) = &listener.policy else { return Some(Entrance::Free) };
        if policy.limits().when_full == WhenFull::Refuse {
            return Some(Entrance::Asking(policy.clone()));
        }
        if listener.waits_for_seat {
            return None;
        }
        let seat = policy.seat_or_wait(Handle::new(&self.shared), id);
        listener.waits_for_seat = seat.is_none();
        seat.map(Entrance::Kept)
    }

    /// Somebody is not let in: counted each time, told the first time.
    pub(crate) fn refused(&mut self, listener: ListenerId, peer: &Address, full: Full) {
        let found = self.listener(listener).and_then(|listener| listener.policy.clone());
        let Some(policy) = found else { return };
        policy.count_refused();
        let mut seats = policy.seats();
        if let Some(more) = &mut seats.refused_since {
            *more += 1;
            return;
        }
        seats.refused_since = Some(0);
        drop(seats);
        match full {
            Full::All(most) => warn!(
                target: LOG,
                "{peer}: closed, since there are {most} connections, which is the limit",
            ),
            Full::OfPeer(most) => warn!(
                target: LOG,
                "{peer}: closed, since there are {most} connections of this peer, which is the limit",
            ),
        }
        let deadline = self.clock.after(SAID_AGAIN);
        self.timers.insert(deadline, Alarm::Refused(policy));
    }

    /// A while ago it was told that somebody was refused: tells how many more have been since.
    pub(crate) fn tell_refused(&mut self, policy: Policy) {
        let mut seats = policy.seats();
        match seats.refused_since.take() {
            None | Some(0) => {}
            Some(more) => {
                seats.refused_since = Some(0);
                drop(seats);
                warn!(target: LOG, "{more} more connections were closed, since there were too many");
                let deadline = self.clock.after(SAID_AGAIN);
                self.timers.insert(deadline, Alarm::Refused(policy));
            }
        }
    }
}

impl Reactor {
    fn seat_is_free(&mut self, id: ListenerId) {
        let core = self.core_mut();
        if let Some(listener) = core.listener(id) {
            listener.waits_for_seat = false;
            core.accept(id); // its edge is spent
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str, ipv4_prefix: u8, ipv6_prefix: u8) -> Peer {
        Peer::of(ip.parse().expect("an address"), ipv4_prefix, ipv6_prefix)
    }

    #[test]
    fn the_leading_bits_say_who_somebody_is() {
        for (one, other, prefixes, same) in [
            ("10.0.0.1", "10.0.0.1", (32, 64), true),
            ("10.0.0.1", "10.0.0.2", (32, 64), false),
            ("10.0.0.1", "10.0.0.2", (24, 64), true),
            ("10.0.0.1", "10.0.1.1", (24, 64), false),
            ("10.0.0.1", "192.0.2.1", (0, 64), true),
            ("10.0.0.1", "::ffff:10.0.0.1", (32, 64), true),
            ("2001:db8::1", "2001:db8::ffff:1", (32, 64), true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", (32, 64), false),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", (32, 48), true),
            ("2001:db8::1", "2001:db8::2", (32, 128), false),
            ("2001:db8::1", "::1", (32, 0), true),
            ("::1", "0.0.0.1", (0, 0), false),
        ] {
            let (ipv4, ipv6) = prefixes;
            let (one, other) = (peer(one, ipv4, ipv6), peer(other, ipv4, ipv6));
            assert_eq!(one == other, same, "{one:?}, {other:?}");
        }
    }

    #[test]
    fn a_listener_that_may_refuse_takes_no_seat_before_somebody_calls() {
        let mut simulation = crate::Simulation::calm();
        let policy = Policy::new().max_connections(1);
        let options = crate::ListenOptions::default().policy(policy.clone());
        let reactor = simulation.reactor();
        let nobody = |_: Address| None::<Nobody>;
        let listener = reactor.listen_with(options, "10.0.0.1:7", nobody).expect("free");
        let looking = reactor.core_mut().entrance(listener).expect("it may accept");
        // Somebody else's caller comes meanwhile.
        let other = policy.seat().expect("nobody has it");
        assert_eq!(looking.seat().err(), Some(Full::All(1)));
        drop(other);
        assert_eq!(policy.counts().connections, 0);
    }

    struct Nobody;

    impl crate::Protocol for Nobody {
        fn data_received(
            &mut self,
            _: &mut crate::Transport<'_>,
            _: &mut bytes::BytesMut,
        ) -> crate::Result {
            Ok(())
        }
    }

    #[test]
    fn what_is_given_back_is_there_again() {
        let policy = Policy::new().max_connections(2).max_connections_per_peer(1);
        let address = Address::Tcp(([10, 0, 0, 1], 1).into());
        let mut one = policy.seat().expect("there is one");
        let mut other = policy.seat().expect("there is one");
        assert_eq!(policy.seat().err(), Some(Full::All(2)));
        assert_eq!(one.belongs_to(&address), Ok(()));
        assert_eq!(other.belongs_to(&address), Err(Full::OfPeer(1)));
        drop(one);
        assert_eq!(other.belongs_to(&address), Ok(()));
        assert_eq!(policy.counts().connections, 1);
        drop(other);
        assert!(policy.seats().of_peers.is_empty());
        assert_eq!(policy.counts().connections, 0);
    }
}
