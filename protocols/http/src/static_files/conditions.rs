//! What tells two states of a file apart, and the fields of a request that make it depend on that
//! (RFC 9110 §8.8 and §13).
//!
//! The one rule: conditions are looked at in the order of §13.2.2.

use std::time::{Duration, SystemTime};

use super::tree::Metadata;
use crate::Headers;
use crate::date::of_four_digits;

/// A file that changed less than this ago may change once more without its time showing it: its
/// validators are weak until then (§8.8.2.2).
const SETTLED: Duration = Duration::from_secs(1);

/// What tells the states of a file apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Validators {
    /// What stands between the quotes of the entity tag.
    opaque: String,
    /// The last modification, in whole seconds, and not later than now.
    modified: SystemTime,
    is_weak: bool,
}

impl Validators {
    /// Those of a file at this time.
    pub(super) fn new(file: &Metadata, now: SystemTime) -> Self {
        let since = file.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            opaque: format!("{:x}-{:x}-{:x}", file.identity, file.length, since.as_nanos()),
            modified: of_four_digits(file.modified.min(now)),
            is_weak: now.duration_since(file.modified).is_ok_and(|age| age < SETTLED)
                || file.modified > now,
        }
    }

    /// The ETag field's value.
    pub(super) fn entity_tag(&self) -> String {
        let weak = if self.is_weak { "W/" } else { "" };
        format!("{weak}\"{}\"", self.opaque)
    }

    /// The Last-Modified field's value.
    pub(super) fn last_modified(&self) -> String {
        httpdate::fmt_http_date(self.modified)
    }

    fn matches_strongly(&self, tag: Tag<'_>) -> bool {
        !self.is_weak && !tag.is_weak && tag.opaque == self.opaque.as_bytes()
    }

    fn matches_weakly(&self, tag: Tag<'_>) -> bool {
        tag.opaque == self.opaque.as_bytes()
    }
}

/// The conditions of a request, each as far as it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    if_match: Option<Vec<u8>>,
    if_unmodified_since: Option<SystemTime>,
    if_none_match: Option<Vec<u8>>,
    if_modified_since: Option<SystemTime>,
    range: Option<Vec<u8>>,
    if_range: Option<Vec<u8>>,
}

/// What the conditions come to, ranges aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The request is followed.
    Holds,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client takes it for.
    Failed,
}

impl Conditions {
    /// Those of a GET or HEAD request.
    pub(super) fn of(headers: &Headers) -> Self {
        Self {
            if_match: list(headers, "if-match"),
            if_unmodified_since: date(headers, "if-unmodified-since"),
            if_none_match: list(headers, "if-none-match"),
            if_modified_since: date(headers, "if-modified-since"),
            range: single(headers, "range").map(<[u8]>::to_vec),
            if_range: single(headers, "if-range").map(<[u8]>::to_vec),
        }
    }

    /// Steps 1 to 4.
    pub(super) fn check(&self, file: &Validators) -> Verdict {
        if let Some(list) = &self.if_match {
            if list != b"*" && !tags(list).any(|tag| file.matches_strongly(tag)) {
                return Verdict::Failed;
            }
        } else if self.if_unmodified_since.is_some_and(|date| file.modified > date) {
            return Verdict::Failed;
        }
        if let Some(list) = &self.if_none_match {
            if list == b"*" || tags(list).any(|tag| file.matches_weakly(tag)) {
                return Verdict::NotModified;
            }
        } else if self.if_modified_since.is_some_and(|date| file.modified <= date) {
            return Verdict::NotModified;
        }
        Verdict::Holds
    }

    /// Step 5: the Range field, if there is one and it is to be followed.
    pub(super) fn range(&self, file: &Validators) -> Option<&[u8]> {
        let range = self.range.as_deref()?;
        let Some(condition) = &self.if_range else { return Some(range) };
        let holds = match tags(condition).next() {
            Some(tag) => file.matches_strongly(tag),
            // A date must be the very one (§13.1.5).
            None => !file.is_weak && parse_date(condition) == Some(file.modified),
        };
        holds.then_some(range)
    }
}

/// A field that is a list: all its values in one.
fn list(headers: &Headers, name: &str) -> Option<Vec<u8>> {
    let all: Vec<_> = headers.get_all(name).collect();
    (!all.is_empty()).then(|| all.join(&b','))
}

/// A field that must not be there twice; then it counts for nothing.
fn single<'a>(headers: &'a Headers, name: &str) -> Option<&'a [u8]> {
    let mut all = headers.get_all(name);
    let first = all.next()?;
    all.next().is_none().then_some(first)
}

/// A date; one that is malformed counts for nothing (§13.1.3).
fn date(headers: &Headers, name: &str) -> Option<SystemTime> {
    parse_date(single(headers, name)?)
}

fn parse_date(value: &[u8]) -> Option<SystemTime> {
    httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()
}

/// An entity tag (§8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a [u8],
}

/// The entity tags of a list, up to the first that is malformed. A comma may be in one.
fn tags(list: &[u8]) -> impl Iterator<Item = Tag<'_>> {
    let mut rest = list;
    std::iter::from_fn(move || {
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        let is_weak = rest.starts_with(b"W/");
        let quoted = if is_weak { &rest[2..] } else { rest };
        let inner = quoted.strip_prefix(b"\"")?;
        let end = memchr::memchr(b'"', inner)?;
        rest = &inner[end + 1..];
        Some(Tag { is_weak, opaque: &inner[..end] })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 784111777.5, a second and a half ago: `Sun, 06 Nov 1994 08:49:37 GMT`.
    fn file() -> (Metadata, Validators) {
        let modified = SystemTime::UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let metadata = Metadata { length: 0x10, modified, identity: 0xabc };
        let now = modified + Duration::from_millis(1500);
        (metadata, Validators::new(&metadata, now))
    }

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const THEN: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const OTHER: &str = "\"x,y\"";

    fn conditions(fields: &[(&str, &str)]) -> Conditions {
        let mut headers = Headers::new();
        for (name, value) in fields {
            assert!(headers.append(name, value));
        }
        Conditions::of(&headers)
    }

    #[test]
    fn validators_are_weak_until_the_file_has_rested() {
        let (metadata, validators) = file();
        assert_eq!(validators.last_modified(), THEN);
        let nanos = 784_111_777_500_000_000_u64;
        assert_eq!(validators.entity_tag(), format!("\"abc-10-{nanos:x}\""));
        for (later, tag) in [(999, "W/\""), (1000, "\"")] {
            let now = metadata.modified + Duration::from_millis(later);
            assert!(Validators::new(&metadata, now).entity_tag().starts_with(tag), "{later}");
        }
        let before = metadata.modified - Duration::from_secs(5);
        let early = Validators::new(&metadata, before);
        assert!(early.entity_tag().starts_with("W/"), "a clock that is behind");
        assert_eq!(early.last_modified(), "Sun, 06 Nov 1994 08:49:32 GMT", "never after Date");
    }

    #[test]
    fn conditions_are_looked_at_in_the_order_of_the_rfc() {
        let (_, validators) = file();
        let tag = validators.entity_tag();
        let tag = tag.as_str();
        let weak = format!("W/{tag}");
        let both = format!("{OTHER}, {tag}");
        let (holds, not_modified, failed) = (Verdict::Holds, Verdict::NotModified, Verdict::Failed);
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], holds),
            (&[("If-Match", "*")], holds),
            (&[("If-Match", tag)], holds),
            (&[("If-Match", &both)], holds),
            (&[("If-Match", OTHER), ("If-Match", tag)], holds),
            (&[("If-Match", OTHER)], failed),
            (&[("If-Match", &weak)], failed),
            (&[("If-Match", "")], failed),
            (&[("If-Unmodified-Since", THEN)], holds),
            (&[("If-Unmodified-Since", BEFORE)], failed),
            (&[("If-Unmodified-Since", "yesterday")], holds),
            (&[("If-Match", tag), ("If-Unmodified-Since", BEFORE)], holds),
            (&[("If-Match", OTHER), ("If-None-Match", tag)], failed),
            (&[("If-None-Match", "*")], not_modified),
            (&[("If-None-Match", tag)], not_modified),
            (&[("If-None-Match", &weak)], not_modified),
            (&[("If-None-Match", &both)], not_modified),
            (&[("If-None-Match", OTHER)], holds),
            (&[("If-None-Match", OTHER), ("If-Modified-Since", THEN)], holds),
            (&[("If-Modified-Since", THEN)], not_modified),
            (&[("If-Modified-Since", BEFORE)], holds),
            (&[("If-Modified-Since", THEN), ("If-Modified-Since", THEN)], holds),
            (&[("If-Modified-Since", "0")], holds),
            (&[("If-Match", tag), ("If-None-Match", tag)], not_modified),
        ];
        for (fields, verdict) in cases {
            assert_eq!(conditions(fields).check(&validators), *verdict, "{fields:?}");
        }
    }

    #[test]
    fn a_range_is_followed_if_the_client_has_the_same_file() {
        let (metadata, validators) = file();
        let tag = validators.entity_tag();
        let weak = format!("W/{tag}");
        let range = ("Range", "bytes=0-1");
        let fresh = Validators::new(&metadata, metadata.modified);
        assert!(conditions(&[range]).range(&fresh).is_some());
        assert_eq!(conditions(&[range, range]).range(&validators), None);
        for (condition, is_followed) in [
            (&tag[..], true),
            (&weak, false),
            (OTHER, false),
            (THEN, true),
            (BEFORE, false),
            ("Sun, 06 Nov 1994 08:49:38 GMT", false),
            ("nonsense", false),
            ("\"", false),
        ] {
            let conditions = conditions(&[range, ("If-Range", condition)]);
            assert_eq!(conditions.range(&validators).is_some(), is_followed, "{condition}");
            assert_eq!(conditions.range(&fresh), None, "what has just changed: {condition}");
        }
    }

    #[test]
    fn tags_may_hold_commas_and_end_at_what_is_none() {
        let found: Vec<_> = tags(b" \"a,b\" , W/\"c\",, \"\" , d, \"e\"").collect();
        let tag = |is_weak, opaque| Tag { is_weak, opaque };
        assert_eq!(found, [tag(false, &b"a,b"[..]), tag(true, b"c"), tag(false, b"")]);
    }
}
