//! The Date field, formatted once a second (RFC 9110 §6.6.1).

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of `Date: Sun, 06 Nov 1994 08:49:37 GMT` with its CRLF.
const LINE: usize = 37;

thread_local! {
    /// The second since 1970 that the line is for, and the line. It depends on nothing but the
    /// time it is asked for, so sharing it between a thread's connections cannot be noticed.
    static CACHE: RefCell<(u64, [u8; LINE])> = const { RefCell::new((u64::MAX, [0; LINE])) };
}

/// Writes the whole Date line for this time. A clock before 1970 or after 9999 is taken for the
/// end that it has passed.
pub(crate) fn write_date(out: &mut Vec<u8>, now: SystemTime) {
    let second = second_of(now);
    CACHE.with_borrow_mut(|(cached, line)| {
        if *cached != second {
            (*cached, *line) = (second, format_line(second));
        }
        out.extend_from_slice(line);
    });
}

/// The last second that `httpdate` can write.
const YEAR_9999: u64 = 253_402_300_799;

fn second_of(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).min(YEAR_9999)
}

/// The time without its fraction of a second, or the end that it has passed of 1970 and 9999: what
/// HTTP can say.
pub(crate) fn of_four_digits(time: SystemTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second_of(time))
}

fn format_line(second: u64) -> [u8; LINE] {
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
    let mut line = *b"Date: Sun, 00 Jan 0000 00:00:00 GMT\r\n";
    line[6..LINE - 2].copy_from_slice(date.as_bytes()); // 29 bytes for every year of four digits
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_follows_the_clock_and_never_leaves_four_digit_years() {
        let line = |now| {
            let mut out = Vec::new();
            write_date(&mut out, now);
            out
        };
        let at = |second| line(UNIX_EPOCH + Duration::from_secs(second));
        assert_eq!(at(784_111_777), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(at(784_111_778), b"Date: Sun, 06 Nov 1994 08:49:38 GMT\r\n");
        assert_eq!(at(784_111_777), b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n");
        assert_eq!(at(300_000_000_000), b"Date: Fri, 31 Dec 9999 23:59:59 GMT\r\n");
        let before = line(UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(&before[..], b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    }
}
