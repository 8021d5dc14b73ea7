//! Writing: replies in the form that a connection speaks, and commands.

use super::Version;
use super::number::push_integer;

/// Appends replies to a buffer. What RESP2 has no form for becomes what Redis makes of it there.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    version: Version,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, version: Version) -> Self {
        Self { out, version }
    }

    /// `+OK`, say. Line ends become spaces, or the stream could not be read any more.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error, its code first: `ERR no such thing`. Line ends become spaces.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.line(b'-', text.as_ref());
    }

    /// A number.
    pub fn integer(&mut self, number: i64) {
        self.number(b':', number);
    }

    /// Any bytes.
    pub fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.number(b'$', bytes.len() as i64);
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Nothing.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
    }

    /// The head of `length` values.
    pub fn array(&mut self, length: usize) {
        self.number(b'*', length as i64);
    }

    /// The head of `length` pairs; in RESP2 an array of twice as many.
    pub fn map(&mut self, length: usize) {
        match self.version {
            Version::Resp2 => self.array(2 * length),
            Version::Resp3 => self.number(b'%', length as i64),
        }
    }

    /// The head of `length` values without an order; in RESP2 an array.
    pub fn set(&mut self, length: usize) {
        match self.version {
            Version::Resp2 => self.array(length),
            Version::Resp3 => self.number(b'~', length as i64),
        }
    }

    /// The head of `length` values that are no reply; in RESP2 an array.
    pub fn push(&mut self, length: usize) {
        match self.version {
            Version::Resp2 => self.array(length),
            Version::Resp3 => self.number(b'>', length as i64),
        }
    }

    /// True or false; in RESP2 one or zero.
    pub fn boolean(&mut self, value: bool) {
        match self.version {
            Version::Resp2 => self.integer(value.into()),
            Version::Resp3 => self.out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A floating point number; in RESP2 a string.
    pub fn double(&mut self, number: f64) {
        let text = match number {
            _ if number.is_nan() => "nan".to_owned(),
            f64::INFINITY => "inf".to_owned(),
            f64::NEG_INFINITY => "-inf".to_owned(),
            number => format!("{number}"),
        };
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A number of any size in decimal; in RESP2 a string.
    pub fn big_number(&mut self, digits: &str) {
        match self.version {
            Version::Resp2 => self.bulk(digits),
            Version::Resp3 => self.line(b'(', digits.as_bytes()),
        }
    }

    /// Text for people; in RESP2 a string.
    pub fn verbatim(&mut self, text: impl AsRef<[u8]>) {
        let text = text.as_ref();
        match self.version {
            Version::Resp2 => self.bulk(text),
            Version::Resp3 => {
                self.number(b'=', text.len() as i64 + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    fn number(&mut self, kind: u8, number: i64) {
        self.out.push(kind);
        push_integer(self.out, number);
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend(text.iter().map(|&byte| match byte {
            b'\r' | b'\n' => b' ',
            byte => byte,
        }));
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Appends a command, as clients send it.
pub fn encode_command(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    let mut encoder = Encoder::new(out, Version::Resp2);
    encoder.array(arguments.len());
    for argument in arguments {
        encoder.bulk(argument);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, write: impl FnOnce(&mut Encoder<'_>)) -> String {
        let mut out = Vec::new();
        write(&mut Encoder::new(&mut out, version));
        String::from_utf8(out).expect("it is ASCII")
    }

    #[test]
    fn what_resp2_lacks_becomes_what_redis_makes_of_it() {
        type Write = fn(&mut Encoder<'_>);
        let cases: [(Write, &str, &str); 11] = [
            (|to| to.null(), "$-1\r\n", "_\r\n"),
            (|to| to.map(2), "*4\r\n", "%2\r\n"),
            (|to| to.set(2), "*2\r\n", "~2\r\n"),
            (|to| to.push(3), "*3\r\n", ">3\r\n"),
            (|to| to.boolean(true), ":1\r\n", "#t\r\n"),
            (|to| to.boolean(false), ":0\r\n", "#f\r\n"),
            (|to| to.double(1.5), "$3\r\n1.5\r\n", ",1.5\r\n"),
            (|to| to.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (|to| to.big_number("-123"), "$4\r\n-123\r\n", "(-123\r\n"),
            (|to| to.verbatim("ab"), "$2\r\nab\r\n", "=6\r\ntxt:ab\r\n"),
            (|to| to.integer(-1), ":-1\r\n", ":-1\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(Version::Resp2, write), resp2);
            assert_eq!(written(Version::Resp3, write), resp3);
        }
    }

    #[test]
    fn no_line_ends_in_the_middle() {
        assert_eq!(written(Version::Resp2, |to| to.error("ERR a\r\nb")), "-ERR a  b\r\n");
        assert_eq!(written(Version::Resp3, |to| to.simple("a\nb")), "+a b\r\n");
    }
}
