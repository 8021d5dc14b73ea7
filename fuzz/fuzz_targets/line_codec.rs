//! Octets from a peer, taken for lines, against a model that sees all of them at once.
//!
//! The first octets choose the delimiter, the limit and how the rest is cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ropewalk_line::codec::{Delimiter, LineCodec, LineEvent};

#[derive(Debug, PartialEq)]
enum Came {
    Line(Vec<u8>),
    TooLong(Vec<u8>),
}

fuzz_target!(|input: &[u8]| {
    let [kind, limit, step, octets @ ..] = input else { return };
    let delimiter = match kind % 5 {
        0 => Delimiter::CrLf,
        1 => Delimiter::LfOrCrLf,
        2 => Delimiter::NUL,
        3 => Delimiter::bytes(&b"\r\n\r\n"[..]),
        _ => Delimiter::bytes(&b"aba"[..]),
    };
    let limit = usize::from(limit % 40);
    let expected = model(&delimiter, limit, octets);
    let codec = LineCodec::new(delimiter, limit);
    assert_eq!(decode(codec.clone(), octets, octets.len().max(1)), expected);
    assert_eq!(decode(codec.clone(), octets, usize::from(*step).max(1)), expected);
    assert_eq!(decode(codec, octets, 1), expected);
});

fn decode(mut codec: LineCodec, octets: &[u8], step: usize) -> Vec<Came> {
    let (mut data, mut came) = (Vec::new(), Vec::new());
    for chunk in octets.chunks(step) {
        data.extend_from_slice(chunk);
        loop {
            let decoded = codec.decode(&data);
            let event = decoded.event.map(|event| match event {
                LineEvent::Line(line) => Came::Line(line.to_vec()),
                LineEvent::TooLong(start) => Came::TooLong(start.to_vec()),
            });
            data.drain(..decoded.consumed);
            let Some(event) = event else { break };
            came.push(event);
        }
        let most = codec.max_length() + codec.delimiter().as_bytes().len();
        assert!(data.len() < most, "{} octets are kept", data.len());
    }
    came
}

fn model(delimiter: &Delimiter, limit: usize, mut data: &[u8]) -> Vec<Came> {
    let bytes = delimiter.as_bytes();
    let mut came = Vec::new();
    loop {
        let end = match delimiter {
            Delimiter::LfOrCrLf => data
                .iter()
                .position(|&octet| octet == b'\n')
                .map(|at| (if at > 0 && data[at - 1] == b'\r' { at - 1 } else { at }, at + 1)),
            _ => (0..data.len())
                .find(|&at| data[at..].starts_with(bytes))
                .map(|at| (at, at + bytes.len())),
        };
        // At the end, what may be the beginning of a delimiter is not held against the line.
        let begun = (1..bytes.len()).rev().find(|&most| data.ends_with(&bytes[..most]));
        let length = end.map_or(data.len() - begun.unwrap_or(0), |(line, _)| line);
        if length > limit {
            came.push(Came::TooLong(data[..limit].to_vec()));
        } else if end.is_some() {
            came.push(Came::Line(data[..length].to_vec()));
        }
        let Some((_, next)) = end else { return came };
        data = &data[next..];
    }
}
