//! What becomes of heads on their way: which fields go on, and which are added (RFC 9110 §7.6).

use std::fmt::Write as _;

use percent_encoding::percent_decode_str;
use ropewalk_reactor::Address;

use crate::client::{RequestBody, RequestHead};
use crate::codec::ResponseHead;
use crate::{Headers, Method, Request, Response, Status, TargetForm};

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

/// How requests are rewritten.
pub(super) struct Forwarding {
    host: String,
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
        Self { host, base, preserves_host: false, trusts_forwarded: false }
    }

    /// The head that the other server gets.
    pub(super) fn request(
        &self,
        request: &Request,
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
            if goes_on && !is(&["forwarded", "x-forwarded-for", "via"]) {
                head = head.header(name, value);
            }
        }
        if let Some(upgrade) = upgrade(request) {
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
    decoded.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| matches!(part, b"." | b".."))
}

/// The protocols that a request without a body asks to go on with.
pub(super) fn upgrade(request: &Request) -> Option<&[u8]> {
    let fields = request.headers();
    fields.get("upgrade").filter(|_| fields.has_token("connection", "upgrade"))
}

/// The response that the client gets, and the length of its body if that is known.
pub(super) fn response(head: &ResponseHead) -> (Response, Option<u64>) {
    let mut response = Response::new(head.status());
    let fields = head.headers();
    for (name, value) in fields.iter() {
        let stays = NOT_FORWARDED.iter().any(|other| name.eq_ignore_ascii_case(other))
            || fields.has_token("connection", name);
        if !stays || (name.eq_ignore_ascii_case("upgrade") && is_switching(head)) {
            response.add_header(name, value);
        }
    }
    let length = fields.get_str("content-length").and_then(|length| length.parse().ok());
    (response, length)
}

/// Whether the other server goes on with another protocol.
pub(super) fn is_switching(head: &ResponseHead) -> bool {
    head.status() == Status::SWITCHING_PROTOCOLS
}
