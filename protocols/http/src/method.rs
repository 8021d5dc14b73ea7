//! Request methods (RFC 9110 §9).
//!
//! A method is `Copy` and never on the heap: the registered ones are variants, any other token
//! fits into the value itself or is too long to be served.

use std::fmt;

/// The longest extension method; the longest registered one, `UPDATEREDIRECTREF`, has 17 bytes.
const TOKEN_CAPACITY: usize = 22;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `HEAD`: as GET, but the response has no body.
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// `OPTIONS`
    Options,
    /// `TRACE`
    Trace,
    /// `PATCH` (RFC 5789)
    Patch,
    /// A method of an extension, such as WebDAV's `PROPFIND`.
    Extension(ExtensionMethod),
}

/// The name of a method that HTTP itself does not define.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtensionMethod {
    bytes: [u8; TOKEN_CAPACITY],
    length: u8,
}

impl Method {
    /// The method called `token`, in upper case as methods are case-sensitive; `None` if it is no
    /// token (RFC 9110 §5.6.2) or has more than 22 bytes.
    pub fn from_bytes(token: &[u8]) -> Option<Self> {
        Some(match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => {
                let valid = !token.is_empty()
                    && token.len() <= TOKEN_CAPACITY
                    && token.iter().all(|&byte| crate::headers::is_token_byte(byte));
                if !valid {
                    return None;
                }
                let mut bytes = [0; TOKEN_CAPACITY];
                bytes[..token.len()].copy_from_slice(token);
                Self::Extension(ExtensionMethod { bytes, length: token.len() as u8 })
            }
        })
    }

    /// The method's name, as on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            // A token is ASCII, so the default is never taken.
            Self::Extension(name) => {
                str::from_utf8(&name.bytes[..usize::from(name.length)]).unwrap_or_default()
            }
        }
    }

    /// Whether the method asks for nothing to be changed (RFC 9110 §9.2.1).
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether doing it twice has the effect of doing it once (RFC 9110 §9.2.2).
    pub fn is_idempotent(&self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_survives_the_round_trip_through_its_name() {
        for name in [
            "GET",
            "HEAD",
            "POST",
            "PUT",
            "DELETE",
            "CONNECT",
            "OPTIONS",
            "TRACE",
            "PATCH",
            "PROPFIND",
            "UPDATEREDIRECTREF",
            "get",
        ] {
            let method = Method::from_bytes(name.as_bytes()).expect("a token");
            assert_eq!(method.as_str(), name);
        }
    }

    #[test]
    fn what_is_no_token_is_no_method() {
        for name in ["", "GE T", "GET\0", "A-METHOD-OF-MORE-THAN-22-BYTES", "M\u{e9}thode"] {
            assert_eq!(Method::from_bytes(name.as_bytes()), None, "{name:?}");
        }
    }
}
