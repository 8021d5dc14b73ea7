//! Framing for Ropewalk: lines with a raw mode, netstrings, and strings with an 8, 16 or 32 bit
//! length before them.
//!
//! A [`LineProtocol`] is handed whole lines by [`Lines`], a [`StringProtocol`] whole strings by
//! [`Strings`]; both adapters are what the reactor sees as the protocol. The one rule: nothing is
//! delivered that the limits do not allow, nor while reading is paused, nor once the connection is
//! closing.
//!
//! ```
//! use ropewalk_line::{LineProtocol, LineTransport, Lines};
//! use ropewalk_reactor::{Reactor, Result, Transport};
//!
//! struct Greeter;
//!
//! impl LineProtocol for Greeter {
//!     fn line_received(&mut self, transport: &mut Transport<'_>, line: &[u8]) -> Result {
//!         transport.write(b"hello, ");
//!         transport.send_line(line);
//!         Ok(())
//!     }
//! }
//!
//! # fn main() -> Result {
//! let mut reactor = Reactor::new()?;
//! reactor.listen("127.0.0.1:0", |_| Lines::new(Greeter).max_length(512))?;
//! # reactor.stop();
//! reactor.run()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

pub mod codec;
pub mod echo;
mod error;
mod lines;
mod send;
mod strings;

pub use codec::{Delimiter, Framing};
pub use error::Error;
pub use lines::{LineProtocol, Lines, Mode};
pub use send::LineTransport;
pub use strings::{StringProtocol, Strings};
