//! The direct exchange: bindings by their key, one look-up a message.

use super::{Bound, remove_bound};
use crate::ids::BindingId;
use crate::names::{NameHash, NameMap};

pub(crate) struct Direct {
    keys: NameMap<Vec<Bound>>,
}

impl Direct {
    pub(super) fn new(hash: NameHash) -> Direct {
        Direct { keys: hash.map() }
    }

    #[inline]
    pub(super) fn bound(&self, key: &[u8]) -> &[Bound] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    pub(super) fn insert(&mut self, key: &[u8], bound: Bound) {
        match self.keys.get_mut(key) {
            Some(list) => list.push(bound),
            None => drop(self.keys.insert(key.into(), vec![bound])),
        }
    }

    pub(super) fn remove(&mut self, key: &[u8], id: BindingId) {
        let Some(list) = self.keys.get_mut(key) else { return };
        remove_bound(list, id);
        if list.is_empty() {
            self.keys.remove(key);
        }
    }
}
