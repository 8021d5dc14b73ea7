//! Field tables and arrays of our own making.
//!
//! They are kept encoded too: building one is appending, and sending it is copying. The one
//! rule is that of [`Table`]: what is in there could be read back by any peer of ours.

use super::table::Fields;
use super::table_check::{Extent, Kind, check};
use super::{Array, MAX_TABLE_DEPTH, MAX_TABLE_FIELDS, ShortStr, Table, TableError, Value};
use std::fmt;

/// An owned [`Table`] that can grow.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct TableBuf {
    encoded: Vec<u8>,
}

/// An owned [`Array`] that can grow.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct ArrayBuf {
    encoded: Vec<u8>,
}

impl TableBuf {
    /// A table without fields.
    #[must_use]
    pub const fn new() -> TableBuf {
        TableBuf { encoded: Vec::new() }
    }

    /// A view of it, to read or to send.
    #[must_use]
    pub fn as_table(&self) -> Table<'_> {
        Table::checked(&self.encoded)
    }

    /// Sets a field: in the place of the first one of this name, or else after the last.
    ///
    /// Refused, with nothing changed: a name of more than 255 octets, a value nested so deep
    /// that the table would be deeper than [`MAX_TABLE_DEPTH`], more than [`MAX_TABLE_FIELDS`] fields or 4 GiB in all.
    pub fn insert<'v>(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl Into<Value<'v>>,
    ) -> Result<(), TableError> {
        let name = ShortStr::new(name.as_ref()).ok_or(TableError::TooLong)?;
        let value = checked(value.into(), &self.encoded, Kind::Table)?;
        let (start, end) = self.find(name).unwrap_or((self.encoded.len(), self.encoded.len()));
        let tail = self.encoded.split_off(end);
        self.encoded.truncate(start);
        self.encoded.push(name.len() as u8); // at most 255, being a ShortStr
        self.encoded.extend_from_slice(&name);
        value.encode(&mut self.encoded);
        self.encoded.extend_from_slice(&tail);
        Ok(())
    }

    /// The table with one more field, for tables that stand in the program.
    ///
    /// # Panics
    ///
    /// Where [`insert`](Self::insert) refuses: so never put a peer's names or tables in with it.
    #[must_use]
    pub fn with<'v>(mut self, name: &str, value: impl Into<Value<'v>>) -> TableBuf {
        self.insert(name, value).expect("a field whose name and depth the program knows");
        self
    }

    /// Takes out the first field of this name; whether there was one.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> bool {
        let Some(found) = ShortStr::new(name.as_ref()).and_then(|name| self.find(name)) else {
            return false;
        };
        self.encoded.drain(found.0..found.1);
        true
    }

    /// Where the first field of this name begins and ends.
    fn find(&self, name: ShortStr<'_>) -> Option<(usize, usize)> {
        let position = |fields: &Fields<'_>| self.encoded.len() - fields.rest().len();
        let mut fields = self.as_table().iter();
        loop {
            let start = position(&fields);
            let (found, _) = fields.next()?;
            if found == name {
                return Some((start, position(&fields)));
            }
        }
    }
}

impl ArrayBuf {
    /// An array without elements.
    #[must_use]
    pub const fn new() -> ArrayBuf {
        ArrayBuf { encoded: Vec::new() }
    }

    /// A view of it, to read or to send.
    #[must_use]
    pub fn as_array(&self) -> Array<'_> {
        Array::checked(&self.encoded)
    }

    /// Appends a value; refused, with nothing changed, as by [`TableBuf::insert`].
    pub fn push<'v>(&mut self, value: impl Into<Value<'v>>) -> Result<(), TableError> {
        checked(value.into(), &self.encoded, Kind::Array)?.encode(&mut self.encoded);
        Ok(())
    }

    /// The array with one more element, for arrays that stand in the program.
    ///
    /// # Panics
    ///
    /// Where [`push`](Self::push) refuses.
    #[must_use]
    pub fn with<'v>(mut self, value: impl Into<Value<'v>>) -> ArrayBuf {
        self.push(value).expect("a value whose depth the program knows");
        self
    }
}

/// `value`, if it may go into the table or array `into`.
fn checked<'v>(value: Value<'v>, into: &[u8], kind: Kind) -> Result<Value<'v>, TableError> {
    let (size, extent) = match value {
        Value::Table(table) => (table.as_bytes().len(), check(table.as_bytes(), Kind::Table)?),
        Value::Array(array) => (array.as_bytes().len(), check(array.as_bytes(), Kind::Array)?),
        other => (other.as_bytes().map_or(0, <[u8]>::len), Extent::default()),
    };
    // What the name, the letter and the lengths take is less than 512 octets.
    if size + into.len() > u32::MAX as usize - 512 {
        return Err(TableError::TooLong);
    }
    if extent.depth >= MAX_TABLE_DEPTH {
        return Err(TableError::TooDeep);
    }
    // A field takes an octet at least, so that only what is long has to be counted.
    if into.len() + extent.fields >= MAX_TABLE_FIELDS
        && check(into, kind)?.fields + extent.fields >= MAX_TABLE_FIELDS
    {
        return Err(TableError::TooManyFields);
    }
    Ok(value)
}

impl From<Table<'_>> for TableBuf {
    fn from(table: Table<'_>) -> TableBuf {
        TableBuf { encoded: table.as_bytes().to_vec() }
    }
}

impl From<Array<'_>> for ArrayBuf {
    fn from(array: Array<'_>) -> ArrayBuf {
        ArrayBuf { encoded: array.as_bytes().to_vec() }
    }
}

impl<'a> From<&'a TableBuf> for Table<'a> {
    fn from(table: &'a TableBuf) -> Table<'a> {
        table.as_table()
    }
}

impl fmt::Debug for TableBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_table().fmt(f)
    }
}

impl fmt::Debug for ArrayBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_array().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_the_order_in_which_they_were_set_and_their_place_when_set_again() {
        let mut table = TableBuf::new().with("b", 1i32).with("a", "x").with("c", true);
        table.insert("a", 7i64).expect("a short name");
        assert_eq!(
            format!("{table:?}"),
            r#"{"b": LongInt(1), "a": LongLongInt(7), "c": Bool(true)}"#
        );
        assert!(table.remove("b") && !table.remove("b"));
        assert_eq!(format!("{table:?}"), r#"{"a": LongLongInt(7), "c": Bool(true)}"#);
        assert_eq!(Table::new(table.as_table().as_bytes()), Ok(table.as_table()));
    }

    #[test]
    fn nothing_gets_in_that_could_not_be_read_back() {
        let mut table = TableBuf::new();
        assert_eq!(table.insert([b'x'; 256], 1i32), Err(TableError::TooLong));
        assert!(table.insert([b'x'; 255], 1i32).is_ok());

        let mut nested = TableBuf::new();
        for _ in 1..MAX_TABLE_DEPTH {
            let mut outer = TableBuf::new();
            outer.insert("t", &nested).expect("not too deep yet");
            nested = outer;
        }
        assert!(Table::new(nested.as_table().as_bytes()).is_ok());
        assert_eq!(table.insert("t", &nested), Err(TableError::TooDeep));
        assert_eq!(ArrayBuf::new().push(&nested), Err(TableError::TooDeep));

        let mut array = ArrayBuf::new();
        for _ in 0..MAX_TABLE_FIELDS {
            array.push(Value::Void).expect("not too many yet");
        }
        assert!(Array::new(array.as_array().as_bytes()).is_ok());
        assert_eq!(array.push(Value::Void), Err(TableError::TooManyFields));
        assert_eq!(ArrayBuf::new().push(&array), Err(TableError::TooManyFields));
    }
}
