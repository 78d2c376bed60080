//! Matrix Market folders of 10x Genomics, as scanpy's `read_10x_mtx` reads them.
//!
//! A matrix of features by cells lies in one file of text, one entry a line, the features and the barcodes in others
//! beside it; each may be compressed by gzip. The text is read as a stream. Entries are put down by cell in temporary
//! files when they are first asked for: text cannot be read from its middle.

mod entries;
mod header;
mod names;
mod order;
mod spool;
mod text;
mod trio;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, Float32Array};
use arrow_buffer::ScalarBuffer;
use arrow_schema::DataType;

use crate::read::{ForeignMatrix, Format, Frame, SparseMatrix, StoredColumn};
use crate::source::FileSource;
use crate::{ByteSource, Error, H5ad, Result};
pub use entries::check as check_text;
use header::Header;
use names::Names;
use order::Ordered;
use text::Text;
pub use trio::{Trio, is_matrix_market, paths_at};
pub use write::{Features, Major, MtxWriter};

/// A file of a folder: its bytes, and what messages call it.
#[derive(Clone)]
pub struct Part {
    /// Its path or URI.
    pub name: String,
    /// Its bytes.
    pub source: Arc<dyn ByteSource>,
}

impl Part {
    /// A file on disk.
    ///
    /// # Errors
    /// `Io` where it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let file = FileSource::open(path).map_err(|error| error.in_file(&name))?;
        Ok(Self { name, source: Arc::new(file) })
    }
}

/// The files of a matrix.
pub struct Parts {
    /// `matrix.mtx`: features by cells.
    pub matrix: Part,
    /// `features.tsv`, or `genes.tsv` of Cell Ranger before 3.
    pub features: Part,
    /// `barcodes.tsv`.
    pub barcodes: Part,
}

/// Opens a matrix as an AnnData of cells by features, which errors call `name` where no file is to blame. Entries are
/// put down in `tmpdir`, which is made, when they are asked for.
///
/// Values are single floats. Ids stay the text that they are.
///
/// # Errors
/// `Corrupt` where the files do not fit together, `Unsupported` for a matrix of another kind; both name file and line.
/// `Io` where a file cannot be read.
pub fn open(parts: Parts, name: &str, tmpdir: &Path) -> Result<H5ad> {
    let Parts { matrix, features, barcodes } = parts;
    let matrix = Text::new(matrix);
    let header = Header::read(&matrix)?;
    // Cell Ranger before 3 knew genes only.
    let typed = !trio::is_genes(&features.name);
    let features = Names::open(Text::new(features), typed)?;
    let barcodes = Names::open_lines(Text::new(barcodes))?;
    let (rows, columns) = (features.count(), barcodes.count());
    if (header.rows, header.columns) != (rows, columns) {
        let transposed = match (header.rows, header.columns) == (columns, rows) && rows != columns {
            true => "; the matrix is one of cells by features, and must be transposed",
            false => "",
        };
        return Err(Error::corrupt(format!(
            "expected {} features and {} barcodes, as it says, found {rows} in {} and {columns} in {}{transposed}",
            header.rows,
            header.columns,
            features.file(),
            barcodes.file(),
        ))
        .in_file(matrix.name()));
    }
    if header.entries == 0 {
        // Otherwise nobody would look whether there is none.
        entries::each(&matrix, &header, |_| Ok(()))?;
    }
    let mut columns = vec![("gene_ids".to_owned(), StoredColumn::foreign(features.column(0))?)];
    if let Some(types) = features.types() {
        columns.push(("feature_types".to_owned(), StoredColumn::foreign(features.column(types))?));
    }
    let names = StoredColumn::foreign_index(features.column(features.symbols()), rows);
    let cells = StoredColumn::foreign_index(barcodes.column(0), header.columns);
    let shape = (header.columns, header.rows);
    let values =
        Values { text: matrix, header, tmpdir: tmpdir.to_owned(), ordered: Mutex::default() };
    let x = SparseMatrix::foreign("X", shape, Arc::new(values));
    let obs = Frame::foreign("obs", cells, Vec::new())?;
    let var = Frame::foreign("var", names, columns)?;
    H5ad::of_parts(name, None, Format::MatrixMarket, x, obs, var)
}

/// The entries of a matrix, which are put in order when they are asked for.
#[derive(Debug)]
struct Values {
    text: Text,
    header: Header,
    tmpdir: PathBuf,
    ordered: Mutex<Option<Arc<Ordered>>>,
}

impl Values {
    fn ordered(&self) -> Result<Arc<Ordered>> {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        match &*ordered {
            Some(ordered) => Ok(Arc::clone(ordered)),
            None => {
                let made = Arc::new(Ordered::make(&self.text, &self.header, &self.tmpdir)?);
                Ok(Arc::clone(ordered.insert(made)))
            }
        }
    }
}

impl ForeignMatrix for Values {
    fn data_type(&self) -> &DataType {
        &DataType::Float32
    }

    fn nnz(&self) -> Result<u64> {
        Ok(self.header.entries)
    }

    fn indptr(&self) -> Result<Vec<u64>> {
        Ok(self.ordered()?.indptr().to_vec())
    }

    fn read_indices(&self, range: std::ops::Range<u64>) -> Result<ScalarBuffer<u32>> {
        Ok(self.ordered()?.read_indices(range)?.into())
    }

    fn read_data(&self, range: std::ops::Range<u64>) -> Result<ArrayRef> {
        Ok(Arc::new(Float32Array::from(self.ordered()?.read_data(range)?)))
    }

    fn forget(&self) {
        *self.ordered.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests;
