//! What a response has of a file: stretches of it, with text between them where there are several
//! (RFC 9110 §15.3.7).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::tree::OpenFile;

/// What is read of a file at once: the job's way to the pool and back costs as much as copying a tenth
/// of it, and a slow reader keeps no more than three of them in memory.
pub(super) const PIECE: usize = 128 * 1024;

/// What is still to be sent of a file.
pub(super) struct Body {
    file: Arc<dyn OpenFile>,
    parts: VecDeque<Part>,
}

enum Part {
    Text(Bytes),
    Stretch(Range<u64>),
}

/// The next thing to send.
pub(super) enum Next {
    /// It is here.
    Ready(Bytes),
    /// It has to be read.
    Read(Reading),
}

/// A stretch of a file that is to be read off the loop.
#[derive(Clone)]
pub(super) struct Reading {
    file: Arc<dyn OpenFile>,
    offset: u64,
    length: usize,
}

impl Body {
    /// One stretch.
    pub(super) fn single(file: Arc<dyn OpenFile>, range: Range<u64>) -> Self {
        let mut body = Self { file, parts: VecDeque::new() };
        body.push(range);
        body
    }

    /// Several, as `multipart/byteranges`. `file_length` is that of the whole file, `media_type` what
    /// it is.
    pub(super) fn multipart(
        file: Arc<dyn OpenFile>,
        ranges: Vec<Range<u64>>,
        file_length: u64,
        media_type: &str,
        boundary: &str,
    ) -> Self {
        let mut body = Self { file, parts: VecDeque::new() };
        for range in ranges {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {}\r\n\r\n",
                content_range(&range, file_length)
            );
            body.parts.push_back(Part::Text(head.into()));
            body.push(range);
        }
        body.parts.push_back(Part::Text(format!("\r\n--{boundary}--\r\n").into()));
        body
    }

    fn push(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.parts.push_back(Part::Stretch(range));
        }
    }

    /// Bytes that are still to be sent.
    pub(super) fn length(&self) -> u64 {
        let lengths = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.len() as u64,
            Part::Stretch(range) => range.end - range.start,
        });
        lengths.sum()
    }

    /// Whether a stretch of a file of the system comes next.
    pub(super) fn is_of_system(&self) -> bool {
        matches!(self.parts.front(), Some(Part::Stretch(_))) && self.file.system_file().is_some()
    }

    /// Takes a whole stretch off, if that comes next, and with it the file of the system.
    pub(super) fn next_of_system(&mut self) -> Option<(Arc<File>, Range<u64>)> {
        let Some(Part::Stretch(range)) = self.parts.front() else { return None };
        let next = (self.file.system_file()?, range.clone());
        self.parts.pop_front();
        Some(next)
    }

    /// Puts a stretch back to where it was.
    pub(super) fn put_back(&mut self, range: Range<u64>) {
        self.parts.push_front(Part::Stretch(range));
    }

    /// Takes the next piece off; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Next> {
        let range = match self.parts.pop_front()? {
            Part::Text(text) => return Some(Next::Ready(text)),
            Part::Stretch(range) => range,
        };
        let length = usize::try_from(range.end - range.start).map_or(PIECE, |all| all.min(PIECE));
        let end = range.start + length as u64;
        if end < range.end {
            self.parts.push_front(Part::Stretch(end..range.end));
        }
        Some(Next::Read(Reading { file: self.file.clone(), offset: range.start, length }))
    }

    /// Reads everything.
    pub(super) fn read_all(&mut self) -> io::Result<Bytes> {
        let mut all = BytesMut::new();
        let mut only = None;
        while let Some(next) = self.next() {
            let piece = match next {
                Next::Ready(text) => text,
                Next::Read(reading) => reading.run()?,
            };
            match only.take() {
                None if all.is_empty() => only = Some(piece), // as a rule it is all
                first => {
                    all.extend_from_slice(&first.unwrap_or_default());
                    all.extend_from_slice(&piece);
                }
            }
        }
        Ok(only.unwrap_or_else(|| all.freeze()))
    }
}

impl Reading {
    /// Reads all of it; it may block.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file has become shorter, or the system's.
    pub(super) fn run(&self) -> io::Result<Bytes> {
        let mut read = self.file.read_at(self.offset, self.length)?;
        while read.len() < self.length {
            let at = self.offset + read.len() as u64;
            let more = self.file.read_at(at, self.length - read.len())?;
            if more.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read = [read, more].concat().into();
        }
        read.truncate(self.length); // whatever an implementation gives
        Ok(read)
    }
}

/// The Content-Range field's value.
pub(super) fn content_range(range: &Range<u64>, file_length: u64) -> String {
    format!("bytes {}-{}/{file_length}", range.start, range.end - 1)
}
