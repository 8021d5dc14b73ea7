//! Forms as browsers send them: queries, urlencoded bodies, and `multipart/form-data` with files, which
//! are written to disk while they arrive.
//!
//! [`Request::form`](crate::Request::form) reads a body that was gathered; [`Forms`] makes a handler
//! that takes forms of both kinds with their files. What a client says of a file (its name, its
//! type) is a claim and no more.

mod error;
mod limits;
mod multipart;
mod parameters;
mod part;
mod receive;
mod spool;
mod storage;
#[cfg(test)]
mod tests;
mod upload;
mod urlencoded;

pub use error::FormError;
pub use limits::FormLimits;
pub use multipart::{MultipartDecoder, MultipartPiece};
pub use part::Part;
pub use receive::Forms;
pub use storage::{MemoryStorage, Storage};
pub use upload::Upload;

use self::parameters::Parameters;
use crate::Request;

/// A form that was sent: its fields and its files, each in the order in which they came.
#[derive(Debug, Default)]
pub struct Form {
    fields: Vec<(String, String)>,
    files: Vec<Upload>,
}

impl Form {
    /// The value of the first field called `name`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// The values of all fields called `name`: of a choice of several, say.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields().filter(move |(there, _)| *there == name).map(|(_, value)| value)
    }

    /// All fields: names and values.
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    /// All files.
    pub fn files(&self) -> &[Upload] {
        &self.files
    }

    /// Takes the first file of the field called `name`, to keep it. What is not taken is removed when
    /// the form is dropped.
    pub fn take_file(&mut self, name: &str) -> Option<Upload> {
        let at = self.files.iter().position(|file| file.name() == name)?;
        Some(self.files.remove(at))
    }

    /// Takes all files.
    pub fn take_files(&mut self) -> Vec<Upload> {
        std::mem::take(&mut self.files)
    }

    fn push_field(&mut self, (name, value): (String, Vec<u8>)) -> Result<(), FormError> {
        let value = String::from_utf8(value).map_err(|_| FormError::Encoding)?;
        self.fields.push((name, value));
        Ok(())
    }
}

/// How the form in a request is written.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// There is no body, and no word of what it would be.
    Empty,
    Urlencoded,
    /// With this boundary.
    Multipart(String),
}

impl Kind {
    fn of(request: &Request) -> Result<Self, FormError> {
        let mut fields = request.headers().get_all("content-type");
        let content_type = match (fields.next(), fields.next()) {
            (Some(only), None) => only,
            (None, _) if request.body().is_empty() => return Ok(Self::Empty),
            _ => return Err(FormError::ContentType),
        };
        let content_type = Parameters::parse(content_type).ok_or(FormError::ContentType)?;
        if !content_type.is_utf8() {
            return Err(FormError::Charset);
        }
        match &*content_type.value {
            "application/x-www-form-urlencoded" => Ok(Self::Urlencoded),
            "multipart/form-data" => {
                let boundary = content_type.get("boundary").ok_or(FormError::Boundary)?;
                let boundary = String::from_utf8(boundary.to_vec());
                boundary.map(Self::Multipart).map_err(|_| FormError::Boundary)
            }
            _ => Err(FormError::ContentType),
        }
    }
}
