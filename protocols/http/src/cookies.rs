//! Cookies on the server's side (RFC 6265): reading what a client sends, and setting them.
//!
//! The `cookie` crate would bring the `time` crate into every server, for one date.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use crate::{LOG, Request, Response};

impl Request {
    /// The cookies that the client has sent: names and values, in its order, as they are (RFC 6265
    /// §4.2.2 gives them no meaning). Quotes around a value are a part of it.
    pub fn cookies(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.headers().get_all("cookie");
        let fields = fields.filter_map(|value| str::from_utf8(value).ok());
        fields.flat_map(|field| field.split(';')).filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let name = name.trim_matches([' ', '\t']);
            (!name.is_empty()).then_some((name, value.trim_matches([' ', '\t'])))
        })
    }

    /// The value of the first cookie called `name`. Names are case-sensitive.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        self.cookies().find(|(found, _)| *found == name).map(|(_, value)| value)
    }
}

/// On which requests from other sites a cookie is sent (RFC 6265bis §5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// On none.
    Strict,
    /// When the user follows a link.
    Lax,
    /// On all; browsers want [`Cookie::secure`] with it.
    None,
}

/// A cookie to be set. Unless something else is said, it lasts until the browser is closed, is sent
/// to this host alone and for all of its paths, is hidden from scripts, and is not sent on requests that
/// other sites make, but for links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    name: String,
    value: String,
    path: String,
    domain: Option<String>,
    max_age: Option<Duration>,
    expires: Option<SystemTime>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
}

impl Cookie {
    /// A cookie. The name is a token, and the value has no control characters, spaces, quotes, commas,
    /// semicolons or backslashes (RFC 6265 §4.1.1): encode others, in base64 say.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into(),
            path: "/".to_owned(),
            domain: None,
            max_age: None,
            expires: None,
            secure: false,
            http_only: true,
            same_site: SameSite::Lax,
        }
    }

    /// Has the browser forget the cookie of this name. Its path and domain must be those with which it
    /// was set.
    pub fn removal(name: impl Into<String>) -> Self {
        Self::new(name, "").max_age(Duration::ZERO)
    }

    /// For paths that begin with this only (`/`).
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// For this domain and those below it, and not for this host alone.
    #[must_use]
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// It lasts this long, in whole seconds; longer than the browser's session, too.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// It lasts until then. `max_age` counts where both are given.
    #[must_use]
    pub fn expires(mut self, expires: SystemTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// It is sent over TLS alone.
    #[must_use]
    pub fn secure(mut self) -> Self {
        self.secure = true;
        self
    }

    /// Scripts of the page can read it.
    #[must_use]
    pub fn readable_by_scripts(mut self) -> Self {
        self.http_only = false;
        self
    }

    /// On which requests from other sites it is sent (`Lax`).
    #[must_use]
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// The value of Set-Cookie; `None` if a part is not what a cookie can have.
    fn field(&self) -> Option<String> {
        let attribute =
            |text: &str| text.bytes().all(|byte| (b' '..0x7f).contains(&byte) && byte != b';');
        let valid = crate::headers::is_token(self.name.as_bytes())
            && self.value.bytes().all(is_cookie_octet)
            && attribute(&self.path)
            && self.domain.as_deref().is_none_or(attribute);
        if !valid {
            return None;
        }
        let mut field = format!("{}={}; Path={}", self.name, self.value, self.path);
        // Writing to a string cannot fail.
        if let Some(domain) = &self.domain {
            let _ = write!(field, "; Domain={domain}");
        }
        if let Some(max_age) = self.max_age {
            let _ = write!(field, "; Max-Age={}", max_age.as_secs());
        }
        if let Some(expires) = self.expires {
            let expires = httpdate::fmt_http_date(crate::date::of_four_digits(expires));
            let _ = write!(field, "; Expires={expires}");
        }
        for (is_set, attribute) in [(self.secure, "; Secure"), (self.http_only, "; HttpOnly")] {
            if is_set {
                field.push_str(attribute);
            }
        }
        field.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        Some(field)
    }
}

/// RFC 6265 §4.1.1.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

impl Response {
    /// Sets a cookie. One that is not valid is dropped, with a warning in the log.
    #[must_use]
    pub fn cookie(self, cookie: &Cookie) -> Self {
        match cookie.field() {
            Some(field) => self.header("Set-Cookie", field),
            None => {
                log::warn!(target: LOG, "a cookie with a name, value, path or domain that is not valid was dropped: {:?}", cookie.name);
                self
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, Status};

    #[test]
    fn what_a_client_sends_is_read_leniently_and_in_order() {
        let mut request = Request { headers: Headers::new(), ..Request::default() };
        assert!(request.headers.append("Cookie", "a=1; b=\"x y\";c=;; =d; e; a=2 ;f==g="));
        assert!(request.headers.append("Cookie", "h=3"));
        let found: Vec<_> = request.cookies().collect();
        let expected =
            [("a", "1"), ("b", "\"x y\""), ("c", ""), ("a", "2"), ("f", "=g="), ("h", "3")];
        assert_eq!(found, expected);
        assert_eq!(request.cookie("a"), Some("1"));
        assert_eq!(request.cookie("A"), None);
    }

    fn set(cookie: Cookie) -> Option<String> {
        let response = Response::new(Status::OK).cookie(&cookie);
        response.header_value("set-cookie").map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_careful_unless_it_is_told_otherwise() {
        assert_eq!(
            set(Cookie::new("id", "7")).as_deref(),
            Some("id=7; Path=/; HttpOnly; SameSite=Lax")
        );
        let cookie = Cookie::new("id", "a=b")
            .path("/shop")
            .domain("example.org")
            .max_age(Duration::from_millis(60_900))
            .expires(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777))
            .secure()
            .readable_by_scripts()
            .same_site(SameSite::None);
        assert_eq!(
            set(cookie).as_deref(),
            Some(
                "id=a=b; Path=/shop; Domain=example.org; Max-Age=60; \
                 Expires=Sun, 06 Nov 1994 08:49:37 GMT; Secure; SameSite=None"
            )
        );
        let gone = "id=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
        assert_eq!(set(Cookie::removal("id")).as_deref(), Some(gone));
    }

    #[test]
    fn no_part_of_a_cookie_can_become_another_part() {
        for cookie in [
            Cookie::new("a b", "1"),
            Cookie::new("", "1"),
            Cookie::new("a=b", "1"),
            Cookie::new("a", "1; Domain=evil"),
            Cookie::new("a", "1\r\nX: y"),
            Cookie::new("a", "\u{e9}"),
            Cookie::new("a", "1").path("/; Domain=evil"),
            Cookie::new("a", "1").domain("x\r\n"),
        ] {
            assert_eq!(set(cookie.clone()), None, "{cookie:?}");
        }
    }
}
