//! A connection's one deadline, which depends on what it waits for.
//!
//! The deadline is a field that each callback may move; the timer behind it is only set again when
//! it fires too early, or when the deadline comes nearer. So a busy connection touches no timer.

use std::time::{Duration, Instant};

use ropewalk_reactor::{TimerId, Transport};

use crate::HttpServer;
use crate::connection::{Connection, Waiting};

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// Bytes from the peer, or nothing from it.
    Input(Waiting),
    /// The peer, to take what was sent.
    Output,
}

#[derive(Debug)]
pub(super) struct Deadline {
    awaited: Awaited,
    at: Option<Instant>,
    /// The request whose head or body `began` belongs to.
    number: u64,
    /// When the present wait began.
    began: Option<Instant>,
    /// Bytes of the body, or of waiting output, at the last look.
    progress: u64,
    timer: Option<(TimerId, Instant)>,
}

impl Default for Deadline {
    fn default() -> Self {
        Self {
            awaited: Awaited::Input(Waiting::Handler),
            at: None,
            number: 0,
            began: None,
            progress: 0,
            timer: None,
        }
    }
}

impl Deadline {
    /// There is nothing to wait for. The timer may still fire, and finds nothing.
    pub(super) fn clear(&mut self) {
        self.at = None;
    }

    /// A callback has ended, and this is what the connection waits for now.
    pub(super) fn update(
        &mut self,
        awaited: Awaited,
        connection: &Connection,
        transport: &mut Transport<'_>,
    ) {
        let config = connection.config();
        let now = transport.now();
        let same = self.awaited == awaited && self.number == connection.number();
        self.awaited = awaited;
        self.number = connection.number();
        self.at = match awaited {
            Awaited::Input(Waiting::Handler) => None,
            // Empty lines before a request are no sign of life.
            Awaited::Input(Waiting::Request) if same && self.at.is_some() => self.at,
            Awaited::Input(Waiting::Request) => Some(now + config.idle_timeout),
            // From its first byte to its last.
            Awaited::Input(Waiting::Head) if same => self.at,
            Awaited::Input(Waiting::Head) => Some(now + config.head_timeout),
            Awaited::Input(Waiting::Body) => {
                let received = connection.body_received();
                if !same {
                    self.began = Some(now);
                    self.progress = received;
                    Some(now + config.body_timeout)
                } else if received == self.progress {
                    self.at
                } else {
                    self.progress = received;
                    let earned = match config.min_body_rate {
                        0 => config.body_timeout,
                        rate => Duration::from_secs(received / u64::from(rate)),
                    };
                    let least = self.began.unwrap_or(now) + config.body_timeout + earned;
                    let stalled = now + config.body_timeout;
                    Some(if config.min_body_rate == 0 { stalled } else { stalled.min(least) })
                }
            }
            Awaited::Output => {
                let waiting = transport.unsent() as u64;
                let progressed = waiting < self.progress;
                let first = !same;
                self.progress = waiting;
                if first || progressed { Some(now + config.send_timeout) } else { self.at }
            }
        };
        let nearer = match (self.at, self.timer) {
            (Some(at), Some((_, armed))) => at < armed,
            (at, None) => at.is_some(),
            (None, _) => false,
        };
        if nearer {
            self.arm(transport);
        }
    }

    /// The timer fired: what was waited for in vain, or `None` if there is time left.
    pub(super) fn fired(
        &mut self,
        send_timeout: Duration,
        transport: &mut Transport<'_>,
    ) -> Option<Awaited> {
        self.timer = None;
        let at = self.at?;
        let waiting = transport.unsent() as u64;
        if at <= transport.now() {
            if self.awaited != Awaited::Output || waiting >= self.progress {
                self.at = None;
                return Some(self.awaited);
            }
            // A slow reader, but a reader: no callback tells while output only shrinks.
            self.progress = waiting;
            self.at = Some(transport.now() + send_timeout);
        }
        self.arm(transport);
        None
    }

    fn arm(&mut self, transport: &mut Transport<'_>) {
        let Some(at) = self.at else { return };
        let delay = at.saturating_duration_since(transport.now());
        match self.timer {
            Some((timer, _)) if transport.reset(timer, delay) => self.timer = Some((timer, at)),
            _ => {
                let timer = transport.call_later(delay, |server: &mut HttpServer, transport| {
                    server.deadline_fired(transport);
                });
                self.timer = Some((timer, at));
            }
        }
    }
}
