//! What may follow a method: a content's header and its body.
//!
//! The header as it stands in its frame, and the whole as it is passed on. Putting the frames
//! together is the assembler's work.

use super::{Error, FrameKind, Method, Payload, Result};

/// A command whose method is still to be read.
///
/// [`Method`] is as large as its largest variant, and is written and read in pieces of different
/// sizes, for which a processor waits. Who has to be fast looks for what comes often with
/// [`DecodeMethod::of`](super::DecodeMethod::of), and decodes all else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawCommand<'a> {
    /// The payload of the method's frame. It has been looked at only if content follows.
    pub method: &'a [u8],
    /// Its content, exactly if [`Method::carries_content`].
    pub content: Option<Content<'a>>,
}

impl<'a> RawCommand<'a> {
    /// Reads the method; fails as [`Method::decode`] does.
    #[inline(always)]
    pub fn decode(self) -> Result<Command<'a>> {
        Ok(Command { method: Method::decode(self.method)?, content: self.content })
    }
}

/// A method with all that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// The method.
    pub method: Method<'a>,
    /// Its content, exactly if [`Method::carries_content`].
    pub content: Option<Content<'a>>,
}

/// What follows a `basic.publish`, `deliver`, `get-ok` or `return`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content<'a> {
    /// The properties as they came, not yet looked at: to be kept and passed on as they are,
    /// or read with [`BasicProperties::decode`](super::BasicProperties::decode).
    pub properties: Payload<'a>,
    /// The whole body.
    pub body: Payload<'a>,
}

/// The payload of a header frame (AMQP 0-9-1 section 4.2.6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentHeader<'a> {
    /// The class of the method that it belongs to: always `basic`.
    pub class_id: u16,
    /// Reserved: 0.
    pub weight: u16,
    /// The octets of the body, in all its frames.
    pub body_size: u64,
    /// The flags and the properties, still encoded: to be kept and passed on as they are, or
    /// read with [`BasicProperties::decode`](super::BasicProperties::decode).
    pub properties: &'a [u8],
}

/// The octets before the properties.
pub(super) const FIXED_LEN: usize = 12;

impl<'a> ContentHeader<'a> {
    /// Reads the payload of a header frame; fails if it is too short. The properties are not
    /// looked at.
    #[inline]
    pub fn decode(payload: &'a [u8]) -> Result<ContentHeader<'a>> {
        let Some((&fixed, properties)) = payload.split_first_chunk::<FIXED_LEN>() else {
            return Err(Error::unknown_frame(FrameKind::Header, payload));
        };
        let [c1, c0, w1, w0, size @ ..] = fixed;
        Ok(ContentHeader {
            class_id: u16::from_be_bytes([c1, c0]),
            weight: u16::from_be_bytes([w1, w0]),
            body_size: u64::from_be_bytes(size),
            properties,
        })
    }

    /// Appends the payload of a header frame.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let ([c1, c0], [w1, w0]) = (self.class_id.to_be_bytes(), self.weight.to_be_bytes());
        let [s7, s6, s5, s4, s3, s2, s1, s0] = self.body_size.to_be_bytes();
        out.extend_from_slice(&[c1, c0, w1, w0, s7, s6, s5, s4, s3, s2, s1, s0]);
        out.extend_from_slice(self.properties);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_written_octet_for_octet() {
        let octets = b"\0\x3c\0\0\0\0\0\0\0\0\x01\x02\x10\0\x02";
        let header = ContentHeader::decode(octets).expect("a legal header");
        let expected =
            ContentHeader { class_id: 60, weight: 0, body_size: 258, properties: b"\x10\0\x02" };
        assert_eq!(header, expected);
        let mut out = Vec::new();
        header.encode(&mut out);
        assert_eq!(out, octets);
        for len in 0..12 {
            let error = ContentHeader::decode(&octets[..len]).expect_err("too short");
            assert!(matches!(error, Error::UnknownFrame { kind: 2, .. }), "{len}: {error}");
        }
    }
}
