use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

/// Fires what is due at `now` in one turn, and says what fired.
fn turn<T>(timers: &mut Timers<T>, now: u64) -> Vec<T> {
    let turn = timers.begin_turn();
    std::iter::from_fn(|| timers.pop_due(now, turn)).map(|(_, payload)| payload).collect()
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_to_the_nanosecond() {
    let mut timers = Timers::new();
    for deadline in [1_000_002, 1_000_000, 7, 1_000_001] {
        timers.insert(deadline, deadline);
    }
    assert_eq!(turn(&mut timers, 1_000_001), [7, 1_000_000, 1_000_001]);
    assert_eq!(timers.next_deadline(), Some(1_000_002));
    assert_eq!(timers.len(), 1);
}

#[test]
fn equal_deadlines_fire_in_the_order_in_which_they_were_set() {
    let mut timers = Timers::new();
    for i in 0..1000 {
        timers.insert(5, i);
    }
    assert_eq!(turn(&mut timers, 5), (0..1000).collect::<Vec<_>>());
}

#[test]
fn a_reset_timer_takes_the_last_place_among_its_equals() {
    let mut timers = Timers::new();
    let first = timers.insert(5, "set first, reset to the same");
    let sooner = timers.insert(9, "set second, reset to sooner");
    timers.insert(5, "left alone");
    assert!(timers.reset(sooner, 5));
    assert!(timers.reset(first, 5));
    assert_eq!(
        turn(&mut timers, 5),
        ["left alone", "set second, reset to sooner", "set first, reset to the same"]
    );
}

#[test]
fn a_timer_set_by_a_timer_for_now_fires_in_the_next_turn_and_holds_up_no_other() {
    let mut timers = Timers::new();
    timers.insert(10, "first");
    timers.insert(20, "second");
    let this = timers.begin_turn();
    assert_eq!(timers.pop_due(30, this).map(|t| t.1), Some("first"));
    timers.insert(0, "set meanwhile");
    assert_eq!(timers.pop_due(30, this).map(|t| t.1), Some("second"));
    assert_eq!(timers.pop_due(30, this), None);
    assert_eq!(timers.next_deadline(), Some(0));
    assert_eq!(timers.pop_due(30, this), None, "asking for the deadline does not let it in");
    assert_eq!(turn(&mut timers, 30), ["set meanwhile"]);
}

#[test]
fn a_timer_reset_to_now_while_others_fire_waits_for_the_next_turn() {
    let mut timers = Timers::new();
    timers.insert(10, "first");
    let sooner = timers.insert(90, "was far away");
    let later = timers.insert(11, "was due next");
    let this = timers.begin_turn();
    assert_eq!(timers.pop_due(30, this).map(|t| t.1), Some("first"));
    assert!(timers.reset(sooner, 12));
    assert!(timers.reset(later, 13));
    assert_eq!(timers.pop_due(30, this), None);
    assert_eq!(turn(&mut timers, 30), ["was far away", "was due next"]);
}

#[test]
fn a_timer_that_waits_for_the_next_turn_can_be_cancelled_and_reset() {
    let mut timers = Timers::new();
    let this = timers.begin_turn();
    let gone = timers.insert(1, "cancelled");
    let moved = timers.insert(1, "moved");
    assert_eq!(timers.pop_due(5, this), None);
    assert_eq!(timers.cancel(gone), Some("cancelled"));
    assert!(timers.reset(moved, 7));
    assert_eq!(timers.next_deadline(), Some(7));
    assert_eq!(turn(&mut timers, 6), [""; 0]);
    assert_eq!(turn(&mut timers, 7), ["moved"]);
}

#[test]
fn a_hundred_timers_that_wait_for_the_next_turn_can_be_cancelled_before_it() {
    let mut timers = Timers::new();
    let this = timers.begin_turn();
    let ids: Vec<_> = (0..100).map(|i| timers.insert(1, i)).collect();
    assert_eq!(timers.pop_due(5, this), None);
    for &id in &ids[..80] {
        assert!(timers.cancel(id).is_some());
    }
    assert!(timers.postponed.len() < 50, "the dead among those that wait are swept out too");
    assert_eq!(turn(&mut timers, 5), (80..100).collect::<Vec<_>>());
}

#[test]
fn the_next_deadline_is_exact_after_the_first_is_cancelled_or_moved_away() {
    let mut timers = Timers::new();
    let ids: Vec<_> = (1..=5u64).map(|d| timers.insert(d * 100, d)).collect();
    timers.cancel(ids[0]);
    assert_eq!(timers.next_deadline(), Some(200));
    timers.reset(ids[1], 450);
    assert_eq!(timers.next_deadline(), Some(300));
    assert_eq!(timers.deadline(ids[1]), Some(450));
    timers.reset(ids[4], 50);
    assert_eq!(timers.next_deadline(), Some(50));
    assert_eq!(turn(&mut timers, 1000), [5, 3, 4, 2]);
    assert_eq!(timers.next_deadline(), None);
}

#[test]
fn a_stale_id_finds_nothing_though_its_slot_is_used_again() {
    let mut timers = Timers::new();
    let cancelled = timers.insert(1, "a");
    assert_eq!(timers.cancel(cancelled), Some("a"));
    let fired = timers.insert(1, "b");
    assert_eq!(turn(&mut timers, 1), ["b"]);
    let alive = timers.insert(1, "c");
    assert_eq!(alive.slot, fired.slot, "the case in question");
    for stale in [cancelled, fired] {
        assert_eq!(timers.cancel(stale), None);
        assert_eq!(timers.deadline(stale), None);
        assert!(!timers.reset(stale, 0));
    }
    assert_eq!(timers.len(), 1);
    assert_eq!(timers.cancel(alive), Some("c"));
}

#[test]
fn a_timer_centuries_away_neither_overflows_nor_blocks() {
    let mut timers = Timers::new();
    let never = timers.insert(u64::MAX, "at the end of time");
    timers.insert(u64::MAX - 1, "just before it");
    assert_eq!(timers.next_deadline(), Some(u64::MAX - 1));
    timers.insert(3, "soon");
    assert_eq!(turn(&mut timers, 1 << 62), ["soon"]);
    assert!(timers.reset(never, u64::MAX));
    assert_eq!(turn(&mut timers, u64::MAX), ["just before it", "at the end of time"]);
}

#[test]
fn a_million_timers_cost_memory_only_while_they_live() {
    const MILLION: usize = 1_000_000;
    for survivor in [None, Some(0), Some(MILLION / 2), Some(MILLION - 1)] {
        let mut timers = Timers::new();
        let ids: Vec<_> = (0..MILLION as u64).map(|i| timers.insert(i ^ 0x5555, ())).collect();
        for (i, id) in ids.into_iter().enumerate() {
            if Some(i) != survivor {
                timers.cancel(id);
            }
        }
        assert_eq!(timers.len(), usize::from(survivor.is_some()));
        assert_small(&timers);
    }
    let mut timers = Timers::new();
    for i in 0..MILLION as u64 {
        timers.insert(i, ());
    }
    turn(&mut timers, u64::MAX);
    assert_small(&timers);
}

#[test]
fn timers_reset_again_and_again_leave_no_heap_behind() {
    let mut timers = Timers::new();
    let ids: Vec<_> = (0..100).map(|i| timers.insert(1_000_000, i)).collect();
    for round in 0..1000 {
        for &id in &ids {
            timers.reset(id, 1_000_000 - round);
            timers.reset(id, 1_000_000 + round);
        }
    }
    assert_eq!(timers.len(), 100);
    assert!(timers.heap.len() < 300, "{} entries for 100 timers", timers.heap.len());
}

fn assert_small<T>(timers: &Timers<T>) {
    assert!(timers.slots.capacity() <= slots::PAGE as usize, "{} slots", timers.slots.capacity());
    assert!(timers.heap.capacity() <= 1024, "{} entries", timers.heap.capacity());
}

/// What a timer queue does, in the plainest way.
#[derive(Default)]
struct Model {
    /// Deadline, place in the order of setting, name.
    set: Vec<(u64, u64, usize)>,
    order: u64,
}

impl Model {
    fn insert(&mut self, deadline: u64, name: usize) {
        self.set.push((deadline, self.order, name));
        self.set.sort();
        self.order += 1;
    }

    fn cancel(&mut self, name: usize) -> bool {
        let before = self.set.len();
        self.set.retain(|timer| timer.2 != name);
        self.set.len() < before
    }

    fn reset(&mut self, name: usize, deadline: u64) -> bool {
        let found = self.cancel(name);
        if found {
            self.insert(deadline, name);
        }
        found
    }

    fn pop_due(&mut self, now: u64, before: u64) -> Option<usize> {
        let first = self.set.iter().position(|timer| timer.0 <= now && timer.1 < before)?;
        Some(self.set.remove(first).2)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Cancel(prop::sample::Index),
    Reset(prop::sample::Index, u64),
    AskNext,
    /// Advance the clock and fire, doing a step of these after each timer that fired.
    Turn(u64, Vec<Step>),
}

fn step() -> impl Strategy<Value = Step> {
    let delay = || prop_oneof![8 => 0..40u64, 1 => 0..1_000_000u64, 1 => Just(u64::MAX)];
    let leaf = prop_oneof![
        4 => delay().prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        3 => (any::<prop::sample::Index>(), delay()).prop_map(|(i, d)| Step::Reset(i, d)),
        1 => Just(Step::AskNext),
    ];
    let inner = prop::collection::vec(leaf.clone(), 0..6);
    prop_oneof![6 => leaf, 1 => (0..30u64, inner).prop_map(|(by, steps)| Step::Turn(by, steps))]
}

#[derive(Default)]
struct Pair {
    timers: Option<Timers<usize>>,
    model: Model,
    ids: Vec<TimerId>,
    now: u64,
}

impl Pair {
    fn run(&mut self, step: &Step) {
        let timers = self.timers.get_or_insert_with(Timers::new);
        match step {
            Step::Insert(delay) => {
                let deadline = self.now.saturating_add(*delay);
                self.model.insert(deadline, self.ids.len());
                self.ids.push(timers.insert(deadline, self.ids.len()));
            }
            Step::Cancel(which) if !self.ids.is_empty() => {
                let name = which.index(self.ids.len());
                let expected = self.model.cancel(name).then_some(name);
                assert_eq!(timers.cancel(self.ids[name]), expected);
            }
            Step::Reset(which, delay) if !self.ids.is_empty() => {
                let name = which.index(self.ids.len());
                let deadline = self.now.saturating_add(*delay);
                let found = self.model.reset(name, deadline);
                assert_eq!(timers.reset(self.ids[name], deadline), found);
                assert_eq!(timers.deadline(self.ids[name]), found.then_some(deadline));
            }
            Step::Cancel(_) | Step::Reset(..) => {}
            Step::AskNext => {
                assert_eq!(timers.next_deadline(), self.model.set.first().map(|timer| timer.0));
            }
            Step::Turn(by, meanwhile) => {
                self.now += by;
                let this = timers.begin_turn();
                let before = self.model.order;
                let mut meanwhile = meanwhile.iter();
                loop {
                    let timers = self.timers.get_or_insert_with(Timers::new);
                    let fired = timers.pop_due(self.now, this);
                    assert_eq!(fired.map(|t| t.1), self.model.pop_due(self.now, before));
                    let Some((id, name)) = fired else { break };
                    assert_eq!(id, self.ids[name]);
                    if let Some(step) = meanwhile.next() {
                        self.run(step);
                    }
                }
            }
        }
        let timers = self.timers.get_or_insert_with(Timers::new);
        assert_eq!(timers.len(), self.model.set.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_interleaving_does_what_a_sorted_list_does(steps in prop::collection::vec(step(), 1..400)) {
        let mut pair = Pair::default();
        for step in &steps {
            pair.run(step);
        }
        pair.now = u64::MAX;
        pair.run(&Step::Turn(0, Vec::new()));
        let distinct: HashSet<_> = pair.ids.iter().collect();
        prop_assert_eq!(distinct.len(), pair.ids.len(), "no id was given twice");
    }
}
