//! How an entry of a traffic log reads: a line that says when, whose and how many, then the bytes,
//! sixteen in a line, as `hexdump -C` has them.

use std::fmt;
use std::time::{Duration, SystemTime};

use crate::ConnectionId;
use crate::address::Address;

/// Something that happened to a connection.
pub(super) struct Entry {
    pub(super) at: SystemTime,
    pub(super) id: ConnectionId,
    pub(super) peer: Address,
    pub(super) what: What,
    /// The first of its bytes, or all.
    pub(super) data: Vec<u8>,
    /// How many there were.
    pub(super) length: usize,
}

pub(super) enum What {
    Made,
    In,
    Out,
    Lost(String),
}

/// In a line of the dump.
const A_LINE: usize = 16;

impl Entry {
    /// The memory that it takes while it waits.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>() + self.data.capacity()
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, peer, data, length, .. } = self;
        write!(f, "{} {id} {peer} ", Utc(self.at))?;
        match &self.what {
            What::Made => writeln!(f, "made")?,
            What::In => writeln!(f, "in {length}")?,
            What::Out => writeln!(f, "out {length}")?,
            What::Lost(reason) => writeln!(f, "lost: {reason}")?,
        }
        for (line, bytes) in data.chunks(A_LINE).enumerate() {
            write!(f, "{:08x} ", line * A_LINE)?;
            for place in 0..A_LINE {
                let gap = if place == A_LINE / 2 { " " } else { "" };
                match bytes.get(place) {
                    Some(byte) => write!(f, "{gap} {byte:02x}")?,
                    None => write!(f, "{gap}   ")?,
                }
            }
            let text = bytes.iter().map(|&byte| match byte {
                b' '..=b'~' => char::from(byte),
                _ => '.',
            });
            writeln!(f, "  |{}|", text.collect::<String>())?;
        }
        match length - data.len() {
            0 => Ok(()),
            more => writeln!(f, "(and {more} bytes more)"),
        }
    }
}

/// A time as RFC 3339 has it, in UTC, to the microsecond.
struct Utc(SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.0.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (year, month, day) = date(since.as_secs() / 86_400);
        let second = since.as_secs() % 86_400;
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        let micros = since.subsec_micros();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

/// The date so many days after 1970-01-01. Years are counted from March, so that a leap day is the
/// last of its year; then 400 years have 146,097 days, and a month's first day is at
/// (153 × month + 2) / 5.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_rfc_3339_has_it() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (1_577_836_800, "2020-01-01T00:00:00.000000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc(time).to_string(), text);
        }
    }

    #[test]
    fn an_entry_is_a_line_and_its_bytes() {
        let mut entry = Entry {
            at: SystemTime::UNIX_EPOCH + Duration::from_micros(1_500_000),
            id: ConnectionId::new(3, 7),
            peer: Address::Tcp(([10, 0, 0, 1], 5).into()),
            what: What::In,
            data: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            length: 18,
        };
        let head = format!("1970-01-01T00:00:01.500000Z {} tcp://10.0.0.1:5 in 18\n", entry.id);
        let one =
            "00000000  47 45 54 20 2f 20 48 54  54 50 2f 31 2e 31 0d 0a  |GET / HTTP/1.1..|\n";
        let other = "00000010  0d 0a                                             |..|\n";
        assert_eq!(entry.to_string(), [&head, one, other].concat());
        entry.length = 100;
        assert!(entry.to_string().ends_with("|..|\n(and 82 bytes more)\n"));
    }
}
