//! What is known of every end of every connection, and whether it agrees with the promises. Broken
//! promises are kept until the story is over: a panic inside a callback would be a part of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::{Address, ConnectionId, Reason, Transport};

use crate::common::Chance;
use crate::secrecy::was_cut_off;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Side {
    Client,
    Server,
}

/// One end of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) pair: usize,
    pub(crate) side: Side,
}

impl Key {
    pub(crate) fn other(self) -> Self {
        let side = match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        };
        Self { side, ..self }
    }
}

/// What may explain that a connection did not end in order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Excuses {
    /// The network resets connections, or does worse.
    pub(crate) faults: bool,
    /// Deadlines are beyond all delays.
    pub(crate) patient: bool,
    /// Limits are so low that they are passed.
    pub(crate) limited: bool,
}

/// One end, as far as it has come.
#[derive(Debug, Default)]
pub(crate) struct End {
    pub(crate) id: Option<ConnectionId>,
    pub(crate) outsider: bool,
    pub(crate) written: usize,
    /// Delivered, consumed or not.
    pub(crate) seen: usize,
    pub(crate) consumed: usize,
    pub(crate) paused: bool,
    /// It paused with something left: that comes again before anything else.
    pub(crate) held_back: bool,
    pub(crate) producer_paused: bool,
    /// A write said that it is above the high-water mark: it is owed a `resume_producing`.
    pub(crate) told_to_stop: bool,
    pub(crate) read_closed: bool,
    /// Told to close, in order.
    pub(crate) losing: bool,
    pub(crate) losing_write: bool,
    pub(crate) aborted: bool,
    pub(crate) failed: bool,
    pub(crate) panicked: bool,
    /// It speaks TLS, or will.
    pub(crate) secret: bool,
    /// It is about to begin TLS, and must not be written to by others.
    pub(crate) turning: bool,
    /// Its handshake is done.
    pub(crate) established: bool,
    /// An outsider that reset, or closed over unread input.
    pub(crate) hostile: bool,
    pub(crate) saw_the_end: bool,
    pub(crate) reason: Option<Reason>,
    /// When it reset the connection.
    pub(crate) reset_at: Option<Duration>,
    /// Its own address and its peer's.
    addresses: Option<(Address, Address)>,
}

pub(crate) struct World {
    seed: u64,
    excuses: Excuses,
    capacity: usize,
    pub(crate) high_water_mark: usize,
    now: Cell<Duration>,
    winding_up: Cell<bool>,
    ends: RefCell<BTreeMap<Key, End>>,
    broken: RefCell<Vec<String>>,
    trace: RefCell<Vec<String>>,
}

impl World {
    pub(crate) fn new(
        seed: u64,
        excuses: Excuses,
        capacity: usize,
        high_water_mark: usize,
    ) -> Rc<Self> {
        Rc::new(Self {
            seed,
            excuses,
            capacity,
            high_water_mark,
            now: Cell::default(),
            winding_up: Cell::new(false),
            ends: RefCell::default(),
            broken: RefCell::default(),
            trace: RefCell::default(),
        })
    }

    pub(crate) fn look_at(&self, now: Duration) {
        self.now.set(now);
    }

    pub(crate) fn wind_up(&self) {
        self.winding_up.set(true);
    }

    pub(crate) fn is_winding_up(&self) -> bool {
        self.winding_up.get()
    }

    pub(crate) fn note(&self, key: Key, what: impl std::fmt::Display) {
        let line = format!("{:?} {:?}{}: {what}", self.now.get(), key.side, key.pair);
        self.trace.borrow_mut().push(line);
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.borrow().clone()
    }

    pub(crate) fn expect(&self, key: Key, kept: bool, promise: &str) {
        if !kept {
            self.note(key, format_args!("BROKEN: {promise}"));
            self.broken.borrow_mut().push(format!("{key:?}: {promise}"));
        }
    }

    pub(crate) fn end<R>(&self, key: Key, with: impl FnOnce(&mut End) -> R) -> R {
        with(self.ends.borrow_mut().entry(key).or_default())
    }

    pub(crate) fn begin(&self, key: Key, outsider: bool) {
        self.end(key, |end| end.outsider = outsider);
    }

    /// A write that fits what the network holds: some buffers' worth, or far more than one.
    pub(crate) fn some_length(&self, chance: &mut Chance) -> usize {
        let most = match chance.below(8) {
            0 => self.capacity * 8,
            1..=3 => self.capacity,
            _ => 32,
        };
        1 + chance.below(most.min(40_000) as u64) as usize
    }

    /// Another end that lives on the same reactor, as far as the actors know.
    pub(crate) fn somebody(&self, but: Key, chance: &mut Chance) -> Option<(Key, ConnectionId)> {
        let ends = self.ends.borrow();
        let others: Vec<_> = ends
            .iter()
            .filter(|(key, end)| **key != but && end.reason.is_none() && !end.turning)
            .filter_map(|(key, end)| Some((*key, end.id?)))
            .collect();
        let index = chance.below(others.len() as u64) as usize;
        others.get(index).copied()
    }

    pub(crate) fn locate(&self, key: Key, host: Address, peer: Address) {
        self.end(key, |end| end.addresses = Some((host, peer)));
    }

    pub(crate) fn is_at(&self, key: Key, host: Address, peer: Address) -> bool {
        self.end(key, |end| end.addresses == Some((host, peer)))
    }

    // What outsiders do.

    pub(crate) fn wrote(&self, key: Key, length: usize) {
        self.end(key, |end| end.written += length);
    }

    pub(crate) fn closes(&self, key: Key) {
        self.note(key, "closes");
        self.end(key, |end| end.losing = true);
    }

    /// It resets, or closes over what it has not sent or not read.
    pub(crate) fn hostile(&self, key: Key, resets: bool) {
        self.note(key, if resets { "resets" } else { "closes roughly" });
        self.end(key, |end| {
            end.hostile = true;
            end.reset_at = resets.then(|| self.now.get());
        });
    }

    pub(crate) fn lost(&self, key: Key, reason: &Reason) {
        self.note(key, format_args!("lost: {reason:?}"));
        let reset = matches!(reason, Reason::Aborted | Reason::Panic(_) | Reason::OutputLimit(_));
        self.end(key, |end| {
            end.reason = Some(reason.clone());
            end.reset_at = reset.then(|| self.now.get());
        });
    }

    pub(crate) fn outsider_read(&self, key: Key, read: usize) {
        self.end(key, |end| end.seen = read);
        let written = self.end(key.other(), |end| end.written);
        self.expect(key, read <= written, "more bytes than were written");
    }

    pub(crate) fn outsider_saw_the_end(&self, key: Key, read: usize) {
        self.end(key, |end| end.saw_the_end = true);
        let written = self.end(key.other(), |end| end.written);
        self.expect(key, read == written, "the end came before all bytes");
    }

    /// The test itself closes a connection by its name.
    pub(crate) fn told_to_close(&self, transport: &Transport<'_>) {
        let at = Some((transport.host(), transport.peer()));
        let mut ends = self.ends.borrow_mut();
        for end in ends.values_mut().filter(|end| end.addresses == at) {
            end.losing = true;
            end.paused = false;
        }
    }

    /// Whoever was reset a second ago knows it, also while it does not read: nothing is under way
    /// for as long as that.
    pub(crate) fn look_for_the_deaf(&self) {
        if self.excuses.faults {
            return;
        }
        let ends = self.ends.borrow();
        for (&key, end) in ends.iter().filter(|(_, end)| end.id.is_some()) {
            let long_ago = ends
                .get(&key.other())
                .and_then(|other| other.reset_at)
                .is_some_and(|at| at + Duration::from_secs(1) < self.now.get());
            let told = !long_ago || end.reason.is_some();
            self.expect(key, told, "reset by the peer, and not told");
        }
    }

    // The verdict.

    pub(crate) fn close_the_book(&self) {
        let ends = self.ends.borrow();
        for (&key, end) in ends.iter() {
            if end.outsider {
                self.judge_outsider(key, end, ends.get(&key.other()));
            } else if end.id.is_some() {
                self.judge(key, end, ends.get(&key.other()));
            }
        }
        let broken = self.broken.borrow();
        if !broken.is_empty() {
            for line in self.trace.borrow().iter() {
                eprintln!("{line}");
            }
            panic!("seed {}: {:?} {broken:#?}", self.seed, self.excuses);
        }
    }

    fn judge(&self, key: Key, end: &End, other: Option<&End>) {
        let Some(reason) = &end.reason else {
            return self.expect(key, false, "never lost");
        };
        let Excuses { faults, patient, limited } = self.excuses;
        let nobody = End::default();
        let other = other.unwrap_or(&nobody);
        let stops = self.is_winding_up();
        // The other side ended in a way that the network shows as a reset.
        let cut_off = other.hostile
            || !patient
            || matches!(
                other.reason,
                Some(
                    Reason::Aborted
                        | Reason::Panic(_)
                        | Reason::FlushTimedOut
                        | Reason::OutputLimit(_)
                        | Reason::Stopped
                        | Reason::Reset(_)
                )
            )
            || (other.id.is_none() && !other.outsider);
        let explained = match reason {
            Reason::Done => end.read_closed,
            Reason::Closed => end.losing,
            Reason::Aborted => end.aborted,
            Reason::Panic(_) => end.panicked,
            Reason::Error(_) => end.failed,
            Reason::Reset(_) => faults || cut_off,
            Reason::TimedOut(_) => faults,
            Reason::FlushTimedOut => {
                !patient && (end.losing || end.failed || end.read_closed || stops)
            }
            Reason::OutputLimit(_) | Reason::ReceiveLimit(_) => limited,
            Reason::Stopped => stops,
            // Whoever closes before its own handshake is done cannot say so in TLS; whoever is cut
            // off, likewise.
            reason if was_cut_off(reason) => {
                end.secret && (!other.established || other.reason.is_some() && cut_off)
            }
            _ => false,
        };
        self.expect(key, explained, &format!("lost for {reason:?}, which nothing explains"));
        let overruled = matches!(
            reason,
            Reason::Aborted
                | Reason::Panic(_)
                | Reason::Reset(_)
                | Reason::OutputLimit(_)
                | Reason::FlushTimedOut
                | Reason::Stopped
        ) || was_cut_off(reason);
        if end.panicked && !end.aborted {
            self.expect(key, matches!(reason, Reason::Panic(_)), "a panic is not the reason");
        }
        if end.failed {
            let kept = matches!(reason, Reason::Error(_)) || overruled;
            self.expect(key, kept, "an error is not the reason");
        }
        // Whoever closed in order has had all of it delivered, unless the receiver gave up first.
        let receiver_gave_up = end.losing || end.failed || end.aborted || end.panicked || limited;
        let sender_in_order = match &other.reason {
            Some(reason) => reason.is_orderly() || matches!(reason, Reason::Error(_)),
            None => other.outsider && other.losing && !other.hostile,
        };
        let takes_leave = !end.secret || other.established;
        if sender_in_order && takes_leave && !receiver_gave_up && !faults && patient && !stops {
            self.expect(key, end.read_closed, "the end of input never came");
        }
        if end.read_closed && !other.hostile {
            self.expect(key, end.seen == other.written, "the end came before all bytes");
        }
    }

    /// An outsider that reads to the end sees all of it, and then the end.
    fn judge_outsider(&self, key: Key, end: &End, other: Option<&End>) {
        let Excuses { faults, patient, .. } = self.excuses;
        let Some(Some(reason)) = other.map(|other| &other.reason) else { return };
        let closed = matches!(reason, Reason::Done | Reason::Closed | Reason::Error(_))
            || matches!(reason, Reason::ReceiveLimit(_));
        if closed && !end.hostile && !faults && patient {
            self.expect(key, end.saw_the_end, "the end never came");
        }
    }
}
