//! Frames: what the octets of a connection are cut into.
//!
//! It knows where a frame ends and on which channels its type may come, and nothing of what is
//! in it. The one rule: a frame is whole or it stays where it is, and one that is too large is
//! refused by its first seven octets, before anything is kept for it.

use super::{Error, Result, Snippet};
use bytes::{Buf, Bytes, BytesMut};
use std::ops::Deref;

/// What a frame's type, channel, size and end take (AMQP 0-9-1 section 4.2.3).
pub const FRAME_OVERHEAD: usize = HEAD_LEN + 1;

/// The smallest frame-max that may be negotiated, overhead included: what the specification
/// says. It is also in force until `connection.tune-ok`.
pub const FRAME_MIN_SIZE: u32 = 4096;

/// The frame-max that RabbitMQ proposes.
pub const FRAME_MAX_DEFAULT: u32 = 131_072;

/// From this many octets on may a body stay in the buffer that it was received in.
///
/// A smaller one is copied, since a few octets that are kept would keep the whole buffer.
pub const SHARED_INPUT_MIN: usize = 4096;

/// Type, channel, size.
pub(super) const HEAD_LEN: usize = 7;
pub(super) const FRAME_END: u8 = 0xCE;

/// RabbitMQ takes this many octets more than were negotiated, because clients do not agree on
/// whether frame-max counts the overhead.
const TOLERANCE: u32 = FRAME_OVERHEAD as u32;

/// A frame's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// 1: a method.
    Method = 1,
    /// 2: a content's header.
    Header = 2,
    /// 3: a piece of a content's body.
    Body = 3,
    /// 8: a sign of life.
    Heartbeat = 8,
}

/// One whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel; 0 is the connection itself.
    pub channel: u16,
    /// What stands between the size and the end.
    pub payload: Payload<'a>,
}

/// The octets of a frame or of a body: still in the input buffer, or taken out of it.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// In the input buffer: to be copied if it is to be kept.
    Borrowed(&'a [u8]),
    /// Large, and kept without a copy.
    Shared(Bytes),
}

impl Payload<'_> {
    /// The octets to keep; copies them if they are borrowed.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Borrowed(octets) => Bytes::copy_from_slice(octets),
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(octets) => octets,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}

/// Takes whole frames off the front of an input buffer.
///
/// A frame is consumed when it is returned, also when it is returned as an error; what is left
/// of the buffer when `Frames` is dropped is what has not been returned. So a caller may stop
/// between any two frames.
///
/// ```
/// # use bytes::BytesMut;
/// # use ropewalk_amqp::codec::{FRAME_MAX_DEFAULT, FrameKind, Frames};
/// let mut data = BytesMut::from(&b"\x08\0\0\0\0\0\0\xce\x01\0\x07\0\0"[..]);
/// let mut frames = Frames::new(&mut data, FRAME_MAX_DEFAULT);
/// while let Some(frame) = frames.next_frame()? {
///     assert_eq!((frame.kind, frame.channel), (FrameKind::Heartbeat, 0));
/// }
/// drop(frames);
/// assert_eq!(&data[..], b"\x01\0\x07\0\0"); // the beginning of the next one
/// # Ok::<(), ropewalk_amqp::codec::Error>(())
/// ```
#[derive(Debug)]
pub struct Frames<'d> {
    data: &'d mut BytesMut,
    /// Octets at the front of `data` that have been returned.
    consumed: usize,
    frame_max: u32,
}

impl<'d> Frames<'d> {
    /// `frame_max` is the size negotiated, overhead included; 0 for no limit.
    pub fn new(data: &'d mut BytesMut, frame_max: u32) -> Frames<'d> {
        Frames { data, consumed: 0, frame_max }
    }

    /// Sets the limit for the frames that follow: at `connection.tune-ok`.
    pub fn set_frame_max(&mut self, frame_max: u32) {
        self.frame_max = frame_max;
    }

    /// The next whole frame, or `None` until there is more.
    ///
    /// A heartbeat has channel 0 and no payload; content has another channel; a method may have
    /// either. After [`Error::FrameTooLarge`] and [`Error::InvalidFrameEnd`] there is no telling
    /// where the next frame begins; after any other error there is.
    // In line, as all on the way of a message is: what it returns then stays in registers, and a
    // publish is read in a third of the time.
    #[inline(always)]
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        let input = &self.data[self.consumed..];
        let Some(&[kind, c1, c0, s3, s2, s1, s0]) = input.first_chunk() else {
            return Ok(None);
        };
        let channel = u16::from_be_bytes([c1, c0]);
        let size = u32::from_be_bytes([s3, s2, s1, s0]);
        let limit = self.frame_max.saturating_sub(FRAME_OVERHEAD as u32);
        if self.frame_max != 0 && size > limit.saturating_add(TOLERANCE) {
            return Err(Error::FrameTooLarge { kind, size, limit });
        }
        let end = HEAD_LEN + size as usize;
        let Some(&marker) = input.get(end) else {
            return Ok(None);
        };

        let start = self.consumed;
        self.consumed += end + 1;
        let payload = &self.data[start + HEAD_LEN..start + end];
        if marker != FRAME_END {
            return Err(wrong_end(kind, payload, marker));
        }
        let kind = match (kind, channel) {
            (1, _) => FrameKind::Method,
            (2, 1..) => FrameKind::Header,
            (3, 1..) => FrameKind::Body,
            (8, 0) if payload.is_empty() => FrameKind::Heartbeat,
            _ => return Err(misplaced(kind, payload)),
        };
        if kind == FrameKind::Body && self.is_worth_sharing(payload.len()) {
            let payload = Payload::Shared(self.take_last(payload.len()));
            return Ok(Some(Frame { kind, channel, payload }));
        }
        let payload = Payload::Borrowed(&self.data[start + HEAD_LEN..start + end]);
        Ok(Some(Frame { kind, channel, payload }))
    }

    /// Takes the first `len` octets of what is left off the input: frames that were
    /// [seen](Self::whole_publish) at once. No more than there is.
    #[inline]
    pub fn skip(&mut self, len: usize) {
        self.consumed = (self.consumed + len).min(self.data.len());
    }

    /// What has not been returned.
    #[inline(always)]
    pub(super) fn rest(&self) -> &[u8] {
        &self.data[self.consumed..]
    }

    /// Whether a frame may have this size, overhead included, without any tolerance.
    #[inline(always)]
    pub(super) fn allows(&self, size: usize) -> bool {
        self.frame_max == 0 || size <= self.frame_max as usize
    }

    /// Whether so large a payload may pin the input buffer: never for less than an eighth of it.
    fn is_worth_sharing(&self, len: usize) -> bool {
        len >= SHARED_INPUT_MIN && len >= self.data.capacity() / 8
    }

    /// Splits the payload of the frame just consumed off the input buffer.
    #[inline(never)]
    fn take_last(&mut self, len: usize) -> Bytes {
        let before = self.consumed - 1 - len;
        self.consumed = 0;
        self.data.advance(before);
        let payload = self.data.split_to(len).freeze();
        self.data.advance(1);
        payload
    }
}

impl Drop for Frames<'_> {
    fn drop(&mut self) {
        self.data.advance(self.consumed);
    }
}

#[cold]
fn wrong_end(kind: u8, payload: &[u8], marker: u8) -> Error {
    Error::InvalidFrameEnd { kind, payload: Snippet::of(payload), marker }
}

/// The error for a frame whose type is unknown, or that may not come on its channel.
#[cold]
fn misplaced(kind: u8, payload: &[u8]) -> Error {
    let known = matches!(kind, 2 | 3) || kind == 8 && payload.is_empty();
    let payload = Snippet::of(payload);
    if known {
        Error::UnexpectedFrame { kind, payload }
    } else {
        Error::UnknownFrame { kind, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![kind];
        frame.extend_from_slice(&channel.to_be_bytes());
        frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frame.extend_from_slice(payload);
        frame.push(0xCE);
        frame
    }

    fn next(octets: &[u8], frame_max: u32) -> Result<Option<(FrameKind, u16, Vec<u8>)>> {
        let mut data = BytesMut::from(octets);
        let mut frames = Frames::new(&mut data, frame_max);
        let frame = frames.next_frame()?;
        Ok(frame.map(|frame| (frame.kind, frame.channel, frame.payload.to_vec())))
    }

    #[test]
    fn whole_frames_are_taken_and_a_partial_one_stays() {
        let mut octets = frame(1, 258, b"\0\x0a\0\x0b");
        octets.extend(frame(8, 0, b""));
        octets.extend(frame(3, 1, b"body"));
        let mut data = BytesMut::new();
        let mut seen = Vec::new();
        for &octet in &octets {
            data.extend_from_slice(&[octet]);
            let mut frames = Frames::new(&mut data, 4096);
            while let Some(frame) = frames.next_frame().expect("legal frames") {
                seen.push((frame.kind, frame.channel, frame.payload.to_vec()));
            }
        }
        assert!(data.is_empty());
        let expected = [
            (FrameKind::Method, 258, b"\0\x0a\0\x0b".to_vec()),
            (FrameKind::Heartbeat, 0, vec![]),
            (FrameKind::Body, 1, b"body".to_vec()),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_caller_may_stop_between_two_frames() {
        let mut data = BytesMut::from(&[frame(8, 0, b""), frame(1, 0, b"next")].concat()[..]);
        let mut frames = Frames::new(&mut data, 4096);
        assert!(frames.next_frame().expect("a legal frame").is_some());
        drop(frames);
        assert_eq!(data, frame(1, 0, b"next"));
    }

    #[test]
    fn a_frame_may_be_eight_octets_over_frame_max_and_is_refused_by_its_head_from_then_on() {
        let at_limit = frame(3, 1, &vec![7; 4096]);
        assert!(next(&at_limit, 4096).expect("tolerated").is_some());
        let head = &frame(3, 1, &vec![7; 4097])[..7];
        let error = Error::FrameTooLarge { kind: 3, size: 4097, limit: 4088 };
        assert_eq!(next(head, 4096), Err(error));
        assert_eq!(next(head, 0), Ok(None));
        assert_eq!(next(&[3, 0, 1, 255, 255, 255, 255], u32::MAX), Ok(None));
    }

    #[test]
    fn a_wrong_end_is_shown_with_what_stood_there() {
        let mut octets = frame(1, 1, &[0, 20, 0, 10]);
        *octets.last_mut().expect("a frame") = 0;
        let text = next(&octets, 4096).expect_err("no end").to_string();
        assert_eq!(text, "type 1, all octets = <<0,20,0,10>>: {invalid_frame_end_marker,0}");
    }

    #[test]
    fn types_are_refused_on_channels_where_they_may_not_be() {
        let refused = |kind, channel, payload: &[u8]| {
            next(&frame(kind, channel, payload), 4096).expect_err("misplaced").reply_text()
        };
        assert_eq!(refused(8, 1, b""), "UNEXPECTED_FRAME - type 8, all octets = <<>>");
        assert_eq!(refused(3, 0, b"\0"), "UNEXPECTED_FRAME - type 3, all octets = <<0>>");
        assert_eq!(refused(2, 0, b""), "UNEXPECTED_FRAME - type 2, all octets = <<>>");
        let unknown = "FRAME_ERROR - type 8, all octets = <<0>>: unknown_frame";
        assert_eq!(refused(8, 0, b"\0"), unknown);
        for kind in [0, 4, 5, 6, 7, 9, 255] {
            let unknown = format!("FRAME_ERROR - type {kind}, all octets = <<>>: unknown_frame");
            assert_eq!(refused(kind, 0, b""), unknown);
            assert_eq!(refused(kind, 1, b""), unknown);
        }
    }

    #[test]
    fn large_bodies_are_shared_and_small_ones_borrowed() {
        let body = vec![7; 20_000];
        for len in [SHARED_INPUT_MIN - 1, SHARED_INPUT_MIN, 20_000] {
            let wire = [frame(8, 0, b""), frame(3, 1, &body[..len]), frame(8, 0, b"")].concat();
            let mut data = BytesMut::from(&wire[..]);
            let mut frames = Frames::new(&mut data, 0);
            assert!(frames.next_frame().expect("a heartbeat").is_some());
            let frame = frames.next_frame().expect("a body").expect("a whole one");
            let shared = matches!(frame.payload, Payload::Shared(_));
            assert_eq!((shared, &frame.payload[..]), (len >= SHARED_INPUT_MIN, &body[..len]));
            assert!(frames.next_frame().expect("a heartbeat").is_some());
            drop(frames);
            assert!(data.is_empty());
        }
    }

    #[test]
    fn a_body_that_is_small_in_a_large_buffer_does_not_pin_it() {
        let mut data = BytesMut::with_capacity(64 * 1024);
        data.extend_from_slice(&frame(3, 1, &[7; SHARED_INPUT_MIN]));
        let mut frames = Frames::new(&mut data, 0);
        let frame = frames.next_frame().expect("a body").expect("a whole one");
        assert!(matches!(frame.payload, Payload::Borrowed(_)));
    }
}
