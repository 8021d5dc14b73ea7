//! The head of a frame (RFC 6455 §5.2): two octets, then a longer length and a mask's key if there
//! are any.
//!
//! The rule: a head is judged octet by octet, so that a wrong one is refused as early as it can be,
//! and for the same fault however it was cut.

use crate::websocket::Error;

/// The most octets that a head has: 2, a length of 8, a key of 4.
pub const MAX_HEAD: usize = 14;
/// The most octets that the payload of a control frame has (RFC 6455 §5.5).
pub const MAX_CONTROL: usize = 125;

/// What a frame is (RFC 6455 §11.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message that has begun.
    Continuation,
    /// A message of text begins.
    Text,
    /// A message of octets begins.
    Binary,
    /// The peer closes.
    Close,
    /// The peer asks for a sign of life.
    Ping,
    /// The peer gives one.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xA => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xA,
        }
    }

    /// Whether it may stand between the frames of a message.
    pub fn is_control(self) -> bool {
        self.bits() >= 0x8
    }
}

/// What stands before a frame's payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHead {
    /// FIN: the last frame of its message.
    pub is_final: bool,
    /// RSV1: the message is compressed (RFC 7692 §6). RSV2 and RSV3 mean nothing yet.
    pub is_compressed: bool,
    /// What it is.
    pub opcode: Opcode,
    /// The key that the payload is masked with; clients mask, servers do not.
    pub mask: Option<[u8; 4]>,
    /// Octets of payload, below 2⁶³.
    pub length: u64,
}

impl FrameHead {
    /// Reads the head that `input` begins with, and how many octets it has. `None` if it is not
    /// whole yet.
    ///
    /// # Errors
    /// A reserved bit or opcode, a control frame that is long, compressed or a fragment, a length
    /// that is written longer than it had to be.
    pub fn parse(input: &[u8]) -> Result<Option<(Self, usize)>, Error> {
        let Some(&first) = input.first() else { return Ok(None) };
        if first & 0b0011_0000 != 0 {
            return Err(Error::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(Error::Opcode)?;
        let is_final = first & 0x80 != 0;
        let is_compressed = first & 0x40 != 0;
        if opcode.is_control() {
            if is_compressed {
                return Err(Error::ReservedBits);
            }
            if !is_final {
                return Err(Error::ControlFragmented);
            }
        }
        let Some(&second) = input.get(1) else { return Ok(None) };
        let short = second & 0x7F;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Error::ControlTooLong);
        }
        let rest = &input[2..];
        let (length, least, at) = match short {
            126 => match rest.first_chunk() {
                Some(&octets) => (u64::from(u16::from_be_bytes(octets)), 126, 4),
                None => return Ok(None),
            },
            127 => match rest.first_chunk() {
                Some(&octets) => (u64::from_be_bytes(octets), 1 << 16, 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 0, 2),
        };
        if length < least || length >= 1 << 63 {
            return Err(Error::Length);
        }
        let is_masked = second & 0x80 != 0;
        let (mask, at) = match (is_masked, input[at..].first_chunk()) {
            (false, _) => (None, at),
            (true, Some(&key)) => (Some(key), at + 4),
            (true, None) => return Ok(None),
        };
        Ok(Some((Self { is_final, is_compressed, opcode, mask, length }, at)))
    }

    /// Writes the head, and tells how many octets it has.
    pub fn write(&self, out: &mut [u8; MAX_HEAD]) -> usize {
        out[0] = self.opcode.bits()
            | if self.is_final { 0x80 } else { 0 }
            | if self.is_compressed { 0x40 } else { 0 };
        let masked = if self.mask.is_some() { 0x80 } else { 0 };
        let at = if self.length < 126 {
            out[1] = masked | self.length as u8;
            2
        } else if let Ok(length) = u16::try_from(self.length) {
            out[1] = masked | 126;
            out[2..4].copy_from_slice(&length.to_be_bytes());
            4
        } else {
            out[1] = masked | 127;
            out[2..10].copy_from_slice(&self.length.to_be_bytes());
            10
        };
        match self.mask {
            Some(key) => {
                out[at..at + 4].copy_from_slice(&key);
                at + 4
            }
            None => at,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of RFC 6455 §5.7.
    #[test]
    fn the_examples_of_the_rfc_are_read_and_written() {
        let head = |is_final, opcode, mask, length| FrameHead {
            is_final,
            is_compressed: false,
            opcode,
            mask,
            length,
        };
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for (wire, expected) in [
            (&[0x81, 0x05][..], head(true, Opcode::Text, None, 5)),
            (&[0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d], head(true, Opcode::Text, Some(key), 5)),
            (&[0x01, 0x03], head(false, Opcode::Text, None, 3)),
            (&[0x80, 0x02], head(true, Opcode::Continuation, None, 2)),
            (&[0x89, 0x05], head(true, Opcode::Ping, None, 5)),
            (&[0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d], head(true, Opcode::Pong, Some(key), 5)),
            (&[0x82, 0x7e, 0x01, 0x00], head(true, Opcode::Binary, None, 256)),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0], head(true, Opcode::Binary, None, 65536)),
        ] {
            for cut in 0..wire.len() {
                assert_eq!(FrameHead::parse(&wire[..cut]), Ok(None), "{wire:?} cut at {cut}");
            }
            assert_eq!(FrameHead::parse(wire), Ok(Some((expected, wire.len()))));
            let mut out = [0; MAX_HEAD];
            let size = expected.write(&mut out);
            assert_eq!(&out[..size], wire);
        }
    }

    #[test]
    fn each_fault_is_refused_at_its_octet() {
        for (wire, error) in [
            (&[0x91][..], Error::ReservedBits),
            (&[0xa1], Error::ReservedBits),
            (&[0xc9], Error::ReservedBits),
            (&[0x83], Error::Opcode),
            (&[0x8b], Error::Opcode),
            (&[0x09], Error::ControlFragmented),
            (&[0x88, 0x7e], Error::ControlTooLong),
            (&[0x82, 126, 0, 125], Error::Length),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Error::Length),
            (&[0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], Error::Length),
        ] {
            assert_eq!(FrameHead::parse(wire), Err(error), "{wire:?}");
            assert_eq!(FrameHead::parse(&wire[..wire.len() - 1]), Ok(None), "{wire:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(input in prop::collection::vec(any::<u8>(), 0..20)) {
            if let Ok(Some((head, size))) = FrameHead::parse(&input) {
                let mut out = [0; MAX_HEAD];
                prop_assert_eq!(head.write(&mut out), size);
                prop_assert_eq!(&out[..size], &input[..size]);
            }
        }
    }
}
