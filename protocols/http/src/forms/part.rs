//! The head of one part of a form: what it is called, and whether it is a file (RFC 7578 §4).
//!
//! The one rule: a file's name is text from a stranger. What is handed on of it is the last
//! component of a path at most, never `.` or `..`, and has no control characters.

use percent_encoding::percent_decode;

use super::FormError;
use super::parameters::Parameters;
use crate::codec::check_line_ends;

/// What is said about one part, before its content.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Part {
    /// The name of the field.
    pub name: String,
    /// For files: the name that the client gives it, without a path. Empty if it gives none, or none
    /// that could be one. `None` for all that is no file.
    pub file_name: Option<String>,
    /// What the client says that it is: `image/png`. Never believe it.
    pub content_type: Option<String>,
}

/// A part has two fields, and seldom a third.
const MAX_FIELDS: usize = 16;

impl Part {
    /// Reads a head, with the empty line at its end.
    pub(super) fn parse(head: &[u8]) -> Result<Self, FormError> {
        let mut slots = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let fields = match httparse::parse_headers(head, &mut slots) {
            Ok(httparse::Status::Complete((length, fields))) if length == head.len() => fields,
            Err(httparse::Error::TooManyHeaders) => return Err(FormError::PartHeadTooLarge),
            _ => return Err(FormError::PartHead),
        };
        check_line_ends(head, fields).map_err(|_| FormError::PartHead)?;
        let field = |name: &str| {
            let mut found = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            match (found.next(), found.next()) {
                (_, Some(_)) => Err(FormError::PartHead),
                (found, None) => Ok(found.map(|field| field.value)),
            }
        };
        let encoding = field("content-transfer-encoding")?.map(<[u8]>::to_ascii_lowercase);
        if !matches!(encoding.as_deref(), None | Some(b"7bit" | b"8bit" | b"binary")) {
            return Err(FormError::TransferEncoding);
        }
        let disposition = field("content-disposition")?.and_then(Parameters::parse);
        let disposition = disposition.filter(|found| found.value == "form-data");
        let disposition = disposition.ok_or(FormError::Disposition)?;
        let name = disposition.get("name").ok_or(FormError::Disposition)?;
        let name = unescape(str::from_utf8(name).map_err(|_| FormError::Encoding)?);
        let file_name = disposition.get("filename").map(|name| {
            let name = String::from_utf8_lossy(name);
            last_component(&unescape(&name))
        });
        let extended = disposition.get("filename*").and_then(extended_value);
        let file_name = extended.map(|name| last_component(&name)).or(file_name);
        let content_type = field("content-type")?;
        if file_name.is_none()
            && let Some(content_type) = content_type
            && !Parameters::parse(content_type).ok_or(FormError::PartHead)?.is_utf8()
        {
            return Err(FormError::Charset);
        }
        let content_type = content_type.map(|value| String::from_utf8_lossy(value).into_owned());
        Ok(Self { name, file_name, content_type })
    }
}

/// Takes back what browsers escape in names, and nothing else: they leave a `%` as it is (WHATWG HTML,
/// multipart/form-data encoding algorithm).
fn unescape(name: &str) -> String {
    name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

/// `UTF-8''na%C3%AFve`: percent-encoded, with its charset (RFC 8187 §3.2). `None` if it is not.
fn extended_value(value: &[u8]) -> Option<String> {
    let mut parts = value.splitn(3, |&byte| byte == b'\'');
    let (charset, _language, encoded) = (parts.next()?, parts.next()?, parts.next()?);
    let decoded: Vec<u8> = percent_decode(encoded).collect();
    match charset.to_ascii_lowercase().as_slice() {
        b"utf-8" => String::from_utf8(decoded).ok(),
        b"iso-8859-1" => Some(decoded.into_iter().map(char::from).collect()),
        _ => None,
    }
}

/// What may be used of a file's name: what is behind the last separator of Unix or of Windows, with `_`
/// for each control character; nothing of `.` and `..`.
fn last_component(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let last: String = last
        .chars()
        .map(|character| if character.is_control() { '_' } else { character })
        .collect();
    if matches!(last.trim(), "." | "..") { String::new() } else { last }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(fields: &str) -> Result<Part, FormError> {
        Part::parse(format!("{fields}\r\n\r\n").as_bytes())
    }

    fn file_name(parameters: &str) -> Option<String> {
        let part = part(&format!("Content-Disposition: form-data; name=\"f\"; {parameters}"));
        part.expect("a well-formed head").file_name
    }

    #[test]
    fn a_field_has_a_name_and_a_file_has_two() {
        let field = part("content-disposition: Form-Data; name=\"a%22b%0D%0Ac%41\"");
        let field = field.expect("a well-formed head");
        assert_eq!((&*field.name, field.file_name), ("a\"b\r\nc%41", None));
        let head = "Content-Disposition: form-data; name=x; filename=\"y.png\"\r\n\
                    Content-Type: image/png";
        let file = part(head).expect("a well-formed head");
        let content_type = Some("image/png".to_owned());
        assert_eq!(file, Part { name: "x".into(), file_name: Some("y.png".into()), content_type });
    }

    #[test]
    fn of_a_files_name_only_what_is_no_path_is_left() {
        for (parameters, expected) in [
            ("filename=\"a b.txt\"", "a b.txt"),
            ("filename=\"na\u{ef}ve.txt\"", "na\u{ef}ve.txt"),
            ("filename=\"\"", ""),
            ("filename=\"..\"", ""),
            ("filename=\" .. \"", ""),
            ("filename=.", ""),
            ("filename=\"../../etc/passwd\"", "passwd"),
            ("filename=\"/etc/passwd\"", "passwd"),
            ("filename=\"C:\\temp\\a.txt\"", "a.txt"),
            ("filename=\"a\\\\..\\\\..\"", ""),
            ("filename=\"a/\"", ""),
            ("filename=\"say %22hi%22.txt\"", "say \"hi\".txt"),
            ("filename=\"say \\\"hi\\\".txt\"", "say \"hi\".txt"),
            ("filename=\"a%0D%0Ab\"", "a__b"),
            ("filename*=UTF-8''na%C3%AFve.txt", "na\u{ef}ve.txt"),
            ("filename*=utf-8'en'..%2F..%2Fetc%2Fpasswd%00", "passwd_"),
            ("filename*=UTF-8''..%2F..", ""),
            ("filename*=iso-8859-1''caf%E9; filename=other", "caf\u{e9}"),
            ("filename*=UTF-8''%FF; filename=other", "other"),
            ("filename*=koi8-r''x; filename=other", "other"),
        ] {
            assert_eq!(file_name(parameters).as_deref(), Some(expected), "{parameters}");
        }
    }

    #[test]
    fn a_head_that_is_not_one_is_refused_and_says_why() {
        let good = "Content-Disposition: form-data; name=a";
        for (head, error) in [
            ("Content-Type: text/plain".to_owned(), FormError::Disposition),
            ("Content-Disposition: attachment; name=a".to_owned(), FormError::Disposition),
            ("Content-Disposition: form-data".to_owned(), FormError::Disposition),
            ("Content-Disposition: form-data; filename=a".to_owned(), FormError::Disposition),
            ("Content-Disposition: form-data; name=\"a".to_owned(), FormError::Disposition),
            (format!("{good}; name=b"), FormError::Disposition),
            (format!("{good}\r\n{good}"), FormError::PartHead),
            (format!("{good}\r\nno field"), FormError::PartHead),
            (format!("{good}\r\n folded: line"), FormError::PartHead),
            (format!("{good}\nX: y"), FormError::PartHead),
            (format!("{good}\0"), FormError::PartHead),
            (format!("{good}\r\nContent-Type: text/plain; charset=koi8-r"), FormError::Charset),
            (format!("{good}\r\nContent-Transfer-Encoding: BASE64"), FormError::TransferEncoding),
            (format!("{good}{}", "\r\nX: y".repeat(16)), FormError::PartHeadTooLarge),
        ] {
            assert_eq!(part(&head), Err(error), "{head:?}");
        }
        let latin = b"Content-Disposition: form-data; name=\"\xe9\"\r\n\r\n";
        assert_eq!(Part::parse(latin), Err(FormError::Encoding));
        assert!(part(&format!("{good}\r\nContent-Transfer-Encoding: 8bit")).is_ok());
        assert!(part(&format!("{good}\r\nContent-Type: text/plain;charset=UTF-8")).is_ok());
    }
}
