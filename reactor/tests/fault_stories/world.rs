//! What outlives crashes, as disks would: what clients have to say, what the server has taken; and
//! what is known to be broken.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::simulation::Trace;

use crate::common::{Chance, pattern};

/// How a client talks to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    #[cfg(feature = "_tls")]
    Tls,
    UnixStream,
    Udp,
    UnixDatagram,
}

impl Kind {
    pub(crate) const ALL: &[Self] = &[
        Self::Tcp,
        #[cfg(feature = "_tls")]
        Self::Tls,
        Self::UnixStream,
        Self::Udp,
        Self::UnixDatagram,
    ];

    pub(crate) fn is_local(self) -> bool {
        matches!(self, Self::UnixStream | Self::UnixDatagram)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            #[cfg(feature = "_tls")]
            Self::Tls => "TLS",
            Self::UnixStream => "UnixStream",
            Self::Udp => "UDP",
            Self::UnixDatagram => "UnixDatagram",
        })
    }
}

/// The disk of a client.
struct Client {
    kind: Kind,
    /// How many messages it has.
    total: usize,
    /// How many were sent at least once.
    sent: usize,
    acknowledged: usize,
}

pub(crate) struct World {
    pub(crate) trace: Trace,
    clients: RefCell<BTreeMap<u32, Client>>,
    /// The disk of the server: how many messages of a client it has taken.
    taken: RefCell<BTreeMap<u32, usize>>,
    marks: RefCell<BTreeSet<String>>,
    broken: RefCell<Vec<String>>,
    chance: RefCell<Chance>,
    /// The longest that a client waits before it says something new.
    pub(crate) pace: Duration,
    /// Faults of the programs' own.
    mischief: Cell<u64>,
}

/// As long as its number says, and like no other.
pub(crate) fn payload(client: u32, number: usize) -> Vec<u8> {
    pattern(client as usize * 100_000 + number * 1_000, (number * 37 + client as usize) % 200)
}

impl World {
    pub(crate) fn new(trace: Trace, seed: u64, pace: Duration) -> Rc<Self> {
        let mut chance = Chance::new(seed);
        let mischief = if chance.one_in(2) { 5 + chance.below(60) } else { 0 };
        Rc::new(Self {
            trace,
            clients: RefCell::default(),
            taken: RefCell::default(),
            marks: RefCell::default(),
            broken: RefCell::default(),
            chance: RefCell::new(chance),
            pace,
            mischief: Cell::new(mischief),
        })
    }

    pub(crate) fn add_client(&self, client: u32, kind: Kind, total: usize) {
        let disk = Client { kind, total, sent: 0, acknowledged: 0 };
        self.clients.borrow_mut().insert(client, disk);
    }

    pub(crate) fn clients(&self) -> Vec<(u32, Kind)> {
        self.clients.borrow().iter().map(|(&client, disk)| (client, disk.kind)).collect()
    }

    pub(crate) fn chance(&self) -> Chance {
        Chance::new(self.chance.borrow_mut().next())
    }

    /// Whether a program should do something wrong now.
    pub(crate) fn is_mischievous(&self) -> bool {
        let one_in = self.mischief.get();
        one_in > 0 && self.chance.borrow_mut().one_in(one_in)
    }

    /// How long until a client says something new.
    pub(crate) fn pause(&self) -> Duration {
        let most = self.pace.as_micros() as u64;
        Duration::from_micros(1 + self.chance.borrow_mut().below(most))
    }

    pub(crate) fn note(&self, what: impl fmt::Display) {
        self.trace.note(&what);
    }

    pub(crate) fn mark(&self, what: impl fmt::Display) {
        self.marks.borrow_mut().insert(what.to_string());
    }

    pub(crate) fn marks(&self) -> Vec<String> {
        self.marks.borrow().iter().cloned().collect()
    }

    pub(crate) fn expect(&self, kept: bool, promise: impl fmt::Display) {
        if !kept {
            self.note(format_args!("BROKEN: {promise}"));
            self.broken.borrow_mut().push(promise.to_string());
        }
    }

    // The client's side.

    /// The messages that are not acknowledged yet.
    pub(crate) fn open(&self, client: u32) -> std::ops::Range<usize> {
        let disk = &self.clients.borrow()[&client];
        disk.acknowledged..disk.total
    }

    pub(crate) fn sends(&self, client: u32, number: usize) {
        let mut clients = self.clients.borrow_mut();
        let Some(disk) = clients.get_mut(&client) else { return };
        if number < disk.sent {
            self.mark("resent");
        }
        disk.sent = disk.sent.max(number + 1);
    }

    /// The server says that it has taken so many.
    pub(crate) fn acknowledged(&self, client: u32, count: usize) {
        let taken = self.taken.borrow().get(&client).copied().unwrap_or(0);
        self.expect(count <= taken, format_args!("{client}: {count} acknowledged, {taken} taken"));
        let mut clients = self.clients.borrow_mut();
        let Some(disk) = clients.get_mut(&client) else { return };
        disk.acknowledged = disk.acknowledged.max(count);
        if disk.acknowledged == disk.total {
            self.mark(format_args!("{} done", disk.kind));
        }
    }

    pub(crate) fn has_all_acknowledged(&self, client: u32) -> bool {
        self.open(client).is_empty()
    }

    // The server's side.

    /// Takes a message if it is the next one, and answers how many of this client's it has.
    pub(crate) fn take(&self, client: u32, number: usize, data: &[u8]) -> usize {
        let whole = data == payload(client, number);
        self.expect(whole, format_args!("{client}.{number} is not as it was sent"));
        let sent = self.clients.borrow().get(&client).map_or(0, |disk| disk.sent);
        self.expect(number < sent, format_args!("{client}.{number} was never sent"));
        let mut taken = self.taken.borrow_mut();
        let count = taken.entry(client).or_default();
        if number == *count {
            *count += 1;
            self.note(format_args!("{client}.{number} is taken"));
        }
        *count
    }

    // The verdict.

    pub(crate) fn is_done(&self) -> bool {
        self.clients.borrow().values().all(|disk| disk.acknowledged == disk.total)
    }

    pub(crate) fn what_is_missing(&self) -> String {
        let clients = self.clients.borrow();
        let missing = clients.iter().filter(|(_, disk)| disk.acknowledged < disk.total);
        let lines = missing.map(|(client, disk)| {
            format!("client {client} ({}): {} of {}", disk.kind, disk.acknowledged, disk.total)
        });
        lines.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn check(&self) {
        let broken = self.broken.borrow();
        assert!(broken.is_empty(), "{broken:#?}");
        for (client, disk) in self.clients.borrow().iter() {
            let taken = self.taken.borrow().get(client).copied().unwrap_or(0);
            assert_eq!(taken, disk.total, "client {client}");
        }
    }
}
