//! A frame: the records of one batch as they stand in a segment, with a head that tells whether
//! they are whole.
//!
//! Frames begin at multiples of 8. Both checksums of a frame begin with the log's salt, the
//! segment's number and the frame's offset. So nothing else passes for a frame: neither what an
//! earlier use of the same blocks left, nor a payload that looks like one.

use crate::codec::{Reader, put_u32, put_u64s};

/// Magic, checksum of the head, length of the records, what was synced before, the frame's
/// number, checksum of the records, and four octets of zeros.
pub(crate) const HEAD_OCTETS: u64 = 32;
/// Where frames can begin.
pub(crate) const ALIGNMENT: u64 = 8;

pub(crate) const MAGIC: [u8; 4] = *b"RWfr";

/// What goes into the checksums of a segment's frames, beside their offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seed {
    pub(crate) salt: u64,
    pub(crate) segment: u64,
}

/// The head of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// Of its records.
    pub(crate) length: u32,
    /// How much of the segment was known to be synced when the frame was written. So what is
    /// broken before that is no torn write.
    pub(crate) synced: u32,
    /// Counts the frames of a log.
    pub(crate) sequence: u64,
    checksum: u32,
}

impl Head {
    pub(crate) fn new(records: &[u8], synced: u64, sequence: u64, seed: Seed, offset: u64) -> Head {
        let checksum = crc32c::crc32c_append(seed.at(offset), records);
        Head { length: records.len() as u32, synced: synced as u32, sequence, checksum }
    }

    pub(crate) fn encode(&self, seed: Seed, offset: u64) -> [u8; HEAD_OCTETS as usize] {
        let mut out = Vec::with_capacity(HEAD_OCTETS as usize);
        out.extend_from_slice(&MAGIC);
        put_u32(&mut out, 0);
        put_u32(&mut out, self.length);
        put_u32(&mut out, self.synced);
        put_u64s(&mut out, [self.sequence]);
        put_u32(&mut out, self.checksum);
        put_u32(&mut out, 0);
        let checksum = crc32c::crc32c_append(seed.at(offset), &out[8..]);
        out[4..8].copy_from_slice(&checksum.to_le_bytes());
        let mut head = [0; HEAD_OCTETS as usize];
        head.copy_from_slice(&out);
        head
    }

    pub(crate) fn decode(octets: &[u8], seed: Seed, offset: u64) -> Option<Head> {
        let mut reader = Reader::new(octets.get(..HEAD_OCTETS as usize)?);
        if reader.octets(4)? != MAGIC {
            return None;
        }
        let checksum = reader.u32()?;
        if checksum != crc32c::crc32c_append(seed.at(offset), reader.rest) {
            return None;
        }
        Some(Head {
            length: reader.u32()?,
            synced: reader.u32()?,
            sequence: reader.u64()?,
            checksum: reader.u32()?,
        })
    }

    /// Whether these are its records.
    pub(crate) fn holds(&self, records: &[u8], seed: Seed, offset: u64) -> bool {
        records.len() == self.length as usize
            && crc32c::crc32c_append(seed.at(offset), records) == self.checksum
    }
}

impl Seed {
    fn at(&self, offset: u64) -> u32 {
        let mut octets = [0; 24];
        octets[..8].copy_from_slice(&self.salt.to_le_bytes());
        octets[8..16].copy_from_slice(&self.segment.to_le_bytes());
        octets[16..].copy_from_slice(&offset.to_le_bytes());
        crc32c::crc32c(&octets)
    }
}

/// What a frame with so many octets of records takes, with what fills it up.
pub(crate) fn octets(records: u64) -> u64 {
    HEAD_OCTETS + records.next_multiple_of(ALIGNMENT)
}

/// Zeros, to fill a frame up with.
pub(crate) fn padding(records: usize) -> &'static [u8] {
    const ZEROS: [u8; ALIGNMENT as usize] = [0; ALIGNMENT as usize];
    &ZEROS[..records.next_multiple_of(ALIGNMENT as usize) - records]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_only_where_it_was_written() {
        let seed = Seed { salt: 1, segment: 2 };
        let head = Head::new(b"records", 64, 9, seed, 128);
        let octets = head.encode(seed, 128);
        assert_eq!(Head::decode(&octets, seed, 128), Some(head));
        assert!(head.holds(b"records", seed, 128));
        for (seed, offset) in
            [(seed, 136), (Seed { salt: 3, ..seed }, 128), (Seed { segment: 3, ..seed }, 128)]
        {
            assert_eq!(Head::decode(&octets, seed, offset), None);
            assert!(!head.holds(b"records", seed, offset));
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_it_is_seen() {
        let seed = Seed { salt: 1, segment: 2 };
        let head = Head::new(b"records", 64, 9, seed, 128);
        let octets = head.encode(seed, 128);
        for bit in 0..octets.len() * 8 {
            let mut octets = octets;
            octets[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Head::decode(&octets, seed, 128), None, "bit {bit}");
        }
        for bit in 0..7 * 8 {
            let mut records = *b"records";
            records[bit / 8] ^= 1 << (bit % 8);
            assert!(!head.holds(&records, seed, 128), "bit {bit}");
        }
    }

    #[test]
    fn frames_end_where_the_next_can_begin() {
        for length in 0..20 {
            assert_eq!(octets(length) % ALIGNMENT, 0);
            let padding = padding(length as usize).len() as u64;
            assert_eq!(HEAD_OCTETS + length + padding, octets(length));
        }
    }
}
