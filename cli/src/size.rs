//! Sizes, as options: a number of bytes, or one with its unit.

use std::str::FromStr;

use serde::Deserialize;

const UNITS: [(&str, u64); 9] = [
    ("", 1),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
];

/// Octets: `1000000`, `512MiB`, `50 MB`. The letters may be small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Given")]
pub(crate) struct Size(pub(crate) u64);

/// In a file it may be a number.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a size, as 1000000 or \"512MiB\"")]
pub(crate) enum Given {
    Octets(u64),
    Text(String),
}

/// Why something is no size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SizeError {
    Form,
    TooLarge,
}

impl SizeError {
    /// In words; `form` is for who wrote something else altogether.
    pub(crate) fn text(self, form: &'static str) -> &'static str {
        match self {
            Self::Form => form,
            Self::TooLarge => "that is more than there can be",
        }
    }
}

impl Size {
    /// As a number for memory; on 64 bits it fits.
    pub(crate) fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// Reads a size.
    pub(crate) fn read(given: &str) -> Result<Self, SizeError> {
        let given = given.trim();
        let digits = given.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = given.split_at(digits);
        let unit = unit.trim_start();
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| unit.eq_ignore_ascii_case(name))
            .filter(|_| digits > 0)
            .ok_or(SizeError::Form)?;
        let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
        number.checked_mul(*factor).map(Self).ok_or(SizeError::TooLarge)
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        Self::read(given).map_err(|error| error.text("write bytes, or a size as 512MiB"))
    }
}

impl TryFrom<Given> for Size {
    type Error = &'static str;

    fn try_from(given: Given) -> Result<Self, Self::Error> {
        match given {
            Given::Octets(octets) => Ok(Self(octets)),
            Given::Text(text) => text.parse(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_bytes_or_a_number_with_its_unit() {
        for (given, octets) in [
            ("0", 0),
            ("104857600", 100 << 20),
            ("100MiB", 100 << 20),
            (" 3 GiB ", 3 << 30),
            ("2gib", 2 << 30),
            ("5kB", 5_000),
            ("50MB", 50_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(given.parse(), Ok(Size(octets)), "{given}");
        }
        for given in ["", " ", "MiB", "1.5GiB", "-1", "+1", "1 parsec", "40%", "0x10", "1 2"] {
            assert_eq!(Size::read(given), Err(SizeError::Form), "{given}");
        }
        for given in ["18446744073709551616", "99999999999TiB"] {
            assert_eq!(Size::read(given), Err(SizeError::TooLarge), "{given}");
        }
    }
}
