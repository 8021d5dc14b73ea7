//! What can be wrong with a form, and what the client is told about it.

use std::fmt;

use crate::Status;

/// Why a form was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormError {
    /// There is no Content-Type, or it is neither `application/x-www-form-urlencoded` nor
    /// `multipart/form-data`.
    ContentType,
    /// The form, or a field of it, is in another charset than UTF-8.
    Charset,
    /// The Content-Type names no boundary, or one that is empty, longer than 70 characters, or of
    /// characters that RFC 2046 §5.1.1 does not allow.
    Boundary,
    /// Something else than a line's end, or `--` for the last one, is behind a boundary.
    Delimiter,
    /// A part's head is no block of header fields whose lines end in CRLF.
    PartHead,
    /// A part has no Content-Disposition, or it is not `form-data` with a name (RFC 7578 §4.2).
    Disposition,
    /// A part is encoded in base64 or quoted-printable, which RFC 7578 §4.7 has done away with.
    TransferEncoding,
    /// A field, or a name, is not UTF-8.
    Encoding,
    /// The body ended before its last boundary.
    Truncated,
    /// There is a file, and whoever takes the form has said of no place for files.
    FileNotTaken,
    /// There are more parts than the limit.
    TooManyParts,
    /// There are more pairs of name and value than the limit.
    TooManyPairs,
    /// A part's head has more bytes, or more fields, than the limit.
    PartHeadTooLarge,
    /// All fields together, their names included, have more bytes than the limit.
    FieldsTooLarge,
    /// A file has more bytes than the limit.
    FileTooLarge,
    /// The whole body has more bytes than the limit.
    TooLarge,
}

impl FormError {
    /// The status that the client is answered with.
    pub fn status(self) -> Status {
        match self {
            Self::ContentType | Self::Charset => Status::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyParts
            | Self::TooManyPairs
            | Self::PartHeadTooLarge
            | Self::FieldsTooLarge
            | Self::FileTooLarge
            | Self::TooLarge => Status::CONTENT_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }

    /// What is wrong, in a few words.
    pub fn text(self) -> &'static str {
        match self {
            Self::ContentType => "the body is no form",
            Self::Charset => "the form's charset must be UTF-8",
            Self::Boundary => "malformed or missing boundary",
            Self::Delimiter => "malformed line at a boundary",
            Self::PartHead => "malformed header of a part",
            Self::Disposition => "a part has no name: malformed or missing Content-Disposition",
            Self::TransferEncoding => "a part has a transfer encoding",
            Self::Encoding => "a field is not UTF-8",
            Self::Truncated => "the form ended early",
            Self::FileNotTaken => "this form takes no files",
            Self::TooManyParts => "too many parts",
            Self::TooManyPairs => "too many fields",
            Self::PartHeadTooLarge => "the header of a part is too large",
            Self::FieldsTooLarge => "the fields are too large",
            Self::FileTooLarge => "a file is too large",
            Self::TooLarge => "the form is too large",
        }
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.status(), self.text())
    }
}

impl std::error::Error for FormError {}
