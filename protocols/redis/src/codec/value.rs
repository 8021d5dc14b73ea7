//! A reply as a value: what RESP2 and RESP3 can say.

use bytes::Bytes;

/// What a server answers, or pushes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A short text without line ends: `+OK`.
    Simple(Bytes),
    /// An error, its code first: `-ERR no such thing`. RESP3 has a form for long ones, too.
    Error(Bytes),
    /// A number.
    Integer(i64),
    /// Any bytes.
    Bulk(Bytes),
    /// Nothing: RESP2's null string and null array, RESP3's null.
    Null,
    /// Values in order.
    Array(Vec<Value>),
    /// Something that is no reply: a message of a channel, say (RESP3).
    Push(Vec<Value>),
    /// Pairs in order (RESP3).
    Map(Vec<(Value, Value)>),
    /// Values without an order (RESP3).
    Set(Vec<Value>),
    /// A floating point number (RESP3).
    Double(f64),
    /// True or false (RESP3).
    Boolean(bool),
    /// A number of any size, in decimal (RESP3).
    BigNumber(Bytes),
    /// Text, and what kind of it: `txt`, `mkd` (RESP3).
    Verbatim([u8; 3], Bytes),
}

impl Value {
    /// The bytes of a text of any kind, errors included.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Simple(bytes)
            | Self::Error(bytes)
            | Self::Bulk(bytes)
            | Self::BigNumber(bytes)
            | Self::Verbatim(_, bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The number, where it is one.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    /// The values in an array, a push or a set.
    pub fn as_items(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) | Self::Push(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    /// What belongs to `key`: in a map, or in an array of keys and values in turn, as RESP2 has it.
    pub fn get(&self, key: &[u8]) -> Option<&Self> {
        let is_it = |value: &Self| value.as_bytes().is_some_and(|bytes| bytes == key);
        match self {
            Self::Map(pairs) => pairs.iter().find(|(name, _)| is_it(name)).map(|(_, value)| value),
            Self::Array(items) => {
                items.chunks_exact(2).find(|pair| is_it(&pair[0])).map(|pair| &pair[1])
            }
            _ => None,
        }
    }
}
