//! The codec against two other implementations: frames as pika and pamqp encode them
//! (`data/vectors.txt`, and how it was made, in `data/generate_vectors.py`).

use bytes::BytesMut;
use ropewalk_amqp::codec::{
    BasicProperties, ContentHeader, EncodeMethod, Encoder, Error, FrameKind, Frames, Method,
};

const VECTORS: &str = include_str!("data/vectors.txt");

/// The frames, and what each says.
fn vectors() -> Vec<(Vec<u8>, &'static str)> {
    let lines = VECTORS.lines().filter(|line| !line.starts_with(['#', 'm']));
    let octets = |hex: &str| -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
        digits.map(|pair| u8::from_str_radix(pair, 16).expect("hexadecimal")).collect()
    };
    lines
        .map(|line| line.split_once(' ').expect("a frame and its meaning"))
        .map(|(hex, shown)| (octets(hex), shown))
        .collect()
}

/// The payloads of the vectors of one type, and what each says.
fn payloads(kind: FrameKind) -> Vec<(Vec<u8>, &'static str)> {
    let vectors = vectors().into_iter().filter(|(frame, _)| frame[0] == kind as u8);
    vectors.map(|(frame, shown)| (frame[7..frame.len() - 1].to_vec(), shown)).collect()
}

/// What a frame says, and the frame as we encode it.
fn read_and_write_again(frame: ropewalk_amqp::codec::Frame<'_>) -> (String, Vec<u8>) {
    let mut out = Vec::new();
    match frame.kind {
        FrameKind::Method => {
            let method = Method::decode(&frame.payload).expect("a legal method");
            Encoder::new().frames_to(&mut out, 0).method(frame.channel, &method);
            (format!("{method:?}"), out)
        }
        FrameKind::Header => {
            let header = ContentHeader::decode(&frame.payload).expect("a legal header");
            let properties = BasicProperties::decode(header.properties).expect("legal properties");
            let mut payload = Vec::new();
            let written = properties.to_vec();
            ContentHeader { properties: &written, ..header }.encode(&mut payload);
            out.extend_from_slice(&[2, (frame.channel >> 8) as u8, frame.channel as u8]);
            out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            out.extend_from_slice(&payload);
            out.push(0xCE);
            (format!("{} {properties:?}", header.body_size), out)
        }
        FrameKind::Body => {
            // Only the encoder of a whole content writes bodies: its last frame is this.
            let method = Method::decode(b"\0\x3c\0\x28\0\0\0\0\0").expect("basic.publish");
            let body = frame.payload.clone().into_bytes();
            Encoder::new().frames_to(&mut out, 0).content(frame.channel, &method, b"\0\0", &body);
            let last = out.split_off(out.len() - body.len() - 8);
            (format!("Body {:?}", str::from_utf8(&body).expect("text")), last)
        }
        FrameKind::Heartbeat => {
            Encoder::new().frames_to(&mut out, 0).heartbeat();
            ("Heartbeat".to_owned(), out)
        }
    }
}

#[test]
fn every_frame_says_what_its_author_meant_and_is_written_the_same_way() {
    let vectors = vectors();
    assert!(vectors.len() > 120, "{}", vectors.len());
    for (wire, shown) in vectors {
        let mut data = BytesMut::from(&wire[..]);
        let mut frames = Frames::new(&mut data, 0);
        let frame = frames.next_frame().expect("a legal frame").expect("a whole one");
        let (read, written) = read_and_write_again(frame);
        assert_eq!(read, shown);
        assert_eq!(written, wire, "{shown}");
    }
}

#[test]
fn a_stream_of_frames_means_the_same_however_it_is_cut() {
    let vectors = vectors();
    let wire: Vec<u8> = vectors.iter().flat_map(|(frame, _)| frame.clone()).collect();
    for step in [1, 2, 3, 7, 64, 1000, wire.len()] {
        let mut data = BytesMut::new();
        let mut shown = Vec::new();
        for piece in wire.chunks(step) {
            data.extend_from_slice(piece);
            let mut frames = Frames::new(&mut data, 4096);
            while let Some(frame) = frames.next_frame().expect("legal frames") {
                shown.push(read_and_write_again(frame).0);
            }
        }
        assert!(data.is_empty());
        assert!(shown.iter().eq(vectors.iter().map(|(_, shown)| shown)), "in steps of {step}");
    }
}

#[test]
fn every_method_cut_anywhere_or_followed_by_anything_is_an_error_of_its_own() {
    for (payload, shown) in payloads(FrameKind::Method) {
        let id = Method::decode(&payload).expect("legal").id();
        for len in 0..payload.len() {
            let error = Method::decode(&payload[..len]).expect_err(shown);
            if len < 4 {
                assert!(matches!(error, Error::UnknownFrame { kind: 1, .. }), "{error}");
            } else {
                let cut = Error::CannotDecode { method: id, arguments: payload[4..len].into() };
                assert_eq!(error, cut, "{shown}");
            }
        }
        let longer = [&payload[..], &[0]].concat();
        let error = Method::decode(&longer).expect_err(shown);
        assert_eq!((error.method_id(), error.reply_code().number()), (id, 501), "{shown}");
    }
}

#[test]
fn every_header_cut_anywhere_or_followed_by_anything_is_an_error() {
    for (payload, shown) in payloads(FrameKind::Header) {
        let properties = &payload[12..];
        for len in 0..properties.len() {
            let cut = BasicProperties::decode(&properties[..len]);
            assert_eq!(cut, Err(Error::MalformedProperties), "{shown}");
        }
        let longer = [properties, &[0]].concat();
        assert_eq!(BasicProperties::decode(&longer), Err(Error::MalformedProperties), "{shown}");
    }
}
