//! The footer of a fragment's metadata: what it holds, and where everything else is.

use crate::bytes::{Cursor, put_lp64, put_u64s};
use crate::error::{Error, Result};
use crate::schema::{ArraySchema, Range, check_version};

/// The format version from which on footers tell of delete metadata.
const DELETES_FROM: u32 = 15;

/// The format version from which on footers tell of processed conditions.
pub(super) const CONDITIONS_FROM: u32 = 16;

/// The footer, the last part of `__fragment_metadata.tdb`, not filtered.
///
/// ```text
/// u32 version | lp64 schema name | u8 dense | u8 no non-empty domain | a range for each dimension
/// u64 sparse tiles (0 where dense) | u64 cells in the last tile | u8 timestamps
/// u8 delete metadata (from version 15)
/// fields × u64 file sizes | fields × u64 var file sizes | fields × u64 validity file sizes
/// u64 offset of the R-tree, then fields × u64 offsets of each of: tile offsets, var tile offsets,
///     var tile sizes, validity tile offsets, minima, maxima, sums, null counts
/// u64 offset of the fragment's own statistics | u64 offset of processed conditions (from version 16)
/// ---
/// u64 size of the footer, without itself
/// ```
///
/// All offsets are those of generic tiles in the same file.
#[derive(Clone, Debug, PartialEq)]
pub struct Footer {
    /// The format version of the fragment.
    pub version: u32,
    /// The file name of the schema that the fragment was written with.
    pub schema: String,
    /// Whether it holds whole space tiles of a dense region.
    pub dense: bool,
    /// The smallest ranges that hold every cell; `None` where it has no cell.
    pub non_empty_domain: Option<Vec<Range>>,
    /// How many data tiles it has, where sparse; 0 where dense.
    pub sparse_tiles: u64,
    /// The cells of the last data tile where sparse; of a space tile where dense.
    pub last_tile_cells: u64,
    /// Whether each cell has its own timestamp.
    pub has_timestamps: bool,
    /// Whether each cell has a time of deletion and the condition it met.
    pub has_delete_metadata: bool,
    /// The sizes of the fixed files, one for each field number.
    pub file_sizes: Vec<u64>,
    /// The sizes of the var files.
    pub var_file_sizes: Vec<u64>,
    /// The sizes of the validity files.
    pub validity_file_sizes: Vec<u64>,
    /// Where the R-tree is.
    pub rtree: u64,
    /// Where the eight lists of each field are, in the order of the drawing.
    pub lists: [Vec<u64>; 8],
    /// Where the fragment's own statistics are.
    pub statistics: u64,
    /// Where the list of delete conditions is that a consolidation has applied already; before format version 16, 0.
    pub processed_conditions: u64,
}

impl Footer {
    /// How many fields there are.
    pub fn fields(schema: &ArraySchema, has_timestamps: bool, has_delete_metadata: bool) -> usize {
        schema.attributes.len()
            + 1
            + schema.dimensions.len()
            + usize::from(has_timestamps)
            + 2 * usize::from(has_delete_metadata)
    }

    /// The name of the schema that a metadata file's fragment was written with, which
    /// [`read`](Self::read) needs.
    pub fn schema_name(file: &[u8]) -> Result<String> {
        let (bytes, start) = split(file)?;
        let mut cursor = Cursor::new(bytes);
        let name = cursor
            .u32("footer version")
            .and_then(|version| check_version("fragment footer", version))
            .and_then(|()| cursor.lp64_str("schema name"));
        name.map(str::to_owned).map_err(|e| e.at(start as u64))
    }

    /// Decodes the footer of a whole metadata file.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) where sizes disagree with the schema or offsets lie
    /// outside the file.
    pub fn read(file: &[u8], schema: &ArraySchema) -> Result<Self> {
        let (bytes, start) = split(file)?;
        let mut cursor = Cursor::new(bytes);
        let version = cursor.u32("footer version")?;
        check_version("fragment footer", version)?;
        let name = cursor.lp64_str("schema name")?.to_owned();
        let dense = cursor.flag("fragment dense")?;
        let no_domain = cursor.flag("fragment without non-empty domain")?;
        let ranges = schema
            .dimensions
            .iter()
            .map(|dimension| Range::read(&mut cursor, dimension.datatype, dimension.var));
        let non_empty_domain = match no_domain {
            true => None,
            false => Some(ranges.collect::<Result<_>>()?),
        };
        let sparse_tiles = cursor.u64("tile count")?;
        let last_tile_cells = cursor.u64("cells in the last tile")?;
        let has_timestamps = cursor.flag("fragment timestamps")?;
        let has_delete_metadata =
            version >= DELETES_FROM && cursor.flag("fragment delete metadata")?;
        let fields = Self::fields(schema, has_timestamps, has_delete_metadata);
        let file_sizes = cursor.u64s(fields, "file sizes")?;
        let var_file_sizes = cursor.u64s(fields, "var file sizes")?;
        let validity_file_sizes = cursor.u64s(fields, "validity file sizes")?;
        let rtree = cursor.u64("R-tree offset")?;
        let mut lists: [Vec<u64>; 8] = Default::default();
        for list in &mut lists {
            *list = cursor.u64s(fields, "list offsets")?;
        }
        let statistics = cursor.u64("fragment statistics offset")?;
        let processed_conditions = match version {
            CONDITIONS_FROM.. => cursor.u64("processed conditions offset")?,
            _ => 0,
        };
        cursor.finish("fragment footer")?;
        let offsets = lists.iter().flatten().chain([&rtree, &statistics, &processed_conditions]);
        if let Some(offset) = offsets.into_iter().find(|&&offset| offset >= start as u64) {
            return Err(Error::corrupt(format!(
                "fragment footer: expected offsets below {start}, found {offset}"
            )));
        }
        Ok(Self {
            version,
            schema: name,
            dense,
            non_empty_domain,
            sparse_tiles,
            last_tile_cells,
            has_timestamps,
            has_delete_metadata,
            file_sizes,
            var_file_sizes,
            validity_file_sizes,
            rtree,
            lists,
            statistics,
            processed_conditions,
        })
    }

    /// Appends the footer and its size, which end the file.
    pub fn write(&self, out: &mut Vec<u8>, schema: &ArraySchema) {
        let start = out.len();
        out.extend_from_slice(&self.version.to_le_bytes());
        put_lp64(out, self.schema.as_bytes());
        out.extend_from_slice(&[u8::from(self.dense), u8::from(self.non_empty_domain.is_none())]);
        for (range, dimension) in self.non_empty_domain.iter().flatten().zip(&schema.dimensions) {
            range.write(out, dimension.datatype);
        }
        put_u64s(out, &[self.sparse_tiles, self.last_tile_cells]);
        out.push(u8::from(self.has_timestamps));
        if self.version >= DELETES_FROM {
            out.push(u8::from(self.has_delete_metadata));
        }
        put_u64s(out, &self.file_sizes);
        put_u64s(out, &self.var_file_sizes);
        put_u64s(out, &self.validity_file_sizes);
        put_u64s(out, &[self.rtree]);
        for list in &self.lists {
            put_u64s(out, list);
        }
        put_u64s(out, &[self.statistics]);
        if self.version >= CONDITIONS_FROM {
            put_u64s(out, &[self.processed_conditions]);
        }
        let size = (out.len() - start) as u64;
        put_u64s(out, &[size]);
    }
}

/// The bytes of the footer of a whole metadata file, without the size behind them.
///
/// # Errors
/// [`Corrupt`](crate::ErrorKind::Corrupt) where the file has no room for as many as it says.
pub fn footer_bytes(file: &[u8]) -> Result<&[u8]> {
    split(file).map(|(bytes, _)| bytes)
}

/// The footer's bytes, and where they start in the file.
fn split(file: &[u8]) -> Result<(&[u8], usize)> {
    let Some((rest, size)) = file.split_last_chunk::<8>() else {
        return Err(Error::corrupt(format!(
            "fragment metadata: expected at least 8 bytes, found {}",
            file.len()
        )));
    };
    let size = u64::from_le_bytes(*size);
    match usize::try_from(size).ok().and_then(|size| rest.len().checked_sub(size)) {
        Some(start) => Ok((&rest[start..], start)),
        None => Err(Error::corrupt(format!(
            "fragment footer: expected at most {} bytes, found {size}",
            rest.len()
        ))
        .at(rest.len() as u64)),
    }
}
