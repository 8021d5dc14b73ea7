//! Inline commands: a line of words, as people type it into `nc`. Words may be quoted.

use super::request::Span;

/// Splits a line into words, as Redis's own clients do: between white space, within double quotes
/// with escapes (`\n`, `\x41`), within single quotes with `\'` alone. The words go to `text`, one
/// behind the other, and where they are to `spans`.
///
/// `None` if a quote is not closed, or something else than white space follows one that is.
pub(crate) fn split(line: &[u8], text: &mut Vec<u8>, spans: &mut Vec<Span>) -> Option<()> {
    let mut at = 0;
    loop {
        while line.get(at).copied().is_some_and(is_space) {
            at += 1;
        }
        if at == line.len() {
            return Some(());
        }
        let start = text.len();
        at = word(line, at, text)?;
        spans.push(Span::new(start, text.len()));
    }
}

/// Reads one word, and answers where it ends.
fn word(line: &[u8], mut at: usize, text: &mut Vec<u8>) -> Option<usize> {
    while let Some(&byte) = line.get(at) {
        match byte {
            b'"' => return closed(line, double_quoted(line, at + 1, text)?),
            b'\'' => return closed(line, single_quoted(line, at + 1, text)?),
            _ if is_space(byte) => break,
            _ => text.push(byte),
        }
        at += 1;
    }
    Some(at)
}

/// A closed quote ends the word.
fn closed(line: &[u8], at: usize) -> Option<usize> {
    line.get(at).copied().is_none_or(is_space).then_some(at)
}

fn double_quoted(line: &[u8], mut at: usize, text: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line[at..] {
            [] => return None,
            [b'"', ..] => return Some(at + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(digit(high) << 4 | digit(low));
                at += 4;
            }
            [b'\\', escaped, ..] => {
                text.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => other,
                });
                at += 2;
            }
            [byte, ..] => {
                text.push(byte);
                at += 1;
            }
        }
    }
}

fn single_quoted(line: &[u8], mut at: usize, text: &mut Vec<u8>) -> Option<usize> {
    loop {
        match line[at..] {
            [] => return None,
            [b'\'', ..] => return Some(at + 1),
            [b'\\', b'\'', ..] => {
                text.push(b'\'');
                at += 2;
            }
            [byte, ..] => {
                text.push(byte);
                at += 1;
            }
        }
    }
}

/// As C's `isspace`, which also takes vertical tabs.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The caller has looked that it is one.
fn digit(hexadecimal: u8) -> u8 {
    match hexadecimal {
        b'0'..=b'9' => hexadecimal - b'0',
        _ => (hexadecimal | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut text, mut spans) = (Vec::new(), Vec::new());
        split(line, &mut text, &mut spans)?;
        Some(spans.iter().map(|span| text[span.range()].to_vec()).collect())
    }

    #[test]
    fn lines_are_split_as_by_redis() {
        for (line, expected) in [
            (&b"PING"[..], Some(vec![&b"PING"[..]])),
            (b"  a\t b \x0b", Some(vec![b"a", b"b"])),
            (b"", Some(vec![])),
            (b"'a b' \"c d\"", Some(vec![b"a b", b"c d"])),
            (b"\"a\\x41\\n\\q\\\"\"", Some(vec![b"aA\nq\""])),
            (b"\"\\xzz\"", Some(vec![b"xzz"])),
            (b"'a\\'b\\n'", Some(vec![b"a'b\\n"])),
            (b"\"\" x ''", Some(vec![b"", b"x", b""])),
            (b"a\"b\"", Some(vec![b"ab"])),
            (b"\"a", None),
            (b"'a", None),
            (b"'a'b", None),
            (b"\"a\"b", None),
            (b"\"\\", None),
        ] {
            let expected =
                expected.map(|words| words.into_iter().map(<[u8]>::to_vec).collect::<Vec<_>>());
            assert_eq!(words(line), expected, "{:?}", line.escape_ascii().to_string());
        }
    }
}
