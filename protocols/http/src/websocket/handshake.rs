//! What both sides of the opening handshake compute (RFC 6455 §4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// What RFC 6455 §1.3 has for the proof that a server understood.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The version of the protocol that is RFC 6455's.
pub(super) const VERSION: &str = "13";
/// Octets of chance in a key.
pub(super) const KEY: usize = 16;

/// The Sec-WebSocket-Accept to a Sec-WebSocket-Key.
pub(super) fn accept(key: &[u8]) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether this is a key: 16 octets in base64.
pub(super) fn is_key(key: &[u8]) -> bool {
    STANDARD.decode(key).is_ok_and(|octets| octets.len() == KEY)
}

/// The key that is these octets.
pub(super) fn key(octets: [u8; KEY]) -> String {
    STANDARD.encode(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc_is_answered() {
        let key = b"dGhlIHNhbXBsZSBub25jZQ==";
        assert!(is_key(key));
        assert_eq!(accept(key), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for wrong in [&b""[..], b"dGhlIHNhbXBsZSBub25jZQ", b"dGhlIHNhbXBsZQ==", b"!"] {
            assert!(!is_key(wrong), "{wrong:?}");
        }
    }
}
