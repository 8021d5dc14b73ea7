//! The one deadline of a client's connection, which depends on what it waits for.
//!
//! The deadline is a field that each callback may move; the timer behind it is only set again when it
//! fires too early, or when the deadline comes nearer. So a busy connection touches no timer.

use std::time::{Duration, Instant};

use ropewalk_reactor::{TimerId, Transport};

use super::{HttpClient, Phase};

/// What the connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Awaited {
    /// The server, within an exchange.
    Server(Phase),
    /// The next request.
    Request,
}

#[derive(Debug, Default)]
pub(super) struct Deadline {
    awaited: Option<(Awaited, Duration)>,
    at: Option<Instant>,
    /// The exchange that is waited for.
    number: u64,
    /// What progress is measured by: bytes received, or waiting to be sent.
    progress: u64,
    timer: Option<(TimerId, Instant)>,
}

impl Deadline {
    /// A callback has ended, and this is what the connection waits for now, and for how long.
    pub(super) fn update(
        &mut self,
        awaited: Option<(Awaited, Duration)>,
        number: u64,
        progress: u64,
        transport: &mut Transport<'_>,
    ) {
        let same = self.awaited == awaited && self.number == number && self.progress == progress;
        self.awaited = awaited;
        self.number = number;
        self.progress = progress;
        match awaited {
            None => self.at = None,
            Some(_) if same && self.at.is_some() => {}
            Some((_, limit)) => self.at = Some(transport.now() + limit),
        }
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
    pub(super) fn fired(&mut self, transport: &mut Transport<'_>) -> Option<(Awaited, Duration)> {
        self.timer = None;
        let at = self.at?;
        let (awaited, limit) = self.awaited?;
        if at <= transport.now() {
            let waiting = transport.buffered() as u64;
            if awaited != Awaited::Server(Phase::Send) || waiting >= self.progress {
                self.at = None;
                return self.awaited;
            }
            // A slow reader, but a reader: no callback tells while output only shrinks.
            self.progress = waiting;
            self.at = Some(transport.now() + limit);
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
                let timer = transport.call_later(delay, |client: &mut HttpClient, transport| {
                    client.deadline_fired(transport);
                });
                self.timer = Some((timer, at));
            }
        }
    }
}
