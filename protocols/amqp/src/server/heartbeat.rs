//! Heartbeats: signs of life both ways, at the client's interval (AMQP 0-9-1 section 4.2.7).
//!
//! One is sent at every half interval; a client that was silent for two whole ones is dropped
//! without a word, as RabbitMQ does. Any octet that comes counts as a sign of life. To a client that
//! an alarm has blocked they are sent as ever, but as long as it is not read it is not silent.

use std::time::Duration;

use log::warn;

use super::LOG;
use super::connection::{Connection, Context, Running, Session, Stage};

/// Whole intervals without an octet after which a client counts as dead. The first may have begun
/// just before its last octet, so this takes between two and three.
const SILENT_INTERVALS: u8 = 2;

/// What is known of a client's life.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    /// Zero is no heartbeats.
    interval: Duration,
    heard: bool,
    /// Whole intervals without an octet.
    silent: u8,
    /// The next beat ends a whole interval, not a half.
    second_half: bool,
}

impl Pulse {
    /// Sets what was negotiated, in seconds.
    pub(crate) fn set_interval(&mut self, seconds: u16) {
        self.interval = Duration::from_secs(seconds.into());
    }

    /// Octets have come.
    #[inline]
    pub(crate) fn heard(&mut self) {
        self.heard = true;
    }

    /// Half an interval has passed; false when the client counts as dead.
    fn beat(&mut self) -> bool {
        let ends_interval = self.second_half;
        self.second_half = !ends_interval;
        if ends_interval {
            let heard = std::mem::take(&mut self.heard);
            self.silent = if heard { 0 } else { self.silent + 1 };
        }
        self.silent < SILENT_INTERVALS
    }
}

impl Session {
    /// Begins to send signs of life, and to listen for them.
    pub(crate) fn start_beating(&self, context: &mut Context<'_, '_>) {
        if !self.pulse.interval.is_zero() {
            context.transport.call_later(self.pulse.interval / 2, Connection::beat);
        }
    }

    pub(crate) fn beat(&mut self, context: &mut Context<'_, '_>) {
        let Stage::Running(Running { key, .. }) = self.stage else { return };
        if context.hub.is_blocked(key) {
            self.pulse.heard(); // nobody listens: what it may have sent counts
        }
        if !self.pulse.beat() {
            let seconds = self.pulse.interval.as_secs();
            warn!(target: LOG, "{}: missed heartbeats, timeout: {seconds}s", self.peer);
            context.transport.abort_connection();
            return;
        }
        // To one who does not read what is there already, another sign of life says nothing.
        if context.transport.buffered() == 0 {
            let mut sink = super::sink::TransportSink(context.transport);
            context.hub.encoder.frames_to(&mut sink, self.frame_max).heartbeat();
        }
        self.start_beating(context);
    }
}
