//! Writing heads: status lines and fields.

use crate::{Headers, Status};

/// Writes `HTTP/1.1 200 OK` and its CRLF. The version is this server's own, whatever the client's
/// (RFC 9110 §6.2).
pub(crate) fn write_status_line(out: &mut Vec<u8>, status: Status) {
    match status.line() {
        Some(line) => out.extend_from_slice(line),
        None => {
            out.extend_from_slice(b"HTTP/1.1 ");
            write_number(out, u64::from(status.code()));
            out.extend_from_slice(b" \r\n");
        }
    }
}

/// Writes a field. The caller vouches for it: what is in [`Headers`] is valid.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Writes all fields, in order.
pub(crate) fn write_fields(out: &mut Vec<u8>, headers: &Headers) {
    for (name, value) in headers.iter() {
        write_field(out, name.as_bytes(), value);
    }
}

/// Writes a Content-Length field.
pub(crate) fn write_content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"Content-Length: ");
    write_number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Writes a number in decimal, without the machinery of formatting.
fn write_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20]; // as many as u64::MAX has
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_unregistered_statuses_are_written_in_full() {
        let mut out = Vec::new();
        write_content_length(&mut out, 0);
        write_content_length(&mut out, u64::MAX);
        write_status_line(&mut out, Status::from_code(299).expect("three digits"));
        write_status_line(&mut out, Status::NOT_FOUND);
        assert_eq!(
            String::from_utf8_lossy(&out),
            "Content-Length: 0\r\nContent-Length: 18446744073709551615\r\nHTTP/1.1 299 \r\n\
             HTTP/1.1 404 Not Found\r\n"
        );
    }
}
