//! Reading numbers and octets from what a file holds: every length is held against what is there.

/// What is left to be read. Each call takes from its front, or gives `None` and takes nothing
/// that could be made sense of: the caller gives up on the whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(octets: &'a [u8]) -> Reader<'a> {
        Reader { rest: octets }
    }

    pub(crate) fn octets(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[octet]| octet)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Octets with their length of four octets in front.
    pub(crate) fn blob(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()?;
        self.octets(length as usize)
    }

    /// A number of one to ten octets, seven bits in each, the lowest first.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let octet = self.u8()?;
            let bits = u64::from(octet & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if octet < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// A count of things that take at least `least` octets each: never more than can follow, so
    /// that memory can be set aside for them.
    pub(crate) fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count.checked_mul(least)? <= self.rest.len()).then_some(count)
    }

    /// Octets with their length as a varint in front.
    pub(crate) fn short_blob(&mut self) -> Option<&'a [u8]> {
        let length = self.count(1)?;
        self.octets(length)
    }
}

pub(crate) fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

pub(crate) fn put_u64s<const N: usize>(out: &mut Vec<u8>, numbers: [u64; N]) {
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
}

pub(crate) fn put_blob(out: &mut Vec<u8>, octets: &[u8]) {
    put_u32(out, octets.len() as u32);
    out.extend_from_slice(octets);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_short_blob(out: &mut Vec<u8>, octets: &[u8]) {
    put_varint(out, octets.len() as u64);
    out.extend_from_slice(octets);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_is_read_as_it_was_written(number: u64, shift in 0..64u32) {
            let number = number >> shift;
            let mut out = Vec::new();
            put_varint(&mut out, number);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint(), Some(number));
            prop_assert!(reader.rest.is_empty());
            for end in 0..out.len() {
                prop_assert_eq!(Reader::new(&out[..end]).varint(), None);
            }
        }
    }

    #[test]
    fn a_varint_of_more_than_64_bits_is_refused() {
        let mut long = [0xff; 10];
        long[9] = 1;
        assert_eq!(Reader::new(&long).varint(), Some(u64::MAX));
        long[9] = 2;
        assert_eq!(Reader::new(&long).varint(), None);
        assert_eq!(Reader::new(&[0x80; 11]).varint(), None);
    }

    #[test]
    fn a_count_is_not_believed_beyond_what_follows() {
        let mut reader = Reader::new(&[3, 0, 0, 0]);
        assert_eq!(reader.count(1), Some(3));
        assert_eq!(Reader::new(&[3, 0, 0, 0]).count(2), None);
        assert_eq!(Reader::new(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).count(8), None);
        assert_eq!(Reader::new(&[255, 255, 255, 255, 1, 2, 3]).blob(), None);
    }
}
