//! What becomes of heads on their way: which fields go on, and which are added (RFC 9110 §7.6).

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use ropewalk_reactor::Address;

use crate::client::{RequestBody, RequestHead};
use crate::codec::ResponseHead;
use crate::headers::elements;
use crate::{Headers, Method, Request, Response, Status, TargetForm, Version};

/// Fields that are for the next server alone (RFC 9110 §7.6.1), what this proxy says itself, and what
/// it answers itself (Expect).
const NOT_FORWARDED: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What a client cannot be believed.
const FORWARDED: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// What has no place in trailers, besides these: whoever merges them into the head would believe it
/// (RFC 9110 §6.5.1).
const NOT_IN_TRAILERS: &[&str] = &["authorization", "cookie", "set-cookie", "trailer", "via"];

/// How requests are rewritten.
pub(super) struct Forwarding {
    host: String,
    /// The protocols that a connection may go on with.
    pub(super) upgrades: Vec<String>,
    /// What is put before each path; no `/` at its end.
    base: String,
    pub(super) preserves_host: bool,
    pub(super) trusts_forwarded: bool,
}

/// Why a request does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal(Status);

impl Refusal {
    pub(super) const TOO_LARGE: Self = Self(Status::CONTENT_TOO_LARGE);

    pub(super) fn response(self) -> Response {
        let response = Response::status(self.0);
        match self.0 {
            Status::NO_CONTENT => Response::new(self.0),
            Status::METHOD_NOT_ALLOWED => response.header("Allow", ""),
            _ => response,
        }
    }
}

/// How the body of a request goes on: with its length if that is known.
pub(super) fn body(length: Option<u64>) -> RequestBody {
    match length {
        Some(0) => RequestBody::Empty,
        Some(length) => RequestBody::Exact(length),
        None => RequestBody::Chunked,
    }
}

impl Forwarding {
    pub(super) fn new(host: &str, base: &str) -> Self {
        let (host, base) = (host.to_owned(), base.to_owned());
        let upgrades = vec!["websocket".to_owned()];
        Self { host, upgrades, base, preserves_host: false, trusts_forwarded: false }
    }

    /// The head that the other server gets. `has_body`: the request has one.
    pub(super) fn request(
        &self,
        request: &Request,
        has_body: bool,
        peer: &Address,
        is_tls: bool,
    ) -> Result<RequestHead, Refusal> {
        if request.method() == Method::Connect {
            return Err(Refusal(Status::METHOD_NOT_ALLOWED));
        }
        let host = match request.host() {
            Some(host) if self.preserves_host && !host.is_empty() => host,
            _ => &self.host,
        };
        let target = self.target(request).ok_or(Refusal(Status::BAD_REQUEST))?;
        let head = RequestHead::new(request.method(), host, &target);
        let mut head = head.map_err(|_| Refusal(Status::BAD_REQUEST))?;
        let fields = request.headers();
        for (name, value) in fields.iter() {
            let is = |list: &[&str]| list.iter().any(|other| name.eq_ignore_ascii_case(other));
            let goes_on = !is(NOT_FORWARDED)
                && (self.trusts_forwarded || !is(FORWARDED))
                && !name.contains('_')
                && !fields.has_token("connection", name);
            // Those that this proxy goes on with are written below, in one piece.
            if goes_on && !is(&["forwarded", "x-forwarded-for", "via", "max-forwards"]) {
                head = head.header(name, value);
            }
        }
        if let Some(hops) = max_forwards(request)? {
            head = head.header("Max-Forwards", hops.to_string());
        }
        if let Some(upgrade) = self.upgrade(request).filter(|_| !has_body) {
            head = head.header("Upgrade", upgrade);
        }
        Ok(self.introduce(head, request, peer, is_tls))
    }

    /// Adds who asked, and how.
    fn introduce(
        &self,
        mut head: RequestHead,
        request: &Request,
        peer: &Address,
        is_tls: bool,
    ) -> RequestHead {
        let fields = request.headers();
        let behind = |name: &str, own: String| {
            let trusted = fields.get_all(name).filter(|_| self.trusts_forwarded || name == "via");
            let mut all = Vec::new();
            for value in trusted.filter(|value| !value.is_empty()) {
                all.extend_from_slice(value);
                all.extend_from_slice(b", ");
            }
            all.extend_from_slice(own.as_bytes());
            all
        };
        let proto = if is_tls { "https" } else { "http" };
        let ip = peer.socket_addr().map(|address| address.ip().to_canonical());
        let mut forwarded = match ip {
            Some(ip) if ip.is_ipv6() => format!("for=\"[{ip}]\""),
            Some(ip) => format!("for={ip}"),
            None => "for=unknown".to_owned(),
        };
        let _ = write!(forwarded, ";proto={proto}"); // a string takes everything
        if let Some(host) = request.host().filter(|host| !host.is_empty()) {
            // A host has no quotes or backslashes: it was checked.
            let _ = write!(forwarded, ";host=\"{host}\"");
            if !self.has_trusted(fields, "x-forwarded-host") {
                head = head.header("X-Forwarded-Host", host);
            }
        }
        if let Some(ip) = ip {
            head = head.header("X-Forwarded-For", behind("x-forwarded-for", ip.to_string()));
        }
        if !self.has_trusted(fields, "x-forwarded-proto") {
            head = head.header("X-Forwarded-Proto", proto);
        }
        let version = &request.version().as_str()["HTTP/".len()..];
        head.header("Forwarded", behind("forwarded", forwarded))
            .header("Via", behind("via", format!("{version} ropewalk")))
    }

    /// The protocols that a request asks to go on with, those of them that may be. All others would be a
    /// way around what stands before this proxy: requests in another protocol (h2c) that nobody reads.
    fn upgrade(&self, request: &Request) -> Option<String> {
        let fields = request.headers();
        if request.version() < Version::Http11 || !fields.has_token("connection", "upgrade") {
            return None; // (RFC 9110 §7.8: of HTTP/1.0 it is ignored)
        }
        let asked = fields.get_all("upgrade").flat_map(elements);
        let asked = asked.filter_map(|protocol| str::from_utf8(protocol).ok());
        let may = |asked: &&str| self.upgrades.iter().any(|may| may.eq_ignore_ascii_case(asked));
        let asked: Vec<_> = asked.filter(may).collect();
        (!asked.is_empty()).then(|| asked.join(", "))
    }

    fn has_trusted(&self, fields: &Headers, name: &str) -> bool {
        self.trusts_forwarded && fields.get(name).is_some()
    }

    /// The target for the other server; `None` if it would lead out of its place.
    fn target(&self, request: &Request) -> Option<String> {
        if request.target_form() == TargetForm::Asterisk {
            return Some("*".to_owned());
        }
        let path = request.remaining_path();
        if path.split('/').any(is_dots) {
            return None;
        }
        let mut target = format!("{}{path}", self.base);
        if let Some(query) = request.query() {
            target.push('?');
            target.push_str(query);
        }
        Some(target)
    }
}

/// Whether a segment is `.` or `..`, encoded or not, or holds such behind an encoded slash or a
/// backslash, as some servers understand it.
fn is_dots(segment: &str) -> bool {
    let decoded: Vec<u8> = percent_decode_str(segment).collect();
    let mut parts = decoded.split(|byte| matches!(byte, b'/' | b'\\'));
    // (Some servers cut parameters off first: `..;x` is `..` to them.)
    parts.any(|part| matches!(part.split(|byte| *byte == b';').next(), Some(b"." | b"..")))
}

/// The response that the client gets, and the length of its body if that is known.
pub(super) fn response(head: &ResponseHead) -> (Response, Option<u64>) {
    let mut response = Response::new(head.status());
    let fields = head.headers();
    // (426 says what to upgrade to, RFC 9110 §15.5.22.)
    let tells = is_switching(head) || head.status() == Status::UPGRADE_REQUIRED;
    for (name, value) in fields.iter() {
        let stays = NOT_FORWARDED.iter().any(|other| name.eq_ignore_ascii_case(other))
            || fields.has_token("connection", name);
        if !stays || (name.eq_ignore_ascii_case("upgrade") && tells) {
            response.add_header(name, value);
        }
    }
    let length = fields.get_str("content-length").and_then(|length| length.parse().ok());
    (response, length)
}

/// The fields behind a body that go on: nothing that a head would not have let pass, either.
pub(super) fn trailers(fields: &Headers) -> Headers {
    let mut kept = Headers::new();
    for (name, value) in fields.iter() {
        let is = |list: &[&str]| list.iter().any(|other| name.eq_ignore_ascii_case(other));
        let is_content = name.get(..8).is_some_and(|it| it.eq_ignore_ascii_case("content-"));
        let stays = is(NOT_FORWARDED) || is(FORWARDED) || is(NOT_IN_TRAILERS) || is_content;
        if !stays && !name.contains('_') {
            let _ = kept.append(name, value); // what was received is valid
        }
    }
    kept
}

/// How many proxies may still follow (RFC 9110 §7.6.2): of OPTIONS and TRACE alone. At zero, this is the
/// last one, which answers.
fn max_forwards(request: &Request) -> Result<Option<u64>, Refusal> {
    let at_end = match request.method() {
        Method::Options => Status::NO_CONTENT,
        Method::Trace => Status::METHOD_NOT_ALLOWED,
        _ => return Ok(None),
    };
    match request.header("max-forwards").map(str::parse::<u64>) {
        Some(Ok(0)) => Err(Refusal(at_end)),
        Some(Ok(hops)) => Ok(Some(hops - 1)),
        _ => Ok(None),
    }
}

/// Whether the other server goes on with another protocol.
pub(super) fn is_switching(head: &ResponseHead) -> bool {
    head.status() == Status::SWITCHING_PROTOCOLS
}
