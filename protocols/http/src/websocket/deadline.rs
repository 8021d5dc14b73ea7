//! What a WebSocket waits for, and until when: a sign of life, an answer to its Close frame, a peer
//! that reads.
//!
//! One timer serves all. It is only set again when it fires too early, or when a deadline comes
//! nearer: a busy connection touches none.

use std::time::Instant;

use ropewalk_reactor::{TimerId, Transport, Written};

use super::connection::Connection;
use super::{Error, WebSocketProtocol};

/// What was waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing was heard: a ping is to be sent.
    Ping,
    /// It was not answered, or a Close frame was not, or the peer takes nothing.
    Failed(Error),
    /// Both sides have closed, and the server leaves the rest to this one.
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct Deadline {
    /// When something came last, or had no need to.
    heard: Option<Instant>,
    /// When a ping was sent that nothing came after.
    pinged: Option<Instant>,
    /// When this side closed.
    closed: Option<Instant>,
    /// Since when output waits above the high-water mark, and how much of it there was.
    stalled: Option<(Instant, usize)>,
    timer: Option<(TimerId, Instant)>,
}

impl Deadline {
    /// Something came from the peer.
    pub(super) fn hear(&mut self, transport: &Transport<'_>) {
        self.heard = Some(transport.now());
        self.pinged = None;
    }

    /// A callback has ended.
    pub(super) fn update(&mut self, connection: &Connection, transport: &mut Transport<'_>) {
        let now = transport.now();
        self.heard.get_or_insert(now);
        if connection.is_close_sent() {
            self.closed.get_or_insert(now);
        }
        match transport.writability() {
            Written::AboveHighWater => {
                let buffered = transport.buffered();
                if self.stalled.is_none_or(|(_, before)| buffered < before) {
                    self.stalled = Some((now, buffered));
                }
            }
            _ => {
                if self.stalled.take().is_some() {
                    // A ping that waited behind all that is on its way only now.
                    self.heard = Some(now);
                    self.pinged = None;
                }
            }
        }
        self.arm(connection, transport);
    }

    /// The timer fired: what is due, if anything is.
    pub(super) fn fired(
        &mut self,
        connection: &Connection,
        transport: &mut Transport<'_>,
    ) -> Option<Due> {
        self.timer = None;
        let now = transport.now();
        let config = connection.config();
        let passed =
            |since: Option<Instant>, limit| since.is_some_and(|since| now >= since + limit);
        if let Some((_, before)) = self.stalled {
            let buffered = transport.buffered();
            if buffered < before {
                self.stalled = Some((now, buffered)); // slow, but a reader
            } else if passed(self.stalled.map(|(since, _)| since), config.send_timeout) {
                return Some(Due::Failed(Error::SendTimeout));
            }
        }
        if passed(self.closed, config.close_timeout) {
            return Some(match connection.is_closed() {
                true => Due::Closed,
                false => Due::Failed(Error::CloseTimeout),
            });
        }
        if transport.is_reading_paused() || self.stalled.is_some() {
            // Nobody listens: there is nothing to be heard. Or a ping would only wait behind what the
            // peer has yet to take, for which it has another time.
            self.heard = Some(now);
            self.pinged = None;
        }
        if self.closed.is_none()
            && let Some(interval) = config.ping_interval
        {
            if passed(self.pinged, config.ping_timeout) {
                return Some(Due::Failed(Error::PingTimeout));
            }
            if self.pinged.is_none() && passed(self.heard, interval) {
                self.pinged = Some(now);
                self.arm(connection, transport);
                return Some(Due::Ping);
            }
        }
        self.arm(connection, transport);
        None
    }

    fn arm(&mut self, connection: &Connection, transport: &mut Transport<'_>) {
        let config = connection.config();
        let life = match (self.closed, self.pinged, config.ping_interval) {
            (Some(closed), _, _) => Some(closed + config.close_timeout),
            (None, Some(pinged), _) => Some(pinged + config.ping_timeout),
            (None, None, Some(interval)) => self.heard.map(|heard| heard + interval),
            (None, None, None) => None,
        };
        let output = self.stalled.map(|(since, _)| since + config.send_timeout);
        let Some(at) = life.into_iter().chain(output).min() else { return };
        if self.timer.is_some_and(|(_, armed)| armed <= at) {
            return;
        }
        let delay = at.saturating_duration_since(transport.now());
        match self.timer {
            Some((timer, _)) if transport.reset(timer, delay) => self.timer = Some((timer, at)),
            _ => {
                let call = |protocol: &mut WebSocketProtocol, transport: &mut Transport<'_>| {
                    protocol.deadline_fired(transport);
                };
                self.timer = Some((transport.call_later(delay, call), at));
            }
        }
    }
}
