//! A protocol that does whatever chance says, and notices every promise that is not kept to it.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use ropewalk_reactor::{Address, Protocol, Reason, Result, TimerId, Transport, Written};

use crate::common::{Chance, pattern, pattern_at};
use crate::oracle::{Key, World};
use crate::secrecy::{Opening, Turning};

pub(crate) struct Actor {
    world: Rc<World>,
    key: Key,
    chance: Chance,
    /// Steps by timer until it closes.
    steps: u64,
    /// Stays when the peer has closed its half.
    stays: bool,
    /// Bytes that it produces while it may, and stops when it is paused.
    to_produce: usize,
    addresses: Option<(Address, Address)>,
    /// A timer that is only set to be moved and cancelled.
    plaything: Option<TimerId>,
    opening: Option<Opening>,
    /// While TLS is about to begin: until then nothing else is written or read.
    turning: Option<Turning>,
}

impl Actor {
    pub(crate) fn new(
        world: &Rc<World>,
        key: Key,
        mut chance: Chance,
        opening: Option<Opening>,
    ) -> Self {
        let turning = opening.as_ref().and_then(Opening::turning);
        world.end(key, |end| {
            end.secret = opening.as_ref().is_some_and(|opening| !opening.is_open());
            end.turning = turning.is_some();
        });
        Self {
            opening,
            turning,
            world: world.clone(),
            key,
            steps: chance.below(12),
            stays: chance.one_in(2),
            to_produce: if chance.one_in(3) { chance.below(20_000) as usize } else { 0 },
            chance,
            addresses: None,
            plaything: None,
        }
    }

    fn expect(&self, kept: bool, promise: &str) {
        self.world.expect(self.key, kept, promise);
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.world.note(self.key, what);
    }

    /// Nothing but `connection_lost` comes before `connection_made` or after a loss.
    fn on_stage(&self, transport: &Transport<'_>, what: &str) {
        let now = transport.wall_clock().duration_since(SystemTime::UNIX_EPOCH);
        self.world.look_at(now.unwrap_or_default() - Duration::from_secs(1_577_836_800));
        let (made, lost) = self.world.end(self.key, |end| (end.id.is_some(), end.reason.is_some()));
        self.expect(made && !lost, what);
    }

    fn write(&mut self, transport: &mut Transport<'_>, length: usize) {
        write_to(&self.world, self.key, transport, length, self.chance.one_in(2));
    }

    fn produce(&mut self, transport: &mut Transport<'_>) {
        if self.turning.is_some() {
            return;
        }
        while self.to_produce > 0 && transport.writability() == Written::Taken {
            let length = self.to_produce.min(1 + self.chance.below(500) as usize);
            self.to_produce -= length;
            self.write(transport, length);
        }
    }

    fn pause(&mut self, transport: &mut Transport<'_>) {
        transport.pause_reading();
        self.world.end(self.key, |end| end.paused = true);
        let delay = Duration::from_micros(self.chance.below(400_000));
        transport.call_later(delay, |actor: &mut Self, transport| actor.resume(transport));
    }

    fn resume(&mut self, transport: &mut Transport<'_>) {
        transport.resume_reading();
        if !transport.is_closing() {
            self.world.end(self.key, |end| end.paused = false);
        }
    }

    fn lose(&mut self, transport: &mut Transport<'_>) {
        self.note("loses");
        self.world.end(self.key, |end| end.losing = true);
        transport.lose_connection();
        self.expect(transport.is_closing(), "open after lose_connection");
        self.write(transport, 10);
    }

    /// Says what was agreed on to say in the open, and begins TLS when it has heard as much.
    fn turn(&mut self, transport: &mut Transport<'_>, heard: usize) -> Result {
        let Some(turning) = &mut self.turning else { return Ok(()) };
        turning.awaits -= heard;
        let (says, awaits) = (turning.says, turning.awaits);
        if awaits == 0 || (says > 0 && Turning::speaks_first(self.key.side)) {
            turning.says = 0;
            if says > 0 {
                self.write(transport, says);
            }
        }
        if awaits == 0
            && let Some(turning) = self.turning.take()
        {
            self.note("turns to TLS");
            self.world.end(self.key, |end| end.turning = false);
            if transport.is_closing() {
                return Ok(());
            }
            turning.begin(transport)?;
            self.expect(!transport.wants_data(), "data is wanted in a handshake");
        }
        Ok(())
    }

    /// Something that chance chooses, from any callback.
    fn act(&mut self, transport: &mut Transport<'_>) -> Result {
        if self.turning.is_some() {
            return Ok(());
        }
        match self.chance.below(64) {
            0..=15 => {
                let length = self.world.some_length(&mut self.chance);
                self.write(transport, length);
            }
            16..=17 => self.pause(transport),
            18..=19 => self.resume(transport),
            20 if self.chance.one_in(2) => self.lose(transport),
            21 if self.chance.one_in(2) => {
                self.note("loses write");
                self.world.end(self.key, |end| end.losing_write = true);
                transport.lose_write_connection();
            }
            22 if self.chance.one_in(3) => {
                let gone = transport.writability() == Written::Gone && transport.is_closing();
                self.note(format_args!("aborts (closing: {gone})"));
                self.world.end(self.key, |end| end.aborted = true);
                transport.abort_connection();
                self.write(transport, 10);
                transport.lose_connection();
                transport.abort_connection();
            }
            23 if self.chance.one_in(3) => {
                self.note("fails");
                self.world.end(self.key, |end| end.failed = true);
                return Err("a story's error".into());
            }
            24 if self.chance.one_in(4) => {
                self.note("panics");
                self.world.end(self.key, |end| end.panicked = true);
                // No message on the terminal: it is as it should be.
                std::panic::resume_unwind(Box::new("a story's panic"));
            }
            25..=28 => {
                let Some((key, id)) = self.world.somebody(self.key, &mut self.chance) else {
                    return Ok(());
                };
                let length = 1 + self.chance.below(40) as usize;
                // Names look alike on several reactors: who is it really?
                let world = self.world.clone();
                if let Some(mut other) = transport.connection(id)
                    && world.is_at(key, other.host(), other.peer())
                {
                    self.world.note(self.key, format_args!("writes {length} to another"));
                    write_to(&world, key, &mut other, length, false);
                }
            }
            29 => {
                let delay = Duration::from_micros(self.chance.below(10_000));
                self.plaything = Some(transport.call_later(delay, |_: &mut Self, _| {}));
            }
            30 => {
                if let Some(timer) = self.plaything {
                    transport.reset(timer, Duration::from_micros(self.chance.below(20_000)));
                }
            }
            31 => {
                if let Some(timer) = self.plaything.take() {
                    transport.cancel(timer);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn next_step(&mut self, transport: &mut Transport<'_>) {
        let most = 1 << (4 + self.chance.below(16));
        let delay = Duration::from_micros(self.chance.below(most));
        transport.call_later(delay, |actor: &mut Self, transport| actor.step(transport));
    }

    fn step(&mut self, transport: &mut Transport<'_>) {
        self.on_stage(transport, "a timer after the loss");
        if self.steps > 0 && !self.world.is_winding_up() {
            self.steps -= 1;
            if let Err(error) = self.act(transport) {
                // Timers give no errors: it is a panic then.
                self.world.end(self.key, |end| {
                    end.failed = false;
                    end.panicked = true;
                });
                std::panic::resume_unwind(Box::new(error.to_string()));
            }
            self.next_step(transport);
        } else if self.turning.is_none() && (self.world.is_winding_up() || self.chance.one_in(2)) {
            self.resume(transport);
            self.lose(transport);
        } else if self.world.is_winding_up() {
            self.next_step(transport); // made so late that nobody tells it to close
        }
    }
}

/// Writes what comes next in the stream of `key`, and holds the answer against what is known.
fn write_to(world: &World, key: Key, transport: &mut Transport<'_>, length: usize, owned: bool) {
    let at = world.end(key, |end| end.written);
    let data = pattern(at, length);
    let written = match owned {
        true => transport.write_bytes(Bytes::from(data)),
        false => transport.write(&data),
    };
    if written != Written::Gone {
        world.end(key, |end| {
            end.written += length;
            end.told_to_stop |= written == Written::AboveHighWater;
        });
        let closed = world.end(key, |end| end.losing || end.losing_write || end.aborted);
        world.expect(key, !closed, "a write was taken after the close");
    }
    let above = transport.buffered() > world.high_water_mark;
    world.expect(
        key,
        written == Written::Gone || above == (written == Written::AboveHighWater),
        "a write does not say how much is buffered",
    );
}

impl Protocol for Actor {
    fn connection_made(&mut self, transport: &mut Transport<'_>) -> Result {
        let id = transport.id();
        self.expect(self.world.end(self.key, |end| end.id.is_none()), "made twice");
        self.world.end(self.key, |end| end.id = Some(id));
        self.world.locate(self.key, transport.host(), transport.peer());
        self.addresses = Some((transport.host(), transport.peer()));
        self.note("made");
        self.next_step(transport);
        if self.turning.is_some() {
            return self.turn(transport, 0);
        }
        self.produce(transport);
        self.act(transport)
    }

    fn handshake_completed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.on_stage(transport, "a handshake before it was made or after the loss");
        self.note("secret");
        let (secret, before, seen) = self.world.end(self.key, |end| {
            (end.secret, std::mem::replace(&mut end.established, true), end.seen)
        });
        self.expect(secret && !before, "a handshake that nobody asked for");
        let open = self.opening.as_ref().and_then(Opening::turning).map_or(0, |it| it.awaits);
        self.expect(seen == open, "data before the end of the handshake");
        self.produce(transport);
        self.act(transport)
    }

    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        self.on_stage(transport, "data before it was made or after the loss");
        let (consumed, seen, paused, closing, held_back) = self.world.end(self.key, |end| {
            let closing = end.losing || end.aborted || end.failed || end.panicked;
            (end.consumed, end.seen, end.paused, closing, std::mem::take(&mut end.held_back))
        });
        if held_back {
            self.note("delivered again");
        }
        self.expect(!paused, "data while paused");
        self.expect(!closing, "data after a close");
        self.expect(!data.is_empty(), "data_received without data");
        let whole = consumed + data.len();
        self.expect(whole > seen || held_back, "called with nothing new");
        self.expect(whole >= seen, "what was left has shrunk");
        let right = data.iter().enumerate().all(|(at, &byte)| byte == pattern_at(consumed + at));
        self.expect(right, "a wrong byte");
        let written = self.world.end(self.key.other(), |end| end.written);
        self.expect(whole <= written, "more bytes than were written");
        self.note(format_args!("{} bytes", data.len()));
        let most =
            self.turning.as_ref().map_or(data.len(), |turning| turning.awaits.min(data.len()));
        let taken = match self.chance.below(6) {
            0 => self.chance.below(most as u64 + 1) as usize,
            _ => most,
        };
        let _ = data.split_to(taken);
        // What is behind the last byte in the open is the handshake's, and was never ours to see.
        let whole = if self.turning.is_some() { consumed + most } else { whole };
        self.world.end(self.key, |end| {
            end.seen = whole;
            end.consumed += taken;
        });
        if self.turning.is_some() {
            self.turn(transport, taken)?;
            if transport.is_handshaking() {
                return Ok(());
            }
        }
        if self.chance.one_in(12) {
            self.pause(transport);
            if self.chance.one_in(3) {
                self.resume(transport);
            }
        }
        let result = if self.chance.one_in(3) { self.act(transport) } else { Ok(()) };
        if transport.is_reading_paused() && !transport.is_closing() && !data.is_empty() {
            self.note("held back");
            self.world.end(self.key, |end| end.held_back = true);
        }
        result
    }

    fn read_closed(&mut self, transport: &mut Transport<'_>) -> Result {
        self.on_stage(transport, "the end of input before it was made or after the loss");
        self.note("read_closed");
        let (seen, paused, held_back, before, losing) = self.world.end(self.key, |end| {
            let before = std::mem::replace(&mut end.read_closed, true);
            (end.seen, end.paused, end.held_back, before, end.losing || end.aborted)
        });
        let all = self.world.end(self.key.other(), |end| end.hostile || end.written == seen);
        self.expect(!before, "the end of input came twice");
        self.expect(!paused, "the end of input while paused");
        self.expect(!held_back, "the end of input before what was held back");
        self.expect(!losing, "the end of input after a close");
        self.expect(all, "the end of input before all of it");
        if self.stays {
            return self.act(transport);
        }
        self.world.end(self.key, |end| end.losing = true);
        transport.lose_connection();
        Ok(())
    }

    fn pause_producing(&mut self, transport: &mut Transport<'_>) {
        self.on_stage(transport, "pause_producing before it was made or after the loss");
        self.note("paused");
        let before =
            self.world.end(self.key, |end| std::mem::replace(&mut end.producer_paused, true));
        self.expect(!before, "pause_producing twice");
        let above = transport.buffered() > self.world.high_water_mark;
        self.expect(above, "pause_producing below the high-water mark");
        if self.chance.one_in(8) && self.turning.is_none() {
            self.write(transport, 5);
        }
    }

    fn resume_producing(&mut self, transport: &mut Transport<'_>) {
        self.on_stage(transport, "resume_producing before it was made or after the loss");
        self.note("resumed");
        let stopped = self.world.end(self.key, |end| {
            let (paused, told) = (end.producer_paused, end.told_to_stop);
            (end.producer_paused, end.told_to_stop) = (false, false);
            paused || told
        });
        self.expect(stopped, "resume_producing though nobody was told to stop");
        let below = transport.buffered() <= self.world.high_water_mark / 4;
        self.expect(below, "resume_producing above the low-water mark");
        self.produce(transport);
        if self.chance.one_in(8) && self.turning.is_none() {
            let length = self.world.some_length(&mut self.chance);
            self.write(transport, length);
        }
    }

    fn connection_lost(&mut self, transport: &mut Transport<'_>, reason: &Reason) {
        self.on_stage(transport, "lost before it was made or twice");
        self.world.lost(self.key, reason);
        let addresses = Some((transport.host(), transport.peer()));
        self.expect(addresses == self.addresses, "the addresses have changed");
        let id = transport.id();
        self.expect(transport.connection(id).is_none(), "the slot is not free");
        self.expect(transport.write(b"too late") == Written::Gone, "a write to the dead");
        transport.lose_connection();
        transport.abort_connection();
        transport.resume_reading();
        transport.call_later(Duration::ZERO, |actor: &mut Self, _| {
            actor.expect(false, "a timer of the dead");
        });
    }
}
