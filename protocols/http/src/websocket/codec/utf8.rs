//! Text that comes in pieces which are cut anywhere, also within a character.
//!
//! The rule: what can no longer become UTF-8 is refused with the octet that decides it, and at most
//! three octets are held back.

/// The text is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Invalid;

/// The beginning of a character whose end has yet to come.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8 {
    octets: [u8; 4],
    length: u8,
}

impl Utf8 {
    /// Takes the next piece: the character that was cut before it, now whole (or nothing), and the
    /// text behind that, up to a character that is cut in its turn.
    ///
    /// # Errors
    /// [`Invalid`] as soon as no further octets could make it UTF-8.
    pub fn feed<'a>(&mut self, mut data: &'a [u8]) -> Result<(Option<char>, &'a str), Invalid> {
        let mut completed = None;
        while self.length > 0 && completed.is_none() {
            let Some((&octet, rest)) = data.split_first() else { return Ok((None, "")) };
            data = rest;
            self.octets[usize::from(self.length)] = octet;
            self.length += 1;
            match str::from_utf8(&self.octets[..usize::from(self.length)]) {
                Ok(text) => completed = text.chars().next(),
                // A prefix of a character is at most three octets: the fourth decides.
                Err(error) if error.error_len().is_none() && self.length < 4 => {}
                Err(_) => return Err(Invalid),
            }
            if completed.is_some() {
                self.length = 0;
            }
        }
        match str::from_utf8(data) {
            Ok(text) => Ok((completed, text)),
            Err(error) => {
                let (text, rest) = data.split_at(error.valid_up_to());
                if error.error_len().is_some() {
                    return Err(Invalid);
                }
                self.octets[..rest.len()].copy_from_slice(rest);
                self.length = rest.len() as u8;
                // It was just found to be valid: the default is never taken.
                Ok((completed, str::from_utf8(text).unwrap_or_default()))
            }
        }
    }

    /// Whether no character is cut: the text may end here.
    pub fn is_whole(&self) -> bool {
        self.length == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text of the pieces, and whether it may end there.
    fn gather<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<(String, bool), Invalid> {
        let mut utf8 = Utf8::default();
        let mut gathered = String::new();
        for piece in pieces {
            let (character, text) = utf8.feed(piece)?;
            gathered.extend(character);
            gathered.push_str(text);
        }
        Ok((gathered, utf8.is_whole()))
    }

    #[test]
    fn an_octet_that_decides_is_refused_at_once() {
        let mut utf8 = Utf8::default();
        assert_eq!(utf8.feed(b"k\xce\xba\xf4"), Ok((None, "k\u{3ba}")));
        assert_eq!(utf8.feed(b"\x90"), Err(Invalid)); // beyond U+10FFFF
        assert_eq!(gather([&b"\xed\xa0"[..]]), Err(Invalid)); // a surrogate
        assert_eq!(gather([&b"\xc0"[..]]), Err(Invalid));
        assert_eq!(gather([&b"\xe2\x82"[..]]), Ok((String::new(), false)));
    }

    proptest! {
        #[test]
        fn how_text_is_cut_does_not_matter(text: String, step in 1usize..8) {
            prop_assert_eq!(gather(text.as_bytes().chunks(step)), Ok((text.clone(), true)));
        }

        #[test]
        fn octets_are_judged_as_std_does_and_as_early(
            octets in prop::collection::vec(
                prop::sample::select(
                    &b"a\x80\x9f\xa0\xbf\xc2\xe0\xe1\xed\xef\xf0\xf1\xf4\xf5"[..],
                ),
                0..8,
            ),
        ) {
            let expected = str::from_utf8(&octets);
            let cut = gather(octets.chunks(1));
            match expected {
                Ok(text) => prop_assert_eq!(cut, Ok((text.to_owned(), true))),
                Err(error) if error.error_len().is_none() => {
                    prop_assert!(matches!(cut, Ok((_, false))));
                }
                Err(_) => prop_assert_eq!(cut, Err(Invalid)),
            }
        }
    }
}
