//! Between accepting and birth: a connection that a proxy passes on begins with a header that
//! names the client (the PROXY protocol). Until it is there nobody knows who calls, so there is no
//! protocol yet.
//!
//! The one rule: what arrives is looked at where it lies, in the kernel, and only the header is
//! taken out. Whatever comes behind it, in the same packet too, is received as on any other
//! connection.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use log::{debug, warn};

use crate::LOG;
use crate::address::Address;
use crate::core::{Alarm, Birth, Core};
use crate::identity::{ListenerId, Source};
use crate::policy::seats::Seat;
use crate::proxy::{self, Progress};
use crate::socket::Stream;
use crate::timer::TimerId;

/// An accepted connection whose header is still to come.
pub(crate) struct Arrival {
    generation: u32,
    listener: ListenerId,
    stream: Stream,
    /// Who the socket says it is: the proxy.
    peer: Address,
    seat: Option<Seat>,
    deadline: TimerId,
    /// The beginning of the header, as far as it has come; below `proxy::MOST` bytes.
    header: Vec<u8>,
}

impl Core {
    /// Waits for the header of an accepted connection, for `limit` at most.
    pub(crate) fn arrive(
        &mut self,
        listener: ListenerId,
        mut stream: Stream,
        peer: Address,
        seat: Option<Seat>,
        limit: Duration,
    ) {
        let slot = self.arrivals.vacant_key() as u32;
        if let Err(failure) = self.network.register(&mut stream, Source::Arrival(slot)) {
            return warn!(target: LOG, "{peer}: closed, since the poller refused it: {failure}");
        }
        let generation = self.generations.next();
        let alarm = Alarm::Arrival(slot, generation, limit);
        let deadline = self.timers.insert(self.clock.after(limit), alarm);
        self.arrivals.insert(Arrival {
            generation,
            listener,
            stream,
            peer,
            seat,
            deadline,
            header: Vec::new(),
        });
    }

    /// News of an arrival: its header is there, or more of it, or it will never be.
    pub(crate) fn arrival_moved(&mut self, slot: u32) {
        let Some(arrival) = self.arrivals.get_mut(slot as usize) else { return };
        match arrival.look() {
            Ok(None) => {}
            Ok(Some(peer)) => {
                let Some(arrival) = self.forget_arrival(slot) else { return };
                let Arrival { listener, stream, peer: proxy, seat, .. } = arrival;
                let peer = match peer {
                    Some(peer) => {
                        debug!(target: LOG, "{peer}: passed on by {proxy}");
                        peer
                    }
                    None => proxy, // its own connection, or it tells nothing
                };
                self.births.push_back(Birth::Arrived { listener, stream, peer, seat });
            }
            Err(end) => {
                let Some(arrival) = self.forget_arrival(slot) else { return };
                match end {
                    // As whoever only looks whether the port is open does.
                    End::Gone => debug!(target: LOG, "{}: went without a word", arrival.peer),
                    End::Malformed(problem) => warn!(
                        target: LOG,
                        "{}: closed, since its PROXY header is wrong: {problem}",
                        arrival.peer,
                    ),
                }
            }
        }
    }

    pub(crate) fn arrival_timed_out(&mut self, slot: u32, generation: u32, limit: Duration) {
        let found = self.arrivals.get(slot as usize);
        if found.is_some_and(|arrival| arrival.generation == generation)
            && let Some(arrival) = self.forget_arrival(slot)
        {
            warn!(
                target: LOG,
                "{}: closed, since no PROXY header came within {limit:?}",
                arrival.peer,
            );
        }
    }

    /// Closes the arrivals of a listener that is closed.
    pub(crate) fn close_arrivals(&mut self, of: ListenerId) {
        let closed = self.arrivals.iter().filter(|(_, arrival)| arrival.listener == of);
        for slot in closed.map(|(slot, _)| slot as u32).collect::<Vec<_>>() {
            self.forget_arrival(slot);
        }
    }

    fn forget_arrival(&mut self, slot: u32) -> Option<Arrival> {
        let arrival = self.arrivals.try_remove(slot as usize)?;
        self.timers.cancel(arrival.deadline);
        Some(arrival)
    }
}

/// Why no header will come.
enum End {
    /// The peer has closed or reset the connection and said nothing.
    Gone,
    Malformed(&'static str),
}

impl Arrival {
    /// Looks at what has arrived. Once the header is whole, its client (which it may not name).
    fn look(&mut self) -> Result<Option<Option<Address>>, End> {
        loop {
            let before = self.header.len();
            self.header.resize(proxy::MOST, 0);
            let peeked = self.stream.peek(&mut self.header[before..]);
            self.header.truncate(before + peeked.as_ref().map_or(0, |count| *count));
            match peeked {
                Ok(0) if before == 0 => return Err(End::Gone),
                Ok(0) => return Err(End::Malformed("it ends in the middle")),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(_) => return Err(End::Gone),
            }
            match proxy::read(&self.header) {
                // Then all of this is header, and can be taken: there may be more behind it.
                Ok(Progress::Incomplete) => self.take(self.header.len() - before)?,
                Ok(Progress::Whole { length, peer }) => {
                    self.take(length - before)?;
                    return Ok(Some(peer));
                }
                Err(problem) => return Err(End::Malformed(problem)),
            }
        }
    }

    /// Takes the first `count` bytes out of what was looked at.
    fn take(&mut self, count: usize) -> Result<(), End> {
        let mut taken = BytesMut::with_capacity(count);
        while taken.len() < count {
            let missing = count - taken.len();
            match self.stream.recv(&mut taken, missing) {
                Ok(more) if more > 0 => {}
                _ => return Err(End::Gone), // reset in between
            }
        }
        Ok(())
    }
}
