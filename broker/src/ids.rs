//! Typed slots: a dense array that hands out keys of slot and generation.
//!
//! A key whose thing has gone finds nothing, even after the slot was used again, so that ids may
//! be kept in messages on their way, in waiting lists and by callers without bookkeeping.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// What every id is: a slot's index and the generation of what lived there.
pub(crate) trait Key: Copy {
    fn new(index: u32, generation: u32) -> Self;
    fn index(self) -> u32;
    fn generation(self) -> u32;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// `Copy`, 8 bytes; once what it names has gone, it finds nothing.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            index: u32,
            generation: u32,
        }

        impl Key for $name {
            fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }
            fn index(self) -> u32 {
                self.index
            }
            fn generation(self) -> u32 {
                self.generation
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}.{})"), self.index, self.generation)
            }
        }
    };
}

id!(
    /// Names a virtual host of the broker.
    VhostId
);
id!(
    /// Names a client's connection to the broker.
    ConnectionId
);
id!(
    /// Names a channel of a connection.
    ChannelId
);
id!(
    /// Names an exchange.
    ExchangeId
);
id!(
    /// Names a queue.
    QueueId
);
id!(
    /// Names a consumer of a queue.
    ConsumerId
);
id!(
    /// Names a binding between an exchange and a queue or another exchange.
    BindingId
);

impl ExchangeId {
    /// An id that finds nothing, for a field that is set a moment later.
    pub(crate) fn nowhere() -> ExchangeId {
        ExchangeId { index: u32::MAX, generation: 0 }
    }
}

pub(crate) struct Slots<K, T> {
    entries: Vec<Entry<T>>,
    /// Last in, first out: the same calls give the same ids.
    free: Vec<u32>,
    keys: PhantomData<fn(K) -> K>,
}

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<K: Key, T> Slots<K, T> {
    pub(crate) fn new() -> Self {
        Slots { entries: Vec::new(), free: Vec::new(), keys: PhantomData }
    }

    pub(crate) fn insert(&mut self, value: T) -> K {
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.value = Some(value);
            return K::new(index, entry.generation);
        }
        let index = u32::try_from(self.entries.len()).expect("under 2^32 of a thing fit in memory");
        self.entries.push(Entry { generation: 0, value: Some(value) });
        K::new(index, 0)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let entry = self.entries.get_mut(key.index() as usize)?;
        if entry.generation != key.generation() {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(key.index());
        Some(value)
    }

    #[inline]
    pub(crate) fn get(&self, key: K) -> Option<&T> {
        match self.entries.get(key.index() as usize) {
            Some(entry) if entry.generation == key.generation() => entry.value.as_ref(),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        match self.entries.get_mut(key.index() as usize) {
            Some(entry) if entry.generation == key.generation() => entry.value.as_mut(),
            _ => None,
        }
    }

    /// All that live, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| {
            let value = entry.value.as_ref()?;
            Some((K::new(index as u32, entry.generation), value))
        })
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.entries.iter_mut().enumerate().filter_map(|(index, entry)| {
            let value = entry.value.as_mut()?;
            Some((K::new(index as u32, entry.generation), value))
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

/// For ids that the caller has just looked up, or that an invariant keeps alive.
impl<K: Key, T> Index<K> for Slots<K, T> {
    type Output = T;
    #[inline]
    fn index(&self, key: K) -> &T {
        self.get(key).expect("an id that an invariant keeps alive")
    }
}

impl<K: Key, T> IndexMut<K> for Slots<K, T> {
    #[inline]
    fn index_mut(&mut self, key: K) -> &mut T {
        self.get_mut(key).expect("an id that an invariant keeps alive")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_id_finds_nothing_even_when_its_slot_is_used_again() {
        let mut slots: Slots<QueueId, &str> = Slots::new();
        let first = slots.insert("first");
        assert_eq!(slots.remove(first), Some("first"));
        let second = slots.insert("second");
        assert_eq!(second.index(), first.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots[second], "second");
        assert_eq!(slots.len(), 1);
    }
}
