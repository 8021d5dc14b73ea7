//! `ws://host:port/path?query` and `wss://…` (RFC 6455 §3).

use ropewalk_reactor::Error;

/// Where a client goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) is_secure: bool,
    /// As it stands in the Host field: an IPv6 address in brackets, a port if it is not the usual.
    pub(super) authority: String,
    /// Where to connect to: the same, always with a port.
    pub(super) address: String,
    /// Path and query, beginning with `/`.
    pub(super) target: String,
}

impl Url {
    pub(super) fn parse(given: &str) -> Result<Self, Error> {
        let bad = |problem: &str| Error::BadAddress {
            given: given.to_owned(),
            problem: problem.to_owned(),
            like: "ws://example.org:8080/chat",
        };
        let (scheme, rest) = given.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        let (is_secure, usual) = match &*scheme.to_ascii_lowercase() {
            "ws" => (false, 80),
            "wss" => (true, 443),
            _ => return Err(bad("its scheme is neither ws nor wss")),
        };
        if given.contains('#') {
            return Err(bad("it has a fragment (`#`), which is never sent"));
        }
        if !given.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(bad("it holds spaces or other octets that must be percent-encoded"));
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(bad("it has a user, which a WebSocket has no place for"));
        }
        let (host, port) = split_port(authority).ok_or_else(|| bad("its port is no number"))?;
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let port = port.unwrap_or(usual);
        let authority = if port == usual { host.to_owned() } else { format!("{host}:{port}") };
        let target = match target.as_bytes() {
            [b'/', ..] => target.to_owned(),
            _ => format!("/{target}"),
        };
        Ok(Self { is_secure, authority, address: format!("{host}:{port}"), target })
    }
}

/// The host, and the port if there is one. A colon within brackets is an address's own.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((_, inside)) if inside.ends_with(']') => Some((authority, None)),
        Some((host, "")) => Some((host, None)),
        Some((host, port)) => Some((host, Some(port.parse().ok()?))),
        None => Some((authority, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (given, authority, address, target) in [
            ("ws://h", "h", "h:80", "/"),
            ("WS://h:80/", "h", "h:80", "/"),
            ("wss://h?q", "h", "h:443", "/?q"),
            ("wss://h:80/p?q", "h:80", "h:80", "/p?q"),
            ("ws://[::1]", "[::1]", "[::1]:80", "/"),
            ("ws://[::1]:8080/p", "[::1]:8080", "[::1]:8080", "/p"),
        ] {
            let url = Url::parse(given).expect(given);
            assert_eq!(
                (&*url.authority, &*url.address, &*url.target),
                (authority, address, target)
            );
        }
    }

    #[test]
    fn a_wrong_one_says_what_is_wrong() {
        for (given, problem) in [
            ("h/p", "no scheme"),
            ("http://h", "neither ws nor wss"),
            ("ws://h/#top", "fragment"),
            ("ws://h/a b", "percent-encoded"),
            ("ws://h/\u{e9}", "percent-encoded"),
            ("ws://me:secret@h/", "a user"),
            ("ws://h:x/", "no number"),
            ("ws:///p", "no host"),
        ] {
            let error = Url::parse(given).expect_err(given).to_string();
            assert!(error.contains(problem), "{error}");
        }
    }
}
