//! A dimension of an array schema.

use super::range::{Range, float, signed, unsigned};
use super::{VAR, put_name};
use crate::bytes::Cursor;
use crate::datatype::{Datatype, Numeric};
use crate::error::{Error, Result};
use crate::filter::FilterPipeline;

/// The extent of a dimension's space tiles, in the dimension's own unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Extent {
    /// Of a signed integer, date or time dimension.
    Signed(i64),
    /// Of an unsigned integer dimension.
    Unsigned(u64),
    /// Of a floating-point dimension.
    Float(f64),
}

/// A dimension.
///
/// ```text
/// lp32 name | u8 datatype | u32 values per cell (0xffffffff: varies) | filter pipeline
/// u64 domain bytes | domain (low, high) | u8 no extent | extent, unless there is none
/// ```
///
/// A string dimension varies in length and has neither domain nor extent.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimension {
    /// Its name, e.g. `soma_dim_0`.
    pub name: String,
    /// The datatype of its coordinates.
    pub datatype: Datatype,
    /// Whether coordinates vary in length.
    pub var: bool,
    /// The filters of its data; none means the schema's coordinate filters.
    pub filters: FilterPipeline,
    /// The widest range that coordinates can ever have.
    pub domain: Option<Range>,
    /// The extent of its space tiles.
    pub extent: Option<Extent>,
}

impl Dimension {
    pub(super) fn read(cursor: &mut Cursor<'_>, version: u32) -> Result<Self> {
        let name = cursor.lp32_str("dimension name")?.to_owned();
        let datatype = Datatype::from_code(cursor.u8("dimension datatype")?)?;
        let values = cursor.u32("dimension values per cell")?;
        let var = values == VAR;
        if !var && values != 1 {
            return Err(Error::unsupported(format!(
                "dimension '{name}': expected 1 value per cell, found {values}"
            )));
        }
        if var != datatype.is_string() {
            return Err(Error::corrupt(format!(
                "dimension '{name}': {} coordinates cannot have {} length",
                datatype.name(),
                if var { "variable" } else { "fixed" },
            )));
        }
        let filters = FilterPipeline::read(cursor, version)?;
        let stored = cursor.lp64("dimension domain")?;
        let domain = match stored.len() {
            0 => None,
            size if !var && size == 2 * datatype.size() => {
                Some(Range::read(&mut Cursor::new(stored), datatype, false)?)
            }
            size => {
                return Err(Error::corrupt(format!(
                    "dimension '{name}': expected a domain of {} bytes, found {size}",
                    if var { 0 } else { 2 * datatype.size() },
                )));
            }
        };
        if let Some(range) = domain.as_ref().filter(|range| !range.is_ordered()) {
            return Err(Error::corrupt(format!(
                "dimension '{name}': expected a domain that ends after its start, found {range:?}"
            )));
        }
        let extent = if cursor.flag("dimension without extent")? {
            None
        } else {
            let raw = cursor.take(datatype.size(), "dimension extent")?;
            Some(match datatype.numeric() {
                Numeric::Signed => Extent::Signed(signed(raw)),
                Numeric::Unsigned => Extent::Unsigned(unsigned(raw)),
                Numeric::Float => Extent::Float(float(raw)),
            })
        };
        Ok(Self { name, datatype, var, filters, domain, extent })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, version: u32) -> Result<()> {
        put_name(out, &self.name)?;
        out.push(self.datatype as u8);
        out.extend_from_slice(&(if self.var { VAR } else { 1 }).to_le_bytes());
        self.filters.write(out, version)?;
        let mut domain = Vec::new();
        if let Some(range) = &self.domain {
            range.write(&mut domain, self.datatype);
        }
        crate::bytes::put_lp64(out, &domain);
        out.push(u8::from(self.extent.is_none()));
        let size = self.datatype.size();
        match self.extent {
            None => {}
            Some(Extent::Signed(extent)) => out.extend_from_slice(&extent.to_le_bytes()[..size]),
            Some(Extent::Unsigned(extent)) => out.extend_from_slice(&extent.to_le_bytes()[..size]),
            Some(Extent::Float(extent)) if size == 4 => {
                out.extend_from_slice(&(extent as f32).to_le_bytes());
            }
            Some(Extent::Float(extent)) => out.extend_from_slice(&extent.to_le_bytes()),
        }
        Ok(())
    }

    /// The domain's start and the extent, where both are signed integers, as SOMA's are.
    pub fn signed_tiling(&self) -> Option<(i64, i64)> {
        match (&self.domain, self.extent) {
            (Some(Range::Signed(low, _)), Some(Extent::Signed(extent))) if extent > 0 => {
                Some((*low, extent))
            }
            _ => None,
        }
    }
}
