//! Times, as options: a number of seconds, or numbers with their units.

use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// In milliseconds.
const UNITS: [(&str, u64); 6] =
    [("", 1_000), ("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const FORM: &str = "write seconds, or a time as 500ms, 90s, 5m or 1h30m";

/// A time that is not zero: `90`, `500ms`, `5m`, `1h30m`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub(crate) struct Span(pub(crate) Duration);

/// In a file it may be a number.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a time, as 90 (seconds) or \"5m\"")]
pub(crate) enum Given {
    Seconds(u64),
    Text(String),
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let mut rest = given.trim();
        let (mut milliseconds, mut parts) = (0_u64, 0);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at(digits);
            let letters = behind.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, behind) = behind.split_at(letters);
            let known = UNITS.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
            let (_, factor) = known.filter(|_| digits > 0).ok_or(FORM)?;
            // Without a unit it is all of it: 1h30 may be meant as one thing or another.
            if unit.is_empty() && (parts > 0 || !behind.is_empty()) {
                return Err(FORM);
            }
            let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
            milliseconds = part
                .and_then(|part| milliseconds.checked_add(part))
                .ok_or("that is longer than there can be")?;
            parts += 1;
            rest = behind.trim_start();
        }
        match (parts, milliseconds) {
            (0, _) => Err(FORM),
            (_, 0) => Err("no time at all; leave it out for no limit"),
            _ => Ok(Self(Duration::from_millis(milliseconds))),
        }
    }
}

impl TryFrom<Given> for Span {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        match given {
            Given::Seconds(seconds) => seconds.to_string().parse(),
            Given::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_numbers_with_their_units() {
        for (given, milliseconds) in [
            ("90", 90_000),
            ("500ms", 500),
            (" 5m ", 300_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("2D", 172_800_000),
            ("1s500ms", 1_500),
        ] {
            let time = Duration::from_millis(milliseconds);
            assert_eq!(given.parse(), Ok(Span(time)), "{given}");
        }
        for given in ["", " ", "m", "1.5h", "-1s", "1 fortnight", "1h30", "30 1h", "5 5"] {
            assert_eq!(given.parse::<Span>(), Err(FORM), "{given:?}");
        }
        for given in ["0", "0s", "99999999999999999999s", "9999999999999999999d"] {
            assert!(given.parse::<Span>().is_err_and(|problem| problem != FORM), "{given}");
        }
    }
}
