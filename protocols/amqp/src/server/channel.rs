//! The channels of a connection, by their numbers.

use std::collections::BTreeMap;

use ropewalk_broker::ChannelId;

use crate::codec::Assembler;

/// Channels below this number are found by index. Clients number from 1; one that opens channel
/// 65535 first must not get 65535 places: 256 × 8 octets = 2 KiB at most.
const DENSE: usize = 256;

/// One channel.
pub(crate) struct Channel {
    pub(crate) id: ChannelId,
    pub(crate) state: ChannelState,
    /// From the channel's frames to commands.
    pub(crate) assembler: Assembler,
    /// Octets that it holds of a message under way, as counted in `unfinished`.
    pub(crate) unfinished: u64,
}

/// How a channel stands. It is not there at all before `channel.open` and after `close-ok`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelState {
    /// It serves.
    Open,
    /// The server has closed it, and discards what comes until the client answers.
    Closing,
}

#[derive(Default)]
pub(crate) struct Channels {
    /// By number, below [`DENSE`].
    dense: Vec<Option<Box<Channel>>>,
    sparse: BTreeMap<u16, Box<Channel>>,
    count: usize,
}

impl Channels {
    /// How many there are, closing ones included.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        match usize::from(number) {
            index @ ..DENSE => self.dense.get_mut(index)?.as_deref_mut(),
            _ => self.sparse.get_mut(&number).map(|channel| &mut **channel),
        }
    }

    /// Adds a channel whose number is free.
    pub(crate) fn insert(&mut self, number: u16, channel: Channel) {
        self.count += 1;
        let (index, channel) = (usize::from(number), Box::new(channel));
        if index >= DENSE {
            self.sparse.insert(number, channel);
            return;
        }
        if self.dense.len() <= index {
            self.dense.resize_with(index + 1, || None);
        }
        self.dense[index] = Some(channel);
    }

    pub(crate) fn remove(&mut self, number: u16) {
        let removed = match usize::from(number) {
            index @ ..DENSE => self.dense.get_mut(index).and_then(Option::take),
            _ => self.sparse.remove(&number),
        };
        self.count -= usize::from(removed.is_some());
    }

    pub(crate) fn clear(&mut self) {
        *self = Channels::default();
    }
}
