//! What streams do about what the network does not carry: TCP's side of a cut line, and of a
//! machine that is gone. Segments are sent again after pauses that double; whoever gets no
//! answer for too long gives up. Resets are sent once, and may be lost for good: that leaves an end
//! that believes in its connection.

use std::collections::VecDeque;
use std::io;

use super::{End, Event, Net, Vanished};
use crate::clock::Nanos;

const SECOND: Nanos = 1_000_000_000;
/// The pause before what was lost is sent again: Linux's `TCP_RTO_MIN`, which a fast line has.
const FIRST_PAUSE: Nanos = SECOND / 5;
/// Its `TCP_RTO_MAX`.
const LONGEST_PAUSE: Nanos = 120 * SECOND;
/// Its `tcp_retries2`: with these pauses it gives up after 924.6 s, as Linux's documentation says.
const RETRIES: u32 = 15;
/// Its `tcp_syn_retries`, with a first pause of a second: 127 s.
const REQUEST_RETRIES: u32 = 6;
/// Its `tcp_keepalive_probes` and `tcp_keepalive_intvl`.
const PROBES: u32 = 9;
const PROBE_PAUSE: Nanos = 75 * SECOND;

/// What an end has sent without an answer.
#[derive(Default)]
pub(super) struct Retry {
    /// What did not arrive, in its order.
    parked: VecDeque<Event>,
    tries: u32,
    /// The word that there is room again was lost on its way here: it has to be asked for.
    owed_room: bool,
    pub(super) gave_up: bool,
}

impl Net {
    /// The other end, whether or not it is still open.
    fn other(&self, end: usize) -> Option<usize> {
        self.ends.get(&end)?.other
    }

    /// Whether what `from` sends arrives at `to`'s machine, and is answered there in some way.
    fn carries(&self, from: usize, to: usize) -> bool {
        let (Some(from), Some(to)) = (self.ends.get(&from), self.ends.get(&to)) else {
            return true; // nobody is left who would notice
        };
        if to.local.socket_addr().is_none() {
            return true; // on one machine
        }
        self.carries_between(from.port, to.port) && to.vanished != Some(Vanished::Silent)
    }

    /// Whether a line is open, and there is a machine at its end.
    pub(in crate::simulation) fn carries_between(&self, from: usize, to: usize) -> bool {
        self.links.is_open(from, to) && self.places[to].up
    }

    /// Data or a FIN comes to the end of its way, if the way goes as far as that.
    pub(super) fn segment_comes(&mut self, event: Event) {
        let (Event::Data { to, .. } | Event::Fin { to }) = event else { return };
        let Some(from) = self.other(to) else { return };
        let waits = self.ends.get(&from).and_then(|end| end.retry.as_ref());
        let waits = waits.is_some_and(|retry| !retry.parked.is_empty());
        if self.ends.get(&to).is_some_and(|end| end.gap) {
            return self.under_way_no_more(&event);
        }
        // Nothing overtakes what is to be sent again.
        if waits || !self.is_taken(from, to) {
            let gone = self.ends.get(&from).is_none_or(|end| end.vanished.is_some());
            if gone {
                // Nobody is left to send it again.
                self.under_way_no_more(&event);
                if let Some(end) = self.ends.get_mut(&to) {
                    end.gap = true;
                }
                return;
            }
            self.say_of(from, format_args!("loses {event} on the way"));
            self.unanswered(from, |retry| retry.parked.push_back(event));
            return;
        }
        self.take(event);
        if !self.carries(to, from) {
            self.unanswered(from, |_| {});
        }
    }

    /// Whether a segment gets anywhere: to an end that takes it, or to a machine whose reset gets
    /// back.
    fn is_taken(&self, from: usize, to: usize) -> bool {
        let refuses = self.ends.get(&to).is_some_and(End::is_dead);
        self.carries(from, to) && (!refuses || self.carries(to, from))
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Data { to, bytes } => {
                if self.trace.is_on() {
                    self.say_of(to, format_args!("gets {} bytes", bytes.len()));
                }
                self.data_arrives(to, &bytes);
            }
            Event::Fin { to } => {
                self.say_of(to, "gets a FIN");
                self.fin_arrives(to);
            }
            _ => {}
        }
    }

    pub(super) fn reset_comes(&mut self, to: usize) {
        if let Some(from) = self.other(to)
            && !self.carries(from, to)
        {
            self.say_of(to, "was sent a reset, which is lost");
            if let Some(end) = self.ends.get_mut(&from) {
                end.reset_lost = true;
            }
            return self.watch_over(to);
        }
        self.reset_now(to);
    }

    pub(super) fn room_comes(&mut self, end: usize) {
        if let Some(other) = self.other(end)
            && self.ends.get(&end).is_some_and(|end| !end.closed)
            && !(self.carries(other, end) && self.carries(end, other))
        {
            return self.unanswered(end, |retry| retry.owed_room = true);
        }
        self.edge(end, |edge| edge.writable = true);
    }

    /// Something of `end` has got no answer: it will be sent again.
    fn unanswered(&mut self, end: usize, add: impl FnOnce(&mut Retry)) {
        let now = self.now();
        let Some(found) = self.ends.get_mut(&end) else { return };
        let begins = found.retry.is_none();
        let retry = found.retry.get_or_insert_default();
        if retry.gave_up {
            return;
        }
        add(retry);
        if begins {
            self.later(now + FIRST_PAUSE, Event::Retry { end });
        }
    }

    pub(super) fn retry(&mut self, end: usize) {
        let Some(other) = self.other(end) else { return };
        let Some(found) = self.ends.get_mut(&end) else { return };
        let over = found.failure.is_some() || found.vanished.is_some();
        let Some(retry) = found.retry.as_mut().filter(|retry| !retry.gave_up) else { return };
        if over {
            found.retry = None;
            return;
        }
        let parked = std::mem::take(&mut retry.parked);
        let mut left = VecDeque::new();
        for event in parked {
            if left.is_empty() && self.is_taken(end, other) {
                self.take(event);
            } else {
                left.push_back(event);
            }
        }
        let answered = self.carries(end, other) && self.carries(other, end);
        let now = self.now();
        let Some(found) = self.ends.get_mut(&end) else { return };
        let Some(retry) = &mut found.retry else { return };
        if answered && left.is_empty() {
            let owed_room = retry.owed_room;
            found.retry = None;
            if owed_room {
                self.edge(end, |edge| edge.writable = true);
            }
            return;
        }
        retry.parked = left;
        retry.tries += 1;
        if retry.tries > RETRIES {
            return self.give_up(end);
        }
        let pause = (FIRST_PAUSE << retry.tries).min(LONGEST_PAUSE);
        self.later(now + pause, Event::Retry { end });
    }

    /// The connection is dead for its own side; the other learns of it when it sends something.
    fn give_up(&mut self, end: usize) {
        self.say_of(end, "gives up: no answer");
        self.send_no_more(end);
        let Some(found) = self.ends.get_mut(&end) else { return };
        found.retry.get_or_insert_default().gave_up = true;
        found.failure = Some(io::ErrorKind::TimedOut);
        found.reset_lost = true;
        if let Some(other) = found.other {
            self.watch_over(other);
        }
        self.edge(end, |edge| {
            edge.readable = true;
            edge.writable = true;
            edge.failed = true;
        });
    }

    /// What was to be sent again is not.
    pub(super) fn send_no_more(&mut self, end: usize) {
        let Some(retry) = self.ends.get_mut(&end).and_then(|end| end.retry.as_mut()) else {
            return;
        };
        let parked = std::mem::take(&mut retry.parked);
        let has_gap = !parked.is_empty();
        for event in parked {
            self.under_way_no_more(&event);
        }
        if let Some(other) = self.other(end).and_then(|other| self.ends.get_mut(&other)) {
            other.gap |= has_gap;
        }
    }

    fn under_way_no_more(&mut self, event: &Event) {
        if let Event::Data { to, bytes } = event
            && let Some(end) = self.ends.get_mut(to)
        {
            end.under_way -= bytes.len();
        }
    }

    /// A connection request got lost, or its answer.
    pub(super) fn request_lost(&mut self, client: usize) {
        let now = self.now();
        let end = self.end(client);
        let pause = SECOND << end.requests;
        end.requests += 1;
        if end.requests <= REQUEST_RETRIES {
            return self.later(now + pause, Event::Request { end: client });
        }
        if end.requests == REQUEST_RETRIES + 1 {
            return self.later(now + pause, Event::Request { end: client }); // the last one's pause
        }
        end.failure = Some(io::ErrorKind::TimedOut);
        self.say_of(client, "gives up connecting: no answer");
        self.edge(client, |edge| {
            edge.readable = true;
            edge.writable = true;
            edge.failed = true;
        });
    }

    // Keep-alive.

    /// Something may have happened to the other end that this one does not know of: if it has
    /// keep-alive, it finds out. (While nothing has, probing would change nothing.)
    pub(super) fn watch_over(&mut self, end: usize) {
        let now = self.now();
        let Some(found) = self.ends.get_mut(&end).filter(|end| !end.closed) else { return };
        let Some(idle) = found.keep_alive else { return };
        if found.probes.is_none() {
            found.probes = Some(0);
            self.later(now.saturating_add(idle), Event::Probe { end });
        }
    }

    pub(super) fn probe(&mut self, end: usize) {
        let other = self.other(end);
        let now = self.now();
        let Some(found) = self.ends.get_mut(&end) else { return };
        let Some(probes) = found.probes.filter(|_| !found.closed && found.failure.is_none()) else {
            return;
        };
        let Some(other) = other else { return };
        if self.carries(end, other) && self.carries(other, end) {
            self.end(end).probes = None; // an answer
            let gone = self.ends.get(&other).is_none_or(|other| {
                other.vanished.is_some() || other.reset_lost || other.is_dead() && !other.fin_sent
            });
            if gone {
                self.reset_now(end);
            }
            return;
        }
        self.end(end).probes = Some(probes + 1);
        if probes >= PROBES {
            return self.give_up(end);
        }
        self.later(now + PROBE_PAUSE, Event::Probe { end });
    }
}
