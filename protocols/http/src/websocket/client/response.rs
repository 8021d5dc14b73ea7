//! Reading the server's answer to the handshake: one head, judged as RFC 6455 §4.1 has it.

use super::{HandshakeError, WebSocketClient};
use crate::codec::fields::{check_line_ends, slots};
use crate::websocket::deflate::{Agreed, accept_response, parse_extensions};
use crate::websocket::handshake::accept;
use crate::{Headers, Status};

/// As much as a server here takes of a client's head.
const MAX_HEAD: usize = 32 * 1024;
/// Fields in it.
const MAX_FIELDS: usize = 100;

/// What the handshake came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) agreed: Option<Agreed>,
    pub(super) subprotocol: Option<String>,
}

/// Responses before the answer (RFC 9110 §15.2) that are passed over.
const MAX_INFORMATIONAL: usize = 8;

/// Reads the answer that `input` begins with, and how many octets it has, with those of the 1xx responses
/// before it. `None` if it is not whole yet.
pub(super) fn read(
    input: &[u8],
    key: &str,
    client: &WebSocketClient,
) -> Result<Option<(Opened, usize)>, HandshakeError> {
    let mut at = 0;
    for _ in 0..=MAX_INFORMATIONAL {
        let Some((status, headers, size)) = read_head(&input[at..])? else { return Ok(None) };
        at += size;
        if status == Status::SWITCHING_PROTOCOLS {
            return Ok(Some((judge(&headers, key, client)?, at)));
        }
        if !status.is_informational() {
            return Err(HandshakeError::Refused { status, headers });
        }
    }
    Err(HandshakeError::Malformed)
}

/// One head, and how many octets it has.
fn read_head(input: &[u8]) -> Result<Option<(Status, Headers, usize)>, HandshakeError> {
    let mut slots = slots();
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let slots = &mut slots[..MAX_FIELDS];
    let size = match config.parse_response_with_uninit_headers(&mut parsed, input, slots) {
        Ok(httparse::Status::Complete(size)) if size <= MAX_HEAD => size,
        Ok(httparse::Status::Partial) if input.len() <= MAX_HEAD => return Ok(None),
        _ => return Err(HandshakeError::Malformed),
    };
    let head = &input[..size];
    check_line_ends(head, parsed.headers).map_err(|_| HandshakeError::Malformed)?;
    let status = parsed.code.and_then(Status::from_code).ok_or(HandshakeError::Malformed)?;
    let mut headers = Headers::new();
    headers.fill(head, parsed.headers);
    Ok(Some((status, headers, size)))
}

fn judge(headers: &Headers, key: &str, client: &WebSocketClient) -> Result<Opened, HandshakeError> {
    let only = |name: &str| {
        let mut values = headers.get_all(name);
        let first = values.next();
        if values.next().is_none() { Ok(first) } else { Err(HandshakeError::Malformed) }
    };
    let is_websocket = only("upgrade")?.is_some_and(|v| v.eq_ignore_ascii_case(b"websocket"));
    if !is_websocket || !headers.has_token("connection", "upgrade") {
        return Err(HandshakeError::NotUpgraded);
    }
    if only("sec-websocket-accept")? != Some(accept(key.as_bytes()).as_bytes()) {
        return Err(HandshakeError::Accept);
    }
    let subprotocol = match only("sec-websocket-protocol")? {
        None => None,
        Some(chosen) => {
            let offered = client.subprotocols.iter().find(|name| name.as_bytes() == chosen);
            Some(offered.ok_or(HandshakeError::Subprotocol)?.clone())
        }
    };
    let agreed = parse_extensions(headers.get_all("sec-websocket-extensions"))
        .and_then(|extensions| accept_response(&extensions, client.config.deflate.as_ref()))
        .ok_or(HandshakeError::Extensions)?;
    Ok(Opened { agreed, subprotocol })
}
