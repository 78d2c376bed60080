//! Array schemas and what they are made of.

mod attribute;
mod dimension;
mod enumeration;
pub(crate) mod range;
#[cfg(test)]
pub(crate) mod tests;

pub use attribute::Attribute;
pub use dimension::{Dimension, Extent};
pub use enumeration::Enumeration;
pub use range::{Numbers, Range};

use crate::bytes::{Cursor, put_lp32};
use crate::error::{Error, Result};
use crate::filter::{Filter, FilterPipeline};
use crate::{FORMAT_VERSION, OLDEST_READ_VERSION, generic_tile};

/// Stands for "varies" where a number of values per cell is stored.
const VAR: u32 = u32::MAX;

/// Whether every coordinate of the domain has a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrayType {
    /// Every coordinate has one; those never written hold the fill.
    Dense,
    /// Only coordinates that were written have one.
    Sparse,
}

/// The order of space tiles, or of the cells in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The last dimension changes fastest.
    RowMajor,
    /// The first dimension changes fastest.
    ColumnMajor,
    /// Along a Hilbert curve; cells only.
    Hilbert,
}

impl Layout {
    fn from_code(code: u8) -> Result<Self> {
        match code {
            0 => Ok(Self::RowMajor),
            1 => Ok(Self::ColumnMajor),
            4 => Ok(Self::Hilbert),
            _ => Err(Error::corrupt(format!("layout: expected 0, 1 or 4, found {code}"))),
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::RowMajor => 0,
            Self::ColumnMajor => 1,
            Self::Hilbert => 4,
        }
    }
}

/// An array schema, stored as a generic tile under `__schema/__<t>_<t>_<uuid>`.
///
/// ```text
/// u32 version | u8 duplicates | u8 type | u8 tile order | u8 cell order | u64 capacity
/// coordinate, offset and validity pipelines
/// u32 dimensions, each | u32 attributes, each | u32 labels, always 0 here (from version 18)
/// u32 enumerations, each lp32 name, lp32 file (from version 20)
/// u32 0 | u8 empty | u8 0 | a range for each dimension (from version 22)
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ArraySchema {
    /// The format version it is stored in.
    pub version: u32,
    /// Whether several cells can have the same coordinates.
    pub allows_duplicates: bool,
    /// Dense or sparse.
    pub array_type: ArrayType,
    /// The order of space tiles.
    pub tile_order: Layout,
    /// The order of cells within a space tile.
    pub cell_order: Layout,
    /// How many cells a sparse data tile holds; only the last of a fragment holds fewer.
    pub capacity: u64,
    /// The filters of dimensions that name none.
    pub coordinate_filters: FilterPipeline,
    /// The filters of the offsets of variable-length cells.
    pub offset_filters: FilterPipeline,
    /// The filters of validity bytes.
    pub validity_filters: FilterPipeline,
    /// At least one.
    pub dimensions: Vec<Dimension>,
    /// In the order in which they are numbered in fragments.
    pub attributes: Vec<Attribute>,
    /// Name and file of each enumeration.
    pub enumerations: Vec<(String, String)>,
    /// The range of each dimension inside which cells can be written and are read: SOMA's shape.
    pub current_domain: Option<Vec<Range>>,
}

impl ArraySchema {
    /// Decodes a schema file.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        Self::decode(&generic_tile::read(bytes, 0)?.0)
    }

    fn decode(payload: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(payload);
        let version = cursor.u32("schema version")?;
        check_version("schema", version)?;
        let allows_duplicates = cursor.flag("schema duplicates")?;
        let array_type = match cursor.u8("array type")? {
            0 => ArrayType::Dense,
            1 => ArrayType::Sparse,
            other => {
                return Err(Error::corrupt(format!("array type: expected 0 or 1, found {other}")));
            }
        };
        let tile_order = Layout::from_code(cursor.u8("tile order")?)?;
        let cell_order = Layout::from_code(cursor.u8("cell order")?)?;
        let capacity = cursor.u64("capacity")?;
        if capacity == 0 {
            return Err(Error::corrupt("capacity: expected at least 1, found 0"));
        }
        let coordinate_filters = FilterPipeline::read(&mut cursor, version)?;
        let offset_filters = FilterPipeline::read(&mut cursor, version)?;
        let validity_filters = FilterPipeline::read(&mut cursor, version)?;
        let dimensions = (0..cursor.count32(10, "dimensions")?)
            .map(|_| Dimension::read(&mut cursor, version))
            .collect::<Result<Vec<_>>>()?;
        if dimensions.is_empty() {
            return Err(Error::corrupt("dimensions: expected at least 1, found 0"));
        }
        let attributes = (0..cursor.count32(10, "attributes")?)
            .map(|_| Attribute::read(&mut cursor, version))
            .collect::<Result<Vec<_>>>()?;
        if version >= 18 {
            let labels = cursor.u32("dimension labels")?;
            if labels != 0 {
                return Err(Error::unsupported("dimension labels are not read"));
            }
        }
        let mut enumerations = Vec::new();
        if version >= 20 {
            for _ in 0..cursor.count32(8, "enumerations")? {
                let name = cursor.lp32_str("enumeration name")?.to_owned();
                enumerations.push((name, cursor.lp32_str("enumeration file")?.to_owned()));
            }
        }
        let current_domain = match version {
            22.. => read_current_domain(&mut cursor, &dimensions)?,
            _ => None,
        };
        cursor.finish("schema")?;
        let schema = Self {
            version,
            allows_duplicates,
            array_type,
            tile_order,
            cell_order,
            capacity,
            coordinate_filters,
            offset_filters,
            validity_filters,
            dimensions,
            attributes,
            enumerations,
            current_domain,
        };
        schema.check_names()?;
        Ok(schema)
    }

    /// Encodes the file's bytes, in format version 22 whatever version it was read from.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for what would not be read back as it is: ranges,
    /// extents and fills of other sizes than their datatypes, fields of one name.
    pub fn write(&self) -> Result<Vec<u8>> {
        let version = FORMAT_VERSION;
        let mut out = version.to_le_bytes().to_vec();
        out.push(u8::from(self.allows_duplicates));
        out.push(u8::from(self.array_type == ArrayType::Sparse));
        out.push(self.tile_order.code());
        out.push(self.cell_order.code());
        out.extend_from_slice(&self.capacity.to_le_bytes());
        for filters in [&self.coordinate_filters, &self.offset_filters, &self.validity_filters] {
            filters.write(&mut out, version)?;
        }
        out.extend_from_slice(&(self.dimensions.len() as u32).to_le_bytes());
        for dimension in &self.dimensions {
            dimension.write(&mut out, version)?;
        }
        out.extend_from_slice(&(self.attributes.len() as u32).to_le_bytes());
        for attribute in &self.attributes {
            attribute.write(&mut out, version)?;
        }
        out.extend_from_slice(&0u32.to_le_bytes());
        out.extend_from_slice(&(self.enumerations.len() as u32).to_le_bytes());
        for (name, file) in &self.enumerations {
            put_name(&mut out, name)?;
            put_name(&mut out, file)?;
        }
        out.extend_from_slice(&CURRENT_DOMAIN_VERSION.to_le_bytes());
        match &self.current_domain {
            None => out.push(1),
            Some(ranges) => {
                out.extend_from_slice(&[0, CURRENT_DOMAIN_RECTANGLE]);
                for (range, dimension) in ranges.iter().zip(&self.dimensions) {
                    range.write(&mut out, dimension.datatype);
                }
            }
        }
        let read = Self::decode(&out).map_err(|e| Error::invalid(format!("schema: {e}")))?;
        if (Self { version, ..self.clone() }) != read {
            return Err(Error::invalid("schema: a field holds values that its datatype cannot"));
        }
        generic_tile::write(&out, &structure_filters())
    }

    /// The position and the attribute of a name.
    pub fn attribute(&self, name: &str) -> Option<(usize, &Attribute)> {
        self.attributes.iter().enumerate().find(|(_, attribute)| attribute.name == name)
    }

    /// The filters of a dimension's data.
    pub fn dimension_filters(&self, index: usize) -> &FilterPipeline {
        match self.dimensions.get(index) {
            Some(dimension) if !dimension.filters.filters.is_empty() => &dimension.filters,
            _ => &self.coordinate_filters,
        }
    }

    fn check_names(&self) -> Result<()> {
        let mut names: Vec<&str> = self.dimensions.iter().map(|d| d.name.as_str()).collect();
        names.extend(self.attributes.iter().map(|a| a.name.as_str()));
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                Err(Error::corrupt(format!("the schema has two fields named '{}'", pair[0])))
            }
            None => Ok(()),
        }
    }
}

/// The version that current domains carry; it is counted apart from the format's (libtiledb).
const CURRENT_DOMAIN_VERSION: u32 = 0;
/// The only kind of current domain: one range for each dimension.
const CURRENT_DOMAIN_RECTANGLE: u8 = 0;

fn read_current_domain(
    cursor: &mut Cursor<'_>,
    dimensions: &[Dimension],
) -> Result<Option<Vec<Range>>> {
    let version = cursor.u32("current domain version")?;
    if version != CURRENT_DOMAIN_VERSION {
        return Err(Error::unsupported(format!(
            "current domain version: expected {CURRENT_DOMAIN_VERSION}, found {version}"
        )));
    }
    if cursor.flag("current domain empty")? {
        return Ok(None);
    }
    let kind = cursor.u8("current domain kind")?;
    if kind != CURRENT_DOMAIN_RECTANGLE {
        return Err(Error::unsupported(format!("current domain kind {kind} is not known")));
    }
    let ranges = dimensions.iter().map(|dimension| {
        let range = Range::read(cursor, dimension.datatype, dimension.var)?;
        match range.is_ordered() {
            true => Ok(range),
            false => Err(Error::corrupt(format!(
                "current domain of '{}': expected an end after its start, found {range:?}",
                dimension.name
            ))),
        }
    });
    ranges.collect::<Result<_>>().map(Some)
}

/// Fails for versions outside what is read.
pub(crate) fn check_version(what: &str, version: u32) -> Result<()> {
    if (OLDEST_READ_VERSION..=FORMAT_VERSION).contains(&version) {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "{what}: format version {version}; versions {OLDEST_READ_VERSION} to {FORMAT_VERSION} are read"
    )))
}

/// The filters of generic tiles, as libtiledb writes them.
pub(crate) fn structure_filters() -> FilterPipeline {
    FilterPipeline::new(vec![Filter::Gzip { level: 1 }])
}

fn put_name(out: &mut Vec<u8>, name: &str) -> Result<()> {
    put_lp32(out, name.as_bytes())
}
