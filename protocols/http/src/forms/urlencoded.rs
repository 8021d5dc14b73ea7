//! Forms as text: the query of a target, and bodies of `application/x-www-form-urlencoded` (WHATWG
//! URL §5). What is percent-encoded and not UTF-8 is read as U+FFFD, as browsers do.

use std::borrow::Cow;

use super::{Form, FormError, FormLimits, Kind, MultipartDecoder, MultipartPiece, Part};
use crate::Request;

impl Request {
    /// The pairs of name and value in the query, decoded: `?q=a+b%21&r` has `("q", "a b!")` and
    /// `("r", "")`.
    pub fn query_pairs(&self) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
        form_urlencoded::parse(self.query().unwrap_or_default().as_bytes())
    }

    /// The value of the first pair in the query that is called `name`.
    pub fn query_value(&self, name: &str) -> Option<Cow<'_, str>> {
        self.query_pairs().find(|(there, _)| there == name).map(|(_, value)| value)
    }

    /// The form in a body that was gathered, within the default [`FormLimits`]: urlencoded, or
    /// `multipart/form-data` without files. For those with files, see [`Forms`](super::Forms).
    ///
    /// # Errors
    /// The body is no form, a malformed one, or above a limit. [`FormError::status`] is what to
    /// answer.
    pub fn form(&self) -> Result<Form, FormError> {
        self.form_within(&FormLimits::default())
    }

    /// The same, within other limits.
    ///
    /// # Errors
    /// As [`form`](Self::form).
    pub fn form_within(&self, limits: &FormLimits) -> Result<Form, FormError> {
        let body = self.body();
        match Kind::of(self)? {
            Kind::Empty => Ok(Form::default()),
            Kind::Urlencoded => parse(body, limits),
            Kind::Multipart(boundary) => {
                fields(body, MultipartDecoder::new(&boundary, limits.clone())?)
            }
        }
    }
}

/// The pairs of a whole body.
pub(super) fn parse(body: &[u8], limits: &FormLimits) -> Result<Form, FormError> {
    if body.len() as u64 > limits.fields {
        return Err(FormError::FieldsTooLarge);
    }
    let mut form = Form::default();
    for (name, value) in form_urlencoded::parse(body) {
        if form.fields.len() == limits.pairs {
            return Err(FormError::TooManyPairs);
        }
        form.fields.push((name.into_owned(), value.into_owned()));
    }
    Ok(form)
}

/// The fields of a whole multipart body.
fn fields(mut body: &[u8], mut decoder: MultipartDecoder) -> Result<Form, FormError> {
    let mut form = Form::default();
    let mut field = (String::new(), Vec::new());
    loop {
        let (used, piece) = decoder.decode(body)?;
        match piece {
            MultipartPiece::PartStarted(Part { file_name: Some(_), .. }) => {
                return Err(FormError::FileNotTaken);
            }
            MultipartPiece::PartStarted(part) => field.0 = part.name,
            MultipartPiece::Data(data) => field.1.extend_from_slice(data),
            MultipartPiece::PartEnded => form.push_field(std::mem::take(&mut field))?,
            MultipartPiece::NeedMore | MultipartPiece::Ended => break,
        }
        body = &body[used..];
    }
    decoder.finish().map(|()| form)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content_type: &str, body: &[u8]) -> Request {
        let mut request = Request::default();
        if !content_type.is_empty() {
            assert!(request.headers.append("Content-Type", content_type));
        }
        request.body.extend_from_slice(body);
        request
    }

    const URLENCODED: &str = "application/x-www-form-urlencoded";

    #[test]
    fn a_query_is_taken_apart_and_decoded() {
        let mut request = Request::default();
        request.target.fill("/p?a=b+c%21&&d=%C3%A9=&e&a=2&f=%ff", crate::TargetForm::Origin);
        let pairs: Vec<_> = request.query_pairs().collect();
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        let replaced = ("f", "\u{fffd}");
        assert_eq!(pairs, [("a", "b c!"), ("d", "\u{e9}="), ("e", ""), ("a", "2"), replaced]);
        assert_eq!(request.query_value("a").as_deref(), Some("b c!"));
        assert_eq!(request.query_value("z"), None);
    }

    #[test]
    fn a_urlencoded_body_is_a_form() {
        for content_type in [
            URLENCODED,
            "Application/X-WWW-Form-Urlencoded; Charset=utf-8",
            "application/x-www-form-urlencoded;charset=\"UTF-8\"",
        ] {
            let form = request(content_type, b"name=Ann+B&mail=a%40b&name=C").form();
            let form = form.expect("it is well-formed");
            assert_eq!(form.field("name"), Some("Ann B"));
            assert_eq!(form.all("name").collect::<Vec<_>>(), ["Ann B", "C"]);
            assert_eq!(form.field("mail"), Some("a@b"));
            assert_eq!(form.fields().count(), 3);
        }
    }

    #[test]
    fn what_is_no_form_is_refused_and_says_why() {
        let error = |content_type: &str, body: &[u8]| request(content_type, body).form().err();
        assert_eq!(error("", b"a=b"), Some(FormError::ContentType));
        assert_eq!(error("", b""), None, "no body, and no type of it: an empty form");
        assert_eq!(error("text/plain", b"a=b"), Some(FormError::ContentType));
        assert_eq!(error("text/plain", b""), Some(FormError::ContentType));
        let latin = format!("{URLENCODED}; charset=iso-8859-1");
        assert_eq!(error(&latin, b"a=b"), Some(FormError::Charset));
        let mut twice = request(URLENCODED, b"a=b");
        assert!(twice.headers.append("Content-Type", URLENCODED));
        assert_eq!(twice.form().err(), Some(FormError::ContentType));
        assert_eq!(FormError::ContentType.status().code(), 415);
    }

    #[test]
    fn a_limit_holds_for_pairs_and_for_bytes() {
        let limits = FormLimits::new().pairs(2).fields(9);
        let error = |body: &[u8]| request(URLENCODED, body).form_within(&limits).err();
        assert_eq!(error(b"a=1&b=2"), None);
        assert_eq!(error(b"a&b&c"), Some(FormError::TooManyPairs));
        assert_eq!(error(b"a=1&b=2&&"), None);
        assert_eq!(error(b"a=12345678"), Some(FormError::FieldsTooLarge));
    }

    #[test]
    fn a_gathered_multipart_body_gives_its_fields_and_takes_no_file() {
        let multipart = "multipart/form-data; boundary=x";
        let body = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--";
        let form = request(multipart, body).form().expect("it is well-formed");
        assert_eq!(form.field("a"), Some("1"));
        let body = b"--x\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\n1\r\n--x--";
        assert_eq!(request(multipart, body).form().err(), Some(FormError::FileNotTaken));
        let cut = &body[..30];
        assert_eq!(request(multipart, cut).form().err(), Some(FormError::Truncated));
    }
}
