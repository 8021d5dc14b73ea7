//! Field tables and arrays as they lie on the wire, checked once and read in place.
//!
//! A table is kept encoded, never as a tree: nothing recurses over what a peer has nested,
//! nothing is allocated for a field, and what is passed on keeps every octet. The one rule:
//! whoever holds a [`Table`] or an [`Array`] holds one that has been checked to the last field.

use super::table_check::{Kind, check};
use super::{ShortStr, TableError, Value};
use std::{fmt, iter::FusedIterator};

/// A field table: names and values, in the order in which they were sent.
///
/// Reading one is a scan, O(octets); tables are short. A name may occur twice, since RabbitMQ
/// lets it: the first one counts. Equality is that of the octets.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Table<'a> {
    /// Without the length in front.
    encoded: &'a [u8],
}

/// A field array: values, in order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Array<'a> {
    /// Without the length in front.
    encoded: &'a [u8],
}

impl<'a> Table<'a> {
    /// The table without fields.
    pub const EMPTY: Table<'static> = Table { encoded: &[] };

    /// Checks the fields in `encoded`, which begins after the four octets of the length.
    pub fn new(encoded: &'a [u8]) -> Result<Table<'a>, TableError> {
        check(encoded, Kind::Table)?;
        Ok(Table { encoded })
    }

    /// For octets that lie within a table that has been checked.
    pub(super) const fn checked(encoded: &'a [u8]) -> Table<'a> {
        Table { encoded }
    }

    /// The encoded fields, without the length in front.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.encoded
    }

    /// Whether it has no field.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.encoded.is_empty()
    }

    /// The fields, in order.
    #[must_use]
    pub const fn iter(self) -> Fields<'a> {
        Fields { rest: self.encoded }
    }

    /// The value of the first field of this name.
    #[must_use]
    pub fn get(self, name: impl AsRef<[u8]>) -> Option<Value<'a>> {
        let name = name.as_ref();
        self.iter().find(|(found, _)| found.as_bytes() == name).map(|(_, value)| value)
    }

    /// The truth value of this name, if it is a `t`.
    #[must_use]
    pub fn get_bool(self, name: impl AsRef<[u8]>) -> Option<bool> {
        self.get(name)?.as_bool()
    }

    /// The number of this name, if it is an integer of any width.
    #[must_use]
    pub fn get_integer(self, name: impl AsRef<[u8]>) -> Option<i64> {
        self.get(name)?.as_integer()
    }

    /// The text of this name, if it is a longstr and UTF-8.
    #[must_use]
    pub fn get_str(self, name: impl AsRef<[u8]>) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// The table of this name, if it is one.
    #[must_use]
    pub fn get_table(self, name: impl AsRef<[u8]>) -> Option<Table<'a>> {
        self.get(name)?.as_table()
    }

    /// The array of this name, if it is one.
    #[must_use]
    pub fn get_array(self, name: impl AsRef<[u8]>) -> Option<Array<'a>> {
        self.get(name)?.as_array()
    }
}

impl<'a> Array<'a> {
    /// The array without elements.
    pub const EMPTY: Array<'static> = Array { encoded: &[] };

    /// Checks the values in `encoded`, which begins after the four octets of the length.
    pub fn new(encoded: &'a [u8]) -> Result<Array<'a>, TableError> {
        check(encoded, Kind::Array)?;
        Ok(Array { encoded })
    }

    /// For octets that lie within a table that has been checked.
    pub(super) const fn checked(encoded: &'a [u8]) -> Array<'a> {
        Array { encoded }
    }

    /// The encoded values, without the length in front.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.encoded
    }

    /// Whether it has no element.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.encoded.is_empty()
    }

    /// The values, in order.
    #[must_use]
    pub const fn iter(self) -> Elements<'a> {
        Elements { rest: self.encoded }
    }
}

/// The fields of a [`Table`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// What has not been read yet, still encoded.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (ShortStr<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (&len, rest) = self.rest.split_first()?;
        let (name, rest) = rest.split_at_checked(usize::from(len))?;
        let (value, rest) = Value::split_from(rest)?;
        self.rest = rest;
        Some((ShortStr::cut(name), value))
    }
}

/// The values of an [`Array`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (value, rest) = Value::split_from(self.rest)?;
        self.rest = rest;
        Some(value)
    }
}

impl FusedIterator for Fields<'_> {}
impl FusedIterator for Elements<'_> {}

impl<'a> IntoIterator for Table<'a> {
    type Item = (ShortStr<'a>, Value<'a>);
    type IntoIter = Fields<'a>;

    fn into_iter(self) -> Fields<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for Array<'a> {
    type Item = Value<'a>;
    type IntoIter = Elements<'a>;

    fn into_iter(self) -> Elements<'a> {
        self.iter()
    }
}

// Both recurse through the values, as deep as `MAX_TABLE_DEPTH` lets them.
impl fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::LongStr;

    /// Every letter with a value, as the field named by the letter: by hand from the grammar.
    const EVERY_TYPE: &[(&[u8], Value<'static>)] = &[
        (b"\x01tt\x01", Value::Bool(true)),
        (b"\x01bb\xfe", Value::ShortShortInt(-2)),
        (b"\x01BB\xfe", Value::ShortShortUint(254)),
        (b"\x01ss\xff\xfe", Value::ShortInt(-2)),
        (b"\x01uu\xff\xfe", Value::ShortUint(65534)),
        (b"\x01II\xff\xff\xff\xfe", Value::LongInt(-2)),
        (b"\x01ii\xff\xff\xff\xfe", Value::LongUint(4_294_967_294)),
        (b"\x01ll\xff\xff\xff\xff\xff\xff\xff\xfe", Value::LongLongInt(-2)),
        (b"\x01LL\xff\xff\xff\xff\xff\xff\xff\xfe", Value::LongLongIntUpper(-2)),
        (b"\x01ff\xc0\x20\x00\x00", Value::Float(-2.5)),
        (b"\x01dd\xc0\x04\x00\x00\x00\x00\x00\x00", Value::Double(-2.5)),
        (b"\x01DD\x02\x00\x00\x01\x3a", Value::Decimal { scale: 2, value: 314 }),
        (b"\x01SS\x00\x00\x00\x02hi", Value::LongStr(LongStr(b"hi"))),
        (b"\x01AA\x00\x00\x00\x04Vs\x00\x07", Value::Array(Array { encoded: b"Vs\x00\x07" })),
        (b"\x01TT\x00\x00\x00\x00\x67\x74\x85\x80", Value::Timestamp(1_735_689_600)),
        (b"\x01FF\x00\x00\x00\x04\x01at\x00", Value::Table(Table { encoded: b"\x01at\x00" })),
        (b"\x01VV", Value::Void),
        (b"\x01xx\x00\x00\x00\x03\x00\xff\x00", Value::ByteArray(b"\x00\xff\x00")),
    ];

    #[test]
    fn every_type_is_read_and_written_by_its_letter() {
        for (encoded, value) in EVERY_TYPE {
            let table = Table::new(encoded).expect("a legal field");
            let fields: Vec<_> = table.iter().collect();
            assert_eq!(fields, [(ShortStr::cut(&encoded[1..2]), *value)]);
            assert_eq!(value.type_letter(), encoded[1]);
            let mut out = Vec::new();
            value.encode(&mut out);
            assert_eq!(out, encoded[2..]);
        }
    }

    #[test]
    fn every_other_letter_is_refused() {
        let known: Vec<u8> = EVERY_TYPE.iter().map(|(encoded, _)| encoded[1]).collect();
        for letter in (0..=255).filter(|letter| !known.contains(letter)) {
            let mut encoded = vec![1, b'x', letter];
            encoded.extend_from_slice(&[0; 16]);
            assert_eq!(Table::new(&encoded), Err(TableError::UnknownType(letter)));
            assert_eq!(Array::new(&encoded[2..]), Err(TableError::UnknownType(letter)));
        }
    }

    #[test]
    fn a_table_cut_anywhere_but_between_fields_is_truncated() {
        let mut whole = Vec::new();
        let mut ends = vec![0];
        for (encoded, _) in EVERY_TYPE {
            whole.extend_from_slice(encoded);
            ends.push(whole.len());
        }
        assert_eq!(Table::new(&whole).map(|table| table.iter().count()), Ok(EVERY_TYPE.len()));
        for len in 0..whole.len() {
            let cut = Table::new(&whole[..len]);
            if ends.contains(&len) {
                assert!(cut.is_ok(), "{len}");
            } else {
                assert_eq!(cut, Err(TableError::Truncated), "{len}");
            }
        }
    }

    #[test]
    fn the_first_of_two_equal_names_counts_and_integers_of_any_width_are_integers() {
        let table = Table::new(b"\x01nB\x05\x01nI\x00\x00\x00\x06\x01sS\x00\x00\x00\x01y");
        let table = table.expect("a legal table");
        assert_eq!(table.get("n"), Some(Value::ShortShortUint(5)));
        assert_eq!(table.get_integer("n"), Some(5));
        assert_eq!(table.get_str("s"), Some("y"));
        assert_eq!(table.get_str("n"), None);
        assert_eq!(table.get("none"), None);
    }
}
