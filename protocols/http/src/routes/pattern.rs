//! Reading a pattern: literal segments, and parameters in braces.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A segment of a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    /// It stands for itself.
    Literal(&'a str),
    /// It stands for any, under this name.
    Parameter(&'a str),
}

/// The segments of a pattern.
pub(super) fn segments(pattern: &str) -> Result<Vec<Segment<'_>>, &'static str> {
    let rest = pattern.strip_prefix('/').ok_or("it does not begin with /")?;
    let segments = rest.split('/').map(|segment| {
        match segment.strip_prefix('{').and_then(|it| it.strip_suffix('}')) {
            Some("") => Err("a parameter has no name"),
            Some(name) if name.contains(['{', '}']) => Err("braces stand within braces"),
            Some(name) => Ok(Segment::Parameter(name)),
            None if segment.contains(['{', '}']) => {
                Err("braces stand around a part of a segment, not around all of it")
            }
            None => Ok(Segment::Literal(segment)),
        }
    });
    let segments: Vec<_> = segments.collect::<Result<_, _>>()?;
    for (at, segment) in segments.iter().enumerate() {
        if matches!(segment, Segment::Parameter(_)) && segments[..at].contains(segment) {
            return Err("a parameter has the name of another");
        }
    }
    Ok(segments)
}

/// The text of a request's segment; `None` if it is not percent-encoded UTF-8.
pub(super) fn decode(segment: &str) -> Option<Cow<'_, str>> {
    let malformed = |(at, _): (usize, _)| {
        let digits = segment.as_bytes().get(at + 1..at + 3);
        !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if segment.match_indices('%').any(malformed) {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_its_segments() {
        use Segment::{Literal, Parameter};
        assert_eq!(segments("/"), Ok(vec![Literal("")]));
        assert_eq!(segments("/a/{b}/"), Ok(vec![Literal("a"), Parameter("b"), Literal("")]));
        for bad in ["", "a", "/{}", "/{a}b", "/a}", "/{a}/{a}", "/{{a}}", "/{a"] {
            assert!(segments(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_segment_is_decoded_once_or_refused() {
        assert_eq!(decode("a%20b%2Fc%2525").as_deref(), Some("a b/c%25"));
        for bad in ["%", "%4", "a%zz", "%ff", "%C3"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
