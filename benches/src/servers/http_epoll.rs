//! The least that can be called an HTTP server: each blank line is answered with the same
//! bytes, and a `Date` that is renewed each second. It reads no request: no parser can beat it.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use super::raw::{self, Connection};
use super::{HELLO, listen};

const BLANK_LINE: &[u8] = b"\r\n\r\n";

pub(super) fn run() -> io::Result<()> {
    let mut answer = Answer { second: 0, bytes: Vec::new() };
    let mut out = Vec::new();
    raw::serve(&listen()?, |connection: &mut Connection, data: &[u8]| {
        out.clear();
        let mut kept = std::mem::take(&mut connection.kept);
        if kept.is_empty() {
            let taken = answer_all(data, &mut answer, &mut out);
            kept.extend_from_slice(&data[taken..]);
        } else {
            kept.extend_from_slice(data);
            let taken = answer_all(&kept, &mut answer, &mut out);
            kept.drain(..taken);
        }
        connection.kept = kept;
        if out.is_empty() { Ok(()) } else { connection.send(&out) }
    })
}

/// Answers every request that is whole, and says how many bytes they took.
fn answer_all(data: &[u8], answer: &mut Answer, out: &mut Vec<u8>) -> usize {
    answer.renew();
    let mut taken = 0;
    // Requests of this benchmark are short: a search byte by byte costs less than setting up
    // a cleverer one.
    let mut at = 0;
    while at + BLANK_LINE.len() <= data.len() {
        if data[at] == b'\r' && data[at..].starts_with(BLANK_LINE) {
            out.extend_from_slice(&answer.bytes);
            at += BLANK_LINE.len();
            taken = at;
        } else {
            at += 1;
        }
    }
    taken
}

struct Answer {
    second: u64,
    bytes: Vec<u8>,
}

impl Answer {
    fn renew(&mut self) {
        let now = SystemTime::now();
        let second = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if second != self.second {
            self.second = second;
            self.bytes = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
                 Date: {}\r\n\r\n{HELLO}",
                HELLO.len(),
                httpdate::fmt_http_date(now),
            )
            .into_bytes();
        }
    }
}
