//! A message as a subscriber gets it.

use bytes::Bytes;

use super::Kind;
use crate::codec::Value;

/// What somebody has published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Where it was published.
    pub channel: Bytes,
    /// The pattern that it came by, where that was what was subscribed to.
    pub pattern: Option<Bytes>,
    /// What it says.
    pub payload: Bytes,
}

/// What comes on a connection that is subscribed, besides replies.
#[derive(Debug)]
pub(crate) enum Event {
    Message(Kind, Message),
    /// The server has taken a subscription.
    Subscribed(Kind, Bytes),
    /// A subscription has ended, as it was asked for.
    Unsubscribed(Kind, Bytes),
}

impl Event {
    /// Reads an array (RESP2) or a push (RESP3); `None` if it is something else.
    pub(crate) fn read(value: &Value) -> Option<Self> {
        let items = value.as_items()?;
        let text = |at: usize| items.get(at).and_then(Value::as_bytes).cloned();
        let word = text(0)?;
        Some(match (&word[..], items.len()) {
            (b"message", 3) => Self::Message(Kind::Channel, message(text(1)?, None, text(2)?)),
            (b"smessage", 3) => Self::Message(Kind::Shard, message(text(1)?, None, text(2)?)),
            (b"pmessage", 4) => {
                Self::Message(Kind::Pattern, message(text(2)?, Some(text(1)?), text(3)?))
            }
            (b"subscribe", 3) => Self::Subscribed(Kind::Channel, text(1)?),
            (b"psubscribe", 3) => Self::Subscribed(Kind::Pattern, text(1)?),
            (b"ssubscribe", 3) => Self::Subscribed(Kind::Shard, text(1)?),
            (b"unsubscribe", 3) => Self::Unsubscribed(Kind::Channel, text(1)?),
            (b"punsubscribe", 3) => Self::Unsubscribed(Kind::Pattern, text(1)?),
            (b"sunsubscribe", 3) => Self::Unsubscribed(Kind::Shard, text(1)?),
            _ => return None,
        })
    }
}

fn message(channel: Bytes, pattern: Option<Bytes>, payload: Bytes) -> Message {
    Message { channel, pattern, payload }
}
