//! The fanout exchange: every binding, whatever its key.

use super::{Bound, remove_bound};
use crate::ids::BindingId;

#[derive(Default)]
pub(crate) struct Fanout {
    all: Vec<Bound>,
}

impl Fanout {
    pub(super) fn bound(&self) -> &[Bound] {
        &self.all
    }

    pub(super) fn insert(&mut self, bound: Bound) {
        self.all.push(bound);
    }

    pub(super) fn remove(&mut self, id: BindingId) {
        remove_bound(&mut self.all, id);
    }
}
