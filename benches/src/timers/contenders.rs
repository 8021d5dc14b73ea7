//! Ropewalk's queue, and what one would build from std's collections in an afternoon.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use ropewalk_reactor::TimerId;
use ropewalk_reactor::bench_support::TimerQueue;

use super::{Payload, Queue};

pub(super) struct Ropewalk(TimerQueue<Payload>);

impl Queue for Ropewalk {
    type Id = TimerId;

    fn new() -> Self {
        Ropewalk(TimerQueue::default())
    }

    fn insert(&mut self, deadline: u64, payload: Payload) -> TimerId {
        self.0.insert(deadline, payload)
    }

    fn cancel(&mut self, id: TimerId) -> bool {
        self.0.cancel(id).is_some()
    }

    fn reset(&mut self, id: &mut TimerId, deadline: u64) {
        self.0.reset(*id, deadline);
    }

    fn fire(&mut self, now: u64) -> (u64, u64) {
        let turn = self.0.begin_turn();
        let (mut count, mut sum) = (0, 0u64);
        while let Some((_, payload)) = self.0.pop_due(now, turn) {
            count += 1;
            sum = sum.wrapping_add(payload());
        }
        (count, sum)
    }

    fn next_deadline(&mut self) -> Option<u64> {
        self.0.next_deadline()
    }
}

/// std's heap over a slab. A cancelled timer leaves its entry behind until it surfaces, and
/// nothing is swept out: what such a queue looks like before someone runs out of memory.
pub(super) struct Heap {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<(u64, Payload)>>,
    vacant: Vec<usize>,
    order: u64,
}

impl Heap {
    fn is_live(&self, order: u64, slot: usize) -> bool {
        matches!(&self.slots[slot], Some((current, _)) if *current == order)
    }

    /// Drops dead entries from the top.
    fn settle(&mut self) -> Option<(u64, usize)> {
        while let Some(&Reverse((deadline, order, slot))) = self.heap.peek() {
            if self.is_live(order, slot) {
                return Some((deadline, slot));
            }
            self.heap.pop();
        }
        None
    }
}

impl Queue for Heap {
    /// The slot, and the order that it must hold for the id to be good.
    type Id = (usize, u64);

    fn new() -> Self {
        Heap { heap: BinaryHeap::new(), slots: Vec::new(), vacant: Vec::new(), order: 0 }
    }

    fn insert(&mut self, deadline: u64, payload: Payload) -> Self::Id {
        let order = self.order;
        self.order += 1;
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some((order, payload));
        self.heap.push(Reverse((deadline, order, slot)));
        (slot, order)
    }

    fn cancel(&mut self, (slot, order): Self::Id) -> bool {
        let live = self.is_live(order, slot);
        if live {
            self.slots[slot] = None;
            self.vacant.push(slot);
        }
        live
    }

    fn reset(&mut self, id: &mut Self::Id, deadline: u64) {
        if !self.is_live(id.1, id.0) {
            return;
        }
        id.1 = self.order;
        self.order += 1;
        if let Some((order, _)) = &mut self.slots[id.0] {
            *order = id.1;
        }
        self.heap.push(Reverse((deadline, id.1, id.0)));
    }

    fn fire(&mut self, now: u64) -> (u64, u64) {
        let (mut count, mut sum) = (0, 0u64);
        while let Some((deadline, slot)) = self.settle() {
            if deadline > now {
                break;
            }
            self.heap.pop();
            if let Some((_, payload)) = self.slots[slot].take() {
                self.vacant.push(slot);
                count += 1;
                sum = sum.wrapping_add(payload());
            }
        }
        (count, sum)
    }

    fn next_deadline(&mut self) -> Option<u64> {
        self.settle().map(|(deadline, _)| deadline)
    }
}

/// std's ordered map, with the payloads in it.
pub(super) struct Tree {
    map: BTreeMap<(u64, u64), Payload>,
    order: u64,
}

impl Queue for Tree {
    /// The key.
    type Id = (u64, u64);

    fn new() -> Self {
        Tree { map: BTreeMap::new(), order: 0 }
    }

    fn insert(&mut self, deadline: u64, payload: Payload) -> Self::Id {
        let key = (deadline, self.order);
        self.order += 1;
        self.map.insert(key, payload);
        key
    }

    fn cancel(&mut self, id: Self::Id) -> bool {
        self.map.remove(&id).is_some()
    }

    fn reset(&mut self, id: &mut Self::Id, deadline: u64) {
        if let Some(payload) = self.map.remove(id) {
            *id = self.insert(deadline, payload);
        }
    }

    fn fire(&mut self, now: u64) -> (u64, u64) {
        let (mut count, mut sum) = (0, 0u64);
        while let Some(first) = self.map.first_entry() {
            if first.key().0 > now {
                break;
            }
            count += 1;
            sum = sum.wrapping_add(first.remove()());
        }
        (count, sum)
    }

    fn next_deadline(&mut self) -> Option<u64> {
        self.map.first_key_value().map(|(key, _)| key.0)
    }
}
