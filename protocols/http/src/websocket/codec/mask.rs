//! Masking (RFC 6455 §5.3): what a client sends is XORed with a key that nobody can guess, so that a
//! page cannot make its browser send what a proxy on the way takes for a request.

/// Masks `data`, or takes its mask away: both are the same. `offset` is the place of its first octet
/// in the frame's payload.
pub fn mask(data: &mut [u8], mut key: [u8; 4], offset: u64) {
    key.rotate_left((offset % 4) as usize);
    let [a, b, c, d] = key;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = data.as_chunks_mut::<8>();
    for octets in words {
        *octets = (u64::from_ne_bytes(*octets) ^ word).to_ne_bytes();
    }
    for (octet, key) in rest.iter_mut().zip(word.to_ne_bytes()) {
        *octet ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hello_of_the_rfc() {
        let mut data = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        mask(&mut data, [0x37, 0xfa, 0x21, 0x3d], 0);
        assert_eq!(&data, b"Hello");
    }

    proptest! {
        #[test]
        fn every_octet_meets_its_own_of_the_key(
            data in prop::collection::vec(any::<u8>(), 0..100),
            key: [u8; 4],
            offset in 0u64..1 << 40,
        ) {
            let mut masked = data.clone();
            mask(&mut masked, key, offset);
            for (at, (masked, plain)) in masked.iter().zip(&data).enumerate() {
                let key = key[((offset + at as u64) % 4) as usize];
                prop_assert_eq!(*masked, plain ^ key);
            }
        }
    }
}
