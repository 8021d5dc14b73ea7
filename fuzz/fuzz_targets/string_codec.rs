//! Octets from a peer, taken for netstrings and for strings with a binary length.
//!
//! The first octets choose the framing, the limit and how the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_line::Error;
use ropewalk_line::codec::{Framing, StringCodec};

fuzz_target!(|input: &[u8]| {
    let [kind, limit, step, octets @ ..] = input else { return };
    let framing = match kind % 4 {
        0 => Framing::Netstring,
        1 => Framing::Prefix8,
        2 => Framing::Prefix16,
        _ => Framing::Prefix32,
    };
    let codec = StringCodec::with_max_length(framing, usize::from(*limit) * 4);
    let whole = decode(&codec, octets, octets.len().max(1));
    assert_eq!(decode(&codec, octets, usize::from(*step).max(1)), whole);
    assert_eq!(decode(&codec, octets, 1), whole);
    let (strings, _) = whole;
    let mut again = Vec::new();
    for string in &strings {
        assert!(string.len() <= codec.max_length());
        let prefix = framing.prefix(string.len()).expect("it was read with such a prefix");
        again.extend_from_slice(prefix.as_bytes());
        again.extend_from_slice(string);
        again.extend_from_slice(framing.suffix());
    }
    assert!(octets.starts_with(&again), "what was read is not what came");
});

fn decode(codec: &StringCodec, octets: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<Error>) {
    let (mut data, mut came) = (Vec::new(), Vec::new());
    for chunk in octets.chunks(step) {
        data.extend_from_slice(chunk);
        loop {
            let consumed = match codec.decode(&data) {
                Err(error) => return (came, Some(error)),
                Ok(decoded) => {
                    let Some(string) = decoded.event else { break };
                    came.push(string.to_vec());
                    decoded.consumed
                }
            };
            data.drain(..consumed);
        }
    }
    (came, None)
}
