//! Header fields of the shape `value; name=value; name="value"`, as Content-Type and
//! Content-Disposition are.
//!
//! In quotes a backslash stands before `"` and `\` only: older browsers sent whole Windows paths
//! without escaping theirs.

use crate::headers::is_token;

/// What stands before the first `;`, and the parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters {
    /// In lower case.
    pub(super) value: String,
    /// Names in lower case, values with their quotes taken off.
    all: Vec<(String, Vec<u8>)>,
}

impl Parameters {
    /// `None` if it is of another shape, or has a parameter twice.
    pub(super) fn parse(field: &[u8]) -> Option<Self> {
        let end = memchr::memchr(b';', field).unwrap_or(field.len());
        let (value, mut rest) = field.split_at(end);
        let value = str::from_utf8(value).ok()?.trim_matches([' ', '\t']).to_ascii_lowercase();
        let mut all: Vec<(String, Vec<u8>)> = Vec::new();
        while let [b';', behind @ ..] = rest {
            rest = skip_space(behind);
            if rest.is_empty() || rest.starts_with(b";") {
                continue; // `a; ; b` and `a;` are sent, and lose nothing
            }
            let equals = memchr::memchr(b'=', rest)?;
            let name = &rest[..equals];
            if !is_token(name) {
                return None;
            }
            let name = str::from_utf8(name).ok()?.to_ascii_lowercase();
            let (value, behind) = parameter_value(&rest[equals + 1..])?;
            rest = skip_space(behind);
            if all.iter().any(|(there, _)| *there == name) {
                return None;
            }
            all.push((name, value));
        }
        rest.is_empty().then_some(Self { value, all })
    }

    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.all.iter().find(|(there, _)| there == name).map(|(_, value)| &value[..])
    }

    /// Whether `charset` says UTF-8 or its subset ASCII, or is not there.
    pub(super) fn is_utf8(&self) -> bool {
        self.get("charset").is_none_or(|charset| {
            [&b"utf-8"[..], b"utf8", b"us-ascii"]
                .iter()
                .any(|known| charset.eq_ignore_ascii_case(known))
        })
    }
}

fn skip_space(text: &[u8]) -> &[u8] {
    let from = text.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(text.len());
    &text[from..]
}

/// One value, and what is behind it.
fn parameter_value(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let [b'"', quoted @ ..] = text else {
        let ends = |byte: &u8| matches!(byte, b';' | b' ' | b'\t' | b'"');
        let end = text.iter().position(ends).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (!value.is_empty()).then(|| (value.to_vec(), rest));
    };
    let mut value = Vec::new();
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'"', behind @ ..] => return Some((value, behind)),
            [b'\\', byte @ (b'"' | b'\\'), behind @ ..] | [byte, behind @ ..] => {
                value.push(*byte);
                behind
            }
            [] => return None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_quotes_and_without() {
        let field = br#"Form-Data;  name="a;\"b\\c" ; FILENAME=x.txt;e="";"#;
        let parameters = Parameters::parse(field).expect("it is well-formed");
        assert_eq!(parameters.value, "form-data");
        assert_eq!(parameters.get("name"), Some(&br#"a;"b\c"#[..]));
        assert_eq!(parameters.get("filename"), Some(&b"x.txt"[..]));
        assert_eq!(parameters.get("e"), Some(&b""[..]));
        assert_eq!(parameters.get("f"), None);
        let path = Parameters::parse(br#"form-data; filename="C:\temp\a.txt""#);
        assert_eq!(path.expect("lenient").get("filename"), Some(&br"C:\temp\a.txt"[..]));
    }

    #[test]
    fn another_shape_is_refused() {
        for field in
            ["a; b", "a; b=", "a; =c", "a; b=\"c", "a; b=c d=e", "a; b=c\"d\"", "a; b=1; B=2"]
        {
            assert_eq!(Parameters::parse(field.as_bytes()), None, "{field}");
        }
    }
}
