//! What reading takes out of the bytes that wait: it looks at them, and decides nothing else.

use bytes::{Buf, BytesMut};

use crate::Error;

/// A piece below this is copied out: kept for long, it would hold on to all that came with it.
const SMALL_PIECE: usize = 4 * 1024;

/// How many bytes there are up to and with `delimiter`; `None` when it may yet come. Bytes before
/// `looked_at` hold no beginning of it.
pub(crate) fn find(
    input: &[u8],
    delimiter: &[u8],
    limit: usize,
    looked_at: &mut usize,
) -> Option<Result<usize, Error>> {
    let Some(&last) = delimiter.last() else { return Some(Ok(0)) };
    let within = &input[..input.len().min(limit)];
    while let Some(found) = within.get(*looked_at..)?.iter().position(|&byte| byte == last) {
        *looked_at += found + 1;
        if within[..*looked_at].ends_with(delimiter) {
            return Some(Ok(*looked_at));
        }
    }
    *looked_at = within.len();
    (input.len() >= limit).then_some(Err(Error::TooLong(limit)))
}

/// How many bytes there are up to and with the end of the line, which is not a part of `limit`.
pub(crate) fn find_line(
    input: &[u8],
    limit: usize,
    looked_at: &mut usize,
) -> Option<Result<usize, Error>> {
    let too_long = Some(Err(Error::TooLong(limit)));
    match find(input, b"\n", limit.saturating_add(2), looked_at)? {
        Ok(count) if count - line_end(&input[..count]) > limit => too_long,
        Err(_) => too_long,
        found => Some(found),
    }
}

/// How many bytes of a line are its end.
pub(crate) fn line_end(line: &[u8]) -> usize {
    match line {
        [.., b'\r', b'\n'] => 2,
        _ => 1,
    }
}

/// Takes the first `count` bytes.
pub(crate) fn take(input: &mut BytesMut, count: usize) -> BytesMut {
    if count == input.len() {
        std::mem::take(input) // an idle connection holds no buffer
    } else if count < SMALL_PIECE {
        let piece = BytesMut::from(&input[..count]);
        input.advance(count);
        piece
    } else {
        input.split_to(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `find` answers when the bytes come in pieces of every size.
    fn found(input: &[u8], delimiter: &[u8], limit: usize) -> Option<Result<usize, usize>> {
        let whole = find(input, delimiter, limit, &mut 0);
        let plain = |found: Option<Result<usize, Error>>| {
            found.map(|found| {
                found.map_err(|error| match error {
                    Error::TooLong(limit) => limit,
                    error => panic!("{error}"),
                })
            })
        };
        let whole = plain(whole);
        for step in 1..=input.len() {
            let (mut looked_at, mut end) = (0, 0);
            let bit_by_bit = loop {
                end = (end + step).min(input.len());
                let found = find(&input[..end], delimiter, limit, &mut looked_at);
                if found.is_some() || end == input.len() {
                    break plain(found);
                }
            };
            assert_eq!(bit_by_bit, whole, "{input:?} in pieces of {step}");
        }
        whole
    }

    #[test]
    fn a_delimiter_is_found_wherever_the_stream_was_cut() {
        assert_eq!(found(b"one\r\ntwo\r\n", b"\r\n", 100), Some(Ok(5)));
        assert_eq!(found(b"a\nb\r\r\nc", b"\r\n", 100), Some(Ok(6)));
        assert_eq!(found(b"aaab", b"aab", 100), Some(Ok(4)));
        assert_eq!(found(b"nothing", b"\n", 100), None);
        assert_eq!(found(b"\n", b"\n", 1), Some(Ok(1)));
        assert_eq!(found(b"anything", b"", 100), Some(Ok(0)));
    }

    #[test]
    fn a_piece_of_exactly_the_limit_is_taken_and_one_over_it_is_not() {
        assert_eq!(found(b"1234\n", b"\n", 5), Some(Ok(5)));
        assert_eq!(found(b"12345\n", b"\n", 5), Some(Err(5)));
        assert_eq!(found(b"1234", b"\n", 5), None);
        assert_eq!(found(b"12345", b"\n", 5), Some(Err(5)), "there is no room for its end");
    }

    #[test]
    fn a_small_piece_holds_on_to_nothing_else() {
        let mut input = BytesMut::from(&[7; 100_000][..]);
        assert!(take(&mut input, 10).capacity() < 1_000);
        assert_eq!(input.len(), 99_990);
        assert_eq!(take(&mut input, 99_990).len(), 99_990);
        assert_eq!(input.capacity(), 0);
    }
}
