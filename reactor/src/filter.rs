//! What rewrites the bytes of a connection on their way between the socket and the protocol. It
//! sits inside the connection, not around the protocol: so it also covers what others write, works
//! once a flush, and can begin in mid-stream. TLS is the only one so far.
//!
//! The one rule: a filter knows no socket and calls nobody. It is given bytes of the wire and gives
//! bytes for the protocol, and the other way round; the reactor does the rest.

use std::time::Duration;

use bytes::BytesMut;

use crate::deferred::Promise;
use crate::output::Output;
use crate::protocol::Reason;
use crate::timer::TimerId;
#[cfg(feature = "_tls")]
use crate::tls::filter::TlsFilter;
use crate::{ConnectionId, Endpoint};

/// The filter of one connection. Without a feature that has one, it is a type without values.
#[derive(Debug)]
pub(crate) enum Filter {
    #[cfg(feature = "_tls")]
    Tls(TlsFilter),
}

/// What came of bytes from the wire, besides bytes for the protocol.
#[derive(Debug, Default)]
pub(crate) struct Received {
    /// The handshake is done, just now.
    pub(crate) completed: bool,
    /// The stream cannot go on. What was received before it is good.
    pub(crate) failure: Option<Reason>,
}

/// Who asked for a connection, and is told when its handshake is done.
pub(crate) struct Waiting {
    pub(crate) promise: Promise<ConnectionId>,
    pub(crate) endpoint: Endpoint,
}

/// Hands a call on to the filter that it is. (Matching by value lets the type without values pass.)
macro_rules! each {
    ($self:ident, $filter:ident => $call:expr) => {
        match *$self {
            #[cfg(feature = "_tls")]
            Self::Tls(ref $filter) => $call,
        }
    };
    (mut $self:ident, $filter:ident => $call:expr) => {
        match *$self {
            #[cfg(feature = "_tls")]
            Self::Tls(ref mut $filter) => $call,
        }
    };
}

#[cfg_attr(not(feature = "_tls"), expect(unused_variables, reason = "there is no filter to ask"))]
impl Filter {
    /// Nothing can be handed to the protocol, or sent for it, until both sides have agreed.
    pub(crate) fn is_handshaking(&self) -> bool {
        each!(self, filter => filter.is_handshaking())
    }

    /// It has failed: nothing passes any more, in either direction.
    pub(crate) fn is_dead(&self) -> bool {
        each!(self, filter => filter.is_dead())
    }

    /// The peer has said that nothing more comes.
    pub(crate) fn is_ended(&self) -> bool {
        each!(self, filter => filter.is_ended())
    }

    /// There is something to look at although the socket may have nothing.
    pub(crate) fn has_input(&self) -> bool {
        each!(self, filter => filter.has_input())
    }

    /// What the peer's FIN means if it came now: `None` if it was announced.
    pub(crate) fn cut_off(&self) -> Option<Reason> {
        each!(self, filter => filter.cut_off())
    }

    /// Bytes of the wire that came before the filter, for it to begin with.
    pub(crate) fn begin_with(&mut self, wire: BytesMut) {
        each!(mut self, filter => filter.begin_with(wire));
    }

    /// Puts what was left of the wire in front; true if it was never looked at.
    pub(crate) fn take_wire(&mut self, wire: &mut BytesMut) -> bool {
        each!(mut self, filter => filter.take_wire(wire))
    }

    /// Keeps the rest of the wire, a part of a record, until there is more.
    pub(crate) fn keep_wire(&mut self, wire: &[u8]) {
        each!(mut self, filter => filter.keep_wire(wire));
    }

    /// From the wire: takes all that is whole out of `wire`, puts what is for the protocol behind
    /// `data`, and what has to be answered into `output`.
    pub(crate) fn receive(
        &mut self,
        wire: &mut BytesMut,
        data: &mut BytesMut,
        output: &mut Output,
    ) -> Received {
        each!(mut self, filter => filter.receive(wire, data, output))
    }

    /// To the wire: a turn's share of what was written. With `last`, the closing words behind the
    /// last of it.
    pub(crate) fn seal(&mut self, output: &mut Output, last: bool) -> Result<(), Reason> {
        each!(mut self, filter => filter.seal(output, last))
    }

    /// What was written and has not been sealed.
    pub(crate) fn plain(&mut self) -> &mut Option<Box<Output>> {
        each!(mut self, filter => filter.plain())
    }

    /// Bytes that were written and have not been sealed.
    pub(crate) fn buffered(&self) -> usize {
        each!(self, filter => filter.buffered())
    }

    /// The same, with all bytes of files.
    pub(crate) fn unsent(&self) -> usize {
        each!(self, filter => filter.unsent())
    }

    /// Whether closing has to say something to the peer first.
    pub(crate) fn owes_last_words(&self) -> bool {
        each!(self, filter => filter.owes_last_words())
    }

    /// It is given up: see [`is_dead`](Self::is_dead).
    pub(crate) fn die(&mut self) {
        each!(mut self, filter => filter.die());
    }

    /// The timer that bounds the handshake.
    pub(crate) fn timer(&mut self) -> &mut Option<TimerId> {
        each!(mut self, filter => filter.timer())
    }

    /// What a TLS session has agreed on.
    #[cfg(feature = "_tls")]
    pub(crate) fn tls(&self) -> Option<crate::tls::Info<'_>> {
        each!(self, filter => filter.info())
    }

    /// How long the handshake may take.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        each!(self, filter => filter.handshake_timeout())
    }

    /// What it means that this time has passed: `None` if the handshake is done.
    pub(crate) fn timed_out(&self) -> Option<Reason> {
        each!(self, filter => filter.timed_out())
    }

    /// Who waits for the handshake.
    pub(crate) fn waiting(&mut self) -> &mut Option<Box<Waiting>> {
        each!(mut self, filter => filter.waiting())
    }
}
