//! Arguments and headers as neutral values, and tables of them.
//!
//! They mirror what AMQP's field tables can say (RabbitMQ's set of types), without their
//! encoding: the codec of a protocol converts. Order within a table is kept.

use std::fmt;

use bytes::Bytes;

/// A value of an argument or header.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// No value; in a headers binding, "the header exists".
    Void,
    /// `t`.
    Bool(bool),
    /// `b`.
    I8(i8),
    /// `B`.
    U8(u8),
    /// `s`.
    I16(i16),
    /// `u`.
    U16(u16),
    /// `I`.
    I32(i32),
    /// `i`.
    U32(u32),
    /// `l` and `L`.
    I64(i64),
    /// `f`.
    F32(f32),
    /// `d`.
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`.
    Decimal {
        /// The number of decimal places.
        scale: u8,
        /// The digits.
        value: u32,
    },
    /// `S`: text, or any bytes.
    String(Bytes),
    /// `x`.
    Binary(Bytes),
    /// `T`: seconds since the Unix epoch.
    Timestamp(u64),
    /// `A`.
    Array(Vec<Value>),
    /// `F`.
    Table(Table),
}

impl Value {
    /// A text value.
    pub fn text(text: impl AsRef<[u8]>) -> Value {
        Value::String(Bytes::copy_from_slice(text.as_ref()))
    }

    /// The number, for every integer type: sizes compare by value.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match *self {
            Value::I8(n) => n.into(),
            Value::U8(n) => n.into(),
            Value::I16(n) => n.into(),
            Value::U16(n) => n.into(),
            Value::I32(n) => n.into(),
            Value::U32(n) => n.into(),
            Value::I64(n) => n,
            _ => return None,
        })
    }

    /// The bytes of a text value.
    pub fn as_text(&self) -> Option<&[u8]> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The type's name as RabbitMQ's error texts give it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Void => "void",
            Value::Bool(_) => "bool",
            Value::I8(_) => "byte",
            Value::U8(_) => "unsignedbyte",
            Value::I16(_) => "short",
            Value::U16(_) => "unsignedshort",
            Value::I32(_) => "signedint",
            Value::U32(_) => "unsignedint",
            Value::I64(_) => "long",
            Value::F32(_) => "float",
            Value::F64(_) => "double",
            Value::Decimal { .. } => "decimal",
            Value::String(_) => "longstr",
            Value::Binary(_) => "binary",
            Value::Timestamp(_) => "timestamp",
            Value::Array(_) => "array",
            Value::Table(_) => "table",
        }
    }

    /// Whether two values are the same to a broker: integers and floats of different sizes
    /// compare by value, other types must agree (a headers binding tells 5 from "5").
    pub fn equivalent(&self, other: &Value) -> bool {
        if let (Some(a), Some(b)) = (self.as_integer(), other.as_integer()) {
            return a == b;
        }
        match (self, other) {
            (Value::F32(a), Value::F64(b)) | (Value::F64(b), Value::F32(a)) => f64::from(*a) == *b,
            _ => self == other,
        }
    }
}

impl Value {
    /// Whether a header of this value is what a headers binding asks for: numbers compare as
    /// numbers, a timestamp is one too, and text and bytes are the same. RabbitMQ compares what
    /// Erlang makes of them.
    pub(crate) fn matches(&self, wanted: &Value) -> bool {
        if let (Some(a), Some(b)) = (self.number(), wanted.number()) {
            return a == b;
        }
        match (self, wanted) {
            (Value::String(a) | Value::Binary(a), Value::String(b) | Value::Binary(b)) => a == b,
            _ => self == wanted,
        }
    }

    fn number(&self) -> Option<Number> {
        Some(match self {
            Value::F32(value) => Number::Float(f64::from(*value)),
            Value::F64(value) => Number::Float(*value),
            Value::Timestamp(seconds) => Number::Integer((*seconds).into()),
            _ => Number::Integer(self.as_integer()?.into()),
        })
    }
}

/// A value that is a number, whatever its type.
#[derive(Clone, Copy)]
enum Number {
    Integer(i128),
    Float(f64),
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        match (*self, *other) {
            (Number::Integer(a), Number::Integer(b)) => a == b,
            (Number::Float(a), Number::Float(b)) => a == b,
            // Exact for all that a float can tell apart: none of 2^53 and above stays a fraction.
            (Number::Integer(a), Number::Float(b)) | (Number::Float(b), Number::Integer(a)) => {
                b.fract() == 0.0 && b.abs() < 1e30 && b as i128 == a
            }
        }
    }
}

/// As RabbitMQ's texts show a value: text bare, the rest as Erlang prints it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Void => f.write_str("undefined"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::F32(value) => write!(f, "{value:?}"),
            Value::F64(value) => write!(f, "{value:?}"),
            Value::Decimal { scale, value } => write!(f, "{{{scale},{value}}}"),
            Value::String(text) | Value::Binary(text) => {
                f.write_str(&String::from_utf8_lossy(text))
            }
            Value::Timestamp(seconds) => write!(f, "{seconds}"),
            Value::Array(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("]")
            }
            Value::Table(table) => {
                f.write_str("[")?;
                for (at, (name, value)) in table.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{{{},{value}}}", String::from_utf8_lossy(name))?;
                }
                f.write_str("]")
            }
            integer => write!(f, "{}", integer.as_integer().unwrap_or_default()),
        }
    }
}

/// Named values in the order given. Looking up scans: tables are short.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    entries: Vec<(Bytes, Value)>,
}

impl Table {
    /// An empty table.
    pub const fn new() -> Table {
        Table { entries: Vec::new() }
    }

    /// The value of `name`, the first if it is there twice.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&Value> {
        let name = name.as_ref();
        self.entries.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Sets `name` to `value`, in place if it is there, else at the end.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: Value) {
        let name = name.as_ref();
        match self.entries.iter_mut().find(|(key, _)| key == name) {
            Some((_, old)) => *old = value,
            None => self.entries.push((Bytes::copy_from_slice(name), value)),
        }
    }

    /// Adds an entry at the end without looking for its name, as a decoder does.
    pub fn push(&mut self, name: Bytes, value: Value) {
        self.entries.push((name, value));
    }

    /// Takes the value of `name` out.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> Option<Value> {
        let name = name.as_ref();
        let at = self.entries.iter().position(|(key, _)| key == name)?;
        Some(self.entries.remove(at).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.entries.iter().map(|(name, value)| (&name[..], value))
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether both tables say the same, in whatever order.
    pub fn same_entries(&self, other: &Table) -> bool {
        self.len() == other.len()
            && self.entries.iter().all(|(name, value)| other.get(name) == Some(value))
    }
}

impl<N: AsRef<[u8]>> FromIterator<(N, Value)> for Table {
    fn from_iter<I: IntoIterator<Item = (N, Value)>>(entries: I) -> Table {
        let mut table = Table::new();
        for (name, value) in entries {
            table.push(Bytes::copy_from_slice(name.as_ref()), value);
        }
        table
    }
}

impl<N: AsRef<[u8]>, const COUNT: usize> From<[(N, Value); COUNT]> for Table {
    fn from(entries: [(N, Value); COUNT]) -> Table {
        entries.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_compare_by_value_and_text_is_not_a_number() {
        assert!(Value::I16(5).equivalent(&Value::I64(5)));
        assert!(!Value::I16(5).equivalent(&Value::text("5")));
        assert!(Value::F32(0.5).equivalent(&Value::F64(0.5)));
        assert!(!Value::I32(1).equivalent(&Value::F64(1.0)));
    }

    #[test]
    fn tables_are_the_same_in_any_order() {
        let one = Table::from([("a", Value::I32(1)), ("b", Value::Void)]);
        let two = Table::from([("b", Value::Void), ("a", Value::I32(1))]);
        assert!(one.same_entries(&two));
        assert_ne!(one, two);
        assert!(!one.same_entries(&Table::from([("a", Value::I32(1))])));
    }
}
