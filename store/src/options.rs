//! What can be set about a log when it is opened.

/// The sizes of a log. All can change from one opening to the next.
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) segment_octets: u64,
    pub(crate) salt: u64,
}

impl Options {
    /// 16 MiB: 64 files for a million messages of 1 KiB, and little to read again at a start.
    pub const SEGMENT_OCTETS: u64 = 16 << 20;

    /// The defaults.
    pub fn new() -> Options {
        Options { segment_octets: Options::SEGMENT_OCTETS, salt: 0 }
    }

    /// The octets of a segment file: 4 KiB to 1 GiB, 16 MiB if not set. A message that is larger
    /// gets a segment of its own size.
    pub fn segment_octets(mut self, octets: u64) -> Options {
        self.segment_octets = octets.clamp(4 << 10, 1 << 30);
        self
    }

    /// A random number, used when a log is made and kept in it. It goes into every checksum, so
    /// that nobody can send a message whose payload would pass for records of the log when a
    /// damaged file is searched for what is left of it.
    pub fn salt(mut self, salt: u64) -> Options {
        self.salt = salt;
        self
    }
}

impl Default for Options {
    fn default() -> Options {
        Options::new()
    }
}
