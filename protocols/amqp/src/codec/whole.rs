//! A published message that lies in the input whole: its method, its header and its body, frame
//! after frame on one channel.
//!
//! So most small messages come. Seen at once they need no state between their frames, and nothing
//! of them is copied but into the queue. The one rule: what is not plainly such a message is not
//! one, and is left where it is for [`Frames::next_frame`], which knows every error.

use super::frame::{FRAME_END, HEAD_LEN};
use super::method::{DecodeMethod, basic};
use super::{ContentHeader, FRAME_OVERHEAD, Frames, SHARED_INPUT_MIN};

/// A `basic.publish` with its content, still in the input buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WholePublish<'a> {
    /// The channel of all its frames: not 0.
    pub channel: u16,
    /// The method.
    pub publish: basic::Publish<'a>,
    /// The properties as they came, not yet looked at.
    pub properties: &'a [u8],
    /// The body: less than [`SHARED_INPUT_MIN`] octets.
    pub body: &'a [u8],
    /// The octets of its frames: for [`Frames::skip`].
    pub len: usize,
}

/// The frame types that a message consists of.
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;

/// Class and method of `basic.publish`, as its frame's payload begins.
const PUBLISH: [u8; 4] = {
    let [c1, c0] = basic::CLASS_ID.to_be_bytes();
    [c1, c0, 0, 40]
};

impl Frames<'_> {
    /// The message that comes next, if it is whole and legal, and its body small and in one frame;
    /// it stays in the input until it is [skipped](Self::skip). `None` says nothing of what is
    /// there instead.
    #[inline(always)]
    pub fn whole_publish(&self) -> Option<WholePublish<'_>> {
        let input = self.rest();
        // Most that is no such message is told from one by this.
        if input.get(HEAD_LEN..HEAD_LEN + PUBLISH.len())? != PUBLISH {
            return None;
        }
        let channel = u16::from_be_bytes([input[1], input[2]]);
        let (method, input) = self.payload(input, METHOD, channel)?;
        let (header, input) = self.payload(input, HEADER, channel)?;
        let ContentHeader { class_id, weight, body_size, properties } =
            ContentHeader::decode(header).ok()?;
        if channel == 0 || class_id != basic::CLASS_ID || weight != 0 {
            return None;
        }
        let (body, input) = match body_size {
            0 => (&[][..], input),
            _ => self.payload(input, BODY, channel)?,
        };
        if body.len() as u64 != body_size || body.len() >= SHARED_INPUT_MIN {
            return None;
        }
        let publish = basic::Publish::of(method)?.ok()?;
        let len = self.rest().len() - input.len();
        Some(WholePublish { channel, publish, properties, body, len })
    }

    /// The payload of the frame at the front of `input` and what follows the frame, if it is
    /// whole, of this kind, on this channel, and no larger than was agreed.
    #[inline(always)]
    fn payload<'a>(&self, input: &'a [u8], kind: u8, channel: u16) -> Option<(&'a [u8], &'a [u8])> {
        let (&[k, c1, c0, s3, s2, s1, s0], rest) = input.split_first_chunk::<HEAD_LEN>()?;
        let size = u32::from_be_bytes([s3, s2, s1, s0]) as usize;
        let (payload, rest) = rest.split_at_checked(size)?;
        let (&marker, rest) = rest.split_first()?;
        let is_it = k == kind && u16::from_be_bytes([c1, c0]) == channel && marker == FRAME_END;
        (is_it && self.allows(size + FRAME_OVERHEAD)).then_some((payload, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Encoder, ShortStr};
    use bytes::BytesMut;

    const LIMIT: u32 = 4096;

    /// The frames of a message on a channel, cut by frames of `frame_max`.
    fn message(channel: u16, properties: &[u8], body: &[u8], frame_max: u32) -> Vec<u8> {
        let mut octets = Vec::new();
        let publish = basic::Publish {
            exchange: ShortStr::literal("amq.topic"),
            routing_key: ShortStr::literal("a.b"),
            mandatory: true,
            ..Default::default()
        };
        Encoder::frames_in(&mut octets, frame_max)
            .content_copied(channel, &publish, properties, body);
        octets
    }

    fn is_seen(octets: &[u8], frame_max: u32) -> bool {
        Frames::new(&mut BytesMut::from(octets), frame_max).whole_publish().is_some()
    }

    #[test]
    fn a_message_that_is_there_is_seen_and_stays_until_it_is_skipped() {
        for body in [&b""[..], b"x", &[7; SHARED_INPUT_MIN - 1]] {
            let first = message(9, b"\x10\0\x02", body, 0);
            let mut data = BytesMut::from(&first[..]);
            data.extend_from_slice(&message(10, b"\0\0", b"next", 0));
            let mut frames = Frames::new(&mut data, 0);
            for _ in 0..2 {
                let whole = frames.whole_publish().expect("a message");
                assert_eq!((whole.channel, whole.len), (9, first.len()));
                assert_eq!((whole.properties, whole.body), (&b"\x10\0\x02"[..], body));
                assert_eq!(whole.publish.routing_key.as_bytes(), b"a.b");
                assert!(whole.publish.mandatory && !whole.publish.immediate);
            }
            frames.skip(first.len());
            let whole = frames.whole_publish().expect("the next one");
            assert_eq!((whole.channel, whole.body), (10, &b"next"[..]));
            let len = whole.len;
            frames.skip(len);
            assert_eq!(frames.whole_publish(), None);
            drop(frames);
            assert!(data.is_empty());
        }
    }

    #[test]
    fn one_that_is_not_there_to_its_last_octet_is_not_seen() {
        let octets = message(1, b"\0\0", b"hello", 0);
        for len in 0..octets.len() {
            assert!(!is_seen(&octets[..len], LIMIT), "{len}");
        }
        assert!(is_seen(&octets, LIMIT));
    }

    #[test]
    fn what_is_in_any_way_unusual_is_left_to_others() {
        let usual = message(1, b"\0\0", b"hello", 0);
        let method_len = HEAD_LEN + usize::from(usual[6]) + 1;
        let header_len = HEAD_LEN + 14 + 1;
        let (header, body) = (method_len, method_len + header_len);
        let changes: [(&str, usize, u8); 14] = [
            ("another type than a method", 0, 2),
            ("channel 0", 2, 0),
            ("another class", HEAD_LEN + 1, 50),
            ("another method", HEAD_LEN + 3, 20),
            ("a name that is too long", HEAD_LEN + 6, 200),
            ("a wrong end of the method", header - 1, 0),
            ("no header", header, 3),
            ("a header on another channel", header + 2, 2),
            ("a header of another class", header + HEAD_LEN + 1, 50),
            ("a header with a weight", header + HEAD_LEN + 3, 1),
            ("a body of another size", header + HEAD_LEN + 11, 6),
            ("no body", body, 1),
            ("a body on another channel", body + 2, 2),
            ("a wrong end of the body", usual.len() - 1, 0xCD),
        ];
        for (what, at, octet) in changes {
            let mut octets = usual.clone();
            assert_ne!(octets[at], octet, "{what}");
            octets[at] = octet;
            assert!(!is_seen(&octets, LIMIT), "{what}");
        }
        let long = [0; LIMIT as usize - 7];
        assert!(is_seen(&message(1, b"\0\0", &long[1..], LIMIT), LIMIT), "a frame that is full");
        assert!(!is_seen(&message(1, b"\0\0", &long, LIMIT), 0), "a body in two frames");
        assert!(!is_seen(&message(1, b"\0\0", &long, 0), LIMIT), "a frame that is too large");
        assert!(!is_seen(&message(1, b"\0\0", &[0; SHARED_INPUT_MIN], 0), 0), "a large body");
        let (just, above) = (vec![0; 4096 - 8 - 12], vec![0; 4096 - 8 - 12 + 1]);
        assert!(is_seen(&message(1, &just, b"", 0), LIMIT), "a header as large as may be");
        assert!(!is_seen(&message(1, &above, b"", 0), LIMIT), "a header that is too large");
        assert!(is_seen(&message(1, &above, b"", 0), 0), "no limit");
    }

    #[test]
    fn all_on_channel_0_is_left_to_others() {
        assert!(!is_seen(&message(0, b"\0\0", b"hello", 0), LIMIT));
    }
}
