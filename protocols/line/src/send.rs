//! Sending what the other side's codec takes apart again.

use ropewalk_reactor::{Transport, Written};

use crate::Error;
use crate::codec::{Delimiter, Framing};

/// Writes lines and strings to a [`Transport`]; bring it into scope to have them there.
pub trait LineTransport {
    /// Writes `line` and CR LF behind it. A delimiter inside of `line` is not looked for: what
    /// comes from strangers is checked first, or it becomes two lines at the other end.
    #[doc(alias = "sendLine")]
    fn send_line(&mut self, line: impl AsRef<[u8]>) -> Written {
        self.send_line_with(&Delimiter::CrLf, line)
    }

    /// As [`send_line`](Self::send_line), with another delimiter.
    fn send_line_with(&mut self, delimiter: &Delimiter, line: impl AsRef<[u8]>) -> Written;

    /// Writes `string` as `framing` says.
    ///
    /// # Errors
    /// [`Error::StringTooLong`] when the prefix cannot say its length; nothing is written then.
    #[doc(alias = "sendString")]
    fn send_string(&mut self, framing: Framing, string: impl AsRef<[u8]>)
    -> Result<Written, Error>;

    /// Writes `string` as a netstring.
    fn send_netstring(&mut self, string: impl AsRef<[u8]>) -> Written {
        self.send_string(Framing::Netstring, string)
            .expect("a netstring's prefix can say every length that memory can hold")
    }
}

impl LineTransport for Transport<'_> {
    fn send_line_with(&mut self, delimiter: &Delimiter, line: impl AsRef<[u8]>) -> Written {
        self.write(line.as_ref());
        self.write(delimiter.as_bytes())
    }

    fn send_string(
        &mut self,
        framing: Framing,
        string: impl AsRef<[u8]>,
    ) -> Result<Written, Error> {
        let string = string.as_ref();
        let prefix = framing.prefix(string.len())?;
        self.write(prefix.as_bytes());
        let written = self.write(string);
        Ok(match framing.suffix() {
            [] => written,
            suffix => self.write(suffix),
        })
    }
}
