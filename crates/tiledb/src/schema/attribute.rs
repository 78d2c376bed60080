//! An attribute of an array schema.

use super::{VAR, put_name};
use crate::bytes::{Cursor, put_lp64};
use crate::datatype::Datatype;
use crate::error::{Error, Result};
use crate::filter::FilterPipeline;

/// An attribute.
///
/// ```text
/// lp32 name | u8 datatype | u32 values per cell (0xffffffff: varies) | filter pipeline
/// u64 fill bytes (at least 1) | fill | u8 nullable | u8 fill validity
/// u8 order (from version 17) | lp32 enumeration, empty for none (from version 20)
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// The datatype of its values.
    pub datatype: Datatype,
    /// How many values a cell holds; `None` where the number varies.
    pub values_per_cell: Option<u32>,
    /// The filters of its data.
    pub filters: FilterPipeline,
    /// What a cell holds where nothing was written.
    pub fill: Vec<u8>,
    /// Whether cells can be null.
    pub nullable: bool,
    /// Whether the fill counts as a value (true) or as null.
    pub fill_valid: bool,
    /// The enumeration that its values index, by name.
    pub enumeration: Option<String>,
}

impl Attribute {
    /// Whether cells vary in length.
    pub fn is_var(&self) -> bool {
        self.values_per_cell.is_none()
    }

    /// The size of a fixed-size cell in bytes; of one value where cells vary in length.
    pub fn cell_size(&self) -> usize {
        self.datatype.size() * self.values_per_cell.unwrap_or(1) as usize
    }

    pub(super) fn read(cursor: &mut Cursor<'_>, version: u32) -> Result<Self> {
        let name = cursor.lp32_str("attribute name")?.to_owned();
        let datatype = Datatype::from_code(cursor.u8("attribute datatype")?)?;
        let values_per_cell = match cursor.u32("attribute values per cell")? {
            0 => {
                return Err(Error::corrupt(format!("attribute '{name}': 0 values per cell")));
            }
            VAR => None,
            values => Some(values),
        };
        let filters = FilterPipeline::read(cursor, version)?;
        let fill = cursor.lp64("attribute fill")?.to_vec();
        let nullable = cursor.flag("attribute nullable")?;
        let fill_valid = cursor.flag("attribute fill validity")?;
        if version >= 17 {
            let order = cursor.u8("attribute order")?;
            if order != 0 {
                return Err(Error::unsupported(format!(
                    "attribute '{name}': ordered attributes (order {order}) are not read"
                )));
            }
        }
        let enumeration = match version {
            20.. => Some(cursor.lp32_str("attribute enumeration")?)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            _ => None,
        };
        let attribute = Self {
            name,
            datatype,
            values_per_cell,
            filters,
            fill,
            nullable,
            fill_valid,
            enumeration,
        };
        if !attribute.is_var() && attribute.fill.len() != attribute.cell_size() {
            return Err(Error::corrupt(format!(
                "attribute '{}': expected a fill of {} bytes, found {}",
                attribute.name,
                attribute.cell_size(),
                attribute.fill.len(),
            )));
        }
        Ok(attribute)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, version: u32) -> Result<()> {
        if self.fill.is_empty() {
            return Err(Error::invalid(format!("attribute '{}': its fill is empty", self.name)));
        }
        put_name(out, &self.name)?;
        out.push(self.datatype as u8);
        out.extend_from_slice(&self.values_per_cell.unwrap_or(VAR).to_le_bytes());
        self.filters.write(out, version)?;
        put_lp64(out, &self.fill);
        out.extend_from_slice(&[u8::from(self.nullable), u8::from(self.fill_valid), 0]);
        put_name(out, self.enumeration.as_deref().unwrap_or(""))
    }
}
