//! Dense arrays, read by rows.

use std::ops::Range;

use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use arrow_select::concat::concat;
use rayon::prelude::*;

use super::Chosen;
use super::chosen::Reach;
use crate::container::{Dataset, ElementType, Field};
use crate::model::NdArray;
use crate::{Error, ErrorKind, Result};

/// Chosen rows so near to each other are read together: another read would take longer than what lies between.
const GAP_BYTES: u64 = 64 << 10;

/// The most bytes of one read of chosen rows, unless the chunks of a row have more.
const PIECE_BYTES: u64 = 8 << 20;

/// Chunks side by side with more bytes than this are read in parts, and more than once, rather than held.
const BAND_BYTES: u64 = 64 << 20;

/// A dense array in a file: numbers, booleans or strings of any number of dimensions.
#[derive(Clone, Debug)]
pub struct DenseArray {
    dataset: Dataset,
    /// For a field of records: where it starts, and its type.
    field: Option<(usize, ElementType)>,
    shape: Vec<u64>,
    data_type: DataType,
}

impl DenseArray {
    /// All of a dataset.
    ///
    /// # Errors
    ///
    /// `Unsupported` when the elements are none that a NumPy array of numbers, booleans or
    /// strings has.
    pub(super) fn new(dataset: Dataset) -> Result<Self> {
        let data_type = dataset.element().data_type().map_err(|error| dataset.locate(error))?;
        let mut shape = dataset.shape().to_vec();
        if let ElementType::Array { dims, .. } = dataset.element() {
            shape.extend(dims);
        }
        Ok(Self { dataset, field: None, shape, data_type })
    }

    /// One field of a dataset of records.
    pub(super) fn of_field(dataset: &Dataset, field: &Field) -> Result<Self> {
        let data_type = field
            .element
            .data_type()
            .map_err(|error| dataset.locate(error.context(format!("field {:?}", field.name))))?;
        let mut shape = dataset.shape().to_vec();
        if let ElementType::Array { dims, .. } = &field.element {
            shape.extend(dims);
        }
        let part = Some((field.offset, field.element.clone()));
        Ok(Self { dataset: dataset.clone(), field: part, shape, data_type })
    }

    /// A vector as a matrix of one column, which is what AnnData makes of vectors in `obsm`.
    #[must_use]
    pub(super) fn with_two_dimensions(mut self) -> Self {
        if self.shape.len() == 1 {
            self.shape.push(1);
        }
        self
    }

    /// The path inside the file.
    pub fn path(&self) -> &str {
        self.dataset.path()
    }

    /// The length of each dimension.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The length of the first dimension, 1 for an array without dimensions.
    pub fn n_rows(&self) -> u64 {
        self.dataset.n_rows()
    }

    /// The type of the values.
    pub fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// How many rows are stored together; none where they are stored one by one.
    ///
    /// Reading a multiple of them from a multiple of them decompresses nothing twice.
    pub fn chunk_rows(&self) -> Option<u64> {
        self.dataset.chunk_rows()
    }

    /// The values of `rows`, row by row (C order). Chunks are decompressed on all threads.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for rows that do not exist, `TooLarge` for more bytes than
    /// [`ReadOptions::max_read_bytes`](crate::ReadOptions::max_read_bytes), `Corrupt`,
    /// `Unsupported` and `Io` for what the file holds.
    pub fn read_rows(&self, rows: Range<u64>) -> Result<ArrayRef> {
        match &self.field {
            None => self.dataset.read_rows(rows),
            Some((offset, element)) => {
                let mut parts = self.dataset.read_parts(rows, [(*offset, element)])?;
                parts.pop().ok_or_else(|| self.locate(Error::corrupt("expected a field")))
            }
        }
    }

    /// The values of chosen rows, row by row. Rows that are stored near to each other are read together, and
    /// the others apart from them, on all threads; no more than what is chosen is kept.
    ///
    /// # Errors
    ///
    /// As of [`DenseArray::read_rows`].
    pub fn read_chosen(&self, rows: &Chosen) -> Result<ArrayRef> {
        match rows.ranges() {
            [] => return self.read_rows(0..0),
            [only] => return self.read_rows(only.clone()),
            _ => {}
        }
        self.dataset.check_read(rows.len())?;
        let row_bytes = self.dataset.row_bytes().max(1);
        let reach = Reach {
            chunk: self.band_rows(),
            gap: GAP_BYTES / row_bytes,
            most: PIECE_BYTES / row_bytes,
        };
        let parts = rows.pieces(reach).into_par_iter().map(|piece| {
            let values = self.read_rows(piece.read.clone())?;
            match piece.chosen.is_all(piece.read.end - piece.read.start) {
                true => Ok(values),
                false => piece.chosen.pick(&values, piece.read, 1).map_err(|e| self.locate(e)),
            }
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        concat(&parts).map_err(|error| {
            let message = "the chosen rows cannot be held together";
            self.locate(Error::new(ErrorKind::TooLarge, message).caused_by(error))
        })
    }

    /// The rows of a chunk, where they are worth being read together.
    fn band_rows(&self) -> Option<u64> {
        let held = |&rows: &u64| rows.saturating_mul(self.dataset.row_bytes()) <= BAND_BYTES;
        // The chunks of a vector are held anyway.
        self.chunk_rows().filter(|rows| self.dataset.shape().len() == 1 || held(rows))
    }

    /// Of how many rows a part of the array has about `bytes` bytes, with the least that is decompressed twice;
    /// at least 1.
    pub fn rows_at_a_time(&self, bytes: u64) -> u64 {
        let rows = (bytes / self.dataset.row_bytes().max(1)).max(1);
        rows.next_multiple_of(self.band_rows().unwrap_or(1).max(1))
    }

    /// All values.
    ///
    /// # Errors
    ///
    /// As of [`DenseArray::read_rows`].
    pub fn read(&self) -> Result<NdArray> {
        let values = self.read_rows(0..self.n_rows())?;
        NdArray::new(self.shape.clone(), values).map_err(|error| self.locate(error))
    }

    /// Adds file and path to an error.
    pub(super) fn locate(&self, error: Error) -> Error {
        self.dataset.locate(error)
    }
}
