//! An enumeration: the values that an attribute's integers stand for.

use super::{VAR, put_name};
use crate::bytes::{Cursor, put_lp64, put_u64s};
use crate::datatype::Datatype;
use crate::error::{Error, Result};
use crate::generic_tile;

/// An enumeration, stored as a generic tile under `__schema/__enumerations/<file>`.
///
/// ```text
/// u32 0 | lp32 name | lp32 file name | u8 datatype | u32 values per cell | u8 ordered
/// u64 data bytes | data | u64 offset bytes, offsets (only where values vary in length)
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Enumeration {
    /// The name by which attributes refer to it.
    pub name: String,
    /// The name of the file that holds it.
    pub file: String,
    /// The datatype of its values.
    pub datatype: Datatype,
    /// How many datatype values one entry holds; `None` where the number varies.
    pub values_per_cell: Option<u32>,
    /// Whether the order of the values means something.
    pub ordered: bool,
    /// The values' bytes, one after another.
    pub data: Vec<u8>,
    /// Where each value starts in `data`, in bytes; empty for values of one size.
    pub offsets: Vec<u64>,
}

/// The version that enumeration files carry; it is counted apart from the format's (libtiledb).
const ENUMERATION_VERSION: u32 = 0;

impl Enumeration {
    /// Decodes an enumeration file.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let (payload, _) = generic_tile::read(bytes, 0)?;
        let mut cursor = Cursor::new(&payload);
        let version = cursor.u32("enumeration version")?;
        if version != ENUMERATION_VERSION {
            return Err(Error::unsupported(format!(
                "enumeration version: expected {ENUMERATION_VERSION}, found {version}"
            )));
        }
        let name = cursor.lp32_str("enumeration name")?.to_owned();
        let file = cursor.lp32_str("enumeration file name")?.to_owned();
        let datatype = Datatype::from_code(cursor.u8("enumeration datatype")?)?;
        let values = cursor.u32("enumeration values per cell")?;
        let ordered = cursor.flag("enumeration order")?;
        let data = cursor.lp64("enumeration data")?.to_vec();
        let values_per_cell = (values != VAR).then_some(values);
        let offsets = if values_per_cell.is_none() {
            cursor.lp64_u64s("enumeration offsets")?
        } else {
            Vec::new()
        };
        cursor.finish("enumeration")?;
        let enumeration = Self { name, file, datatype, values_per_cell, ordered, data, offsets };
        enumeration.check()?;
        Ok(enumeration)
    }

    /// Encodes the file's bytes.
    pub fn write(&self) -> Result<Vec<u8>> {
        self.check()?;
        let mut payload = ENUMERATION_VERSION.to_le_bytes().to_vec();
        put_name(&mut payload, &self.name)?;
        put_name(&mut payload, &self.file)?;
        payload.push(self.datatype as u8);
        payload.extend_from_slice(&self.values_per_cell.unwrap_or(VAR).to_le_bytes());
        payload.push(u8::from(self.ordered));
        put_lp64(&mut payload, &self.data);
        if self.values_per_cell.is_none() {
            payload.extend_from_slice(&(8 * self.offsets.len() as u64).to_le_bytes());
            put_u64s(&mut payload, &self.offsets);
        }
        generic_tile::write(&payload, &super::structure_filters())
    }

    /// How many values it has.
    pub fn len(&self) -> usize {
        match self.values_per_cell {
            None => self.offsets.len(),
            Some(values) => self.data.len() / (self.datatype.size() * values.max(1) as usize),
        }
    }

    /// Whether it has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of value `index`.
    pub fn value(&self, index: usize) -> Option<&[u8]> {
        match self.values_per_cell {
            None => {
                let start = *self.offsets.get(index)? as usize;
                let end = self.offsets.get(index + 1).map_or(self.data.len(), |&end| end as usize);
                self.data.get(start..end)
            }
            Some(values) => {
                let size = self.datatype.size() * values as usize;
                self.data.get(index.checked_mul(size)?..(index + 1).checked_mul(size)?)
            }
        }
    }

    fn check(&self) -> Result<()> {
        let fault = match self.values_per_cell {
            Some(0) => Some("0 values per cell".to_owned()),
            Some(values) => {
                let size = self.datatype.size() * values as usize;
                (!self.data.len().is_multiple_of(size)).then(|| {
                    format!("expected a multiple of {size} bytes, found {}", self.data.len())
                })
            }
            None => {
                let inside = |&offset: &u64| offset <= self.data.len() as u64;
                (!self.offsets.is_sorted() || !self.offsets.iter().all(inside))
                    .then(|| format!("offsets do not rise within {} bytes", self.data.len()))
            }
        };
        match fault {
            Some(fault) => Err(Error::corrupt(format!("enumeration '{}': {fault}", self.name))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_enumeration() -> impl Strategy<Value = Enumeration> {
        let strings = proptest::collection::vec(any::<String>(), 0..20).prop_map(|values| {
            let offsets = values.iter().scan(0, |end, value| {
                *end += value.len() as u64;
                Some(*end - value.len() as u64)
            });
            (Datatype::StringUtf8, None, offsets.collect(), values.concat().into_bytes())
        });
        let numbers = proptest::collection::vec(any::<i64>(), 0..20).prop_map(|values| {
            let data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (Datatype::Int64, Some(1), Vec::new(), data)
        });
        (
            any::<String>(),
            any::<String>(),
            any::<bool>(),
            prop_oneof![strings.boxed(), numbers.boxed()],
        )
            .prop_map(
                |(name, file, ordered, (datatype, values_per_cell, offsets, data))| Enumeration {
                    name,
                    file,
                    datatype,
                    values_per_cell,
                    ordered,
                    data,
                    offsets,
                },
            )
    }

    proptest! {
        #[test]
        fn round_trip(enumeration in any_enumeration()) {
            let bytes = enumeration.write().unwrap();
            prop_assert_eq!(Enumeration::read(&bytes).unwrap(), enumeration);
        }

        #[test]
        fn altered_or_cut_bytes_never_panic(
            enumeration in any_enumeration(), at in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()
        ) {
            let mut bytes = enumeration.write().unwrap();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
            if let Ok(read) = Enumeration::read(&bytes) {
                for index in 0..read.len() {
                    prop_assert!(read.value(index).is_some());
                }
            }
        }
    }
}
