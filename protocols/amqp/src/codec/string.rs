//! Strings as AMQP has them: octets with a length, which need not be text.
//!
//! All three borrow and are `Copy`; their `Debug` and `Display` show text where it is text.

use std::{fmt, ops::Deref};

/// A shortstr: at most 255 octets (AMQP 0-9-1 section 4.2.5.3).
///
/// Names of exchanges, queues and consumers, routing keys, names of fields. What a client names
/// is UTF-8, except in `basic.publish`, in properties and in tables: there RabbitMQ does not look.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShortStr<'a>(&'a [u8]);

impl<'a> ShortStr<'a> {
    /// The most octets that it holds: the length is one octet.
    pub const MAX_LEN: usize = u8::MAX as usize;

    /// The empty string.
    pub const EMPTY: ShortStr<'static> = ShortStr(b"");

    /// `octets` as a shortstr, or `None` if there are more than 255.
    #[must_use]
    pub const fn new(octets: &'a [u8]) -> Option<ShortStr<'a>> {
        if octets.len() <= Self::MAX_LEN { Some(ShortStr(octets)) } else { None }
    }

    /// The first 255 octets of `octets`: for names that are known to be short, and for such
    /// octets as may be cut.
    #[must_use]
    pub fn cut(octets: &'a (impl AsRef<[u8]> + ?Sized)) -> ShortStr<'a> {
        let octets = octets.as_ref();
        ShortStr(&octets[..octets.len().min(Self::MAX_LEN)])
    }

    /// The first 255 octets of `text`, or a few less: a character is not cut in two.
    #[must_use]
    pub fn cut_text(text: &'a str) -> ShortStr<'a> {
        ShortStr(&text.as_bytes()[..text.floor_char_boundary(Self::MAX_LEN)])
    }

    /// A shortstr that stands in the program.
    ///
    /// # Panics
    ///
    /// If there are more than 255 octets; in a constant, when it is compiled.
    #[must_use]
    pub const fn literal(text: &'static str) -> ShortStr<'static> {
        assert!(text.len() <= Self::MAX_LEN, "a shortstr holds at most 255 octets");
        ShortStr(text.as_bytes())
    }

    /// The octets, for as long as what they were borrowed from.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text, if it is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        str::from_utf8(self.0).ok()
    }
}

/// A longstr: up to 4 GiB of octets (AMQP 0-9-1 section 4.2.5.3).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LongStr<'a>(pub &'a [u8]);

impl<'a> LongStr<'a> {
    /// The text, if it is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        str::from_utf8(self.0).ok()
    }
}

/// A longstr that carries a password or a token: its `Debug` shows only the length, so that a
/// logged method does not tell it.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Secret<'a>(pub &'a [u8]);

impl Deref for ShortStr<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl Deref for LongStr<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0
    }
}

impl AsRef<[u8]> for ShortStr<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl AsRef<[u8]> for LongStr<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl PartialEq<str> for ShortStr<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for ShortStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl<'a> From<&'a str> for LongStr<'a> {
    fn from(text: &'a str) -> LongStr<'a> {
        LongStr(text.as_bytes())
    }
}

impl fmt::Display for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.0))
    }
}

impl fmt::Display for LongStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.0))
    }
}

impl fmt::Debug for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.0).fmt(f)
    }
}

impl fmt::Debug for LongStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        String::from_utf8_lossy(self.0).fmt(f)
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} octets>", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortstr_holds_255_octets_and_not_one_more() {
        assert!(ShortStr::new(&[b'x'; 255]).is_some());
        assert!(ShortStr::new(&[b'x'; 256]).is_none());
        assert_eq!(ShortStr::cut(&[b'x'; 256]).len(), 255);
        assert_eq!(ShortStr::cut_text(&"é".repeat(128)).len(), 254);
    }

    #[test]
    fn debug_shows_text_and_keeps_a_secret() {
        assert_eq!(format!("{:?}", ShortStr::cut("a\"b")), r#""a\"b""#);
        assert_eq!(format!("{:?}", LongStr(b"PLAIN \xff")), "\"PLAIN \u{fffd}\"");
        assert_eq!(format!("{:?}", Secret(b"\0guest\0guest")), "<12 octets>");
    }
}
