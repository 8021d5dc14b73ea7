//! Frames on their way out: methods, contents, heartbeats.
//!
//! Small things are gathered in one buffer, large bodies go by reference. The one rule: a body
//! is split so that no frame is larger than the peer allows.

use super::content::FIXED_LEN;
use super::frame::HEAD_LEN;
use super::{ContentHeader, EncodeMethod, FRAME_MIN_SIZE, FRAME_OVERHEAD, FrameKind, MethodId};
use bytes::{Bytes, BytesMut};

/// From this many octets on is a body's piece handed over as [`Bytes`]; smaller ones are copied,
/// which costs less than to send them apart. The transport's own threshold is the same.
pub const SHARED_OUTPUT_MIN: usize = 16 * 1024;

/// As much as is gathered before it is handed over: about what a socket takes at once.
const GATHERED_MAX: usize = 64 * 1024;

const FRAME_END: u8 = 0xCE;

/// Where encoded frames go: a transport, or a buffer.
pub trait Sink {
    /// Takes octets, by copying them.
    fn put_slice(&mut self, octets: &[u8]);

    /// Takes octets that may be kept without a copy; they follow all that came before.
    fn put_bytes(&mut self, bytes: Bytes);
}

impl Sink for Vec<u8> {
    fn put_slice(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }

    fn put_bytes(&mut self, bytes: Bytes) {
        self.extend_from_slice(&bytes);
    }
}

impl Sink for BytesMut {
    fn put_slice(&mut self, octets: &[u8]) {
        self.extend_from_slice(octets);
    }

    fn put_bytes(&mut self, bytes: Bytes) {
        self.extend_from_slice(&bytes);
    }
}

/// The buffer in which frames are made. One is enough for all the connections of a reactor:
/// between two calls it is empty.
#[derive(Debug, Default)]
pub struct Encoder {
    gathered: Vec<u8>,
}

impl Encoder {
    /// An encoder that has allocated nothing yet.
    #[must_use]
    pub const fn new() -> Encoder {
        Encoder { gathered: Vec::new() }
    }

    /// Begins to write frames to one peer.
    ///
    /// `frame_max` is the size negotiated with it, overhead included; 0 for no limit. A smaller
    /// one than [`FRAME_MIN_SIZE`] counts as that.
    pub fn frames_to<'e, S: Sink>(
        &'e mut self,
        sink: &'e mut S,
        frame_max: u32,
    ) -> FrameWriter<'e, S> {
        self.gathered.clear();
        let max_payload = max_payload(frame_max);
        FrameWriter { gathered: &mut self.gathered, sink: Some(sink), max_payload }
    }

    /// Appends frames for one peer to `out`, without a buffer between: for the small ones, of
    /// which many are gathered before they are written. `frame_max` as with
    /// [`frames_to`](Self::frames_to). Large bodies are copied, too.
    pub fn frames_in(out: &mut Vec<u8>, frame_max: u32) -> FrameWriter<'_, Vec<u8>> {
        FrameWriter { gathered: out, sink: None, max_payload: max_payload(frame_max) }
    }
}

fn max_payload(frame_max: u32) -> usize {
    let frame_max = if frame_max == 0 { u32::MAX } else { frame_max.max(FRAME_MIN_SIZE) };
    frame_max as usize - FRAME_OVERHEAD
}

/// Writes frames to one peer, in order; the last of them have gone to the sink when this is
/// dropped.
///
/// Only bodies can be split: a method or a content header that is larger than frame-max goes
/// out as it is (RabbitMQ does the same), and the peer will say `frame_too_large`. Such a one is
/// not made by names, which are short, but by a field table that was too large to begin with.
#[derive(Debug)]
pub struct FrameWriter<'e, S: Sink> {
    gathered: &'e mut Vec<u8>,
    /// Where `gathered` goes; `None` if it stays where it is.
    sink: Option<&'e mut S>,
    max_payload: usize,
}

impl<S: Sink> FrameWriter<'_, S> {
    /// A method that no content follows.
    #[inline]
    pub fn method(&mut self, channel: u16, method: &impl EncodeMethod) {
        self.method_frame(channel, method);
        self.relieve();
    }

    /// A method with its content. `properties` are encoded, as
    /// [`BasicProperties::encode`](super::BasicProperties::encode) leaves them or as they were
    /// received. An empty body has no frame.
    #[inline]
    pub fn content(
        &mut self,
        channel: u16,
        method: &impl EncodeMethod,
        properties: &[u8],
        body: &Bytes,
    ) {
        self.content_head(channel, method, properties, body.len());
        if body.len() < SHARED_OUTPUT_MIN && body.len() <= self.max_payload {
            if !body.is_empty() {
                self.body_frame(channel, body);
            }
        } else {
            self.body_frames(channel, body);
        }
        self.relieve();
    }

    /// As [`content`](Self::content), for a body that is copied: one that is no [`Bytes`] of its
    /// own, because it is small.
    #[inline]
    pub fn content_copied(
        &mut self,
        channel: u16,
        method: &impl EncodeMethod,
        properties: &[u8],
        body: &[u8],
    ) {
        self.content_head(channel, method, properties, body.len());
        for piece in body.chunks(self.max_payload) {
            self.body_frame(channel, piece);
        }
        self.relieve();
    }

    /// A sign of life.
    pub fn heartbeat(&mut self) {
        self.head(FrameKind::Heartbeat, 0, 0);
        self.gathered.push(FRAME_END);
    }

    /// The method and the header that come before a body.
    #[inline]
    fn content_head(
        &mut self,
        channel: u16,
        method: &impl EncodeMethod,
        properties: &[u8],
        body_len: usize,
    ) {
        self.method_frame(channel, method);
        let header = ContentHeader {
            class_id: method.id().class_id,
            weight: 0,
            body_size: body_len as u64,
            properties,
        };
        self.head(FrameKind::Header, channel, (FIXED_LEN + properties.len()) as u32);
        header.encode(self.gathered);
        self.gathered.push(FRAME_END);
    }

    #[inline]
    fn method_frame(&mut self, channel: u16, method: &impl EncodeMethod) {
        let start = self.gathered.len();
        let MethodId { class_id, method_id } = method.id();
        let ([n1, n0], [c1, c0]) = (channel.to_be_bytes(), class_id.to_be_bytes());
        let [m1, m0] = method_id.to_be_bytes();
        // In one piece: each has to look for room, and to wait until it knows where the last ended.
        let fixed = [FrameKind::Method as u8, n1, n0, 0, 0, 0, 0, c1, c0, m1, m0];
        self.gathered.extend_from_slice(&fixed);
        method.encode_arguments(self.gathered);
        let size = (self.gathered.len() - start - HEAD_LEN) as u32;
        self.gathered[start + 3..start + HEAD_LEN].copy_from_slice(&size.to_be_bytes());
        self.gathered.push(FRAME_END);
    }

    #[inline]
    fn head(&mut self, kind: FrameKind, channel: u16, size: u32) {
        let [c1, c0] = channel.to_be_bytes();
        let [s3, s2, s1, s0] = size.to_be_bytes();
        self.gathered.extend_from_slice(&[kind as u8, c1, c0, s3, s2, s1, s0]);
    }

    #[inline]
    fn body_frame(&mut self, channel: u16, piece: &[u8]) {
        self.head(FrameKind::Body, channel, piece.len() as u32);
        self.gathered.extend_from_slice(piece);
        self.gathered.push(FRAME_END);
    }

    /// A body that is large, or needs several frames.
    fn body_frames(&mut self, channel: u16, body: &Bytes) {
        let mut at = 0;
        while at < body.len() {
            let end = body.len().min(at + self.max_payload);
            if end - at < SHARED_OUTPUT_MIN {
                self.body_frame(channel, &body[at..end]);
                self.relieve();
            } else {
                self.head(FrameKind::Body, channel, (end - at) as u32);
                self.flush();
                match &mut self.sink {
                    Some(sink) => sink.put_bytes(body.slice(at..end)),
                    None => self.gathered.extend_from_slice(&body[at..end]),
                }
                self.gathered.push(FRAME_END);
            }
            at = end;
        }
    }

    #[inline]
    fn relieve(&mut self) {
        if self.gathered.len() >= GATHERED_MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        if let Some(sink) = &mut self.sink
            && !self.gathered.is_empty()
        {
            sink.put_slice(self.gathered);
            self.gathered.clear();
        }
    }
}

impl<S: Sink> Drop for FrameWriter<'_, S> {
    fn drop(&mut self) {
        self.flush();
        // One huge header must not be remembered for ever.
        if self.sink.is_some() {
            self.gathered.shrink_to(2 * GATHERED_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{ShortStr, method::basic, method::channel};

    const DELIVER: basic::Deliver<'_> = basic::Deliver {
        consumer_tag: ShortStr::literal("t"),
        delivery_tag: 1,
        redelivered: true,
        exchange: ShortStr::EMPTY,
        routing_key: ShortStr::literal("q"),
    };

    /// Keeps what it gets, and how it got it.
    #[derive(Default)]
    struct Pieces {
        all: Vec<u8>,
        shared: Vec<usize>,
        copied: usize,
    }

    impl Sink for Pieces {
        fn put_slice(&mut self, octets: &[u8]) {
            self.all.extend_from_slice(octets);
            self.copied += 1;
        }

        fn put_bytes(&mut self, bytes: Bytes) {
            self.all.extend_from_slice(&bytes);
            self.shared.push(bytes.len());
        }
    }

    fn bodies_of(octets: &[u8]) -> Vec<Bytes> {
        let mut data = BytesMut::from(octets);
        let mut frames = crate::codec::Frames::new(&mut data, 0);
        let mut bodies = Vec::new();
        while let Some(frame) = frames.next_frame().expect("legal frames") {
            if frame.kind == FrameKind::Body {
                bodies.push(frame.payload.into_bytes());
            }
        }
        drop(frames);
        assert!(data.is_empty());
        bodies
    }

    #[test]
    fn a_small_content_is_three_frames_in_one_piece() {
        let mut sink = Pieces::default();
        let mut encoder = Encoder::new();
        let mut frames = encoder.frames_to(&mut sink, 4096);
        frames.content(5, &DELIVER, b"\x10\0\x02", &Bytes::from_static(b"hello"));
        frames.method(5, &channel::CloseOk {});
        frames.heartbeat();
        drop(frames);
        let expected = b"\x01\0\x05\0\0\0\x12\0\x3c\0\x3c\x01t\0\0\0\0\0\0\0\x01\x01\0\x01q\xce\
            \x02\0\x05\0\0\0\x0f\0\x3c\0\0\0\0\0\0\0\0\0\x05\x10\0\x02\xce\
            \x03\0\x05\0\0\0\x05hello\xce\
            \x01\0\x05\0\0\0\x04\0\x14\0\x29\xce\
            \x08\0\0\0\0\0\0\xce";
        assert_eq!(sink.all.escape_ascii().to_string(), expected.escape_ascii().to_string());
        assert_eq!((sink.copied, sink.shared.len()), (1, 0));
    }

    #[test]
    fn an_empty_body_has_no_frame() {
        let mut out = Vec::new();
        Encoder::new().frames_to(&mut out, 0).content(1, &DELIVER, b"\0\0", &Bytes::new());
        assert!(bodies_of(&out).is_empty());
        assert!(out.ends_with(b"\0\0\0\0\0\0\0\0\0\0\xce"));
    }

    #[test]
    fn a_large_body_is_split_at_frame_max_and_not_copied() {
        let body = Bytes::from((0..300_000).map(|at| at as u8).collect::<Vec<u8>>());
        let mut sink = Pieces::default();
        let mut encoder = Encoder::new();
        encoder.frames_to(&mut sink, 131_072).content(1, &DELIVER, b"\0\0", &body);
        assert_eq!(sink.shared, [131_064, 131_064, 37_872]);
        let bodies = bodies_of(&sink.all);
        let sizes: Vec<usize> = bodies.iter().map(Bytes::len).collect();
        assert_eq!(sizes, [131_064, 131_064, 37_872]);
        assert_eq!(bodies.concat(), body);
    }

    #[test]
    fn bodies_of_every_size_around_the_limits_arrive_in_frames_that_are_allowed() {
        let body = Bytes::from((0..70_000).map(|at| (at / 7) as u8).collect::<Vec<u8>>());
        for frame_max in [1, 4096, 16_384 + 8, 20_000, 0] {
            let limit = if frame_max == 0 { usize::MAX } else { frame_max.max(4096) - 8 };
            for len in [1, 4087, 4088, 4089, 16_383, 16_384, 16_385, 65_536, 70_000] {
                let mut out = Vec::new();
                let mut encoder = Encoder::new();
                let body = body.slice(..len);
                encoder.frames_to(&mut out, frame_max as u32).content(1, &DELIVER, b"\0\0", &body);
                let bodies = bodies_of(&out);
                assert_eq!(bodies.concat(), body);
                assert_eq!(bodies.len(), len.div_ceil(limit));
                assert!(bodies.iter().all(|piece| piece.len() <= limit));
                let mut copied = Vec::new();
                let mut frames = encoder.frames_to(&mut copied, frame_max as u32);
                frames.content_copied(1, &DELIVER, b"\0\0", &body);
                drop(frames);
                assert_eq!(copied, out);
                let mut gathered = vec![7];
                Encoder::frames_in(&mut gathered, frame_max as u32)
                    .content(1, &DELIVER, b"\0\0", &body);
                assert_eq!(gathered[1..], out);
            }
        }
    }
}
