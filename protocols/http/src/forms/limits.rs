//! How much a form may be of, each limit with its default and the reason for it.

use crate::setters::setters;

/// A page that a person fills in has a few dozen; each part costs its client 60 bytes, and us a few
/// hundred.
const MAX_PARTS: usize = 100;
/// PHP's `max_input_vars`, and Django's.
const MAX_PAIRS: usize = 1000;
/// A file's name has 255 bytes at most, three times as many if it is percent-encoded, and may come
/// twice.
const MAX_PART_HEAD: usize = 4 * 1024;
/// As much as a whole body that is gathered: they are all in memory.
const MAX_FIELDS: u64 = 1024 * 1024;
/// A photograph, or a scanned document, in high quality.
const MAX_FILE: u64 = 32 * 1024 * 1024;
/// Four such.
const MAX_TOTAL: u64 = 128 * 1024 * 1024;

/// Limits of a form; above each the answer is 413.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormLimits {
    pub(crate) parts: usize,
    pub(crate) pairs: usize,
    pub(crate) part_head: usize,
    pub(crate) fields: u64,
    pub(crate) file: u64,
    pub(crate) total: u64,
}

impl Default for FormLimits {
    fn default() -> Self {
        Self {
            parts: MAX_PARTS,
            pairs: MAX_PAIRS,
            part_head: MAX_PART_HEAD,
            fields: MAX_FIELDS,
            file: MAX_FILE,
            total: MAX_TOTAL,
        }
    }
}

impl FormLimits {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Parts of a `multipart/form-data` body, fields and files (100).
        parts: usize;
        /// Pairs of name and value in a urlencoded body (1000).
        pairs: usize;
        /// Bytes in the head of one part (4 KiB).
        part_head: usize;
        /// Bytes of all fields together with their names (1 MiB); they are kept in memory. A
        /// urlencoded body counts as it comes.
        fields: u64;
        /// Bytes of one file (32 MiB).
        file: u64;
        /// Bytes of the whole body (128 MiB).
        total: u64;
    }
}
