//! A message as bytes for the store, and back.
//!
//! A header of at most 17 bytes, then exchange, routing key, properties and body as they lie in
//! memory: writing copies nothing but the header. What comes back may come from a damaged disk,
//! so reading it trusts nothing.
//!
//! | bytes | |
//! |---|---|
//! | 1 | version of this format, 1 |
//! | 1 | flags: 1 persistent, 2 has headers, 4 has a time to live |
//! | 1 | priority |
//! | 1 | length of the exchange's name |
//! | 1 | length of the routing key |
//! | 4 | length of the properties, little endian |
//! | 8 | the time to live in milliseconds, little endian; only with flag 4 |

use bytes::Bytes;

use crate::message::{Body, Message, Properties, Publish, SHARED_BODY};

const VERSION: u8 = 1;
const PERSISTENT: u8 = 1;
const HEADERS: u8 = 2;
const TTL: u8 = 4;
/// Without the time to live.
const HEADER: usize = 9;
const LONGEST_HEADER: usize = HEADER + 8;

/// The header of a message's payload.
pub(crate) struct Header {
    bytes: [u8; LONGEST_HEADER],
    len: usize,
}

impl Header {
    pub(crate) fn of(message: &Message) -> Header {
        let mut flags = 0;
        for (set, flag) in [
            (message.persistent(), PERSISTENT),
            (message.has_headers(), HEADERS),
            (message.ttl().is_some(), TTL),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let mut bytes = [0; LONGEST_HEADER];
        bytes[0] = VERSION;
        bytes[1] = flags;
        bytes[2] = message.priority();
        bytes[3] = message.exchange().len() as u8; // `Message` cuts names to 255 bytes
        bytes[4] = message.routing_key().len() as u8;
        bytes[5..9].copy_from_slice(&(message.properties().len() as u32).to_le_bytes());
        bytes[9..].copy_from_slice(&message.ttl().unwrap_or(0).to_le_bytes());
        let len = if message.ttl().is_some() { LONGEST_HEADER } else { HEADER };
        Header { bytes, len }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a payload says.
pub(crate) struct Unpacked<'a> {
    exchange: &'a [u8],
    routing_key: &'a [u8],
    properties: &'a [u8],
    body: Bytes,
    flags: u8,
    priority: u8,
    /// Milliseconds.
    pub(crate) ttl: Option<u64>,
}

impl<'a> Unpacked<'a> {
    /// `None` if it is none of ours.
    pub(crate) fn read(payload: &'a Bytes) -> Option<Unpacked<'a>> {
        let (header, mut rest) = payload.split_first_chunk::<HEADER>()?;
        let &[version, flags, priority, exchange, routing_key, properties @ ..] = header;
        if version != VERSION || flags & !(PERSISTENT | HEADERS | TTL) != 0 {
            return None;
        }
        let mut ttl = None;
        if flags & TTL != 0 {
            let (bytes, after) = rest.split_first_chunk()?;
            ttl = Some(u64::from_le_bytes(*bytes));
            rest = after;
        }
        let (exchange, rest) = rest.split_at_checked(exchange.into())?;
        let (routing_key, rest) = rest.split_at_checked(routing_key.into())?;
        let properties = usize::try_from(u32::from_le_bytes(properties)).ok()?;
        let (properties, body) = rest.split_at_checked(properties)?;
        let body = payload.slice_ref(body);
        Some(Unpacked { exchange, routing_key, properties, body, flags, priority, ttl })
    }

    /// The message, to be put into memory again.
    pub(crate) fn publish(&self) -> Publish<'_> {
        Publish {
            exchange: self.exchange,
            routing_key: self.routing_key,
            mandatory: false,
            immediate: false,
            properties: Properties {
                raw: self.properties,
                persistent: self.flags & PERSISTENT != 0,
                priority: self.priority,
                has_headers: self.flags & HEADERS != 0,
                ..Properties::default()
            },
            body: match self.body.len() < SHARED_BODY {
                true => Body::Borrowed(&self.body),
                false => Body::Shared(self.body.clone()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Messages;

    fn message(body: &[u8], ttl: Option<u64>) -> (Messages, crate::messages::MessageId) {
        let mut messages = Messages::default();
        let mut publish = Publish::new(b"exchange", b"key", body);
        publish.properties.raw = b"\x80\x00properties";
        publish.properties.persistent = true;
        publish.properties.has_headers = ttl.is_some();
        publish.properties.priority = 7;
        let id = messages.insert(&publish, ttl, 1);
        (messages, id)
    }

    fn payload(message: &Message) -> Bytes {
        let header = Header::of(message);
        let shared = message.shared_body().map_or(&[][..], |body| body);
        [header.bytes(), message.packed(), shared].concat().into()
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        for (body, ttl) in [(&b""[..], None), (b"small", Some(60_000)), (&[7; 10_000], Some(0))] {
            let (messages, id) = message(body, ttl);
            let bytes = payload(messages.get(id));
            let read = Unpacked::read(&bytes).expect("ours");
            let mut again = Messages::default();
            let copy = again.insert(&read.publish(), read.ttl, 1);
            let (one, other) = (messages.get(id), again.get(copy));
            assert_eq!(payload(one), payload(other));
            assert_eq!((other.body(), other.ttl()), (body, ttl));
            assert_eq!(other.properties(), b"\x80\x00properties");
            assert_eq!((other.exchange(), other.routing_key()), (&b"exchange"[..], &b"key"[..]));
            assert!(other.persistent() && other.has_headers() == ttl.is_some());
            assert_eq!(other.priority(), 7);
        }
    }

    #[test]
    fn damaged_payloads_are_refused_or_read_as_something_else_but_never_panic() {
        let (messages, id) = message(b"body", Some(5));
        let bytes = payload(messages.get(id));
        for end in 0..bytes.len() {
            let cut = bytes.slice(..end);
            let read = Unpacked::read(&cut).map(|read| read.publish().body.as_slice().len());
            assert!(read.is_none_or(|body| body < 4), "cut to {end}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.to_vec();
                damaged[at] ^= 1 << bit;
                let damaged = Bytes::from(damaged);
                let read = Unpacked::read(&damaged);
                assert!(read.is_none() || at > 0, "another version");
                if let Some(read) = read {
                    let (publish, ttl) = (read.publish(), read.ttl);
                    Messages::default().insert(&publish, ttl, 1);
                }
            }
        }
    }
}
