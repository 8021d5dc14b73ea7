//! Header fields, kept as text and spans into it (RFC 9110 §5).
//!
//! There is no map: a message has a dozen fields, and most are never asked for. Filling a
//! [`Headers`] copies the head's text once and notes where names and values lie; only a lookup
//! compares. The rule: whatever is in here is valid (names are tokens, values hold no CR, LF or
//! NUL), so that writing it out again can never split a message.

use std::fmt;

/// The header fields of a message, in the order in which they came.
#[derive(Clone, Default)]
pub struct Headers {
    /// What the spans point into. A received head is here with its request line.
    pub(crate) text: Vec<u8>,
    spans: Vec<Span>,
}

/// Where one field lies in the text. Heads are far below 4 GiB.
#[derive(Debug, Clone, Copy)]
struct Span {
    name: u32,
    name_length: u32,
    value: u32,
    value_length: u32,
}

impl Headers {
    /// No fields. Allocates nothing.
    pub const fn new() -> Self {
        Self { text: Vec::new(), spans: Vec::new() }
    }

    /// How many fields there are; one that is repeated counts each time.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The value of the first field called `name`, in any case. O(number of fields).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.get_all(name).next()
    }

    /// The value of the first field called `name`, if it is UTF-8. (Values are bytes: RFC 9110
    /// §5.5 allows anything above 0x7F in them.)
    pub fn get_str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// The values of all fields called `name`, in order.
    pub fn get_all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.spans
            .iter()
            .filter(move |span| self.name(span).eq_ignore_ascii_case(name.as_bytes()))
            .map(|span| self.value(span))
    }

    /// Whether a field called `name` is a list that holds `token`, in any case: `Connection:
    /// Upgrade, keep-alive` holds `upgrade` (RFC 9110 §5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.get_all(name)
            .any(|value| elements(value).any(|e| e.eq_ignore_ascii_case(token.as_bytes())))
    }

    /// All fields, in order: names as they were sent, values without the white space around them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &[u8])> {
        self.spans.iter().map(|span| {
            // A name is a token, hence ASCII: the default is never taken.
            (str::from_utf8(self.name(span)).unwrap_or_default(), self.value(span))
        })
    }

    /// Adds a field behind the others. `false`, and nothing is added, if the name is no token or
    /// the value holds CR, LF, NUL or another control character (a tab is allowed): such a value
    /// could split the message in two.
    #[must_use = "an invalid field is not added"]
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) -> bool {
        let (name, value) = (name.as_bytes(), value.as_ref());
        if !is_token(name) || !value.iter().all(|&byte| is_value_byte(byte)) {
            return false;
        }
        let Ok(start) = u32::try_from(self.text.len() + name.len() + value.len()) else {
            return false;
        };
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        let (name_length, value_length) = (name.len() as u32, value.len() as u32);
        let name = start - value_length - name_length;
        self.spans.push(Span { name, name_length, value: start - value_length, value_length });
        true
    }

    /// Removes all fields called `name`, in any case; whether there were any.
    pub fn remove(&mut self, name: &str) -> bool {
        let Self { text, spans } = self;
        let before = spans.len();
        spans.retain(|span| {
            let found = &text[span.name as usize..][..span.name_length as usize];
            !found.eq_ignore_ascii_case(name.as_bytes())
        });
        spans.len() < before
    }

    /// Removes all fields, and keeps the memory for the next.
    pub fn clear(&mut self) {
        self.text.clear();
        self.spans.clear();
    }

    /// Becomes the fields of a parsed head: `text` is all of it, and each field a pair of slices
    /// of `text`. The parser has validated them.
    pub(crate) fn fill(&mut self, text: &[u8], fields: &[httparse::Header<'_>]) {
        self.clear();
        self.text.extend_from_slice(text);
        let base = text.as_ptr() as usize;
        self.spans.extend(fields.iter().map(|field| {
            let name = (field.name.as_ptr() as usize - base) as u32;
            // An empty value may point anywhere.
            let value = if field.value.is_empty() {
                name
            } else {
                (field.value.as_ptr() as usize - base) as u32
            };
            Span {
                name,
                name_length: field.name.len() as u32,
                value,
                value_length: field.value.len() as u32,
            }
        }));
    }

    fn name(&self, span: &Span) -> &[u8] {
        &self.text[span.name as usize..][..span.name_length as usize]
    }

    fn value(&self, span: &Span) -> &[u8] {
        &self.text[span.value as usize..][..span.value_length as usize]
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(name, value)| (name, String::from_utf8_lossy(value))))
            .finish()
    }
}

/// Two sets of fields are equal if the same names (in any case) and values stand in the same order.
impl PartialEq for Headers {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().zip(other.iter()).all(|((name, value), (other_name, other_value))| {
                name.eq_ignore_ascii_case(other_name) && value == other_value
            })
    }
}

impl Eq for Headers {}

/// The elements of a comma-separated list, white space and empty elements removed (RFC 9110
/// §5.6.1.2). Quoted strings are not understood: the lists read here hold tokens only.
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Without the spaces and tabs around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether this may be a field's name or a method: a token (RFC 9110 §5.6.2).
pub(crate) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| is_token_byte(byte))
}

pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether the byte may be in a field's value: visible, space, tab or above ASCII.
pub(crate) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case_and_order_is_kept() {
        let mut headers = Headers::new();
        assert!(headers.append("Set-Cookie", "a=1"));
        assert!(headers.append("Content-Type", "text/plain"));
        assert!(headers.append("set-cookie", "b=2"));
        assert_eq!(headers.get("SET-COOKIE"), Some(&b"a=1"[..]));
        let all: Vec<_> = headers.get_all("set-cookie").collect();
        assert_eq!(all, [b"a=1", b"b=2"]);
        assert_eq!(headers.get_str("content-type"), Some("text/plain"));
        assert_eq!(headers.get("content-typ"), None);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn a_value_that_would_split_the_message_is_not_added() {
        let mut headers = Headers::new();
        for value in ["a\r\nSet-Cookie: b", "a\nb", "a\rb", "a\0b", "a\x7fb"] {
            assert!(!headers.append("x", value), "{value:?}");
        }
        for name in ["", "a b", "a:", "a\r\n", "caf\u{e9}"] {
            assert!(!headers.append(name, "x"), "{name:?}");
        }
        assert!(headers.is_empty());
        assert!(headers.append("x", ""));
        assert!(headers.append("x", "tab\tand caf\u{e9}"));
    }

    #[test]
    fn removing_takes_every_field_of_the_name_and_no_other() {
        let mut headers = Headers::new();
        for (name, value) in [("A", "1"), ("b", "2"), ("a", "3"), ("ab", "4")] {
            assert!(headers.append(name, value));
        }
        assert!(headers.remove("a"));
        assert!(!headers.remove("a"));
        let left: Vec<_> = headers.iter().collect();
        assert_eq!(left, [("b", &b"2"[..]), ("ab", b"4")]);
    }

    #[test]
    fn tokens_are_found_in_lists_and_only_whole() {
        let mut headers = Headers::new();
        assert!(headers.append("Connection", "Upgrade ,\t Keep-Alive"));
        assert!(headers.append("Connection", ",, close"));
        for token in ["upgrade", "keep-alive", "close"] {
            assert!(headers.has_token("connection", token), "{token}");
        }
        assert!(!headers.has_token("connection", "keep"));
        assert!(!headers.has_token("connection", ""));
    }
}
