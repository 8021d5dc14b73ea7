//! Content codings, and which of them a client takes (RFC 9110 §12.5.3).

use crate::Headers;
use crate::headers::elements;

/// A way to make a body shorter; the order is that of preference among those that a client likes
/// equally well: what is shorter goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Coding {
    /// `br` (RFC 7932)
    Brotli,
    /// `zstd` (RFC 8878)
    Zstd,
    /// `gzip` (RFC 1952)
    Gzip,
    /// `deflate`: zlib's format (RFC 1950), whatever the name says
    Deflate,
    /// None.
    Identity,
}

impl Coding {
    /// As in Content-Encoding.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Identity => "identity",
        }
    }

    const ALL: [Self; 5] = [Self::Brotli, Self::Zstd, Self::Gzip, Self::Deflate, Self::Identity];
}

/// How much a client likes each coding, from 0 (not at all) to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted([u16; Coding::ALL.len()]);

impl Accepted {
    /// What a request says. If it says nothing, it is sent no coding, though any would be allowed:
    /// who can undo one says so.
    pub(crate) fn of(headers: &Headers) -> Self {
        let mut named: [Option<u16>; Coding::ALL.len()] = [None; Coding::ALL.len()];
        let mut any = None;
        for element in headers.get_all("accept-encoding").flat_map(elements) {
            let Some((name, weight)) = weighted(element) else { continue };
            if name == b"*" {
                any = Some(weight);
            }
            let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
            let is_it = |coding: &Coding| coding.name().as_bytes().eq_ignore_ascii_case(name);
            if let Some(coding) = Coding::ALL.into_iter().find(is_it) {
                named[coding as usize] = Some(weight);
            }
        }
        Self(Coding::ALL.map(|coding| {
            let unnamed = match (coding, any) {
                (Coding::Identity, Some(0)) => 0,
                (Coding::Identity, _) => 1, // better than nothing, and than nothing else
                (_, any) => any.unwrap_or(0),
            };
            named[coding as usize].unwrap_or(unnamed)
        }))
    }

    /// How much the client likes it; 0 if it does not take it.
    pub(crate) fn weight(self, coding: Coding) -> u16 {
        self.0[coding as usize]
    }

    /// Those of `offered` that the client takes and does not like less than no coding; the best first.
    pub(crate) fn choose(self, offered: &[Coding]) -> Vec<Coding> {
        let least = self.weight(Coding::Identity).max(1);
        let mut chosen: Vec<_> = offered.to_vec();
        chosen.retain(|&coding| self.weight(coding) >= least);
        chosen.sort_by_key(|&coding| (std::cmp::Reverse(self.weight(coding)), coding));
        chosen
    }
}

/// `gzip;q=0.5`: the name and a thousand times the weight; `None` if it is malformed.
fn weighted(element: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = element.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    let weight = match parts.next() {
        None => 1000,
        Some([b'q' | b'Q', b'=', value @ ..]) => thousandths(value)?,
        Some(_) => return None,
    };
    parts.next().is_none().then_some((name, weight))
}

/// A weight as RFC 9110 §12.4.2 has it: 0 to 1, with three decimals at most.
fn thousandths(value: &[u8]) -> Option<u16> {
    let (&whole, decimals) = value.split_first()?;
    let decimals = match decimals {
        [] => decimals,
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let mut sum = u16::from(whole - b'0');
    for at in 0..3 {
        sum = sum * 10 + decimals.get(at).map_or(0, |digit| u16::from(digit - b'0'));
    }
    (sum <= 1000).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(values: &[&str]) -> Vec<&'static str> {
        let mut headers = Headers::new();
        for value in values {
            assert!(headers.append("Accept-Encoding", value));
        }
        let chosen = Accepted::of(&headers).choose(&Coding::ALL);
        chosen.into_iter().map(Coding::name).collect()
    }

    #[test]
    fn what_the_client_likes_best_comes_first_and_what_it_does_not_take_never() {
        let cases: &[(&[&str], &[&str])] = &[
            (&[], &["identity"]),
            (&[""], &["identity"]),
            (&["gzip"], &["gzip", "identity"]),
            (&["x-GZIP"], &["gzip", "identity"]),
            (&["gzip, deflate, br, zstd"], &["br", "zstd", "gzip", "deflate", "identity"]),
            (&["gzip", "br"], &["br", "gzip", "identity"]),
            (&["br;q=0.5, gzip;q=0.501"], &["gzip", "br", "identity"]),
            (&["gzip;q=0, *"], &["br", "zstd", "deflate", "identity"]),
            (&["*;q=0"], &[]),
            (&["*;q=0, gzip"], &["gzip"]),
            (&["identity;q=0, gzip;q=0.1"], &["gzip"]),
            (&["identity;q=0"], &[]),
            (&["gzip;q=0.5, identity"], &["identity"]),
            (&["gzip ; Q=1.000"], &["gzip", "identity"]),
            (&["gzip;q=1.5, br;q=, zstd;q=0.1234, deflate;x=1"], &["identity"]),
            (&["compress, gzip;q=0.001"], &["gzip", "identity"]),
        ];
        for (values, expected) in cases {
            assert_eq!(chosen(values), *expected, "{values:?}");
        }
    }
}
