//! The walk over a table that a peer has sent, before anyone reads it.
//!
//! What lies on the wire is tables within arrays within tables; the one rule is that neither
//! depth nor number costs more than a bounded array on the stack.

use std::{error, fmt};

/// How deep tables and arrays may lie within one another, the outermost included.
///
/// RabbitMQ has no limit. What is in use needs three or four (`x-death` is an array of tables
/// with an array in each); 64 leaves room for documents turned into headers, and keeps the
/// checking of a table to one array of 64 ends on the stack.
pub const MAX_TABLE_DEPTH: usize = 64;

/// How many fields and elements a table may have, those of nested ones included.
///
/// The smallest field takes two octets (a name of none, and `V`), so that a table in a frame of
/// 128 KiB has no more fields than this; of elements of arrays, which may take one octet each,
/// it allows half as many as would fit. It bounds what larger frames may hold.
pub const MAX_TABLE_FIELDS: usize = 65_536;

/// Why a table or an array is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TableError {
    /// A field goes over the end of its table.
    Truncated,
    /// A value's type letter is none that RabbitMQ knows.
    UnknownType(u8),
    /// More than [`MAX_TABLE_DEPTH`] tables or arrays within one another.
    TooDeep,
    /// More than [`MAX_TABLE_FIELDS`] fields.
    TooManyFields,
    /// A name of more than 255 octets, or a table of more than 4 GiB; only when building one.
    TooLong,
}

/// What the octets are: with names or without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Array,
}

/// How large a table or an array is, all that it holds included.
#[derive(Clone, Copy, Default)]
pub(super) struct Extent {
    /// Tables and arrays within one another.
    pub(super) depth: usize,
    /// Fields and elements.
    pub(super) fields: usize,
}

/// Walks over everything in a table or an array.
///
/// No recursion: `open` holds where each table that encloses `at` ends, so that the depth costs
/// the peer's octets and never our stack.
pub(super) fn check(encoded: &[u8], kind: Kind) -> Result<Extent, TableError> {
    if encoded.is_empty() {
        return Ok(Extent { depth: 1, fields: 0 }); // most tables are
    }
    let mut open = [(0, kind); MAX_TABLE_DEPTH];
    open[0] = (encoded.len(), kind);
    let (mut depth, mut deepest) = (1, 1);
    let mut fields = 0;
    let mut at = 0;
    while depth > 0 {
        let (end, kind) = open[depth - 1];
        if at == end {
            depth -= 1;
            continue;
        }
        fields += 1;
        if fields > MAX_TABLE_FIELDS {
            return Err(TableError::TooManyFields);
        }
        let within = &encoded[..end];
        if kind == Kind::Table {
            at += 1 + usize::from(within[at]);
        }
        let letter = *within.get(at).ok_or(TableError::Truncated)?;
        at += 1;
        let (len, nested) = match letter {
            b'V' => (0, None),
            b't' | b'b' | b'B' => (1, None),
            b's' | b'u' => (2, None),
            b'I' | b'i' | b'f' => (4, None),
            b'D' => (5, None),
            b'l' | b'L' | b'd' | b'T' => (8, None),
            b'S' | b'x' | b'A' | b'F' => {
                let len = within[at..].first_chunk().ok_or(TableError::Truncated)?;
                at += len.len();
                let nested = match letter {
                    b'A' => Some(Kind::Array),
                    b'F' => Some(Kind::Table),
                    _ => None,
                };
                (u32::from_be_bytes(*len) as usize, nested)
            }
            _ => return Err(TableError::UnknownType(letter)),
        };
        if len > end - at {
            return Err(TableError::Truncated);
        }
        if let Some(kind) = nested {
            let slot = open.get_mut(depth).ok_or(TableError::TooDeep)?;
            *slot = (at + len, kind);
            depth += 1;
            deepest = deepest.max(depth);
        } else {
            at += len;
        }
    }
    Ok(Extent { depth: deepest, fields })
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("a field goes over the end of its table"),
            Self::UnknownType(letter) => {
                write!(f, "unknown field type '{}'", letter.escape_ascii())
            }
            Self::TooDeep => write!(f, "tables nested more than {MAX_TABLE_DEPTH} deep"),
            Self::TooManyFields => write!(f, "a table of more than {MAX_TABLE_FIELDS} fields"),
            Self::TooLong => f.write_str("a field's name or a table is too long"),
        }
    }
}

impl error::Error for TableError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Array, Table};

    #[test]
    fn a_nested_table_may_not_go_over_the_end_of_the_outer_one() {
        // The inner table claims one octet more than the outer one has left.
        let outer = b"\x01aF\x00\x00\x00\x05\x01bt\x01\x01ct\x01";
        assert_eq!(Table::new(&outer[..11]), Err(TableError::Truncated));
        // A field within the inner table goes over its end, into the outer one.
        assert_eq!(
            Table::new(b"\x01aF\x00\x00\x00\x03\x01bs\x00\x01\x01V"),
            Err(TableError::Truncated)
        );
    }

    /// `depth` arrays within one another; the innermost is empty.
    fn nested_arrays(depth: usize) -> Vec<u8> {
        let mut encoded = Vec::new();
        for inner in (0..depth - 1).rev() {
            encoded.push(b'A');
            encoded.extend_from_slice(&(5 * inner as u32).to_be_bytes());
        }
        encoded
    }

    #[test]
    fn nesting_is_refused_from_65_on_and_10_000_harm_nobody() {
        assert!(Array::new(&nested_arrays(MAX_TABLE_DEPTH)).is_ok());
        for depth in [MAX_TABLE_DEPTH + 1, 10_000, 100_000] {
            assert_eq!(Array::new(&nested_arrays(depth)), Err(TableError::TooDeep));
        }

        let mut tables = Vec::new();
        for _ in 0..10_000 {
            let len = (tables.len() as u32).to_be_bytes();
            tables.splice(0..0, [&b"\x01aF"[..], &len].concat());
        }
        assert_eq!(Table::new(&tables), Err(TableError::TooDeep));
    }

    #[test]
    fn a_table_of_too_many_fields_is_refused() {
        assert!(Array::new(&vec![b'V'; MAX_TABLE_FIELDS]).is_ok());
        let more = vec![b'V'; MAX_TABLE_FIELDS + 1];
        assert_eq!(Array::new(&more), Err(TableError::TooManyFields));
    }
}
