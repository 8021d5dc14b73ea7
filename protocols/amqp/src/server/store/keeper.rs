//! The keeper: takes what the broker journals to the store, and tells the broker how far it got.
//!
//! One job is under way at a time. What is journaled while it runs makes the next one, so batches
//! grow with the load by themselves, and a hundred publishers share one sync. The one rule: the
//! broker hears of nothing as stored before the sync that covers it has returned.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::time::Duration;

use log::{error, warn};
use ropewalk_broker::{Broker, Load};
use ropewalk_reactor::{ConnectionId, Local, Promise, Reactor};
use ropewalk_store::{Batch, Log};

use super::housekeeping::Housekeeping;
use super::journal::{Gathered, StoreJournal};
use super::work::{Answer, Outcome, Work};
use crate::server::connection::Connection;
use crate::server::hub::Hub;
use crate::server::{LOG, Shared};

/// What nobody waits for (acknowledgements, messages without confirms) is synced after this.
const SYNC_DELAY: Duration = Duration::from_millis(200);

/// How often a full disk is looked at.
const DISK_INTERVAL: Duration = Duration::from_secs(1);

/// What the hub keeps of the store.
pub(crate) struct Keeper {
    /// `None` while a job has it.
    log: Option<Log>,
    /// What a full disk has refused, oldest first: tried again when the disk is looked at.
    refused: VecDeque<Gathered>,
    /// What may pass those, oldest first.
    relief: VecDeque<Batch>,
    /// The disk was full at the last job.
    full: bool,
    spare: Vec<Gathered>,
    /// Loads that no job has yet.
    loads: Vec<Load>,
    /// Loads whose answer may be among what was refused.
    later_loads: Vec<Load>,
    /// The last journal record that is safe.
    safe: u64,
    /// The last ticket of the broker that is safe.
    ticket: u64,
    /// Something was appended and not synced; a timer will have it synced.
    unsynced: bool,
    /// That timer has rung.
    sync_due: bool,
    /// A job is going to be started in this turn.
    scheduled: bool,
    /// Connections that wait, and for which record; 0 is the next news of any kind.
    stalled: Vec<(ConnectionId, u64)>,
    /// Holds the reactor's stop until this record is safe.
    hold: Option<(u64, Promise<()>)>,
    pub(super) housekeeping: Housekeeping,
    /// A timer is set, for the disk to be looked at.
    look_set: bool,
}

/// What a job is to do.
enum Plan {
    /// Appends and loads what there is to append and to load; with `steps` of housekeeping, on a
    /// full disk.
    Work { sync: bool, steps: usize },
    /// Nothing but so many steps of housekeeping.
    Keep { steps: usize },
}

impl Keeper {
    pub(crate) fn new(log: Log) -> Keeper {
        Keeper {
            log: Some(log),
            refused: VecDeque::new(),
            relief: VecDeque::new(),
            full: false,
            spare: Vec::new(),
            loads: Vec::new(),
            later_loads: Vec::new(),
            safe: 0,
            ticket: 0,
            unsynced: false,
            sync_due: false,
            scheduled: false,
            stalled: Vec::new(),
            hold: None,
            housekeeping: Housekeeping::new(),
            look_set: false,
        }
    }

    /// Has a connection woken once a record is safe; with 0, at the next news.
    pub(super) fn stall(&mut self, connection: ConnectionId, record: u64) {
        self.stalled.push((connection, record));
    }

    /// What is to do now, if anything is and the log is at hand.
    fn plan(&self, ticket: u64, journal: &StoreJournal) -> Option<Plan> {
        self.log.as_ref()?;
        if self.full {
            // Whoever waits, waits for room.
            let busy = !journal.relief.is_empty() || !self.loads.is_empty();
            let wanted = busy || self.housekeeping.wants_a_look();
            return wanted.then_some(Plan::Work { sync: true, steps: 1 });
        }
        let journaled = !journal.gathered.batch.is_empty() || !journal.relief.is_empty();
        let waited_for = ticket > self.ticket
            || self.stalled.iter().any(|&(_, record)| record > self.safe)
            || self.hold.is_some();
        let sync = (waited_for || self.sync_due) && (journaled || self.unsynced);
        let busy = sync || journaled || !self.loads.is_empty();
        match self.housekeeping.due(busy) {
            0 => busy.then_some(Plan::Work { sync, steps: 0 }),
            steps => Some(Plan::Keep { steps }),
        }
    }

    /// The next job, if there is one.
    fn next_work(&mut self, broker: &mut Broker) -> Option<(Work, Promised)> {
        let ticket = broker.last_ticket();
        let journal = broker.journal_mut::<StoreJournal>()?;
        let plan = self.plan(ticket, journal)?;
        let log = self.log.take()?;
        let (Plan::Work { steps, .. } | Plan::Keep { steps }) = plan;
        self.housekeeping.begun(steps);
        let Plan::Work { sync, .. } = plan else {
            let promised = Promised { ticket: self.ticket, last: self.safe }; // as before
            return Some((Work::housekeeping(log, steps), promised));
        };
        let mut batches = std::mem::take(&mut self.refused);
        if !journal.gathered.batch.is_empty() {
            self.housekeeping.appended(journal.gathered.batch.len());
            batches.push_back(journal.take(self.spare.pop().unwrap_or_default()));
        }
        if self.full {
            batches.iter_mut().for_each(|refused| journal.end_with_leases(refused));
        }
        let mut loads = std::mem::take(&mut self.loads);
        if steps > 0 {
            loads.append(&mut self.later_loads);
        }
        let mut relief = std::mem::take(&mut self.relief);
        if !journal.relief.is_empty() {
            relief.push_back(std::mem::take(&mut journal.relief));
        }
        let promised = Promised { ticket, last: journal.last };
        Some((Work { log, relief, batches, sync, loads, steps }, promised))
    }
}

/// What is safe once a job has synced.
#[derive(Clone, Copy)]
struct Promised {
    ticket: u64,
    last: u64,
}

impl Hub {
    /// After the broker was called: sees to it that the store gets what was journaled.
    #[inline]
    pub(crate) fn keep(&mut self, shared: &Rc<Shared>, local: impl FnOnce() -> Local) {
        let Some(keeper) = &mut self.keeper else { return };
        while let Some(load) = self.broker.next_load() {
            keeper.loads.push(load);
        }
        if keeper.scheduled {
            return;
        }
        let ticket = self.broker.last_ticket();
        let Some(journal) = self.broker.journal_mut::<StoreJournal>() else { return };
        journal.end_call();
        if keeper.plan(ticket, journal).is_some() {
            keeper.scheduled = true;
            let shared = Rc::downgrade(shared);
            // After all that this turn brings: it makes one batch.
            local().call_soon(move |reactor| start(&shared, reactor));
        }
    }

    /// Whether a record survives a power cut, if it is to.
    pub(crate) fn is_safe(&self, record: u64) -> bool {
        self.keeper.as_ref().is_none_or(|keeper| record <= keeper.safe)
    }

    /// The number of the last record that made or ended something durable; 0 without a store.
    pub(crate) fn last_definition(&mut self) -> u64 {
        self.broker.journal_mut::<StoreJournal>().map_or(0, |journal| journal.last_definition)
    }

    /// The number of the last record that was journaled; 0 without a store.
    pub(crate) fn last_record(&mut self) -> u64 {
        self.broker.journal_mut::<StoreJournal>().map_or(0, |journal| journal.last)
    }
}

/// Starts the next job, unless one is under way or there is nothing to do.
fn start(shared: &Weak<Shared>, reactor: &mut Reactor) {
    let Some(strong) = shared.upgrade() else { return };
    let Some(hub) = strong.hub() else { return };
    let hub = &mut *hub.borrow_mut();
    let Some(keeper) = &mut hub.keeper else { return };
    keeper.scheduled = false;
    let Some((work, promised)) = keeper.next_work(&mut hub.broker) else { return };
    let shared = shared.clone();
    reactor.defer_to_thread(move || work.run()).then(move |reactor, outcome| match outcome {
        Ok(outcome) => finished(&shared, reactor, outcome, promised),
        Err(error) => fail(&shared, reactor, &error),
    });
}

/// A job has come back.
fn finished(shared: &Weak<Shared>, reactor: &mut Reactor, outcome: Outcome, promised: Promised) {
    let Some(strong) = shared.upgrade() else { return };
    if let Err(error) = &outcome.result
        && !error.is_full()
    {
        return fail(shared, reactor, error);
    }
    let take = |hub: &mut Hub, reactor: &mut Reactor| {
        hub.take_outcome(&strong, reactor, outcome, promised)
    };
    for connection in strong.change(reactor, take).unwrap_or_default() {
        reactor.with_protocol::<Connection, _>(connection, Connection::wake);
    }
}

impl Hub {
    /// Tells the broker what has become of a job; returns whom to wake.
    fn take_outcome(
        &mut self,
        shared: &Rc<Shared>,
        reactor: &mut Reactor,
        mut outcome: Outcome,
        promised: Promised,
    ) -> Vec<ConnectionId> {
        let Some(keeper) = &mut self.keeper else { return Vec::new() };
        let full = outcome.result.is_err();
        let was_full = std::mem::replace(&mut keeper.full, full);
        let leases_are_safe =
            outcome.relief.is_empty() && !outcome.refused.iter().any(Gathered::has_leases);
        if (full || was_full)
            && let Some(journal) = self.broker.journal_mut::<StoreJournal>()
        {
            journal.set_refused(outcome.refused.iter_mut());
        }
        keeper.log = Some(outcome.log);
        keeper.spare.extend(outcome.spare);
        keeper.refused = outcome.refused;
        keeper.relief = outcome.relief;
        keeper.sync_due &= !outcome.synced;
        if outcome.synced && full {
            if leases_are_safe {
                self.broker.leases_stored(promised.ticket);
            }
        } else if outcome.synced {
            (keeper.safe, keeper.ticket) = (promised.last, promised.ticket);
            self.broker.stored(promised.ticket);
        } else if !keeper.unsynced {
            sync_later(shared, reactor);
        }
        keeper.unsynced = !outcome.synced;
        if outcome.unfinished == Some(true) {
            keeper.housekeeping.look();
        }
        for answer in outcome.answers {
            self.take_answer(answer, full);
        }
        let Some(keeper) = &mut self.keeper else { return Vec::new() };
        let (safe, mut woken) = (keeper.safe, Vec::new());
        keeper.stalled.retain(|&(connection, record)| {
            let waits = record > safe;
            if !waits {
                woken.push(connection);
            }
            waits
        });
        if let Some((_, promise)) = keeper.hold.take_if(|(record, _)| *record <= safe) {
            promise.succeed(());
        }
        if full && !std::mem::replace(&mut keeper.look_set, true) {
            look_later(shared, reactor);
        }
        self.set_full(full);
        if let Some(free) = outcome.free_octets {
            self.set_free(free);
        }
        woken
    }

    fn take_answer(&mut self, answer: Answer, full: bool) {
        let Answer { load, messages, lost } = answer;
        let messages = match messages {
            Ok(messages) => messages,
            Err(problem) => {
                error!(target: LOG, "messages of a queue cannot be read, and stay behind: {problem}");
                Vec::new()
            }
        };
        if lost > 0 {
            error!(target: LOG, "{lost} messages of a queue are lost: their file is damaged");
        }
        // With a part of the records refused, what is not found may be among them.
        if messages.is_empty() && full {
            if let Some(keeper) = &mut self.keeper {
                keeper.later_loads.push(load);
            }
            return;
        }
        let unread = self.broker.loaded(&load, messages);
        if unread > 0 {
            error!(target: LOG, "{unread} messages of a queue cannot be understood, and stay behind");
        }
    }
}

/// Sets the timer for what nobody waits for.
fn sync_later(shared: &Rc<Shared>, reactor: &mut Reactor) {
    later(shared, reactor, SYNC_DELAY, |keeper| keeper.sync_due = true);
}

fn look_later(shared: &Rc<Shared>, reactor: &mut Reactor) {
    later(shared, reactor, DISK_INTERVAL, |keeper| {
        keeper.housekeeping.look();
        keeper.look_set = false;
    });
}

/// Changes the keeper after a delay, and has it see what there is to do.
fn later(shared: &Rc<Shared>, reactor: &mut Reactor, delay: Duration, change: fn(&mut Keeper)) {
    let shared = Rc::downgrade(shared);
    reactor.call_later(delay, move |reactor: &mut Reactor| {
        if let Some(strong) = shared.upgrade()
            && let Some(hub) = strong.hub()
            && let Some(keeper) = &mut hub.borrow_mut().keeper
        {
            change(keeper);
        }
        start(&shared, reactor);
    });
}

/// The store has failed: what it has not confirmed will not be, and the broker stops.
fn fail(shared: &Weak<Shared>, reactor: &mut Reactor, problem: &dyn std::error::Error) {
    let Some(shared) = shared.upgrade() else { return };
    error!(
        target: LOG,
        "the store has failed, and the broker stops; nothing is confirmed that is not stored: \
         {problem}"
    );
    shared.failure.replace(Some(problem.to_string()));
    if let Some(hub) = shared.hub() {
        hub.borrow_mut().keeper = None;
    }
    reactor.stop_now();
}

/// Has the reactor's stop wait for the store, and the store closed at its end.
pub(crate) fn close_at_shutdown(shared: &Rc<Shared>, reactor: &mut Reactor) {
    let weak = Rc::downgrade(shared);
    reactor.before_shutdown(move |reactor| {
        let shared = weak.upgrade()?;
        let mut hub = shared.hub()?.borrow_mut();
        let last = hub.last_record();
        let keeper = hub.keeper.as_mut()?;
        if last <= keeper.safe {
            return None;
        }
        let (promise, held) = reactor.deferred();
        keeper.hold = Some((last, promise));
        hub.keep(&shared, || reactor.local());
        Some(held)
    });
    let weak = Rc::downgrade(shared);
    reactor.after_shutdown(move |reactor| {
        if let Some(shared) = weak.upgrade()
            && let Some(hub) = shared.hub()
        {
            hub.borrow_mut().close_store(reactor);
        }
    });
}

impl Hub {
    /// Writes the last records. All connections have gone, so nobody is kept waiting.
    fn close_store(&mut self, reactor: &mut Reactor) {
        let Some(keeper) = self.keeper.take() else { return };
        let Some(mut log) = keeper.log else {
            warn!(target: LOG, "the store was busy at the end, and is left as by a crash");
            return;
        };
        self.drain(reactor);
        if let Some(journal) = self.broker.journal_mut::<StoreJournal>() {
            // The last leases come after all others, or those would count.
            journal.set_refused(std::iter::empty());
        }
        self.broker.release_leases();
        let mut batches: Vec<Batch> = keeper.relief.into();
        batches.extend(keeper.refused.into_iter().map(|gathered| gathered.batch));
        if let Some(journal) = self.broker.journal_mut::<StoreJournal>() {
            batches.push(std::mem::take(&mut journal.relief));
            batches.push(journal.take(Gathered::default()).batch);
        }
        let written = batches.iter().try_for_each(|batch| log.append(batch));
        let written = written.and_then(|()| log.close());
        if let Err(problem) = written {
            error!(target: LOG, "the store could not be closed in order: {problem}");
        }
    }
}
