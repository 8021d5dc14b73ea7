//! Reading and writing the fields of methods and properties, one after another.
//!
//! Private: what the codec's tables of methods expand to. The one rule: neighbouring bits share
//! octets, lowest bit first, and any other field ends the octet (AMQP 0-9-1 section 4.2.5.2).

use super::{LongStr, Secret, ShortStr, Table, TableError};

/// Why fields could not be read; the caller knows of which method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The input ends within a field, or goes on after the last.
    Length,
    /// A shortstr that had to be UTF-8 is not.
    Utf8,
    /// A field table does not hold what it must.
    Table(TableError),
}

/// Takes fields from the front of a slice.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    utf8: bool,
    bits: u8,
    /// Bits of `bits` not yet taken; 0 where the last field was none.
    bits_left: u8,
}

impl<'a> Reader<'a> {
    /// `utf8`: whether shortstrs must be UTF-8.
    pub(super) fn new(input: &'a [u8], utf8: bool) -> Reader<'a> {
        Reader { rest: input, utf8, bits: 0, bits_left: 0 }
    }

    #[inline(always)]
    pub(super) fn field<F: Field<'a>>(&mut self) -> Result<F, Fault> {
        F::read(self)
    }

    /// Nothing may follow the last field.
    #[inline(always)]
    pub(super) fn finish(self) -> Result<(), Fault> {
        if self.rest.is_empty() { Ok(()) } else { Err(Fault::Length) }
    }

    #[inline(always)]
    fn octets(&mut self, len: usize) -> Result<&'a [u8], Fault> {
        self.bits_left = 0;
        let (octets, rest) = self.rest.split_at_checked(len).ok_or(Fault::Length)?;
        self.rest = rest;
        Ok(octets)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        self.bits_left = 0;
        let (octets, rest) = self.rest.split_first_chunk().ok_or(Fault::Length)?;
        self.rest = rest;
        Ok(*octets)
    }

    #[inline(always)]
    fn long_octets(&mut self) -> Result<&'a [u8], Fault> {
        let len = u32::from_be_bytes(self.array()?);
        self.octets(len as usize)
    }
}

/// Appends fields to a buffer.
pub(super) struct Writer<'b> {
    out: &'b mut Vec<u8>,
    /// Bits used in the last octet of `out`; 0 where the last field was none.
    bits: u8,
}

impl<'b> Writer<'b> {
    pub(super) fn new(out: &'b mut Vec<u8>) -> Writer<'b> {
        Writer { out, bits: 0 }
    }

    #[inline(always)]
    pub(super) fn field<'a, F: Field<'a>>(&mut self, field: F) {
        field.write(self);
    }

    #[inline(always)]
    fn octets(&mut self, octets: &[u8]) {
        self.bits = 0;
        self.out.extend_from_slice(octets);
    }

    #[inline(always)]
    fn long_octets(&mut self, octets: &[u8]) {
        let len = u32::try_from(octets.len()).unwrap_or(u32::MAX);
        self.octets(&len.to_be_bytes());
        self.octets(&octets[..len as usize]);
    }
}

/// A type that a method's field can have.
pub(super) trait Field<'a>: Sized {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault>;
    fn write(self, writer: &mut Writer<'_>);
}

macro_rules! integer_fields {
    ($($integer:ty),*) => {$(
        impl<'a> Field<'a> for $integer {
            #[inline(always)]
            fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
                Ok(<$integer>::from_be_bytes(reader.array()?))
            }

            #[inline(always)]
            fn write(self, writer: &mut Writer<'_>) {
                writer.octets(&self.to_be_bytes());
            }
        }
    )*};
}

integer_fields!(u8, u16, u32, u64);

impl<'a> Field<'a> for bool {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        if reader.bits_left == 0 {
            [reader.bits] = reader.array()?;
            reader.bits_left = 8;
        }
        let bit = reader.bits & 1 != 0;
        reader.bits >>= 1;
        reader.bits_left -= 1;
        Ok(bit)
    }

    #[inline(always)]
    fn write(self, writer: &mut Writer<'_>) {
        let bit = writer.bits % 8;
        if bit == 0 {
            writer.out.push(0);
        }
        if let Some(octet) = writer.out.last_mut() {
            *octet |= u8::from(self) << bit;
        }
        writer.bits = bit + 1;
    }
}

impl<'a> Field<'a> for ShortStr<'a> {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        let [len] = reader.array()?;
        let octets = reader.octets(usize::from(len))?;
        if reader.utf8 && str::from_utf8(octets).is_err() {
            return Err(Fault::Utf8);
        }
        Ok(ShortStr::cut(octets))
    }

    #[inline(always)]
    fn write(self, writer: &mut Writer<'_>) {
        // A ShortStr holds at most 255 octets, by its construction.
        writer.octets(&[self.len() as u8]);
        writer.octets(&self);
    }
}

impl<'a> Field<'a> for LongStr<'a> {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(LongStr(reader.long_octets()?))
    }

    #[inline(always)]
    fn write(self, writer: &mut Writer<'_>) {
        writer.long_octets(self.0);
    }
}

impl<'a> Field<'a> for Secret<'a> {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Ok(Secret(reader.long_octets()?))
    }

    #[inline(always)]
    fn write(self, writer: &mut Writer<'_>) {
        writer.long_octets(self.0);
    }
}

impl<'a> Field<'a> for Table<'a> {
    #[inline(always)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, Fault> {
        Table::new(reader.long_octets()?).map_err(Fault::Table)
    }

    #[inline(always)]
    fn write(self, writer: &mut Writer<'_>) {
        writer.long_octets(self.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_bits_share_an_octet_and_any_other_field_ends_it() {
        let mut out = Vec::new();
        let mut writer = Writer::new(&mut out);
        for bit in [true, false, true, true, false, false, false, true, true, false] {
            writer.field(bit);
        }
        writer.field(7u8);
        writer.field(true);
        assert_eq!(out, [0b1000_1101, 0b01, 7, 1]);

        let mut reader = Reader::new(&out, false);
        for bit in [true, false, true, true, false, false, false, true, true, false] {
            assert_eq!(reader.field(), Ok(bit));
        }
        assert_eq!(reader.field(), Ok(7u8));
        assert_eq!(reader.field(), Ok(true));
        assert_eq!(reader.finish(), Ok(()));
    }
}
