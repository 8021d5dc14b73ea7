//! Random numbers: the system's secure ones in production, a seeded sequence in a simulation.

use std::io;

/// Where a reactor's random bytes come from.
#[derive(Debug)]
pub(crate) enum Random {
    /// `getrandom(2)`: fit for secrets.
    System,
    /// Replays from its seed.
    Seeded(Seeded),
}

impl Random {
    #[expect(clippy::disallowed_methods, reason = "the seam itself: chance enters here")]
    pub(crate) fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::System => getrandom::fill(bytes).map_err(io::Error::from),
            Self::Seeded(sequence) => {
                sequence.fill(bytes);
                Ok(())
            }
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state, every seed good, and fast. Not
/// for secrets.
#[derive(Debug, Clone)]
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }

    /// A number below `bound`, which is not zero. The bias is below 2⁻³² for the small bounds
    /// used here.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in `n` times.
    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}
