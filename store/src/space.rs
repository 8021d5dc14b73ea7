//! What is known of each segment without reading it: how long it is, and how much of it is live.

use crate::runs::share;

/// A segment, as the log accounts for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Its octets: all frames, with the header in front.
    pub(crate) length: u64,
    /// The octets of its index file.
    pub(crate) index_octets: u64,
    /// Places of messages in queues that still hold them.
    pub(crate) live: u64,
    /// What those messages take, as far as is known.
    pub(crate) octets: u64,
    /// By how much `octets` may be wrong.
    pub(crate) drift: u64,
    /// No live message takes more.
    pub(crate) largest: u64,
    /// Something in it could not be read: it is set aside, not deleted, in the end.
    pub(crate) damaged: bool,
}

/// A record beside its places and payload, its part of a frame, and its entry in the index.
const MESSAGE_OCTETS: u64 = 16;
/// A place in the record, and in the index.
const PLACE_OCTETS: u64 = 24 + 32;

/// What a message takes of a segment.
pub(crate) fn charge(payload: u64, places: u64) -> u64 {
    payload + MESSAGE_OCTETS + places * PLACE_OCTETS
}

impl Segment {
    pub(crate) fn stored(&mut self, payload: u64, places: u64) {
        let charge = charge(payload, places);
        self.live += places;
        self.octets += charge;
        self.largest = self.largest.max(charge);
    }

    /// So many places have become free; which messages they were of is not known.
    pub(crate) fn freed(&mut self, places: u64) {
        let places = places.min(self.live);
        self.octets -= share(self.octets, places, self.live);
        self.live -= places;
        self.drift = self.drift.saturating_add(places.saturating_mul(self.largest));
        if self.live == 0 {
            self.octets = 0;
            self.drift = 0;
            self.largest = 0;
        }
    }

    /// What it takes on the disk.
    pub(crate) fn disk_octets(&self) -> u64 {
        self.length + self.index_octets
    }

    /// Whether counting again could show that much more of it is free than is known.
    pub(crate) fn wants_counting(&self) -> bool {
        self.drift > self.disk_octets() / 8
    }
}
