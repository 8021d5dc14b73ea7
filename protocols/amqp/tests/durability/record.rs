//! The record: what clients were told, and so what a server that died must still have.
//!
//! It knows neither frames nor files. The one rule: it demands only what a client was promised,
//! and forbids only what nobody can have caused. A message in a queue is a *copy*; its fate is
//! followed from the publisher's call to the consumer's acknowledgement.

use std::collections::BTreeMap;

use super::layout::{DEAD, QUEUES, Queue};

/// A message in one of the queues that it was published to.
pub(crate) type CopyId = usize;

/// One that was published.
struct Message {
    /// Which publisher: a channel of a client.
    stream: u64,
    persistent: bool,
    /// In which life of the server.
    life: u32,
    size: usize,
    copies: Vec<CopyId>,
    /// The transaction that it was published in.
    transaction: Option<usize>,
}

/// How sure it is that a copy has been used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gone {
    No,
    /// An acknowledgement is on its way, or was lost.
    Maybe,
    /// The server has it: only a crash can undo it.
    Heard,
    /// Nothing can undo it.
    Safe,
}

/// A message in a queue.
struct Copy {
    message: usize,
    queue: usize,
    /// Gone when the server is.
    transient: bool,
    /// It must be there, unless it was used up.
    sure: bool,
    /// It may have been purged: never sure.
    doubtful: bool,
    gone: Gone,
    /// It may be in [`DEAD`] by now.
    moves: bool,
    /// Whose hands it is in.
    holder: Option<u64>,
    /// It was seen in its queue.
    seen: bool,
    /// It was seen in [`DEAD`].
    is_dead: bool,
}

/// What is committed together.
#[derive(Default)]
struct Transaction {
    messages: Vec<usize>,
    acked: Vec<CopyId>,
    /// It is known to be on the disk.
    is_sure: bool,
}

/// What a story counts, to show that its seeds do what they are for.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    /// Confirmed since they had been acknowledged, stored or not.
    pub(crate) done_with: u64,
    pub(crate) sighted: u64,
    pub(crate) survived: u64,
    pub(crate) redelivered: u64,
    pub(crate) safe: u64,
    pub(crate) died: u64,
    pub(crate) committed: u64,
    pub(crate) ends: [u64; 6],
    pub(crate) blocked: u64,
    pub(crate) inspected: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, more: &Counts) {
        self.published += more.published;
        self.confirmed += more.confirmed;
        self.done_with += more.done_with;
        self.sighted += more.sighted;
        self.survived += more.survived;
        self.redelivered += more.redelivered;
        self.safe += more.safe;
        self.died += more.died;
        self.committed += more.committed;
        self.blocked += more.blocked;
        self.inspected += more.inspected;
        for (sum, more) in self.ends.iter_mut().zip(more.ends) {
            *sum += more;
        }
    }
}

#[derive(Default)]
pub(crate) struct Record {
    pub(crate) life: u32,
    messages: Vec<Message>,
    copies: Vec<Copy>,
    transactions: Vec<Transaction>,
    /// Purges of each queue that were not answered.
    purging: [u32; QUEUES.len()],
    /// For each consumer's connection, queue and publisher: the last that came for the first time.
    fresh: BTreeMap<(u64, usize, u64), usize>,
    pub(crate) counts: Counts,
    /// Says what happens, for whoever looks into a failed seed.
    pub(crate) traces: bool,
}

/// A delivery, or the answer to a fetch.
pub(crate) struct Sighting<'a> {
    pub(crate) client: u64,
    pub(crate) queue: usize,
    pub(crate) body: &'a [u8],
    /// The value of `x-first-death-queue`.
    pub(crate) died_in: Option<&'a str>,
    pub(crate) persistent: bool,
    pub(crate) redelivered: bool,
    pub(crate) no_ack: bool,
}

impl Record {
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.traces {
            eprintln!("{}", line());
        }
    }

    // Publishers.

    /// A message is about to be sent to these queues. Returns its number.
    pub(crate) fn published(
        &mut self,
        stream: u64,
        queues: &[usize],
        persistent: bool,
        size: usize,
        transaction: Option<usize>,
    ) -> usize {
        let number = self.messages.len();
        let copies = (self.copies.len()..).take(queues.len()).collect();
        for &queue in queues {
            let Queue { durable, moves, .. } = QUEUES[queue];
            self.copies.push(Copy {
                message: number,
                queue,
                transient: !(persistent && durable),
                sure: false,
                doubtful: QUEUES[queue].no_ack || self.purging[queue] > 0 || self.purging[DEAD] > 0,
                gone: Gone::No,
                moves,
                holder: None,
                seen: false,
                is_dead: false,
            });
        }
        let life = self.life;
        self.messages.push(Message { stream, persistent, life, size, copies, transaction });
        self.counts.published += 1;
        self.note(|| format!("published m{number} to {queues:?}, persistent: {persistent}"));
        number
    }

    /// The octets of a message, by its number.
    pub(crate) fn body(&self, number: usize) -> Vec<u8> {
        let mut body = format!("m{number} ").into_bytes();
        let size = self.messages[number].size.max(body.len());
        body.extend((body.len()..size).map(|at| (at * 31 + number * 7) as u8));
        body
    }

    pub(crate) fn confirmed(&mut self, number: usize) {
        self.counts.confirmed += 1;
        self.note(|| format!("confirmed m{number}"));
        self.certain(number);
    }

    /// Whether a confirm of this message, which has come now, can only have waited for the store:
    /// nobody has acknowledged it in one of the queues that keep it.
    pub(crate) fn was_stored(&mut self, number: usize) -> bool {
        let kept = |&copy: &CopyId| {
            let copy = &self.copies[copy];
            !copy.transient && !QUEUES[copy.queue].no_ack && copy.gone == Gone::No
        };
        let copies = &self.messages[number].copies;
        let was_stored = copies.iter().any(kept);
        let is_kept = copies.iter().any(|&copy| !self.copies[copy].transient);
        self.counts.done_with += u64::from(!was_stored && is_kept);
        was_stored
    }

    /// A message must be there from now on, with all of its transaction.
    fn certain(&mut self, number: usize) {
        let message = &self.messages[number];
        for &copy in &message.copies {
            let copy = &mut self.copies[copy];
            copy.sure |= !copy.doubtful && (!copy.transient || message.life == self.life);
        }
        if let Some(transaction) = message.transaction {
            self.certain_whole(transaction);
        }
    }

    fn certain_whole(&mut self, transaction: usize) {
        if std::mem::replace(&mut self.transactions[transaction].is_sure, true) {
            return;
        }
        for number in std::mem::take(&mut self.transactions[transaction].messages) {
            self.certain(number);
        }
        for copy in std::mem::take(&mut self.transactions[transaction].acked) {
            self.safe(copy);
        }
    }

    /// A transaction begins.
    pub(crate) fn transaction(&mut self) -> usize {
        self.transactions.push(Transaction::default());
        self.transactions.len() - 1
    }

    /// It is about to be committed, with these messages and acknowledgements.
    pub(crate) fn commits(&mut self, transaction: usize, messages: Vec<usize>, acked: Vec<CopyId>) {
        for &copy in &acked {
            self.acked(copy, false);
        }
        let whole = &mut self.transactions[transaction];
        (whole.messages, whole.acked) = (messages, acked);
        self.note(|| format!("commits t{transaction}"));
    }

    /// It was committed.
    pub(crate) fn committed(&mut self, transaction: usize) {
        self.note(|| format!("committed t{transaction}"));
        self.counts.committed += 1;
        self.certain_whole(transaction);
    }

    // Consumers.

    /// A message has come.
    pub(crate) fn sighted(&mut self, sighting: &Sighting<'_>) -> CopyId {
        let &Sighting { client, queue, redelivered, .. } = sighting;
        let name = QUEUES[queue].name;
        let number = self.recognise(sighting);
        let origin = match sighting.died_in {
            Some(name) if queue == DEAD => super::layout::queue_named(name),
            _ => queue,
        };
        let message = &self.messages[number];
        let stream = message.stream;
        let found = message.copies.iter().find(|&&copy| self.copies[copy].queue == origin);
        let &id = found.unwrap_or_else(|| panic!("m{number} came from {name}, where it never was"));
        self.note(|| {
            format!("client {client} saw m{number} in {name}, redelivered: {redelivered}")
        });

        let (life, born) = (self.life, self.messages[number].life);
        let copy = &mut self.copies[id];
        assert!(!copy.transient || born == life, "m{number} is transient and outlived its server");
        assert!(queue == origin || copy.moves, "m{number} was given up in {name} by itself");
        let gone = copy.gone;
        assert!(gone <= Gone::Maybe, "m{number} came back to {name}: it was gone, {gone:?}");
        let holder = copy.holder;
        assert!(holder.is_none(), "m{number} came from {name}, but {holder:?} holds it");
        if queue == origin {
            assert!(!copy.seen || redelivered, "m{number} was seen in {name}, and is not marked");
            assert!(!copy.is_dead, "m{number} was seen dead, and is in {name} again");
            copy.seen = true;
        } else {
            let is_new = !copy.is_dead;
            assert!(is_new || redelivered, "m{number} was seen in {name}, and is not marked");
            self.counts.died += u64::from(is_new);
            copy.is_dead = true;
        }
        if sighting.no_ack {
            copy.gone = Gone::Heard;
        } else {
            // An acknowledgement on its way to a server that has died never came, or was lost.
            copy.gone = Gone::No;
            copy.holder = Some(client);
        }
        self.counts.sighted += 1;
        self.counts.redelivered += u64::from(redelivered);
        if born < life {
            self.counts.survived += 1;
            self.certain(number); // it is on the disk
        }
        if !redelivered && queue == origin && QUEUES[queue].ordered {
            let last = self.fresh.insert((client, queue, stream), number);
            let late = last.is_some_and(|last| last > number);
            assert!(!late, "m{number} came from {name} after m{last:?}");
        }
        id
    }

    /// The number of a message that has come; it must be as it was sent.
    fn recognise(&self, sighting: &Sighting<'_>) -> usize {
        let text = String::from_utf8_lossy(sighting.body);
        let number = text.strip_prefix('m').and_then(|text| text.split(' ').next()?.parse().ok());
        let number: usize = number.unwrap_or_else(|| panic!("nobody has sent {text:?}"));
        assert!(number < self.messages.len(), "nobody has sent m{number}");
        assert!(sighting.body == self.body(number), "m{number} has changed");
        assert_eq!(sighting.persistent, self.messages[number].persistent, "m{number} has changed");
        number
    }

    /// Its acknowledgement, or a rejection for good, is about to be sent. Whether that will be its
    /// end: a rejected one may go on in [`DEAD`].
    pub(crate) fn acked(&mut self, id: CopyId, rejected: bool) -> bool {
        let copy = &mut self.copies[id];
        copy.holder = None;
        let moves = rejected && QUEUES[copy.queue].dead_letters && !copy.is_dead;
        if moves {
            copy.moves = true;
        } else {
            copy.gone = Gone::Maybe;
        }
        let number = copy.message;
        self.note(|| format!("acknowledged m{number}, rejected: {rejected}"));
        !moves
    }

    /// It is about to be given back.
    pub(crate) fn requeued(&mut self, id: CopyId) {
        self.copies[id].holder = None;
        let number = self.copies[id].message;
        self.note(|| format!("gave m{number} back"));
    }

    /// The server has taken an acknowledgement.
    pub(crate) fn heard(&mut self, id: CopyId) {
        let copy = &mut self.copies[id];
        if copy.gone == Gone::Maybe {
            copy.gone = Gone::Heard;
        }
    }

    /// The server has stored an acknowledgement.
    pub(crate) fn safe(&mut self, id: CopyId) {
        let copy = &mut self.copies[id];
        if copy.gone != Gone::No && copy.gone != Gone::Safe {
            copy.gone = Gone::Safe;
            self.counts.safe += 1;
            let number = self.copies[id].message;
            self.note(|| format!("the end of m{number} is safe"));
        }
    }

    /// A client has gone, with what it held.
    pub(crate) fn client_gone(&mut self, client: u64) {
        for copy in &mut self.copies {
            if copy.holder == Some(client) {
                copy.holder = None;
            }
        }
        self.note(|| format!("client {client} has gone"));
    }

    /// A purge is about to be sent. Nobody knows what it will find.
    pub(crate) fn purges(&mut self, queue: usize) {
        self.purging[queue] += 1;
        for copy in &mut self.copies {
            if copy.queue == queue || queue == DEAD {
                (copy.sure, copy.doubtful) = (false, true);
            }
        }
        self.note(|| format!("purges {}", QUEUES[queue].name));
    }

    /// It was answered.
    pub(crate) fn purged(&mut self, queue: usize) {
        self.purging[queue] -= 1;
    }

    // The server.

    /// The server has died, or has stopped in order.
    pub(crate) fn life_ended(&mut self, in_order: bool) {
        for copy in &mut self.copies {
            copy.holder = None;
            copy.sure &= !copy.transient;
            if copy.gone == Gone::Heard {
                copy.gone = if in_order { Gone::Safe } else { Gone::Maybe };
            }
        }
        self.fresh.clear();
        self.purging = [0; QUEUES.len()];
        self.life += 1;
        self.note(|| format!("the server ended, in order: {in_order}"));
    }

    /// A client has taken all there is, in this order, from every queue; nobody else is there.
    pub(crate) fn inspected(&mut self, found: &[Vec<CopyId>]) {
        self.counts.inspected += 1;
        let mut places = vec![0; self.copies.len()];
        for (queue, copies) in found.iter().enumerate() {
            let mut last = BTreeMap::new();
            for &id in copies {
                places[id] += 1;
                let number = self.copies[id].message;
                let before = last.insert(self.messages[number].stream, number);
                let is_late = QUEUES[queue].ordered && before.is_some_and(|last| last > number);
                assert!(!is_late, "{}: m{number} after {before:?}", QUEUES[queue].name);
            }
        }
        for (copy, &places) in self.copies.iter().zip(&places) {
            let (number, name) = (copy.message, QUEUES[copy.queue].name);
            assert!(places <= 1, "m{number} of {name} is there {places} times");
            let is_due = copy.sure && copy.gone == Gone::No;
            assert!(places == 1 || !is_due, "m{number} of {name} is lost");
        }
    }
}
