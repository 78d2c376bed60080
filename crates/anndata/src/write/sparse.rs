//! Sparse matrices, streamed by rows (CSR) or columns (CSC).

use arrow_array::Array;
use arrow_schema::DataType;
use rust_hdf5::DatatypeMessage;

use super::output::SharedOutput;
use super::stream::ByteStream;
use super::{H5adWriter, datatype};
use crate::model::{SparseArray, SparseFormat};
use crate::{Error, Result};

/// Positions on the axis that is not compressed, in any of the types they come in.
#[derive(Clone, Copy, Debug)]
pub enum Indices<'a> {
    /// 32 bits, signed: negative ones are refused.
    I32(&'a [i32]),
    /// 32 bits.
    U32(&'a [u32]),
    /// 64 bits, signed: negative ones are refused.
    I64(&'a [i64]),
    /// 64 bits.
    U64(&'a [u64]),
}

macro_rules! from_slice {
    ($($type:ty => $variant:ident),*) => {
        $(
            impl<'a> From<&'a [$type]> for Indices<'a> {
                fn from(values: &'a [$type]) -> Self {
                    Self::$variant(values)
                }
            }
            impl<'a> From<&'a Vec<$type>> for Indices<'a> {
                fn from(values: &'a Vec<$type>) -> Self {
                    Self::$variant(values)
                }
            }
        )*
    };
}
from_slice!(i32 => I32, u32 => U32, i64 => I64, u64 => U64);

impl Indices<'_> {
    fn len(self) -> usize {
        match self {
            Self::I32(values) => values.len(),
            Self::U32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::U64(values) => values.len(),
        }
    }

    /// The largest; a negative one counts as larger than all others.
    fn max(self) -> Option<u64> {
        match self {
            Self::I32(values) => values.iter().map(|&v| v as u32).max().map(u64::from),
            Self::U32(values) => values.iter().copied().max().map(u64::from),
            Self::I64(values) => values.iter().map(|&v| v as u64).max(),
            Self::U64(values) => values.iter().copied().max(),
        }
    }
}

/// A dataset of non-negative integers, 32 or 64 bits wide.
struct IndexStream {
    bytes: ByteStream,
    wide: bool,
}

impl IndexStream {
    fn new(output: SharedOutput, path: String, wide: bool) -> Self {
        let datatype = if wide { DatatypeMessage::i64_type() } else { DatatypeMessage::i32_type() };
        Self { bytes: ByteStream::growing(output, path, datatype), wide }
    }

    /// Adds values that were found to fit.
    fn append(&mut self, values: Indices<'_>) -> Result<()> {
        let bytes = &mut self.bytes;
        match (values, self.wide) {
            (Indices::I32(values), false) => bytes.append_encoded(values, i32::to_le_bytes),
            (Indices::U32(values), false) => bytes.append_encoded(values, u32::to_le_bytes),
            (Indices::I64(values), false) => {
                bytes.append_encoded(values, |v| (v as i32).to_le_bytes())
            }
            (Indices::U64(values), false) => {
                bytes.append_encoded(values, |v| (v as i32).to_le_bytes())
            }
            (Indices::I32(values), true) => {
                bytes.append_encoded(values, |v| i64::from(v).to_le_bytes())
            }
            (Indices::U32(values), true) => {
                bytes.append_encoded(values, |v| u64::from(v).to_le_bytes())
            }
            (Indices::I64(values), true) => bytes.append_encoded(values, i64::to_le_bytes),
            (Indices::U64(values), true) => bytes.append_encoded(values, u64::to_le_bytes),
        }
    }
}

/// Where each row begins: written at once where the width is known, else held until the end.
enum Pointers {
    Streamed(Box<IndexStream>),
    Held(Vec<u64>),
}

/// Writes a sparse matrix, some rows (CSR) or columns (CSC) at a time.
///
/// It holds a few chunks of values; where the number of stored values was not given, also 8 bytes
/// per row. The file cannot be finished before it.
pub struct SparseWriter {
    output: SharedOutput,
    path: String,
    data_type: DataType,
    data: ByteStream,
    indices: IndexStream,
    pointers: Pointers,
    rows: u64,
    stored: u64,
    /// The lengths of the compressed axis and of the other.
    major: u64,
    minor: u64,
    /// The most values that can be stored.
    limit: u64,
}

impl H5adWriter {
    /// Begins a CSR matrix of `shape` (rows, columns): `X`, `raw/X`, or anything in `layers`,
    /// `obsm`, `obsp`, `varm`, `varp` and `uns`.
    ///
    /// Column numbers take 32 bits where the number of columns allows it, row pointers where the
    /// number of stored values does.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, or AnnData does not have the type; `Io`.
    pub fn csr(
        &mut self,
        path: &str,
        shape: (u64, u64),
        data_type: &DataType,
    ) -> Result<SparseWriter> {
        self.sparse_stream(path, SparseFormat::Csr, shape, data_type, None)
    }

    /// Begins a CSC matrix; as [`csr`](Self::csr), by columns.
    ///
    /// # Errors
    ///
    /// As for [`csr`](Self::csr).
    pub fn csc(
        &mut self,
        path: &str,
        shape: (u64, u64),
        data_type: &DataType,
    ) -> Result<SparseWriter> {
        self.sparse_stream(path, SparseFormat::Csc, shape, data_type, None)
    }

    /// Begins a sparse matrix that will store `stored` values, or at most as many, where known:
    /// indices and pointers then have the same width, as SciPy has them, and no pointers are held.
    ///
    /// # Errors
    ///
    /// As for [`csr`](Self::csr).
    pub fn sparse_stream(
        &mut self,
        path: &str,
        format: SparseFormat,
        shape: (u64, u64),
        data_type: &DataType,
        stored: Option<u64>,
    ) -> Result<SparseWriter> {
        let locate = |error| self.output.locate(path, error);
        let datatype = datatype::require_numeric(data_type).map_err(locate)?;
        let (Ok(rows), Ok(columns)) = (i64::try_from(shape.0), i64::try_from(shape.1)) else {
            return Err(locate(Error::invalid(format!("the shape {shape:?} is too large"))));
        };
        let (major, minor) = format.major_minor(shape);
        let encoding = match format {
            SparseFormat::Csr => "csr_matrix",
            SparseFormat::Csc => "csc_matrix",
        };
        let group = self.element_group(path, (encoding, "0.1.0"))?;
        group
            .set_integers("shape", &[rows, columns])
            .map_err(|error| self.output.failed(path, error))?;
        let narrow = i32::MAX as u64;
        let wide = minor > narrow || stored.is_some_and(|stored| stored > narrow);
        let output = self.output.clone();
        let part = |name: &str| format!("{path}/{name}");
        let mut pointers = match stored {
            Some(_) => {
                Pointers::Streamed(Box::new(IndexStream::new(output.clone(), part("indptr"), wide)))
            }
            None => Pointers::Held(Vec::new()),
        };
        pointers.push(0)?;
        output.opened(path);
        Ok(SparseWriter {
            path: path.to_string(),
            data_type: data_type.clone(),
            data: ByteStream::growing(output.clone(), part("data"), datatype),
            indices: IndexStream::new(output.clone(), part("indices"), wide),
            pointers,
            rows: 0,
            stored: 0,
            major,
            minor,
            limit: stored.unwrap_or(i64::MAX as u64),
            output,
        })
    }

    /// A sparse matrix in memory.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when the path is taken or wrong, or the parts do not fit together; `Io`.
    pub fn sparse(&mut self, path: &str, array: &SparseArray) -> Result<()> {
        let data_type = array.data.data_type();
        // What lies behind the last pointer does not belong to the matrix.
        let (Some(0), Some(&stored)) = (array.indptr.first(), array.indptr.last()) else {
            let error = Error::invalid("the pointers do not begin with 0");
            return Err(self.output.locate(path, error));
        };
        let end = usize::try_from(stored).unwrap_or(usize::MAX);
        let Some(indices) = array.indices.get(..end).filter(|_| end <= array.data.len()) else {
            let error = Error::invalid(format!(
                "the pointers end at {stored}, with {} positions and {} values",
                array.indices.len(),
                array.data.len()
            ));
            return Err(self.output.locate(path, error));
        };
        let mut writer =
            self.sparse_stream(path, array.format, array.shape, data_type, Some(stored))?;
        let lengths = array.indptr.windows(2).map(|pair| match *pair {
            [start, end] => end.checked_sub(start).unwrap_or(u64::MAX),
            _ => u64::MAX,
        });
        writer.append(lengths, indices, array.data.slice(0, end).as_ref())?;
        writer.finish()
    }
}

impl Pointers {
    fn push(&mut self, pointer: u64) -> Result<()> {
        match self {
            Self::Streamed(stream) => stream.append(Indices::U64(&[pointer])),
            Self::Held(pointers) => {
                pointers.push(pointer);
                Ok(())
            }
        }
    }
}

impl SparseWriter {
    /// Adds rows (CSR) or columns (CSC): the number of values stored in each, their positions on
    /// the other axis, and the values.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when lengths, positions and values do not fit together, positions are outside
    /// the matrix, there are more rows or values than announced, or values are null or of another
    /// type; `Io`.
    pub fn append<'a>(
        &mut self,
        lengths: impl IntoIterator<Item = u64>,
        indices: impl Into<Indices<'a>>,
        values: &dyn Array,
    ) -> Result<()> {
        let indices = indices.into();
        let before = self.stored;
        for length in lengths {
            self.stored = self.stored.saturating_add(length);
            self.rows += 1;
            self.pointers.push(self.stored)?;
        }
        let added = self.stored - before;
        if added != indices.len() as u64 || added != values.len() as u64 {
            return Err(self.wrong(format!(
                "the lengths add up to {added}, with {} positions and {} values",
                indices.len(),
                values.len()
            )));
        }
        if self.rows > self.major || self.stored > self.limit {
            return Err(self.wrong(format!(
                "{} rows or columns with {} values exceed the announced {} and {}",
                self.rows, self.stored, self.major, self.limit
            )));
        }
        if let Some(max) = indices.max().filter(|&max| max >= self.minor) {
            return Err(self.wrong(format!("the position {max} is not below {}", self.minor)));
        }
        if datatype::numeric(values.data_type()) != datatype::numeric(&self.data_type) {
            let (expected, got) = (&self.data_type, values.data_type());
            return Err(self.wrong(format!("expected values of type {expected}, got {got}")));
        }
        let bytes =
            datatype::bytes(values).map_err(|error| self.output.locate(&self.path, error))?;
        self.indices.append(indices)?;
        self.data.append(&bytes)
    }

    /// Completes the matrix.
    ///
    /// # Errors
    ///
    /// `InvalidInput` when rows (CSR) or columns (CSC) are missing; `Io`.
    pub fn finish(self) -> Result<()> {
        if self.rows != self.major {
            let (got, expected) = (self.rows, self.major);
            return Err(self.wrong(format!("expected {expected} rows or columns, got {got}")));
        }
        let pointers = match self.pointers {
            Pointers::Streamed(pointers) => *pointers,
            Pointers::Held(held) => {
                let wide = self.indices.wide || self.stored > i32::MAX as u64;
                let path = format!("{}/indptr", self.path);
                let mut pointers = IndexStream::new(self.output.clone(), path, wide);
                pointers.append(Indices::U64(&held))?;
                pointers
            }
        };
        // AnnData gives the parts of a matrix no encoding of their own.
        for stream in [pointers.bytes, self.indices.bytes, self.data] {
            stream.finish()?;
        }
        self.output.completed(&self.path);
        Ok(())
    }

    fn wrong(&self, what: String) -> Error {
        self.output.locate(&self.path, Error::invalid(what))
    }
}
