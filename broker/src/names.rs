//! Names of queues, exchanges and consumers, the maps that find them, and the names that the
//! broker makes up.
//!
//! Names are bytes, as on the wire. The maps hash with a key that the caller's randomness gives,
//! so that no client can choose names that collide; nothing depends on the order of a map.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

/// A name as the broker keeps it. AMQP bounds it to 255 bytes.
pub(crate) type Name = Box<[u8]>;

/// Finds things by name. Never iterated where the order could show.
pub(crate) type NameMap<T> = HashMap<Name, T, NameHash>;

/// The longest name that AMQP can carry (a short string, section 4.2.5.3).
pub const MAX_NAME: usize = 255;

/// RabbitMQ strips line ends from the names it is asked to use.
pub(crate) fn strip_line_ends(name: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    if name.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        name.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect()
    } else {
        name.into()
    }
}

/// A name as RabbitMQ makes it: a prefix and 16 random bytes in URL-safe base64 (RFC 4648,
/// section 5) without padding, 22 letters.
pub(crate) fn generated(prefix: &str, random: [u8; 16]) -> Name {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut name = Vec::with_capacity(prefix.len() + 22);
    name.extend_from_slice(prefix.as_bytes());
    for group in random.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(word);
        for letter in 0..=group.len() {
            name.push(LETTERS[(bits >> (18 - 6 * letter)) as usize & 63]);
        }
    }
    name.into_boxed_slice()
}

/// Makes the hashers of a broker, keyed with two secret words.
#[derive(Clone, Copy)]
pub(crate) struct NameHash {
    key: [u64; 2],
}

impl NameHash {
    pub(crate) fn new(key: [u64; 2]) -> NameHash {
        NameHash { key }
    }

    pub(crate) fn map<T>(self) -> NameMap<T> {
        HashMap::with_hasher(self)
    }
}

impl BuildHasher for NameHash {
    type Hasher = NameHasher;
    fn build_hasher(&self) -> NameHasher {
        NameHasher { state: self.key[0], key: self.key[1] }
    }
}

/// Folds eight bytes at a time by a widening multiplication with the key mixed in, the way of
/// wyhash and its kin: a few nanoseconds for a name. Not proof against one who sees hashes, and
/// none are ever shown.
pub(crate) struct NameHasher {
    state: u64,
    key: u64,
}

/// Digits of pi: any odd, well-mixed constant would do.
const MIX: u64 = 0x2438_6a88_85a3_08d3;

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    (wide as u64) ^ (wide >> 64) as u64
}

impl NameHasher {
    #[inline]
    fn mix(&mut self, word: u64) {
        self.state = fold(self.state ^ word, self.key | 1).wrapping_add(MIX);
    }
}

/// Eight bytes at `at`; the last ones of a name overlap those before, which saves a copy.
#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
}

impl Hasher for NameHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let len = bytes.len();
        if len >= 8 {
            let mut at = 0;
            while at + 8 < len {
                self.mix(word(bytes, at));
                at += 8;
            }
            self.mix(word(bytes, len - 8));
        } else if len >= 4 {
            let half = |at: usize| {
                bytes[at..].first_chunk().map_or(0, |half| u64::from(u32::from_le_bytes(*half)))
            };
            self.mix(half(0) << 32 | half(len - 4));
        } else if len > 0 {
            let at = |at: usize| u64::from(bytes[at]);
            self.mix(at(0) << 16 | at(len / 2) << 8 | at(len - 1));
        }
    }

    /// The length goes in, too: two names whose words are the same differ there.
    #[inline]
    fn write_usize(&mut self, length: usize) {
        self.state = self.state.wrapping_add((length as u64).wrapping_mul(MIX));
    }

    fn finish(&self) -> u64 {
        fold(self.state ^ MIX, self.key ^ MIX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_is_url_safe_base64_without_padding() {
        assert_eq!(&*generated("amq.gen-", [0; 16]), b"amq.gen-AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(&*generated("", [255; 16]), b"_____________________w");
        let counting: [u8; 16] = std::array::from_fn(|at| at as u8);
        assert_eq!(&*generated("x", counting), b"xAAECAwQFBgcICQoLDA0ODw");
    }

    #[test]
    fn line_ends_are_stripped_from_names() {
        assert_eq!(&*strip_line_ends(b"a\r\nb\n"), b"ab");
        assert_eq!(&*strip_line_ends(b"plain"), b"plain");
    }

    #[test]
    fn names_that_differ_hash_differently_and_another_key_gives_other_hashes() {
        let hash = |key: [u64; 2], name: &[u8]| NameHash::new(key).hash_one(name);
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..10_000 {
            seen.insert(hash([1, 2], format!("queue-{number}").as_bytes()));
        }
        seen.insert(hash([1, 2], b""));
        seen.insert(hash([1, 2], b"\0"));
        seen.insert(hash([1, 2], b"\0\0"));
        assert_eq!(seen.len(), 10_003);
        assert_ne!(hash([1, 2], b"queue"), hash([1, 3], b"queue"));
        assert_ne!(hash([1, 2], b"queue"), hash([2, 2], b"queue"));
    }
}
