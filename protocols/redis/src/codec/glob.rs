//! Redis's patterns: `*`, `?`, `[a-z]`, `[^x]` and `\`, with their odd corners, byte by byte.
//!
//! The time is at most the product of both lengths: after a mismatch only the last `*` takes one
//! more byte. What an earlier one would take then, the last one can as well.

/// Whether `name` matches `pattern`, as Redis decides it.
///
/// An empty name matches the empty pattern alone, not even `*`. A `[` that is not closed takes all
/// that follows it for its members; `[a-]` is not closed, since the `]` ends the range. A range
/// may be written backwards.
///
/// ```
/// # use ropewalk_redis::codec::matches;
/// assert!(matches(b"news.*", b"news.art"));
/// assert!(matches(b"h[^a]llo", b"hello"));
/// assert!(!matches(b"h\\*llo", b"hello"));
/// ```
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.is_empty() {
        return pattern.is_empty();
    }
    let (mut at, mut place) = (0, 0);
    // Where the pattern goes on behind the last `*`, and how far that one reaches.
    let mut star = None;
    while let Some(&byte) = name.get(place) {
        let step = match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, place));
                continue;
            }
            Some(_) => one(pattern, at, byte),
            None => None,
        };
        match (step, star) {
            (Some(next), _) => (at, place) = (next, place + 1),
            (None, Some((behind, reach))) => {
                star = Some((behind, reach + 1));
                (at, place) = (behind, reach + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

/// Compares one byte with what stands at `at`, which is there and no `*`; where the next begins.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern[at..] {
        [b'?', ..] => Some(at + 1),
        [b'[', ..] => class(pattern, at + 1, byte),
        [b'\\', escaped, ..] => (escaped == byte).then_some(at + 2),
        [literal, ..] => (literal == byte).then_some(at + 1),
        [] => None,
    }
}

/// The same for what stands between brackets, from behind the `[`.
fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                found |= (first.min(last)..=first.max(last)).contains(&byte);
                at += 3;
            }
            [member, ..] => {
                found |= member == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_redis() {
        for (pattern, name, expected) in [
            ("*", "a", true),
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("**", "abc", true),
            ("a*", "a", true),
            ("*a", "ba", true),
            ("*ab*cd", "xababycdcd", true),
            ("*ab*cd", "xabcdx", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hbllo", true),
            ("h[^e]llo", "hello", false),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("h[a-b]llo", "hcllo", false),
            ("h\\?llo", "h?llo", true),
            ("h\\?llo", "hello", false),
            ("[\\]]", "]", true),
            ("[\\a-c]", "b", false),
            ("[a-]", "a", true),
            ("[a-]", "]", true),
            ("[a-]", "-", false),
            ("[]", "a", false),
            ("[^]", "a", true),
            ("[^", "a", true),
            ("[", "[", false),
            ("[abc", "b", true),
            ("a\\", "a\\", true),
            ("\\", "\\", true),
            ("a*?c", "abc", true),
            ("a*?c", "ac", false),
            ("*[0-9]", "channel7", true),
            ("news.[a-z]*", "news.art", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_cost_no_more_than_the_product_of_the_lengths() {
        let pattern = "a*".repeat(200) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 20_000]));
    }
}
