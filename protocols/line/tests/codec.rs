//! The codecs alone: every way of cutting the bytes gives the same, held against the plainest
//! model there is.

use proptest::prelude::*;
use ropewalk_line::Error;
use ropewalk_line::codec::{Delimiter, Framing, LineCodec, LineEvent, StringCodec};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Came {
    Line(Vec<u8>),
    TooLong(Vec<u8>),
}

impl From<LineEvent<'_>> for Came {
    fn from(event: LineEvent<'_>) -> Self {
        match event {
            LineEvent::Line(line) => Self::Line(line.to_vec()),
            LineEvent::TooLong(start) => Self::TooLong(start.to_vec()),
        }
    }
}

/// Feeds `chunks` as a connection would: what is not consumed is there again.
fn lines<'a>(mut codec: LineCodec, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Came> {
    let (mut data, mut came) = (Vec::new(), Vec::new());
    for chunk in chunks {
        data.extend_from_slice(chunk);
        loop {
            let decoded = codec.decode(&data);
            let event = decoded.event.map(Came::from);
            data.drain(..decoded.consumed);
            match event {
                Some(event) => came.push(event),
                None => break,
            }
        }
    }
    came
}

/// Lines as one would take them from a whole file, one after the other.
fn model(delimiter: &Delimiter, max: usize, mut data: &[u8]) -> Vec<Came> {
    let bytes = delimiter.as_bytes();
    let mut came = Vec::new();
    loop {
        let end = match delimiter {
            Delimiter::LfOrCrLf => data
                .iter()
                .position(|&byte| byte == b'\n')
                .map(|at| (if at > 0 && data[at - 1] == b'\r' { at - 1 } else { at }, at + 1)),
            _ => {
                data.windows(bytes.len()).position(|w| w == bytes).map(|at| (at, at + bytes.len()))
            }
        };
        let (line, rest) = match end {
            Some((line, next)) => (&data[..line], Some(&data[next..])),
            // The end of what came: a beginning of a delimiter is not held against the line.
            None => {
                let begun = (1..bytes.len()).rev().find(|&n| data.ends_with(&bytes[..n]));
                (&data[..data.len() - begun.unwrap_or(0)], None)
            }
        };
        if line.len() > max {
            came.push(Came::TooLong(line[..max].to_vec()));
        } else if rest.is_some() {
            came.push(Came::Line(line.to_vec()));
        }
        match rest {
            Some(rest) => data = rest,
            None => return came,
        }
    }
}

fn delimiters() -> impl Strategy<Value = Delimiter> {
    prop_oneof![
        Just(Delimiter::CrLf),
        Just(Delimiter::LfOrCrLf),
        Just(Delimiter::LF),
        Just(Delimiter::bytes(&b"\r\n\r\n"[..])),
        Just(Delimiter::bytes(&b"aba"[..])),
    ]
}

/// Few letters, so that delimiters and their beginnings are everywhere.
fn letters() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'\r'), Just(b'\n')], 0..80)
}

fn cut<'a>(data: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut % (data.len() + 1)).collect();
    places.extend([0, data.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &data[pair[0]..pair[1]]).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn lines_come_out_the_same_however_they_were_cut(
        data in letters(),
        delimiter in delimiters(),
        max in 0_usize..12,
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let codec = LineCodec::new(delimiter.clone(), max);
        let expected = model(&delimiter, max, &data);
        prop_assert_eq!(&lines(codec.clone(), [&data[..]]), &expected, "whole");
        prop_assert_eq!(&lines(codec.clone(), data.chunks(1)), &expected, "byte by byte");
        prop_assert_eq!(&lines(codec, cut(&data, &cuts)), &expected, "in pieces");
    }

    #[test]
    fn strings_come_out_as_they_were_sent_however_they_were_cut(
        strings in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
        framing in framings(),
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let wire: Vec<u8> = strings.iter().flat_map(|string| encode(framing, string)).collect();
        let codec = StringCodec::new(framing);
        for chunks in [cut(&wire, &[]), cut(&wire, &cuts), wire.chunks(1).collect()] {
            prop_assert_eq!(decode_all(&codec, chunks), (strings.clone(), None));
        }
    }

    #[test]
    fn bad_strings_are_refused_at_the_same_place_however_they_were_cut(
        data in proptest::collection::vec(prop_oneof![
            Just(b'0'), Just(b'1'), Just(b'3'), Just(b':'), Just(b','), Just(0), any::<u8>(),
        ], 0..40),
        framing in framings(),
        max in 0_usize..300,
        cuts in proptest::collection::vec(any::<usize>(), 0..8),
    ) {
        let codec = StringCodec::with_max_length(framing, max);
        let expected = decode_all(&codec, [&data[..]]);
        prop_assert_eq!(&decode_all(&codec, data.chunks(1)), &expected);
        prop_assert_eq!(&decode_all(&codec, cut(&data, &cuts)), &expected);
    }
}

fn framings() -> impl Strategy<Value = Framing> {
    prop_oneof![
        Just(Framing::Netstring),
        Just(Framing::Prefix8),
        Just(Framing::Prefix16),
        Just(Framing::Prefix32),
    ]
}

fn encode(framing: Framing, string: &[u8]) -> Vec<u8> {
    let prefix = framing.prefix(string.len()).expect("it fits");
    [prefix.as_bytes(), string, framing.suffix()].concat()
}

fn decode_all<'a>(
    codec: &StringCodec,
    chunks: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Vec<u8>>, Option<Error>) {
    let (mut data, mut came) = (Vec::new(), Vec::new());
    for chunk in chunks {
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

#[test]
fn a_partial_line_is_searched_once() {
    let mut codec = LineCodec::default();
    assert_eq!(codec.decode(b"one two").event, None);
    // The bytes that were searched are not looked at again, or this delimiter would be found.
    assert_eq!(codec.decode(b"one\r\ntwo three").event, None);
    assert_eq!(
        codec.decode(b"one\r\ntwo three\r\n").event,
        Some(LineEvent::Line(b"one\r\ntwo three"))
    );
}

#[test]
fn a_line_of_exactly_the_limit_passes_and_one_over_it_does_not() {
    for (delimiter, end) in
        [(Delimiter::CrLf, "\r\n"), (Delimiter::LfOrCrLf, "\r\n"), (Delimiter::LfOrCrLf, "\n")]
    {
        let codec = LineCodec::new(delimiter, 5);
        let just = format!("12345{end}");
        assert_eq!(lines(codec.clone(), [just.as_bytes()]), [Came::Line(b"12345".to_vec())]);
        let over = format!("123456{end}x{end}");
        let expected = [Came::TooLong(b"12345".to_vec()), Came::Line(b"x".to_vec())];
        assert_eq!(lines(codec.clone(), [over.as_bytes()]), expected);
        assert_eq!(lines(codec, over.as_bytes().chunks(1)), expected);
    }
}

#[test]
fn a_line_over_the_limit_is_known_by_its_first_byte_too_many() {
    let mut codec = LineCodec::new(Delimiter::CrLf, 5);
    assert_eq!(codec.decode(b"12345").event, None);
    assert_eq!(codec.decode(b"12345\r").event, None, "this may still be a delimiter");
    assert_eq!(codec.decode(b"12345\rx").event, Some(LineEvent::TooLong(b"12345")));
    let mut codec = LineCodec::new(Delimiter::CrLf, 5);
    assert_eq!(codec.decode(b"123456").event, Some(LineEvent::TooLong(b"12345")));
}

#[test]
fn what_is_left_of_a_line_too_long_does_not_pile_up() {
    let mut codec = LineCodec::new(Delimiter::CrLf, 5);
    assert_eq!(codec.decode(b"123456").consumed, 5);
    for _ in 0..1000 {
        let decoded = codec.decode(&[b'x'; 4096]);
        assert_eq!((decoded.event, decoded.consumed), (None, 4096));
    }
    assert_eq!(codec.decode(b"x\r").consumed, 1);
    assert_eq!(codec.decode(b"\r\nnext\r\n").event, Some(LineEvent::Line(b"next")));
}

#[test]
fn a_megabyte_of_noise_is_the_same_in_any_pieces() {
    let noise = noise(1 << 20);
    for delimiter in [Delimiter::CrLf, Delimiter::LfOrCrLf, Delimiter::NUL] {
        let codec = LineCodec::new(delimiter.clone(), 700);
        let expected = model(&delimiter, 700, &noise);
        assert!(expected.iter().any(|came| matches!(came, Came::TooLong(_))));
        for size in [1, 7, 1460, 65536, noise.len()] {
            assert_eq!(lines(codec.clone(), noise.chunks(size)), expected, "in {size}");
        }
    }
    for framing in [Framing::Netstring, Framing::Prefix8, Framing::Prefix16, Framing::Prefix32] {
        let codec = StringCodec::new(framing);
        let expected = decode_all(&codec, [&noise[..]]);
        for size in [1460, 65536] {
            assert_eq!(decode_all(&codec, noise.chunks(size)), expected, "in {size}");
        }
    }
}

#[test]
fn every_truncation_gives_a_beginning_of_the_same() {
    let wire = b"one\r\n\r\ntwo\nthree\r\r\nmuch too long for this\r\nlast";
    let codec = LineCodec::new(Delimiter::CrLf, 12);
    let whole = lines(codec.clone(), [&wire[..]]);
    for length in 0..wire.len() {
        let part = lines(codec.clone(), [&wire[..length]]);
        assert_eq!(part, whole[..part.len()], "of {length} bytes");
    }
    for framing in [Framing::Netstring, Framing::Prefix8, Framing::Prefix16, Framing::Prefix32] {
        let strings = [&b"hello"[..], b"", b"1:a,", &[0; 200]];
        let wire: Vec<u8> = strings.iter().flat_map(|string| encode(framing, string)).collect();
        let codec = StringCodec::new(framing);
        for length in 0..wire.len() {
            let (part, error) = decode_all(&codec, [&wire[..length]]);
            assert_eq!(part, strings[..part.len()], "{framing:?}, {length} bytes");
            assert_eq!(error, None);
        }
    }
}

#[test]
fn a_length_over_the_limit_is_refused_from_the_prefix() {
    let too_long = Err(Error::StringTooLong { limit: 10 });
    let decode = |framing, data: &[u8]| {
        StringCodec::with_max_length(framing, 10)
            .decode(data)
            .map(|decoded| decoded.event.is_some())
    };
    assert_eq!(decode(Framing::Prefix8, b"\x0a0123456789"), Ok(true));
    assert_eq!(decode(Framing::Prefix8, b"\x0b"), too_long);
    assert_eq!(decode(Framing::Prefix16, b"\x00\x0b"), too_long);
    assert_eq!(decode(Framing::Prefix16, b"\x01"), Ok(false));
    assert_eq!(decode(Framing::Prefix32, b"\xff\xff\xff\xff"), too_long);
    assert_eq!(decode(Framing::Netstring, b"10:0123456789,"), Ok(true));
    assert_eq!(decode(Framing::Netstring, b"11"), too_long);
    assert_eq!(decode(Framing::Netstring, b"99999999999999999999999999"), too_long);
}

#[test]
fn what_is_no_netstring_is_refused_at_its_first_wrong_byte() {
    let codec = StringCodec::new(Framing::Netstring);
    for bad in ["x", ":", "-1:", "01:", "00", "1x", "1 :", "3:abcd", "0:x", "+1"] {
        assert_eq!(codec.decode(bad.as_bytes()), Err(Error::BadNetstring), "{bad}");
    }
    for partial in ["", "0", "0:", "3", "3:", "3:abc"] {
        let decoded = codec.decode(partial.as_bytes()).expect(partial);
        assert_eq!((decoded.event, decoded.consumed), (None, 0), "{partial}");
    }
}

#[test]
fn a_prefix_says_no_more_than_it_can() {
    assert_eq!(Framing::Prefix8.prefix(255).expect("fits").as_bytes(), [255]);
    assert_eq!(Framing::Prefix8.prefix(256), Err(Error::StringTooLong { limit: 255 }));
    assert_eq!(Framing::Prefix16.prefix(258).expect("fits").as_bytes(), [1, 2]);
    assert_eq!(Framing::Prefix16.prefix(65536), Err(Error::StringTooLong { limit: 65535 }));
    assert_eq!(Framing::Prefix32.prefix(0x0102_0304).expect("fits").as_bytes(), [1, 2, 3, 4]);
    assert!(Framing::Prefix32.prefix(1 << 32).is_err());
    assert_eq!(Framing::Netstring.prefix(0).expect("fits").as_bytes(), b"0:");
    assert_eq!(Framing::Netstring.prefix(1203).expect("fits").as_bytes(), b"1203:");
    assert_eq!(StringCodec::with_max_length(Framing::Prefix8, 1000).max_length(), 255);
}

/// The same at each run: xorshift, not secret.
fn noise(length: usize) -> Vec<u8> {
    let mut word = 0x2545_f491_4f6c_dd1d_u64;
    std::iter::repeat_with(|| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        (word >> 32) as u8
    })
    .take(length)
    .collect()
}
