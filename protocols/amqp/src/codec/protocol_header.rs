//! The eight octets that a client sends first.
//!
//! Says whether they ask for AMQP 0-9-1; what to answer otherwise is the connection's business:
//! its own header, and then the end (AMQP 0-9-1 section 4.2.2).

use std::fmt;

/// What a client sends first, and what a server answers to any other header.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\x00\x00\x09\x01";

/// What RabbitMQ also takes for 0-9-1: the header of 0-9, which early clients send.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";

/// The first eight octets of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// The client speaks AMQP 0-9-1.
    Accepted,
    /// It speaks something else, shown by `Display`.
    Mismatch([u8; 8]),
}

impl ProtocolHeader {
    /// The octets that it takes from the input.
    pub const LEN: usize = PROTOCOL_HEADER.len();

    /// Reads it from the beginning of `input`; `None` while fewer than eight octets are there.
    #[must_use]
    pub fn decode(input: &[u8]) -> Option<ProtocolHeader> {
        let header = *input.first_chunk()?;
        Some(match header {
            PROTOCOL_HEADER | PROTOCOL_HEADER_0_9 => Self::Accepted,
            _ => Self::Mismatch(header),
        })
    }
}

impl fmt::Display for ProtocolHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted => f.write_str("AMQP 0-9-1"),
            Self::Mismatch([b'A', b'M', b'Q', b'P', version @ ..]) => {
                write!(f, "AMQP with the version octets {version:?}")
            }
            Self::Mismatch([0x16, 0x03, ..]) => f.write_str("a TLS handshake on a plain port"),
            Self::Mismatch(
                octets @ ([b'G', b'E', b'T', b' ', ..]
                | [b'H', b'E', b'A', b'D', b' ', ..]
                | [b'P', b'O', b'S', b'T', b' ', ..]),
            ) => write!(f, "an HTTP request (\"{}\")", octets.escape_ascii()),
            Self::Mismatch(octets) => write!(f, "\"{}\"", octets.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_of_0_9_1_are_accepted_and_no_other() {
        for header in [b"AMQP\x00\x00\x09\x01", b"AMQP\x01\x01\x00\x09"] {
            assert_eq!(ProtocolHeader::decode(header), Some(ProtocolHeader::Accepted));
        }
        for header in [b"AMQP\x00\x01\x00\x00", b"AMQP\x03\x01\x00\x00", b"GET / HT"] {
            assert_eq!(ProtocolHeader::decode(header), Some(ProtocolHeader::Mismatch(*header)));
        }
    }

    #[test]
    fn fewer_than_eight_octets_say_nothing_yet_and_more_do_no_harm() {
        for len in 0..8 {
            assert_eq!(ProtocolHeader::decode(&PROTOCOL_HEADER[..len]), None);
        }
        let more = b"AMQP\x00\x00\x09\x01\x01\x00";
        assert_eq!(ProtocolHeader::decode(more), Some(ProtocolHeader::Accepted));
    }

    #[test]
    fn a_mismatch_says_what_the_caller_seems_to_speak() {
        let shown = |octets| ProtocolHeader::Mismatch(octets).to_string();
        assert_eq!(shown(*b"AMQP\x00\x01\x00\x00"), "AMQP with the version octets [0, 1, 0, 0]");
        assert_eq!(shown(*b"\x16\x03\x01\x02\x00\x01\x00\x01"), "a TLS handshake on a plain port");
        assert_eq!(shown(*b"GET / HT"), "an HTTP request (\"GET / HT\")");
        assert_eq!(shown(*b"PING\r\n\0\0"), "\"PING\\r\\n\\x00\\x00\"");
    }
}
