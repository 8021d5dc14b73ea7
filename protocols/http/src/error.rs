//! What can be wrong with a message, and what the peer is told about it.

use std::fmt;

use crate::Status;

/// Why a message was refused. A refused request has one status and one line of text for the peer.
/// The connection ends: after a framing error nobody knows where the next message begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The request line is not `method SP target SP version CRLF` (RFC 9112 §3).
    RequestLine,
    /// The status line is not `version SP code SP [reason] CRLF` (RFC 9112 §4).
    StatusLine,
    /// The target is of no form that the method allows (RFC 9112 §3.2).
    Target,
    /// A line ends in something else than CRLF, or a CR stands alone (RFC 9112 §2.2).
    LineEnd,
    /// A field has white space before its colon, is folded, or has no valid name (RFC 9112 §5).
    FieldName,
    /// A field's value holds a control character.
    FieldValue,
    /// An HTTP/1.1 request has no Host field (RFC 9112 §3.2).
    HostMissing,
    /// There is more than one Host field (RFC 9112 §3.2).
    HostRepeated,
    /// The Host field is no host with an optional port.
    HostInvalid,
    /// Content-Length is not one number, or does not fit 64 bits (RFC 9112 §6.3).
    ContentLength,
    /// Content-Length came more than once.
    ContentLengthRepeated,
    /// Both Transfer-Encoding and Content-Length: a sign of request smuggling (RFC 9112 §6.1).
    LengthConflict,
    /// Transfer-Encoding does not end in chunked, or names it twice (RFC 9112 §6.3).
    TransferEncoding,
    /// Transfer-Encoding in an HTTP/1.0 message (RFC 9112 §6.1).
    TransferEncodingVersion,
    /// A transfer coding other than chunked (RFC 9112 §6.1).
    TransferCoding,
    /// A chunk's size line is malformed, or the size does not fit 64 bits (RFC 9112 §7.1).
    ChunkSize,
    /// A chunk's data is not followed by CRLF (RFC 9112 §7.1).
    ChunkEnd,
    /// A chunk extension is malformed, or the extensions of one body are too long.
    ChunkExtension,
    /// A TRACE request has a body (RFC 9110 §9.3.8).
    BodyNotAllowed,
    /// A 1xx response says that it has a body (RFC 9112 §6.3).
    InformationalBody,
    /// More 1xx responses than the limit came before the answer.
    TooManyInformational,
    /// `101 Switching Protocols` to a request that asked for no upgrade (RFC 9110 §15.2.2).
    UnaskedUpgrade,
    /// The request took too long to arrive.
    Timeout,
    /// The body is longer than the limit.
    BodyTooLarge,
    /// The target is longer than the limit.
    TargetTooLong,
    /// An expectation other than 100-continue (RFC 9110 §10.1.1).
    Expectation,
    /// The head, or the trailer section, has more bytes than the limit.
    HeadTooLarge,
    /// The head, or the trailer section, has more fields than the limit.
    TooManyFields,
    /// The method is not known here.
    Method,
    /// The major version of HTTP is not 1 (RFC 9110 §15.6.6).
    Version,
    /// The peer closed its side within a request.
    Truncated,
}

impl Error {
    /// The status that the peer is answered with.
    pub fn status(self) -> Status {
        match self {
            Self::Timeout => Status::REQUEST_TIMEOUT,
            Self::BodyTooLarge => Status::CONTENT_TOO_LARGE,
            Self::TargetTooLong => Status::URI_TOO_LONG,
            Self::Expectation => Status::EXPECTATION_FAILED,
            Self::HeadTooLarge | Self::TooManyFields => Status::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Method | Self::TransferCoding => Status::NOT_IMPLEMENTED,
            Self::Version => Status::HTTP_VERSION_NOT_SUPPORTED,
            _ => Status::BAD_REQUEST,
        }
    }

    /// What is wrong, in a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::RequestLine => "malformed request line",
            Self::StatusLine => "malformed status line",
            Self::Target => "the target's form does not fit the method",
            Self::LineEnd => "lines must end in CRLF",
            Self::FieldName => "malformed header field name, or a folded line",
            Self::FieldValue => "control character in a header field",
            Self::HostMissing => "no Host header field",
            Self::HostRepeated => "more than one Host header field",
            Self::HostInvalid => "malformed Host header field",
            Self::ContentLength => "malformed Content-Length",
            Self::ContentLengthRepeated => "more than one Content-Length",
            Self::LengthConflict => "both Transfer-Encoding and Content-Length",
            Self::TransferEncoding => "Transfer-Encoding must end in chunked, once",
            Self::TransferEncodingVersion => "Transfer-Encoding in an HTTP/1.0 message",
            Self::TransferCoding => "unknown transfer coding",
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkEnd => "chunk data not followed by CRLF",
            Self::ChunkExtension => "malformed or too long chunk extension",
            Self::BodyNotAllowed => "a TRACE request has no body",
            Self::InformationalBody => "an informational response has a body",
            Self::TooManyInformational => "too many informational responses",
            Self::UnaskedUpgrade => "a switch to a protocol that was not asked for",
            Self::Timeout => "the request took too long",
            Self::BodyTooLarge => "the body is too large",
            Self::TargetTooLong => "the target is too long",
            Self::Expectation => "unknown expectation",
            Self::HeadTooLarge => "the header fields are too large",
            Self::TooManyFields => "too many header fields",
            Self::Method => "unknown method",
            Self::Version => "this server speaks HTTP/1.1",
            Self::Truncated => "the request ended early",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status(), self.text())
    }
}

impl std::error::Error for Error {}
