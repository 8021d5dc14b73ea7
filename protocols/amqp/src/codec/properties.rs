//! The properties of a message, as they stand in its content header.
//!
//! Read to look at them, written to send a message of one's own. What a broker passes on it
//! does not write anew: it keeps the encoded octets ([`ContentHeader::properties`]).
//!
//! [`ContentHeader::properties`]: super::ContentHeader::properties

use super::wire::{Fault, Field, Reader, Writer};
use super::{Error, Result, ShortStr, Table};

/// The properties of the class `basic` (AMQP 0-9-1 section 1.8.1).
///
/// `None` is a property that is absent, which is not the same as one that is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BasicProperties<'a> {
    /// A MIME type.
    pub content_type: Option<ShortStr<'a>>,
    /// A MIME encoding.
    pub content_encoding: Option<ShortStr<'a>>,
    /// What the application adds; headers exchanges route by it.
    pub headers: Option<Table<'a>>,
    /// 2 for a message that outlives a restart; absent, and else 1, for one that does not.
    pub delivery_mode: Option<u8>,
    /// For a queue with priorities; absent is 0.
    pub priority: Option<u8>,
    /// Which request this is the answer to.
    pub correlation_id: Option<ShortStr<'a>>,
    /// The queue for the answer.
    pub reply_to: Option<ShortStr<'a>>,
    /// Milliseconds to live, in decimal digits.
    pub expiration: Option<ShortStr<'a>>,
    /// The application's name for the message.
    pub message_id: Option<ShortStr<'a>>,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub timestamp: Option<u64>,
    /// The application's name for the kind of message (`type` on the wire).
    pub message_type: Option<ShortStr<'a>>,
    /// Who published it; a server checks that.
    pub user_id: Option<ShortStr<'a>>,
    /// Which application published it.
    pub app_id: Option<ShortStr<'a>>,
    /// Reserved.
    pub cluster_id: Option<ShortStr<'a>>,
}

/// The `delivery_mode` of a message that outlives a restart.
const PERSISTENT: u8 = 2;

/// The lowest flag says that another word of flags follows, and the one above has no property:
/// the class has only fourteen.
const UNKNOWN_FLAGS: u16 = 0b11;

impl<'a> BasicProperties<'a> {
    /// Reads what follows the body size in a content header.
    ///
    /// Fails if it is not exactly the properties that its flags announce.
    #[inline]
    pub fn decode(encoded: &'a [u8]) -> Result<BasicProperties<'a>> {
        if encoded == [0, 0] {
            return Ok(BasicProperties::default()); // as most messages are
        }
        Self::read(encoded).map_err(|_| Error::MalformedProperties)
    }

    #[inline(never)]
    fn read(encoded: &'a [u8]) -> Result<BasicProperties<'a>, Fault> {
        let mut reader = Reader::new(encoded, false);
        let mut flags: u16 = reader.field()?;
        if flags & UNKNOWN_FLAGS != 0 {
            return Err(Fault::Length);
        }
        // Each takes the highest flag that is left.
        #[inline(always)]
        fn next<'a, F: Field<'a>>(
            flags: &mut u16,
            reader: &mut Reader<'a>,
        ) -> Result<Option<F>, Fault> {
            let present = *flags & 0x8000 != 0;
            *flags <<= 1;
            if present { reader.field().map(Some) } else { Ok(None) }
        }
        let properties = BasicProperties {
            content_type: next(&mut flags, &mut reader)?,
            content_encoding: next(&mut flags, &mut reader)?,
            headers: next(&mut flags, &mut reader)?,
            delivery_mode: next(&mut flags, &mut reader)?,
            priority: next(&mut flags, &mut reader)?,
            correlation_id: next(&mut flags, &mut reader)?,
            reply_to: next(&mut flags, &mut reader)?,
            expiration: next(&mut flags, &mut reader)?,
            message_id: next(&mut flags, &mut reader)?,
            timestamp: next(&mut flags, &mut reader)?,
            message_type: next(&mut flags, &mut reader)?,
            user_id: next(&mut flags, &mut reader)?,
            app_id: next(&mut flags, &mut reader)?,
            cluster_id: next(&mut flags, &mut reader)?,
        };
        reader.finish()?;
        Ok(properties)
    }

    /// Appends the flags and the properties.
    ///
    /// What was decoded comes out as it went in, octet for octet.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        let mut flags: u16 = 0;
        let mut bit: u16 = 0x8000;
        let mut writer = Writer::new(out);
        macro_rules! properties {
            ($($property:ident),*) => {$(
                if let Some(value) = self.$property {
                    flags |= bit;
                    writer.field(value);
                }
                bit >>= 1;
            )*};
        }
        properties!(
            content_type,
            content_encoding,
            headers,
            delivery_mode,
            priority,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            timestamp,
            message_type,
            user_id,
            app_id,
            cluster_id
        );
        debug_assert_eq!(bit, 0b10, "fourteen properties");
        out[start..start + 2].copy_from_slice(&flags.to_be_bytes());
    }

    /// The flags and the properties as octets of their own.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    /// Whether the message is to outlive a restart, in a durable queue.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.delivery_mode == Some(PERSISTENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::TableBuf;

    #[test]
    fn no_property_is_two_octets_and_absent_is_not_empty() {
        let none = BasicProperties::default();
        assert_eq!(none.to_vec(), [0, 0]);
        let empty = BasicProperties { content_type: Some(ShortStr::EMPTY), ..none };
        assert_eq!(empty.to_vec(), [0x80, 0, 0]);
        for properties in [none, empty] {
            assert_eq!(BasicProperties::decode(&properties.to_vec()), Ok(properties));
        }
    }

    #[test]
    fn every_property_has_its_flag_and_its_place() {
        let headers = TableBuf::new().with("a", true);
        let properties = BasicProperties {
            content_type: Some(ShortStr::literal("t")),
            content_encoding: Some(ShortStr::literal("e")),
            headers: Some(headers.as_table()),
            delivery_mode: Some(2),
            priority: Some(9),
            correlation_id: Some(ShortStr::literal("c")),
            reply_to: Some(ShortStr::literal("r")),
            expiration: Some(ShortStr::literal("1")),
            message_id: Some(ShortStr::literal("m")),
            timestamp: Some(258),
            message_type: Some(ShortStr::literal("y")),
            user_id: Some(ShortStr::literal("u")),
            app_id: Some(ShortStr::literal("a")),
            cluster_id: Some(ShortStr::literal("k")),
        };
        let encoded = b"\xff\xfc\x01t\x01e\0\0\0\x04\x01at\x01\x02\x09\x01c\x01r\x011\x01m\
                        \0\0\0\0\0\0\x01\x02\x01y\x01u\x01a\x01k";
        assert_eq!(properties.to_vec(), encoded);
        assert_eq!(BasicProperties::decode(encoded), Ok(properties));
        assert!(properties.is_persistent());
        for len in 0..encoded.len() {
            let cut = BasicProperties::decode(&encoded[..len]);
            assert_eq!(cut, Err(Error::MalformedProperties), "{len}");
        }
    }

    #[test]
    fn what_is_not_exactly_the_properties_of_its_flags_is_refused() {
        for encoded in [&b""[..], b"\0", b"\0\0\0", b"\0\x01", b"\0\x02", b"\x20\0\0\0\0\x01\x01"] {
            let refused = BasicProperties::decode(encoded);
            assert_eq!(refused, Err(Error::MalformedProperties), "{encoded:?}");
        }
    }
}
