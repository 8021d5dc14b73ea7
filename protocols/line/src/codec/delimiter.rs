//! What ends a line.

use std::borrow::Cow;

/// What ends a line, in what is received and in what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Delimiter {
    /// Carriage return and line feed, and nothing else: what the protocols of the RFCs use. A bare
    /// line feed is part of the line.
    #[default]
    CrLf,
    /// A line feed; one carriage return before it belongs to the delimiter too. For people with
    /// `nc` as well as for programs. Sent as CR LF.
    LfOrCrLf,
    /// These bytes, which must not be empty: see [`Delimiter::bytes`].
    Bytes(Cow<'static, [u8]>),
}

/// Where a delimiter was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Length of the line before it.
    pub(super) line: usize,
    /// Length of the line and the delimiter.
    pub(super) end: usize,
}

impl Delimiter {
    /// A line feed alone; a carriage return before it is part of the line.
    pub const LF: Self = Self::Bytes(Cow::Borrowed(b"\n"));
    /// A zero byte.
    pub const NUL: Self = Self::Bytes(Cow::Borrowed(b"\0"));

    /// Any bytes.
    ///
    /// # Panics
    /// If `bytes` is empty: then nothing would ever end.
    pub fn bytes(bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let bytes = bytes.into();
        assert!(!bytes.is_empty(), "a delimiter has at least one byte");
        Self::Bytes(bytes)
    }

    /// What is sent behind a line; also the longest form that is received.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::CrLf | Self::LfOrCrLf => b"\r\n",
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The first delimiter in `data`, of which the first `searched` bytes hold no whole one.
    pub(super) fn find(&self, data: &[u8], searched: usize) -> Option<Found> {
        let bytes = self.as_bytes();
        // The delimiter's last byte is looked for, by memchr; the rest is compared backwards.
        let (&last, first) = bytes.split_last()?;
        memchr::memchr_iter(last, data.get(searched..)?).find_map(|at| {
            let at = searched + at;
            let line = match self {
                Self::LfOrCrLf => data[..at].strip_suffix(b"\r").map_or(at, <[u8]>::len),
                _ => data[..at].strip_suffix(first)?.len(),
            };
            Some(Found { line, end: at + 1 })
        })
    }

    /// How many bytes at the end of `data`, which holds no whole delimiter, may be the beginning
    /// of one.
    pub(super) fn begun(&self, data: &[u8]) -> usize {
        let bytes = self.as_bytes();
        let most = data.len().min(bytes.len().saturating_sub(1));
        (1..=most).rev().find(|&tail| bytes.starts_with(&data[data.len() - tail..])).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delimiter_is_found_by_its_first_whole_occurrence() {
        let found = |delimiter: Delimiter, data: &[u8]| {
            delimiter.find(data, 0).map(|found| (found.line, found.end))
        };
        assert_eq!(found(Delimiter::CrLf, b"a\nb\r\r\nc\r\n"), Some((4, 6)));
        assert_eq!(found(Delimiter::CrLf, b"a\nb\r"), None);
        assert_eq!(found(Delimiter::LfOrCrLf, b"a\nb"), Some((1, 2)));
        assert_eq!(found(Delimiter::LfOrCrLf, b"a\r\r\nb"), Some((2, 4)));
        assert_eq!(found(Delimiter::LfOrCrLf, b"\n"), Some((0, 1)));
        assert_eq!(found(Delimiter::LF, b"a\r\n"), Some((2, 3)));
        assert_eq!(found(Delimiter::bytes(&b"aba"[..]), b"xababa"), Some((1, 4)));
    }

    #[test]
    fn the_beginning_of_a_delimiter_is_seen_at_the_end() {
        assert_eq!(Delimiter::CrLf.begun(b"a\r"), 1);
        assert_eq!(Delimiter::CrLf.begun(b"a\n"), 0);
        assert_eq!(Delimiter::bytes(&b"abac"[..]).begun(b"xxaba"), 3);
        assert_eq!(Delimiter::bytes(&b"abac"[..]).begun(b"a"), 1);
        assert_eq!(Delimiter::LF.begun(b"a"), 0);
    }

    #[test]
    #[should_panic(expected = "at least one byte")]
    fn a_delimiter_without_bytes_is_refused() {
        let _ = Delimiter::bytes(Vec::new());
    }
}
