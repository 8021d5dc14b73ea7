//! What was found when a log was opened or checked: for the operator, in sentences.

use std::fmt;

/// What an opening or a check found, beyond what is as it should be.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Whether the log was closed in order; a new one counts as such.
    pub closed: bool,
    /// How many octets of files had to be read.
    pub octets_read: u64,
    /// In the order in which they were found.
    pub findings: Vec<Finding>,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Finding {
    /// The end of the newest segment was being written when the power failed. Nothing that was
    /// synced is in it, so nothing that was confirmed.
    Torn {
        /// The segment's file.
        file: String,
        /// Where what is whole ends.
        offset: u64,
    },
    /// A part of a file that had been whole cannot be read any more.
    Damaged {
        /// The file. It stays until nothing in it is needed; then it is set aside.
        file: String,
        /// Where the damage begins.
        offset: u64,
        /// How many octets are lost by it.
        octets: u64,
    },
    /// A file could not be used at all, and was renamed.
    SetAside {
        /// The file as it was called.
        file: String,
        /// As it is called now.
        now: String,
    },
    /// The index of a segment is damaged. It is made again from the segment: nothing is lost.
    Index {
        /// The index's file.
        file: String,
    },
    /// Messages of a queue whose file is damaged or missing.
    Lost {
        /// The queue.
        queue: u64,
        /// How many.
        messages: u64,
    },
}

impl Report {
    /// Whether something was lost that had been whole once: more than a torn end or an index.
    pub fn is_damaged(&self) -> bool {
        let harmless =
            |finding: &Finding| matches!(finding, Finding::Torn { .. } | Finding::Index { .. });
        !self.findings.iter().all(harmless)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Finding::Torn { file, offset } => write!(
                f,
                "{file}: what was being written at the end, from octet {offset} on, is left out"
            ),
            Finding::Damaged { file, offset, octets } => {
                write!(f, "{file}: damaged, {octets} octets from octet {offset} on are lost")
            }
            Finding::SetAside { file, now } => {
                write!(f, "{file}: cannot be read, kept as {now}")
            }
            Finding::Index { file } => write!(f, "{file}: damaged, and can be made again"),
            Finding::Lost { queue, messages } => {
                write!(f, "queue {queue}: {messages} messages are lost")
            }
        }
    }
}
