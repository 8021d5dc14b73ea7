//! Listeners that share an address (`SO_REUSEPORT`). One of them is the address's own, the others
//! stand behind it; before each request comes, chance says which of them is to be the first.

use super::{Net, Queue, Realm};
use crate::Address;
use crate::identity::Source;

/// Whose queue it is: a reactor's port, and the listener's name there.
pub(super) type Owner = (usize, Source);

impl Queue {
    pub(super) fn owner(&self) -> Owner {
        (self.port, self.source)
    }

    /// Swaps places with one of those behind it.
    fn give_way(&mut self, index: usize) {
        let mut behind = std::mem::take(&mut self.behind);
        std::mem::swap(self, &mut behind[index]);
        self.behind = behind;
    }
}

impl Net {
    /// Draws who takes the next caller.
    pub(super) fn draw_listener(&mut self, at: &(Realm, Address)) {
        let Some(queue) = self.listeners.get_mut(at) else { return };
        if !queue.behind.is_empty() {
            let drawn = self.chance.below(1 + queue.behind.len() as u64) as usize;
            if drawn > 0 {
                queue.give_way(drawn - 1);
            }
        }
    }

    /// Adds a listener; false when it may not share the address.
    pub(super) fn add_listener(&mut self, at: &(Realm, Address), queue: Queue) -> bool {
        match self.listeners.get_mut(at) {
            None => {
                self.listeners.insert(at.clone(), queue);
            }
            Some(first) if first.shares && queue.shares => first.behind.push(queue),
            Some(_) => return false,
        }
        true
    }

    pub(super) fn queue_of(&mut self, at: &(Realm, Address), owner: Owner) -> Option<&mut Queue> {
        let first = self.listeners.get_mut(at)?;
        if first.owner() == owner {
            return Some(first);
        }
        first.behind.iter_mut().find(|queue| queue.owner() == owner)
    }

    pub(super) fn remove_listener(&mut self, at: &(Realm, Address), owner: Owner) -> Option<Queue> {
        let first = self.listeners.get_mut(at)?;
        if let Some(index) = first.behind.iter().position(|queue| queue.owner() == owner) {
            return Some(first.behind.remove(index));
        }
        if first.owner() != owner {
            return None; // it went with its machine, and others have the address
        }
        if !first.behind.is_empty() {
            first.give_way(0);
            return Some(first.behind.remove(0));
        }
        self.listeners.remove(at)
    }
}
