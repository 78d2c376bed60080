//! Dense arrays, read by rows.

use std::ops::Range;

use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::{ArrowError, DataType};
use arrow_select::concat::concat;
use arrow_select::filter::filter;
use rayon::prelude::*;

use super::Chosen;
use super::chosen::{Piece, Reach};
use crate::hdf5::{Dataset, ElementType, Field};
use crate::model::NdArray;
use crate::{Error, Result};

/// Chosen rows so near to each other are read together: another read would take longer than what lies between.
const GAP_BYTES: u64 = 64 << 10;

/// The most bytes of one read of chosen rows, unless a chunk has more.
const PIECE_BYTES: u64 = 8 << 20;

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
            chunk: self.chunk_rows(),
            gap: GAP_BYTES / row_bytes,
            most: PIECE_BYTES / row_bytes,
        };
        let parts = rows.pieces(reach).into_par_iter().map(|piece| {
            let values = self.read_rows(piece.read.clone())?;
            pick(&values, &piece).map_err(|error| self.not_picked(error))
        });
        let parts = parts.collect::<Result<Vec<_>>>()?;
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        concat(&parts).map_err(|error| self.not_picked(error))
    }

    fn not_picked(&self, error: ArrowError) -> Error {
        self.locate(Error::corrupt("the chosen rows cannot be put together").caused_by(error))
    }

    /// The bytes of one row without filters; of a row of strings, those of references to them.
    pub fn row_bytes(&self) -> u64 {
        self.dataset.row_bytes()
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

/// What is chosen of the values of a piece.
fn pick(values: &ArrayRef, piece: &Piece) -> Result<ArrayRef, ArrowError> {
    if let [_] = piece.chosen.as_slice() {
        return Ok(values.clone());
    }
    let rows = piece.read.end - piece.read.start;
    let each = (values.len() as u64).checked_div(rows).unwrap_or(0);
    let mut mask = BooleanBufferBuilder::new(values.len());
    let mut position = piece.read.start;
    for range in &piece.chosen {
        mask.append_n(((range.start - position) * each) as usize, false);
        mask.append_n(((range.end - range.start) * each) as usize, true);
        position = range.end;
    }
    filter(values, &BooleanArray::new(mask.finish(), None))
}
