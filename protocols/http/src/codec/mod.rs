//! HTTP/1.1's bytes to values and back (RFC 9112): no I/O, no reactor, no state of a connection.
//!
//! `head` reads a request's head and decides how long its body is, `response_head` does for a
//! response, `fields` reads header lines, `chunked` reads and writes the chunked coding, `encode`
//! writes heads. The one rule: what two
//! parsers on one path could read differently is refused, never repaired.

mod chunked;
pub(crate) mod encode;
pub(crate) mod fields;
mod head;
mod response_head;
pub(crate) mod target;

pub(crate) use chunked::write_chunk_size;
pub use chunked::{ChunkedDecoder, Piece, write_chunk, write_last_chunk};
pub use fields::MAX_FIELDS;
pub(crate) use fields::check_line_ends;
pub use head::{BodyLength, Framing, check_partial, has_blank_line, parse_request};
pub use response_head::{ResponseFraming, ResponseHead, ResponseLength, parse_response};
pub(crate) use target::is_authority;
