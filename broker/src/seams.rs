//! What the broker asks of its caller: randomness, and the meaning of a message's properties.
//!
//! Both are pure from the broker's side: they never call back into it. Time comes in as an
//! argument of [`Broker::tick`](crate::Broker::tick).

use crate::value::{Table, Value};

/// Gives random bytes: for the names that the broker makes up, and for the key of its hash maps.
/// In production it must be secure, since a reply queue's name is a secret; in a simulation it
/// is seeded. Every `FnMut(&mut [u8]) + Send` is one.
pub trait Entropy: Send {
    /// Fills `bytes`.
    fn fill(&mut self, bytes: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Entropy for F {
    fn fill(&mut self, bytes: &mut [u8]) {
        self(bytes);
    }
}

/// Reads and rewrites properties in the encoding in which messages carry them.
///
/// The broker keeps properties as the bytes that came and hands on the same bytes. Only what
/// needs headers (a headers exchange, CC and BCC, dead-lettering) asks, and only then.
pub trait PropertyCodec: Send {
    /// The headers; empty if there are none.
    fn headers(&self, properties: &[u8]) -> Table;

    /// One header. The default decodes them all; a codec can do better.
    fn header(&self, properties: &[u8], name: &[u8]) -> Option<Value> {
        self.headers(properties).remove(name)
    }

    /// The properties with `edit` made, all else as it was.
    fn edit(&self, properties: &[u8], edit: &PropertyEdit<'_>) -> Vec<u8>;
}

/// A change to a message's properties.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PropertyEdit<'a> {
    /// The headers to carry in place of the old ones; `None` leaves them.
    pub headers: Option<&'a Table>,
    /// Whether to take the expiration out.
    pub remove_expiration: bool,
    /// A new reply-to; `None` leaves it.
    pub reply_to: Option<&'a [u8]>,
}

/// For protocols whose messages have no headers: there are none, and edits change nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHeaders;

impl PropertyCodec for NoHeaders {
    fn headers(&self, _properties: &[u8]) -> Table {
        Table::new()
    }

    fn edit(&self, properties: &[u8], _edit: &PropertyEdit<'_>) -> Vec<u8> {
        properties.to_vec()
    }
}
