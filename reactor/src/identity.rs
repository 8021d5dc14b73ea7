//! Names for the reactor's slots that can go stale without harm: a slot and a generation, packed
//! into 8 bytes, which is also what the kernel carries for us as the event's token.
//!
//! The one rule: a slot that is used again has another generation, so an old name finds nothing,
//! never a newcomer.

use std::fmt;

use mio::Token;

/// Names one connection of one reactor, for as long as it lives; then it names nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(u64);

impl ConnectionId {
    pub(crate) fn new(slot: usize, generation: u32) -> Self {
        Self((u64::from(generation) << 32) | slot as u64)
    }

    pub(crate) fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionId({}.{})", self.slot(), self.generation())
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}.{}", self.slot(), self.generation())
    }
}

/// Names one listener of one reactor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Counts generations. Seven values are kept back to tell the other kinds of token apart.
#[derive(Debug, Default)]
pub(crate) struct Generations(u32);

/// The generation part of tokens that do not belong to a connection.
const NO_CONNECTION: u32 = 0;
const LISTENER: u32 = u32::MAX;
const ATTEMPT: u32 = u32::MAX - 1;
const ARRIVAL: u32 = u32::MAX - 2;
const DATAGRAM: u32 = u32::MAX - 3;
const CHILD: u32 = u32::MAX - 4;
const PIPE: u32 = u32::MAX - 5;
/// The lowest of them.
const RESERVED: u32 = PIPE;

impl Generations {
    pub(crate) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(1);
        if self.0 >= RESERVED || self.0 == NO_CONNECTION {
            self.0 = 1;
        }
        self.0
    }
}

/// Whose readiness an event tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Connection(ConnectionId),
    Listener(u32),
    Attempt(u32),
    Arrival(u32),
    Datagram(u32),
    Child(u32),
    Pipe(u32),
    Waker,
    Signals,
    ChildSignal,
}

impl Source {
    pub(crate) fn token(self) -> Token {
        let packed = match self {
            Self::Connection(id) => id.0,
            Self::Listener(slot) => (u64::from(LISTENER) << 32) | u64::from(slot),
            Self::Attempt(slot) => (u64::from(ATTEMPT) << 32) | u64::from(slot),
            Self::Arrival(slot) => (u64::from(ARRIVAL) << 32) | u64::from(slot),
            Self::Datagram(slot) => (u64::from(DATAGRAM) << 32) | u64::from(slot),
            Self::Child(slot) => (u64::from(CHILD) << 32) | u64::from(slot),
            Self::Pipe(slot) => (u64::from(PIPE) << 32) | u64::from(slot),
            Self::Waker => 0,
            Self::Signals => 1,
            Self::ChildSignal => 2,
        };
        Token(packed as usize) // 64-bit only, as lib.rs says
    }

    pub(crate) fn of(token: Token) -> Self {
        let packed = token.0 as u64;
        let slot = (packed & 0xffff_ffff) as u32;
        match (packed >> 32) as u32 {
            NO_CONNECTION if slot == 0 => Self::Waker,
            NO_CONNECTION if slot == 1 => Self::Signals,
            NO_CONNECTION => Self::ChildSignal,
            LISTENER => Self::Listener(slot),
            ATTEMPT => Self::Attempt(slot),
            ARRIVAL => Self::Arrival(slot),
            DATAGRAM => Self::Datagram(slot),
            CHILD => Self::Child(slot),
            PIPE => Self::Pipe(slot),
            _ => Self::Connection(ConnectionId(packed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_survives_its_token() {
        for source in [
            Source::Connection(ConnectionId::new(0, 1)),
            Source::Connection(ConnectionId::new(u32::MAX as usize, RESERVED - 1)),
            Source::Listener(0),
            Source::Listener(7),
            Source::Attempt(0),
            Source::Arrival(9),
            Source::Datagram(3),
            Source::Child(4),
            Source::Pipe(5),
            Source::Waker,
            Source::Signals,
            Source::ChildSignal,
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }

    #[test]
    fn generations_wrap_around_the_reserved_ones() {
        let mut generations = Generations(RESERVED - 2);
        assert_eq!(generations.next(), RESERVED - 1);
        assert_eq!(generations.next(), 1);
    }
}
