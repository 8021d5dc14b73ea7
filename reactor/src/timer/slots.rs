//! Where timers' payloads live: slots with stable numbers, in pages that come and go.
//!
//! One growing vector would be simpler, but a single timer left in its last slot would pin
//! it whole. A page that empties is freed at once, all but one, and so memory follows the
//! timers that live. The rule: a page is on `roomy` exactly when it is not full.

use std::num::NonZeroU32;

/// Slots in a page. With a boxed closure a slot takes 48 bytes, so a page 12 KiB: what a
/// reactor with one timer holds, and what one survivor of a mass cancellation pins.
pub(super) const PAGE: u32 = 256;

/// One timer that is set.
pub(super) struct Slot<T> {
    pub(super) deadline: u64,
    /// Its place in the order of setting.
    pub(super) order: u64,
    /// The `order` of its entry in the heap. Differs from `order` after a reset to later: the
    /// entry then lies too early and moves when it surfaces.
    pub(super) queued: u64,
    pub(super) generation: NonZeroU32,
    pub(super) payload: T,
}

pub(super) struct Slots<T> {
    pages: Vec<Page<T>>,
    /// The pages that are not full, freed ones too; the last one is filled first.
    roomy: Vec<u32>,
    /// The memory of one freed page, kept so that a lone timer set and cancelled again and
    /// again does not allocate each time.
    spare: Vec<Place<T>>,
    len: usize,
}

struct Page<T> {
    /// How many of `places` are filled.
    filled: u32,
    /// Head of the list of vacant places; `places.len()` when there is none.
    vacant: u32,
    /// Grows up to `PAGE`; no memory while nothing is in it.
    places: Vec<Place<T>>,
}

enum Place<T> {
    Filled(Slot<T>),
    Vacant { next: u32 },
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Slots { pages: Vec::new(), roomy: Vec::new(), spare: Vec::new(), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, slot: Slot<T>) -> u32 {
        let number = match self.roomy.last() {
            Some(&number) => number,
            None => self.add_page(),
        };
        let page = &mut self.pages[number as usize];
        if page.places.capacity() == 0 {
            page.places = std::mem::take(&mut self.spare);
            page.places.reserve_exact(PAGE as usize);
            page.vacant = 0;
        }
        let index = page.vacant;
        match page.places.get_mut(index as usize) {
            Some(place) => {
                let Place::Vacant { next } = *place else { unreachable!("on the vacant list") };
                page.vacant = next;
                *place = Place::Filled(slot);
            }
            None => {
                page.places.push(Place::Filled(slot));
                page.vacant = index + 1;
            }
        }
        page.filled += 1;
        if page.filled == PAGE {
            self.roomy.pop();
        }
        self.len += 1;
        number * PAGE + index
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Slot<T>> {
        let page = self.pages.get((slot / PAGE) as usize)?;
        match page.places.get((slot % PAGE) as usize)? {
            Place::Filled(slot) => Some(slot),
            Place::Vacant { .. } => None,
        }
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Slot<T>> {
        let page = self.pages.get_mut((slot / PAGE) as usize)?;
        match page.places.get_mut((slot % PAGE) as usize)? {
            Place::Filled(slot) => Some(slot),
            Place::Vacant { .. } => None,
        }
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Slot<T>> {
        let number = slot / PAGE;
        let page = self.pages.get_mut(number as usize)?;
        let place = page.places.get_mut((slot % PAGE) as usize)?;
        if matches!(place, Place::Vacant { .. }) {
            return None;
        }
        let taken = std::mem::replace(place, Place::Vacant { next: page.vacant });
        page.vacant = slot % PAGE;
        if page.filled == PAGE {
            self.roomy.push(number);
        }
        page.filled -= 1;
        if page.filled == 0 {
            self.spare = std::mem::take(&mut page.places);
            self.spare.clear();
        }
        self.len -= 1;
        match taken {
            Place::Filled(slot) => Some(slot),
            Place::Vacant { .. } => None,
        }
    }

    /// O(n) when the vectors grow; amortised O(1).
    fn add_page(&mut self) -> u32 {
        let number = self.pages.len() as u32;
        // 2³² slots would take 200 GiB and more before this could fail.
        assert!(number < u32::MAX / PAGE, "more timers than slot numbers");
        self.pages.push(Page { filled: 0, vacant: 0, places: Vec::new() });
        self.roomy.push(number);
        number
    }

    /// How many slots there is memory for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.pages.iter().map(|page| page.places.capacity()).sum()
    }
}
