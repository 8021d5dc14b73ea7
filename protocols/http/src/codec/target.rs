//! Whether a target and a host are what RFC 9112 §3.2 allows.

use crate::request::split_absolute;
use crate::{Error, Method, TargetForm};

/// Checks that the target's form fits the method: authority for CONNECT and nothing else, `*` for
/// OPTIONS alone, origin or absolute for all others. The parser has already seen to it that the
/// target has no white space or control character; bytes above ASCII (which should have been
/// percent-encoded) are let through if they are UTF-8, as nginx and Go do.
pub(crate) fn check_target(method: Method, target: &str) -> Result<TargetForm, Error> {
    let (form, fits) = if method == Method::Connect {
        (TargetForm::Authority, is_authority(target.as_bytes(), true))
    } else if target.starts_with('/') {
        (TargetForm::Origin, true)
    } else if target == "*" {
        (TargetForm::Asterisk, method == Method::Options)
    } else {
        let fits = split_absolute(target).is_some_and(|(authority, _)| {
            !authority.is_empty() && is_authority(authority.as_bytes(), false)
        });
        (TargetForm::Absolute, fits)
    };
    // A fragment is never sent (RFC 9112 §3.2.1).
    if fits && memchr::memchr(b'#', target.as_bytes()).is_none() {
        Ok(form)
    } else {
        Err(Error::Target)
    }
}

/// Checks a Host field: `uri-host [ ":" port ]`, or empty (RFC 9110 §7.2).
pub(crate) fn check_host(value: &[u8]) -> Result<(), Error> {
    if value.is_empty() || is_authority(value, false) { Ok(()) } else { Err(Error::HostInvalid) }
}

/// Whether this is a host and a port (RFC 3986 §3.2.2), without user information: a name, an
/// IPv4 address or an IP literal in brackets. The port may be missing, or be empty, unless
/// `with_port`.
pub(crate) fn is_authority(value: &[u8], with_port: bool) -> bool {
    let rest = match value {
        [b'[', literal @ ..] => {
            let Some(end) = literal.iter().position(|&byte| byte == b']') else { return false };
            let valid = end > 0
                && literal[..end].iter().all(|&byte| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'-' | b'_' | b'~')
                });
            if !valid {
                return false;
            }
            &literal[end + 1..]
        }
        name => {
            let end = name.iter().position(|&byte| !is_name_byte(byte)).unwrap_or(name.len());
            if end == 0 {
                return false;
            }
            &name[end..]
        }
    };
    match rest {
        [] | [b':'] => !with_port,
        [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A byte of a registered name: unreserved, percent-encoded or a sub-delimiter.
fn is_name_byte(byte: u8) -> bool {
    const ALLOWED: [bool; 256] = {
        let mut allowed = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            allowed[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let others = b"-._~%!$&'()*+,;=";
        let mut at = 0;
        while at < others.len() {
            allowed[others[at] as usize] = true;
            at += 1;
        }
        allowed
    };
    ALLOWED[usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_for_its_own_methods() {
        for (method, target, fits) in [
            (Method::Get, "/", true),
            (Method::Get, "/a#b", false),
            (Method::Get, "a/b", false),
            (Method::Get, "*", false),
            (Method::Options, "*", true),
            (Method::Options, "/", true),
            (Method::Get, "http://h/", true),
            (Method::Get, "http://h:8080?q", true),
            (Method::Get, "http://user@h/", false),
            (Method::Get, "http:///p", false),
            (Method::Get, "ftp://h/", false),
            (Method::Get, "h:80", false),
            (Method::Connect, "h:443", true),
            (Method::Connect, "[::1]:443", true),
            (Method::Connect, "h", false),
            (Method::Connect, "h:", false),
            (Method::Connect, "/", false),
            (Method::Connect, "http://h:80", false),
            (Method::Connect, "*", false),
        ] {
            assert_eq!(check_target(method, target).is_ok(), fits, "{method} {target}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_an_optional_port() {
        for host in ["", "a", "a.example:80", "127.0.0.1", "[::1]", "[::1]:80", "a_b", "a:", "%41"]
        {
            assert!(check_host(host.as_bytes()).is_ok(), "{host:?}");
        }
        for host in [
            ":80",
            "a b",
            "a/b",
            "a@b",
            "a:b",
            "a:80:81",
            "[::1",
            "[]",
            "[::1]x",
            "a:123456",
            "a?",
            "a#",
            "a\\b",
            "a\"",
            "caf\u{e9}",
            "a\tb",
            "[a b]",
        ] {
            assert!(check_host(host.as_bytes()).is_err(), "{host:?}");
        }
    }
}
