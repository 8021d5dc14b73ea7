//! A field's value, with the letters that RabbitMQ gives the types.
//!
//! Borrowed and `Copy`: strings, arrays and tables stay where they lie encoded. Each letter has
//! its own variant, so that what is read and written again keeps its type.

use super::{Array, ArrayBuf, LongStr, ShortStr, Table, TableBuf};

/// A value in a field table or array (AMQP 0-9-1 section 4.2.1, as RabbitMQ reads it).
///
/// RabbitMQ differs from the specification: `s` is a signed 16-bit integer, no short string;
/// `l` and `L` are both signed 64-bit; `x` is a byte array.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `t`: any octet but 0 is true.
    Bool(bool),
    /// `b`: a signed octet.
    ShortShortInt(i8),
    /// `B`: an unsigned octet.
    ShortShortUint(u8),
    /// `s`: signed, 16 bits.
    ShortInt(i16),
    /// `u`: unsigned, 16 bits.
    ShortUint(u16),
    /// `I`: signed, 32 bits.
    LongInt(i32),
    /// `i`: unsigned, 32 bits.
    LongUint(u32),
    /// `l`: signed, 64 bits. What RabbitMQ and its clients write.
    LongLongInt(i64),
    /// `L`: signed, 64 bits too, by its other letter.
    LongLongIntUpper(i64),
    /// `f`: IEEE 754 binary32.
    Float(f32),
    /// `d`: IEEE 754 binary64.
    Double(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// How many decimal digits stand after the point.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: text by custom, any octets in fact.
    LongStr(LongStr<'a>),
    /// `A`: values without names.
    Array(Array<'a>),
    /// `T`: seconds since 1970-01-01T00:00:00Z.
    Timestamp(u64),
    /// `F`: a table within the table.
    Table(Table<'a>),
    /// `V`: a field that is there and has no value.
    Void,
    /// `x`: octets.
    ByteArray(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The letter that stands for the type on the wire.
    #[must_use]
    pub const fn type_letter(self) -> u8 {
        match self {
            Self::Bool(_) => b't',
            Self::ShortShortInt(_) => b'b',
            Self::ShortShortUint(_) => b'B',
            Self::ShortInt(_) => b's',
            Self::ShortUint(_) => b'u',
            Self::LongInt(_) => b'I',
            Self::LongUint(_) => b'i',
            Self::LongLongInt(_) => b'l',
            Self::LongLongIntUpper(_) => b'L',
            Self::Float(_) => b'f',
            Self::Double(_) => b'd',
            Self::Decimal { .. } => b'D',
            Self::LongStr(_) => b'S',
            Self::Array(_) => b'A',
            Self::Timestamp(_) => b'T',
            Self::Table(_) => b'F',
            Self::Void => b'V',
            Self::ByteArray(_) => b'x',
        }
    }

    /// The name that RabbitMQ's error texts give the type, such as `longstr` or `signedint`.
    #[must_use]
    pub const fn type_name(self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::ShortShortInt(_) => "byte",
            Self::ShortShortUint(_) => "unsignedbyte",
            Self::ShortInt(_) => "short",
            Self::ShortUint(_) => "unsignedshort",
            Self::LongInt(_) => "signedint",
            Self::LongUint(_) => "unsignedint",
            Self::LongLongInt(_) | Self::LongLongIntUpper(_) => "long",
            Self::Float(_) => "float",
            Self::Double(_) => "double",
            Self::Decimal { .. } => "decimal",
            Self::LongStr(_) => "longstr",
            Self::Array(_) => "array",
            Self::Timestamp(_) => "timestamp",
            Self::Table(_) => "table",
            Self::Void => "void",
            Self::ByteArray(_) => "binary",
        }
    }

    /// The number, for an integer of any width; a timestamp is none.
    #[must_use]
    pub const fn as_integer(self) -> Option<i64> {
        match self {
            Self::ShortShortInt(value) => Some(value as i64),
            Self::ShortShortUint(value) => Some(value as i64),
            Self::ShortInt(value) => Some(value as i64),
            Self::ShortUint(value) => Some(value as i64),
            Self::LongInt(value) => Some(value as i64),
            Self::LongUint(value) => Some(value as i64),
            Self::LongLongInt(value) | Self::LongLongIntUpper(value) => Some(value),
            _ => None,
        }
    }

    /// The truth value, for a `t`.
    #[must_use]
    pub const fn as_bool(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The octets, for a longstr or a byte array.
    #[must_use]
    pub const fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::LongStr(LongStr(octets)) | Self::ByteArray(octets) => Some(octets),
            _ => None,
        }
    }

    /// The text, for a longstr that is UTF-8.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::LongStr(text) => text.as_str(),
            _ => None,
        }
    }

    /// The array, for an `A`.
    #[must_use]
    pub const fn as_array(self) -> Option<Array<'a>> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// The table, for an `F`.
    #[must_use]
    pub const fn as_table(self) -> Option<Table<'a>> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The value at the front of `input`, and what follows it. `None` if it is cut off, or its
    /// letter unknown.
    ///
    /// It does not look into arrays and tables: `input` has to be checked before.
    pub(super) fn split_from(input: &'a [u8]) -> Option<(Value<'a>, &'a [u8])> {
        let (&letter, rest) = input.split_first()?;
        macro_rules! fixed {
            ($make:expr, $type:ty) => {{
                let (octets, rest) = rest.split_first_chunk()?;
                ($make(<$type>::from_be_bytes(*octets)), rest)
            }};
        }
        macro_rules! counted {
            ($make:expr) => {{
                let (len, rest) = rest.split_first_chunk()?;
                let (octets, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
                ($make(octets), rest)
            }};
        }
        Some(match letter {
            b't' => fixed!(|octet| Self::Bool(octet != 0), u8),
            b'b' => fixed!(Self::ShortShortInt, i8),
            b'B' => fixed!(Self::ShortShortUint, u8),
            b's' => fixed!(Self::ShortInt, i16),
            b'u' => fixed!(Self::ShortUint, u16),
            b'I' => fixed!(Self::LongInt, i32),
            b'i' => fixed!(Self::LongUint, u32),
            b'l' => fixed!(Self::LongLongInt, i64),
            b'L' => fixed!(Self::LongLongIntUpper, i64),
            b'f' => fixed!(Self::Float, f32),
            b'd' => fixed!(Self::Double, f64),
            b'D' => {
                let (&scale, rest) = rest.split_first()?;
                let (octets, rest) = rest.split_first_chunk()?;
                (Self::Decimal { scale, value: u32::from_be_bytes(*octets) }, rest)
            }
            b'S' => counted!(|octets| Self::LongStr(LongStr(octets))),
            b'A' => counted!(|octets| Self::Array(Array::checked(octets))),
            b'T' => fixed!(Self::Timestamp, u64),
            b'F' => counted!(|octets| Self::Table(Table::checked(octets))),
            b'V' => (Self::Void, rest),
            b'x' => counted!(Self::ByteArray),
            _ => return None,
        })
    }

    /// Appends the letter and the value. The caller has seen to it that lengths fit 32 bits.
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.push(self.type_letter());
        let counted = |octets: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(&(octets.len() as u32).to_be_bytes());
            out.extend_from_slice(octets);
        };
        match self {
            Self::Bool(value) => out.push(u8::from(value)),
            Self::ShortShortInt(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::ShortShortUint(value) => out.push(value),
            Self::ShortInt(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::ShortUint(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::LongInt(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::LongUint(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::LongLongInt(value) | Self::LongLongIntUpper(value) => {
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::Float(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Double(value) => out.extend_from_slice(&value.to_be_bytes()),
            Self::Decimal { scale, value } => {
                out.push(scale);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Self::LongStr(LongStr(octets)) | Self::ByteArray(octets) => counted(octets, out),
            Self::Array(array) => counted(array.as_bytes(), out),
            Self::Timestamp(seconds) => out.extend_from_slice(&seconds.to_be_bytes()),
            Self::Table(table) => counted(table.as_bytes(), out),
            Self::Void => {}
        }
    }
}

macro_rules! values_from {
    ($($from:ty => $variant:ident),* $(,)?) => {$(
        impl<'a> From<$from> for Value<'a> {
            fn from(value: $from) -> Value<'a> {
                Value::$variant(value)
            }
        }
    )*};
}

values_from! {
    bool => Bool,
    i8 => ShortShortInt,
    u8 => ShortShortUint,
    i16 => ShortInt,
    u16 => ShortUint,
    i32 => LongInt,
    u32 => LongUint,
    i64 => LongLongInt,
    f32 => Float,
    f64 => Double,
    LongStr<'a> => LongStr,
    Array<'a> => Array,
    Table<'a> => Table,
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Value<'a> {
        Value::LongStr(LongStr(text.as_bytes()))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(octets: &'a [u8]) -> Value<'a> {
        Value::LongStr(LongStr(octets))
    }
}

impl<'a> From<ShortStr<'a>> for Value<'a> {
    fn from(text: ShortStr<'a>) -> Value<'a> {
        Value::LongStr(LongStr(text.as_bytes()))
    }
}

impl<'a> From<&'a TableBuf> for Value<'a> {
    fn from(table: &'a TableBuf) -> Value<'a> {
        Value::Table(table.as_table())
    }
}

impl<'a> From<&'a ArrayBuf> for Value<'a> {
    fn from(array: &'a ArrayBuf) -> Value<'a> {
        Value::Array(array.as_array())
    }
}
