//! A segment file: its name, its header, and reading it frame by frame.

use std::io;

use crate::codec::{Reader, put_u32, put_u64s};
use crate::disk::File;
use crate::error::{Error, Result};
use crate::frame::{self, Head, Seed};

/// What a segment begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its number, as in its name.
    pub(crate) number: u64,
    /// The log's: see [`crate::Options::salt`].
    pub(crate) salt: u64,
    /// The segment before it and where that ends; 0 and 0 for the first.
    pub(crate) previous: u64,
    pub(crate) previous_length: u64,
}

/// The octets of a header, after which the first frame follows.
pub(crate) const HEADER_OCTETS: u64 = 64;
/// Offsets in a segment are 32 bits wide.
pub(crate) const MAX_OCTETS: u64 = u32::MAX as u64;

const MAGIC: &[u8; 8] = b"ROPEWALK";
/// The version of segments and of all that stands in them.
pub(crate) const VERSION: u32 = 1;

/// What stands where a header should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// A header.
    Header(Header),
    /// Nothing but zeros: the segment was prepared and not begun.
    Blank,
    /// Something else.
    Broken,
}

/// The name of a segment's file.
pub(crate) fn name(number: u64) -> String {
    format!("{number:016x}.log")
}

/// The name of the file of its index.
pub(crate) fn index_name(number: u64) -> String {
    format!("{number:016x}.idx")
}

/// The number of the segment whose file, with this ending, has the name.
pub(crate) fn number_of(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let plain = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    (digits.len() == 16 && digits.bytes().all(plain))
        .then(|| u64::from_str_radix(digits, 16).ok())?
}

impl Header {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_OCTETS as usize);
        out.extend_from_slice(MAGIC);
        put_u32(&mut out, VERSION);
        put_u32(&mut out, 0);
        put_u64s(&mut out, [self.number, self.salt, self.previous, self.previous_length]);
        out.resize(HEADER_OCTETS as usize, 0);
        let checksum = checksum(&out);
        out[12..16].copy_from_slice(&checksum.to_le_bytes());
        out
    }

    /// Reads a file's header. Fails if the file cannot be read, or is of a newer version: magic,
    /// version and checksum stand where they do in every version.
    pub(crate) fn read(file: &dyn File, name: &str) -> Result<Found> {
        let octets = first_octets(file, name)?;
        if octets.iter().all(|&octet| octet == 0) {
            return Ok(Found::Blank);
        }
        let mut reader = Reader::new(&octets);
        let (Some(magic), Some(version), Some(found)) =
            (reader.octets(8), reader.u32(), reader.u32())
        else {
            return Ok(Found::Broken);
        };
        if magic != MAGIC || found != checksum(&octets) {
            return Ok(Found::Broken);
        }
        if version > VERSION {
            return Err(Error::NewerVersion {
                file: name.to_owned(),
                found: version,
                known: VERSION,
            });
        }
        let fields = (reader.u64(), reader.u64(), reader.u64(), reader.u64());
        Ok(match fields {
            (Some(number), Some(salt), Some(previous), Some(previous_length)) => {
                Found::Header(Header { number, salt, previous, previous_length })
            }
            _ => Found::Broken,
        })
    }

    /// Whether what stands at a file's begin can be left of writing this header there, when the
    /// power fails meanwhile: some of it, and zeros. Its number may be another, since what the file
    /// is called may be lost as well.
    pub(crate) fn was_being_written(&self, file: &dyn File, name: &str) -> Result<bool> {
        let octets = first_octets(file, name)?;
        let header = self.encode();
        let left = |range: std::ops::Range<usize>| {
            let mut pairs = octets[range.clone()].iter().zip(&header[range]);
            pairs.all(|(&found, &written)| found == 0 || found == written)
        };
        // Between them stand the checksum and the number.
        Ok(left(0..12) && left(24..HEADER_OCTETS as usize))
    }
}

/// As many as a header has, with zeros behind the end of the file.
fn first_octets(file: &dyn File, name: &str) -> Result<[u8; HEADER_OCTETS as usize]> {
    let mut octets = [0; HEADER_OCTETS as usize];
    file.read_at(0, &mut octets).map_err(|error| Error::io("read", name, error))?;
    Ok(octets)
}

/// Of all but the octets in which it stands.
fn checksum(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
}

/// Reads the frames of a segment.
pub(crate) struct Frames<'a> {
    file: &'a dyn File,
    name: &'a str,
    seed: Seed,
    /// The octets of the file that can hold frames.
    length: u64,
    /// What has been read of it, from this offset on.
    window: Vec<u8>,
    start: u64,
    /// How much was read in all.
    pub(crate) octets_read: u64,
}

/// So much is read ahead.
pub(crate) const WINDOW: u64 = 1 << 20;

/// A frame that is whole.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) head: Head,
    pub(crate) records: &'a [u8],
}

impl<'a> Frames<'a> {
    /// Of a file; nothing behind `end` is looked at.
    pub(crate) fn new(
        file: &'a dyn File,
        name: &'a str,
        seed: Seed,
        end: Option<u64>,
    ) -> Result<Frames<'a>> {
        let length = file.length().map_err(|error| Error::io("read", name, error))?;
        let length = length.min(end.unwrap_or(MAX_OCTETS)).min(MAX_OCTETS);
        Ok(Frames { file, name, seed, length, window: Vec::new(), start: 0, octets_read: 0 })
    }

    /// The frame at an offset, if there is one that is whole.
    pub(crate) fn at(&mut self, offset: u64) -> Result<Option<Frame<'_>>> {
        let seed = self.seed;
        let Some(head) = self.view(offset, frame::HEAD_OCTETS)? else { return Ok(None) };
        let Some(head) = Head::decode(head, seed, offset) else { return Ok(None) };
        let records = self.view(offset + frame::HEAD_OCTETS, head.length.into())?;
        let Some(records) = records.filter(|records| head.holds(records, seed, offset)) else {
            return Ok(None);
        };
        Ok(Some(Frame { head, records }))
    }

    /// The offset of the first frame from `offset` on that is whole, and its head.
    pub(crate) fn find(&mut self, offset: u64) -> Result<Option<(u64, Head)>> {
        let mut offset = offset.next_multiple_of(frame::ALIGNMENT);
        while let Some(magic) = self.view(offset, frame::MAGIC.len() as u64)? {
            if magic == frame::MAGIC
                && let Some(frame) = self.at(offset)?
            {
                return Ok(Some((offset, frame.head)));
            }
            offset += frame::ALIGNMENT;
        }
        Ok(None)
    }

    /// Whether there are only zeros from an offset on.
    pub(crate) fn are_zeros(&mut self, mut offset: u64) -> Result<bool> {
        while offset < self.length {
            let count = (self.length - offset).min(WINDOW / 2);
            match self.view(offset, count)? {
                Some(octets) if octets.iter().all(|&octet| octet == 0) => offset += count,
                Some(_) => return Ok(false),
                None => break,
            }
        }
        Ok(true)
    }

    /// Some octets of the file; `None` if it ends before them.
    fn view(&mut self, offset: u64, count: u64) -> Result<Option<&[u8]>> {
        let end = offset.saturating_add(count);
        if end > self.length {
            return Ok(None);
        }
        if offset < self.start || end > self.start + self.window.len() as u64 {
            // Whatever of the window is wanted again is moved to its front, not read again.
            let kept = match offset.checked_sub(self.start) {
                Some(skipped) if skipped < self.window.len() as u64 => {
                    self.window.drain(..skipped as usize);
                    self.window.len()
                }
                _ => 0,
            };
            let wanted = count.max(WINDOW).min(self.length - offset) as usize;
            self.window.resize(wanted.max(kept), 0);
            self.start = offset;
            let failed = |error: io::Error| Error::io("read", self.name, error);
            let from = offset + kept as u64;
            let read = self.file.read_at(from, &mut self.window[kept..]).map_err(failed)?;
            self.octets_read += read as u64;
            self.window.truncate(kept + read);
        }
        let from = (offset - self.start) as usize;
        Ok(self.window.get(from..from + count as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_numbers_and_no_other_name_does() {
        assert_eq!(name(0x2a), "000000000000002a.log");
        assert_eq!(number_of("000000000000002a.log", ".log"), Some(0x2a));
        assert_eq!(number_of(&index_name(7), ".idx"), Some(7));
        for other in ["lock", "2a.log", "000000000000002A.log", "+00000000000002a.log", ".log"] {
            assert_eq!(number_of(other, ".log"), None, "{other}");
        }
        assert_eq!(number_of("000000000000002a.log.damaged", ".log"), None);
    }
}
