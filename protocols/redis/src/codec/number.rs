//! Decimal integers, as they stand in lengths, counts and replies.

/// The digits of `u64::MAX`, and a sign.
const LONGEST: usize = 20;

/// Reads an integer as Redis does: no sign but `-`, no leading zero, nothing beside it.
///
/// ```
/// # use ropewalk_redis::codec::parse_integer;
/// assert_eq!(parse_integer(b"-42"), Some(-42));
/// assert_eq!(parse_integer(b"042"), None);
/// ```
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    if let [digit @ b'0'..=b'9'] = text {
        return Some(i64::from(digit - b'0'));
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (b'1'..=b'9', 1..LONGEST) = (digits.first()?, digits.len()) else { return None };
    let mut number: i64 = 0;
    for digit in digits {
        let digit @ b'0'..=b'9' = digit else { return None };
        let digit = i64::from(digit - b'0');
        number = number.checked_mul(10)?;
        // Downwards where it is negative: i64::MIN has no counterpart.
        number = number.checked_add(if negative { -digit } else { digit })?;
    }
    Some(number)
}

/// Appends `number` in decimal.
pub fn push_integer(out: &mut Vec<u8>, number: i64) {
    if let 0..=9 = number {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0; LONGEST];
    let mut at = LONGEST;
    let mut rest = number.unsigned_abs();
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_as_they_went() {
        for number in [0, 1, 9, 10, 99, 100, -1, -10, 1 << 40, i64::MAX, i64::MIN, i64::MIN + 1] {
            let mut text = Vec::new();
            push_integer(&mut text, number);
            assert_eq!(text, number.to_string().as_bytes());
            assert_eq!(parse_integer(&text), Some(number));
        }
    }

    #[test]
    fn what_redis_takes_for_no_integer_is_none() {
        for text in
            ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "x", "9223372036854775808"]
        {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_integer(b"-9223372036854775809"), None);
        assert_eq!(parse_integer(&[b'1'; 40]), None);
    }
}
