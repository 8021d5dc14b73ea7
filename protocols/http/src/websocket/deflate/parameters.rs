//! Agreeing on permessage-deflate: what stands in Sec-WebSocket-Extensions, on either side (RFC 7692
//! §7.1, RFC 6455 §9.1).
//!
//! The rule: a server passes over an offer that it does not understand word for word, a client fails
//! over a response that it did not ask for.

use super::{Deflate, MAX_WINDOW_BITS, MIN_WINDOW_BITS};
use crate::headers::is_token;

const NAME: &str = "permessage-deflate";
const SERVER_NO_CONTEXT: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT: &str = "client_no_context_takeover";
const SERVER_BITS: &str = "server_max_window_bits";
const CLIENT_BITS: &str = "client_max_window_bits";
/// More extensions than this, or parameters of one, are no honest header.
const MAX_ELEMENTS: usize = 32;

/// An extension with its parameters, as they were sent; quotes are removed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Extension<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, Option<String>)>,
}

/// What both sides have agreed on, seen from one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Agreed {
    /// This side compresses each message for itself.
    pub(crate) is_own_alone: bool,
    pub(crate) own_bits: u8,
    /// The peer does.
    pub(crate) is_peers_alone: bool,
    pub(crate) peers_bits: u8,
}

/// The parameters of one offer, or of a response.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    server_no_context: bool,
    client_no_context: bool,
    server_bits: Option<u8>,
    /// Inside, the value if there is one.
    client_bits: Option<Option<u8>>,
}

impl Offer {
    /// What a client asks for.
    pub(crate) fn of(deflate: &Deflate) -> Self {
        let less = |bits| Some(bits).filter(|&bits| bits < MAX_WINDOW_BITS);
        Self {
            server_no_context: !deflate.server_context,
            client_no_context: !deflate.client_context,
            server_bits: less(deflate.server_bits),
            client_bits: Some(less(deflate.client_bits)),
        }
    }

    /// The parameters, if `extension` is this one and each is known, right, and there once.
    fn read(extension: &Extension<'_>) -> Option<Self> {
        if !extension.name.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut offer = Self::default();
        for (name, value) in &extension.parameters {
            let is = |other: &str| name.eq_ignore_ascii_case(other);
            let is_first = match value {
                None if is(SERVER_NO_CONTEXT) => {
                    !std::mem::replace(&mut offer.server_no_context, true)
                }
                None if is(CLIENT_NO_CONTEXT) => {
                    !std::mem::replace(&mut offer.client_no_context, true)
                }
                Some(value) if is(SERVER_BITS) => {
                    offer.server_bits.replace(parse_bits(value)?).is_none()
                }
                Some(value) if is(CLIENT_BITS) => {
                    offer.client_bits.replace(Some(parse_bits(value)?)).is_none()
                }
                None if is(CLIENT_BITS) => offer.client_bits.replace(None).is_none(),
                _ => return None,
            };
            if !is_first {
                return None;
            }
        }
        Some(offer)
    }

    /// As it stands in the header.
    pub(crate) fn write(&self) -> String {
        let mut text = NAME.to_owned();
        let mut add = |parameter: &str| {
            text.push_str("; ");
            text.push_str(parameter);
        };
        if self.server_no_context {
            add(SERVER_NO_CONTEXT);
        }
        if self.client_no_context {
            add(CLIENT_NO_CONTEXT);
        }
        if let Some(bits) = self.server_bits {
            add(&format!("{SERVER_BITS}={bits}"));
        }
        match self.client_bits {
            Some(Some(bits)) => add(&format!("{CLIENT_BITS}={bits}")),
            Some(None) => add(CLIENT_BITS),
            None => {}
        }
        text
    }

    /// A server's response to the first offer that it can take, and what is agreed on then.
    pub(crate) fn answer(offers: &[Extension<'_>], deflate: &Deflate) -> Option<(Self, Agreed)> {
        let offer = offers.iter().find_map(Self::read)?;
        let less = |bits| Some(bits).filter(|&bits| bits < MAX_WINDOW_BITS);
        let server_bits = offer.server_bits.unwrap_or(MAX_WINDOW_BITS).min(deflate.server_bits);
        // Only a client that has offered it can be told to take a smaller window.
        let client_bits = match offer.client_bits {
            Some(bits) => bits.unwrap_or(MAX_WINDOW_BITS).min(deflate.client_bits),
            None => MAX_WINDOW_BITS,
        };
        let response = Self {
            server_no_context: offer.server_no_context || !deflate.server_context,
            client_no_context: offer.client_no_context || !deflate.client_context,
            server_bits: offer.server_bits.map(|_| server_bits).or(less(server_bits)),
            client_bits: less(client_bits).map(Some),
        };
        let agreed = Agreed {
            is_own_alone: response.server_no_context,
            own_bits: server_bits,
            is_peers_alone: response.client_no_context,
            peers_bits: client_bits,
        };
        Some((response, agreed))
    }
}

/// What a server's response makes of this client's offer: nothing, if it has no extension. `None` if
/// it has one that was not offered, or not so.
pub(crate) fn accept_response(
    response: &[Extension<'_>],
    deflate: Option<&Deflate>,
) -> Option<Option<Agreed>> {
    let (extension, deflate) = match (response, deflate) {
        ([], _) => return Some(None),
        ([extension], Some(deflate)) => (extension, deflate),
        _ => return None,
    };
    let (offered, response) = (Offer::of(deflate), Offer::read(extension)?);
    let limit = offered.server_bits.unwrap_or(MAX_WINDOW_BITS);
    let server_bits = response.server_bits.unwrap_or(MAX_WINDOW_BITS);
    let client_bits = match response.client_bits {
        Some(bits) => bits?.min(deflate.client_bits),
        None => deflate.client_bits,
    };
    if (offered.server_no_context && !response.server_no_context) || server_bits > limit {
        return None;
    }
    Some(Some(Agreed {
        is_own_alone: response.client_no_context || !deflate.client_context,
        own_bits: client_bits,
        is_peers_alone: response.server_no_context,
        peers_bits: server_bits,
    }))
}

/// A number from 8 to 15, without a leading zero (RFC 7692 §7.1.2).
fn parse_bits(value: &str) -> Option<u8> {
    let bits = value.parse().ok().filter(|bits| (MIN_WINDOW_BITS..=MAX_WINDOW_BITS).contains(bits));
    bits.filter(|bits: &u8| bits.to_string() == value)
}

/// Reads the values of all Sec-WebSocket-Extensions fields (RFC 6455 §9.1). `None` if they are not of
/// its form.
pub(crate) fn parse_extensions<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Option<Vec<Extension<'a>>> {
    let mut extensions = Vec::new();
    for value in values {
        let mut rest = str::from_utf8(value).ok()?.trim_ascii();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_ascii_start(); // an empty element of the list
                continue;
            }
            let name = take_token(&mut rest)?;
            let mut parameters = Vec::new();
            while let Some(after) = rest.strip_prefix(';') {
                rest = after.trim_ascii_start();
                let name = take_token(&mut rest)?;
                let value = match rest.strip_prefix('=') {
                    Some(after) => {
                        rest = after.trim_ascii_start();
                        Some(take_value(&mut rest)?)
                    }
                    None => None,
                };
                parameters.push((name, value));
                if parameters.len() > MAX_ELEMENTS {
                    return None;
                }
            }
            extensions.push(Extension { name, parameters });
            if extensions.len() > MAX_ELEMENTS || !(rest.is_empty() || rest.starts_with(',')) {
                return None;
            }
        }
    }
    Some(extensions)
}

fn take_token<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.find([';', ',', '=', ' ', '\t', '"']).unwrap_or(rest.len());
    let (token, after) = rest.split_at(end);
    *rest = after.trim_ascii_start();
    is_token(token.as_bytes()).then_some(token)
}

/// A token, or one in quotes, in which a backslash may stand before any octet.
fn take_value(rest: &mut &str) -> Option<String> {
    let Some(quoted) = rest.strip_prefix('"') else {
        return take_token(rest).map(str::to_owned);
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    loop {
        match characters.next()? {
            (end, '"') => {
                *rest = quoted[end + 1..].trim_ascii_start();
                return is_token(value.as_bytes()).then_some(value);
            }
            (_, '\\') => value.push(characters.next()?.1),
            (_, character) => value.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Option<Vec<Extension<'_>>> {
        parse_extensions([value.as_bytes()].into_iter())
    }

    fn answer(offer: &str, deflate: &Deflate) -> Option<(String, Agreed)> {
        let (response, agreed) = Offer::answer(&parse(offer)?, deflate)?;
        Some((response.write(), agreed))
    }

    fn remembering() -> Deflate {
        Deflate::new().server_context_takeover(true).client_context_takeover(true)
    }

    #[test]
    fn extensions_are_lists_of_names_with_parameters() {
        let parsed = parse("a, b; x; y=1 ; z=\"q\\u\" ,, c").expect("valid");
        let parsed: Vec<_> = parsed.iter().map(|e| (e.name, e.parameters.len())).collect();
        assert_eq!(parsed, [("a", 0), ("b", 3), ("c", 0)]);
        for wrong in
            ["a b", "a;", "a;=1", "a; x=", "a; x=\"1", "a; x=\"1 2\"", ";", "a\u{e9}", "=1"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse(""), Some(vec![]));
    }

    #[test]
    fn a_server_takes_the_first_offer_that_it_understands() {
        let no_context =
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
        for (offer, expected) in [
            ("permessage-deflate", "permessage-deflate"),
            ("x-webkit-deflate-frame, Permessage-Deflate", "permessage-deflate"),
            ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
            (
                "permessage-deflate; server_max_window_bits=\"10\"; client_max_window_bits=9",
                "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
            ),
            (
                "permessage-deflate; server_max_window_bits=15",
                "permessage-deflate; server_max_window_bits=15",
            ),
            (no_context, no_context),
            // Passed over, one after the other, up to the last.
            (
                "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=16, \
                 permessage-deflate; server_max_window_bits, \
                 permessage-deflate; server_max_window_bits=08, \
                 permessage-deflate; server_no_context_takeover=1, \
                 permessage-deflate; server_no_context_takeover; server_no_context_takeover, \
                 permessage-deflate; client_no_context_takeover",
                "permessage-deflate; client_no_context_takeover",
            ),
        ] {
            let answered = answer(offer, &remembering()).map(|(response, _)| response);
            assert_eq!(answered.as_deref(), Some(expected), "{offer}");
        }
        assert_eq!(answer("permessage-bzip2", &remembering()), None);
        assert_eq!(
            answer("permessage-deflate", &Deflate::new()).map(|(response, _)| response).as_deref(),
            Some(no_context)
        );
    }

    #[test]
    fn both_sides_come_to_the_same() {
        let settings = [
            Deflate::new(),
            remembering(),
            remembering().server_max_window_bits(8).client_max_window_bits(11),
            Deflate::new().server_context_takeover(true).server_max_window_bits(9),
        ];
        for server in &settings {
            for client in &settings {
                let offer = Offer::of(client).write();
                let (response, servers) = answer(&offer, server).expect("it is understood");
                let parsed = parse(&response).expect("valid");
                let clients = accept_response(&parsed, Some(client)).expect("it was asked for");
                let clients = clients.expect("it is agreed on");
                assert_eq!(servers.own_bits, clients.peers_bits, "{offer} {response}");
                assert_eq!(servers.is_own_alone, clients.is_peers_alone, "{offer} {response}");
                // A client may always do with less than it may.
                assert!(servers.peers_bits >= clients.own_bits, "{offer} {response}");
                assert!(servers.is_peers_alone <= clients.is_own_alone, "{offer} {response}");
            }
        }
    }

    #[test]
    fn a_client_refuses_what_it_did_not_ask_for() {
        let accept = |response: &str, deflate: Option<&Deflate>| {
            let parsed = parse(response).expect("of the right form");
            accept_response(&parsed, deflate).is_some()
        };
        let (plain, small) = (remembering(), remembering().server_max_window_bits(10));
        assert!(accept("", None));
        assert!(accept("", Some(&plain)));
        assert!(!accept("permessage-deflate", None));
        assert!(!accept("permessage-deflate, permessage-deflate", Some(&plain)));
        assert!(!accept("other", Some(&plain)));
        assert!(!accept("permessage-deflate; other", Some(&plain)));
        assert!(!accept("permessage-deflate; client_max_window_bits", Some(&plain)));
        assert!(accept("permessage-deflate; client_max_window_bits=12", Some(&plain)));
        assert!(!accept("permessage-deflate", Some(&small)));
        assert!(!accept("permessage-deflate; server_max_window_bits=11", Some(&small)));
        assert!(accept("permessage-deflate; server_max_window_bits=9", Some(&small)));
        assert!(!accept("permessage-deflate", Some(&Deflate::new())));
    }
}
