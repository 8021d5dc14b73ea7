//! Percent-encoding (RFC 3986 §2.1), as far as addresses need it: a path or a value with a `?`,
//! a `&` or a `%` in it is written with `%3F`, `%26` or `%25`.

/// The bytes that `given` stands for.
pub(crate) fn decode(given: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(given.len());
    let mut rest = given.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.split_first_chunk().and_then(|(digits, behind)| {
            rest = behind;
            hexadecimal(*digits)
        });
        bytes.push(digits.ok_or("a % stands before two hexadecimal digits; write %25 for itself")?);
    }
    Ok(bytes)
}

fn hexadecimal(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? * 16 + low?).ok()
}

/// `bytes` as they stand in an address: readable where they can be.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut shown = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || matches!(character, ' ' | '%' | '?' | '&' | '#') {
                let mut buffer = [0; 4];
                encoded(character.encode_utf8(&mut buffer).as_bytes(), &mut shown);
            } else {
                shown.push(character);
            }
        }
        encoded(chunk.invalid(), &mut shown);
    }
    shown
}

fn encoded(bytes: &[u8], shown: &mut String) {
    for byte in bytes {
        shown.push_str(&format!("%{byte:02X}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_readable_and_decodes_to_itself() {
        for (bytes, shown) in [
            (&b"/run/app.sock"[..], "/run/app.sock"),
            ("/tmp/zoë".as_bytes(), "/tmp/zoë"),
            (b"100% of a&b? #1", "100%25%20of%20a%26b%3F%20%231"),
            (b"\xff\0\n", "%FF%00%0A"),
        ] {
            assert_eq!(encode(bytes), shown);
            assert_eq!(decode(shown).as_deref(), Ok(bytes));
        }
        assert_eq!(decode("%2f%2F").as_deref(), Ok(&b"//"[..]));
    }

    #[test]
    fn a_stray_percent_sign_is_an_error() {
        for given in ["%", "%2", "100%", "%zz", "%+1", "% 1"] {
            assert!(decode(given).is_err(), "{given}");
        }
    }
}
