//! TLS as a filter of a connection: what waits on either side of the session, and what its end
//! means.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};

use crate::filter::{Received, Waiting};
use crate::output::Output;
use crate::protocol::Reason;
use crate::timer::TimerId;

use super::Side;
use super::failure::Failure;
use super::info::Info;
use super::session::Session;

/// Sealed for one connection in one turn: four full records. What waits behind it stays as it was
/// written; large payloads are never held twice, and nobody waits while another's is encrypted.
const SEALED_A_TURN: usize = 64 * 1024;

/// TLS on one connection.
pub(crate) struct TlsFilter {
    session: Session,
    /// Written and not yet sealed.
    plain: Option<Box<Output>>,
    /// Part of a record; right-sized, so that an idle connection holds no buffer.
    wire: BytesMut,
    /// `wire` has never been looked at: it came before TLS began.
    unseen: bool,
    stage: Stage,
    /// The peer's close_notify came.
    ended: bool,
    /// Ours is sealed.
    said_goodbye: bool,
    handshake_timeout: Duration,
    timer: Option<TimerId>,
    waiting: Option<Box<Waiting>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Handshaking,
    Established,
    Dead,
}

impl TlsFilter {
    /// Begins a session. A client's first words go into `output`.
    pub(crate) fn new(side: Side, output: &mut Output) -> Result<Self, rustls::Error> {
        let handshake_timeout = side.handshake_timeout();
        let mut session = Session::new(side)?;
        session.greet(output.tail_mut())?;
        Ok(Self {
            session,
            plain: None,
            wire: BytesMut::new(),
            unseen: false,
            stage: Stage::Handshaking,
            ended: false,
            said_goodbye: false,
            handshake_timeout,
            timer: None,
            waiting: None,
        })
    }

    /// How long the handshake may take.
    pub(crate) fn handshake_timeout(&self) -> Duration {
        self.handshake_timeout
    }

    /// What was agreed on; `None` before it was.
    pub(crate) fn info(&self) -> Option<Info<'_>> {
        self.session.info()
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.stage == Stage::Handshaking
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.stage == Stage::Dead
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    pub(crate) fn has_input(&self) -> bool {
        self.unseen || self.ended
    }

    pub(crate) fn cut_off(&self) -> Option<Reason> {
        match self.stage {
            Stage::Handshaking => Some(Reason::Tls(Rc::new(Failure::HandshakeCutOff))),
            Stage::Established if !self.ended => Some(Reason::Truncated),
            Stage::Established | Stage::Dead => None,
        }
    }

    pub(crate) fn begin_with(&mut self, wire: BytesMut) {
        self.unseen |= !wire.is_empty();
        self.wire = wire;
    }

    pub(crate) fn take_wire(&mut self, wire: &mut BytesMut) -> bool {
        wire.extend_from_slice(&std::mem::take(&mut self.wire));
        std::mem::take(&mut self.unseen)
    }

    pub(crate) fn keep_wire(&mut self, wire: &[u8]) {
        self.wire = BytesMut::from(wire);
    }

    pub(crate) fn receive(
        &mut self,
        wire: &mut BytesMut,
        data: &mut BytesMut,
        output: &mut Output,
    ) -> Received {
        if self.stage == Stage::Dead {
            wire.clear();
            return Received::default();
        }
        let outcome = self.session.receive(wire, data, output.tail_mut());
        wire.advance(outcome.used);
        if outcome.ended {
            // What comes behind the peer's last words is to be ignored (RFC 8446 §6.1).
            self.ended = true;
            wire.clear();
        }
        let completed = self.stage == Stage::Handshaking && self.session.is_established();
        if completed {
            self.stage = Stage::Established;
        }
        let failure = outcome.failure.map(|error| {
            wire.clear();
            let failure = match self.stage {
                Stage::Handshaking => Failure::Handshake(error),
                _ => Failure::Stream(error),
            };
            Reason::Tls(Rc::new(failure))
        });
        Received { completed, failure }
    }

    pub(crate) fn seal(&mut self, output: &mut Output, last: bool) -> Result<(), Reason> {
        if self.stage != Stage::Established {
            return Ok(());
        }
        let broken = |error| Reason::Tls(Rc::new(Failure::Stream(error)));
        let mut share = SEALED_A_TURN.saturating_sub(output.len());
        if let Some(plain) = &mut self.plain {
            while share > 0 && !plain.is_empty() {
                let chunk = plain.first().map_err(|failure| Reason::File(Rc::new(failure)))?;
                let part = &chunk[..chunk.len().min(share)];
                self.session.seal(&mut self.wire, part, output.tail_mut()).map_err(broken)?;
                let sealed = part.len();
                plain.advance(sealed);
                share -= sealed;
            }
        }
        if last && self.buffered() == 0 && self.owes_last_words() {
            self.said_goodbye = true;
            self.session.say_goodbye(&mut self.wire, output.tail_mut()).map_err(broken)?;
        }
        Ok(())
    }

    pub(crate) fn plain(&mut self) -> &mut Option<Box<Output>> {
        &mut self.plain
    }

    pub(crate) fn buffered(&self) -> usize {
        self.plain.as_ref().map_or(0, |plain| plain.len())
    }

    pub(crate) fn unsent(&self) -> usize {
        self.plain.as_ref().map_or(0, |plain| plain.total())
    }

    pub(crate) fn owes_last_words(&self) -> bool {
        self.stage == Stage::Established && !self.said_goodbye
    }

    pub(crate) fn die(&mut self) {
        self.stage = Stage::Dead;
        self.wire = BytesMut::new();
        self.unseen = false;
    }

    pub(crate) fn timer(&mut self) -> &mut Option<TimerId> {
        &mut self.timer
    }

    pub(crate) fn timed_out(&self) -> Option<Reason> {
        let failure = Failure::HandshakeTimedOut(self.handshake_timeout);
        self.is_handshaking().then(|| Reason::Tls(Rc::new(failure)))
    }

    pub(crate) fn waiting(&mut self) -> &mut Option<Box<Waiting>> {
        &mut self.waiting
    }
}

impl fmt::Debug for TlsFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsFilter({:?})", self.stage)
    }
}
