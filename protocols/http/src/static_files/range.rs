//! The Range field (RFC 9110 §14): which parts of a file are asked for, and which are sent.
//!
//! The one rule: no request can cost more than the file that it asks for. Ranges that overlap, or lie so
//! near to each other that what stands between two parts would be longer, become one.

use std::ops::Range;

/// More ranges than this, and the field is ignored (§14.2): a viewer of PDF asks for a dozen at once,
/// and each part has a head of its own.
pub(super) const MOST_RANGES: usize = 32;
/// What stands between two parts, roughly: a gap that is no longer is sent along (§15.3.7.2).
const OVERHEAD: u64 = 128;

/// One of the ranges in a Range field (§14.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spec {
    /// From the first byte to the last one, both included; to the end if there is none.
    From { first: u64, last: Option<u64> },
    /// So many bytes at the end.
    Suffix(u64),
}

/// What a Range field comes to for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ranges {
    /// The field is not one to follow: the whole file is sent.
    Ignored,
    /// The file has none of it (416).
    Unsatisfiable,
    /// These, none empty, no two of which touch; at least one, in the order in which they were asked for.
    Parts(Vec<Range<u64>>),
}

/// What the field's value comes to for a file of this length.
pub(super) fn resolve(value: &[u8], length: u64) -> Ranges {
    // Some clients limit whatever they ask for by a range; of an empty file they get all the same.
    let Some(specs) = parse(value).filter(|_| length > 0) else { return Ranges::Ignored };
    let mut parts: Vec<Range<u64>> = Vec::new();
    for range in specs.into_iter().filter_map(|spec| spec.of(length)) {
        add(&mut parts, range);
    }
    if parts.is_empty() { Ranges::Unsatisfiable } else { Ranges::Parts(parts) }
}

/// Adds a range; those that it touches become one with it, in the place of the first of them. It is
/// quadratic in [`MOST_RANGES`].
fn add(parts: &mut Vec<Range<u64>>, mut range: Range<u64>) {
    let mut place = None;
    // One that has grown may touch another that it did not touch before.
    while let Some(near) = parts.iter().position(|part| touch(part, &range)) {
        let part = parts.remove(near);
        range = part.start.min(range.start)..part.end.max(range.end);
        place = Some(place.map_or(near, |place: usize| place.min(near)));
    }
    parts.insert(place.unwrap_or(parts.len()), range);
}

fn touch(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start <= other.end.saturating_add(OVERHEAD)
        && other.start <= one.end.saturating_add(OVERHEAD)
}

impl Spec {
    /// What it is of a file of this length; `None` if that has nothing of it.
    fn of(self, length: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From { first, last } => {
                first..last.map_or(length, |last| last.saturating_add(1).min(length))
            }
            Self::Suffix(count) => length.saturating_sub(count)..length,
        };
        (!range.is_empty()).then_some(range)
    }
}

/// The ranges of a field's value; `None` if it is malformed, of another unit than bytes, or too long.
fn parse(value: &[u8]) -> Option<Vec<Spec>> {
    let (unit, set) = value.split_at_checked(6)?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let mut specs = Vec::new();
    for element in crate::headers::elements(set) {
        if specs.len() == MOST_RANGES {
            return None;
        }
        specs.push(spec(element)?);
    }
    (!specs.is_empty()).then_some(specs)
}

fn spec(element: &[u8]) -> Option<Spec> {
    let dash = memchr::memchr(b'-', element)?;
    let (first, last) = (&element[..dash], &element[dash + 1..]);
    match (first, last) {
        ([], count) => number(count).map(Spec::Suffix),
        (first, []) => Some(Spec::From { first: number(first)?, last: None }),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From { first, last: Some(last) })
        }
    }
}

/// A number; one that does not fit 64 bits is beyond the end of any file, as `u64::MAX` is.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, add))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each part's first byte, and the one behind its last.
    fn parts(value: &str, length: u64) -> Vec<(u64, u64)> {
        match resolve(value.as_bytes(), length) {
            Ranges::Parts(parts) => parts.into_iter().map(|part| (part.start, part.end)).collect(),
            other => panic!("{value}: {other:?}"),
        }
    }

    #[test]
    fn the_examples_of_rfc_9110_come_to_what_it_says() {
        assert_eq!(parts("bytes=0-499", 10_000), [(0, 500)]);
        assert_eq!(parts("bytes=500-999", 10_000), [(500, 1000)]);
        assert_eq!(parts("bytes=-500", 10_000), [(9500, 10_000)]);
        assert_eq!(parts("bytes=9500-", 10_000), [(9500, 10_000)]);
        assert_eq!(parts("bytes=0-0,-1", 10_000), [(0, 1), (9999, 10_000)]);
        assert_eq!(parts("bytes= 0-999, 4500-5499, -1000", 10_000).len(), 3);
        assert_eq!(parts("bytes=500-700,601-999", 10_000), [(500, 1000)]);
        assert_eq!(parts("Bytes=,0-1 ,\t,", 10), [(0, 2)]);
    }

    #[test]
    fn what_is_beyond_the_end_is_cut_and_what_the_file_has_nothing_of_is_left_out() {
        assert_eq!(parts("bytes=5-99", 10), [(5, 10)]);
        assert_eq!(parts("bytes=-99", 10), [(0, 10)]);
        assert_eq!(parts("bytes=0-99999999999999999999999", 10), [(0, 10)]);
        assert_eq!(parts("bytes=10-,0-0", 10), [(0, 1)]);
        for value in ["bytes=10-", "bytes=10-11", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(resolve(value.as_bytes(), 10), Ranges::Unsatisfiable, "{value}");
        }
        assert_eq!(resolve(b"bytes=0-", 0), Ranges::Ignored);
    }

    #[test]
    fn what_is_malformed_of_another_unit_or_too_much_is_ignored() {
        let many = format!("bytes={}", "0-0,".repeat(MOST_RANGES + 1));
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=a-b",
            "bytes=2-1",
            "bytes=1",
            "bytes=0-1;2-3",
            "bytes=0x1-",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=0-1-2",
            "lines=0-1",
            "bytes =0-1",
            "bytes=0-1,x",
            &many,
        ] {
            assert_eq!(resolve(value.as_bytes(), 10), Ranges::Ignored, "{value}");
        }
    }

    #[test]
    fn ranges_that_touch_become_one_in_the_place_of_the_first() {
        assert_eq!(parts("bytes=5000-5999,0-0,5500-6999", 10_000), [(5000, 7000), (0, 1)]);
        assert_eq!(
            parts("bytes=0-0,5000-5999,2000-2999,1-1999", 10_000),
            [(0, 3000), (5000, 6000)]
        );
        assert_eq!(
            parts("bytes=0-99,200-299", 10_000),
            [(0, 300)],
            "a gap less than a part's head"
        );
        assert_eq!(parts("bytes=0-99,300-399", 10_000), [(0, 100), (300, 400)]);
    }

    proptest! {
        /// Held against a map of bytes: every byte that was asked for is sent once, and nothing
        /// besides but what lies in a small gap.
        #[test]
        fn each_byte_is_sent_once(
            length in 1..2000_u64,
            asked in prop::collection::vec((0..2500_u64, 0..600_u64, 0..3), 1..MOST_RANGES),
        ) {
            let mut wanted = vec![false; length as usize];
            let mut value = String::from("bytes=");
            for &(first, count, kind) in &asked {
                let (text, range) = match kind {
                    0 => (format!("{first}-{},", first + count), first..first + count + 1),
                    1 => (format!("{first}-,"), first..length),
                    _ => (format!("-{count},"), length.saturating_sub(count)..length),
                };
                value.push_str(&text);
                for at in range.start.min(length)..range.end.min(length) {
                    wanted[at as usize] = true;
                }
            }
            match resolve(value.as_bytes(), length) {
                Ranges::Parts(parts) => {
                    let mut sent = vec![false; length as usize];
                    for part in parts {
                        prop_assert!(part.start < part.end && part.end <= length);
                        prop_assert!(wanted[part.start as usize] && wanted[part.end as usize - 1]);
                        let mut gap = 0;
                        for at in part {
                            prop_assert!(!std::mem::replace(&mut sent[at as usize], true));
                            gap = if wanted[at as usize] { 0 } else { gap + 1 };
                            prop_assert!(gap <= OVERHEAD);
                        }
                    }
                    prop_assert!(wanted.iter().zip(&sent).all(|(wanted, sent)| !wanted || *sent));
                }
                Ranges::Unsatisfiable => prop_assert!(!wanted.contains(&true)),
                Ranges::Ignored => prop_assert!(false, "{value} is valid"),
            }
        }
    }
}
