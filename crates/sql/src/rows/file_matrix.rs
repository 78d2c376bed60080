//! Matrices and other arrays of an H5AD file.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use datafusion::arrow::compute::filter_record_batch;
use vacuole_anndata::model::SparseFormat;
use vacuole_anndata::{Chosen, DenseArray, SparseMatrix};
use vacuole_query::Result;
use vacuole_soma::Selection;

use super::dense::{bounds, chosen, coordinate, count, each_region};
use super::file_frame::positions;
use super::{Put, Rows, Wanted, batch, of_arrow, projected, sql_type};

/// The columns of an array of so many dimensions.
fn schema_of(dimensions: usize, values: &DataType, nullable: bool) -> SchemaRef {
    let dimension = |d: usize| Field::new(format!("soma_dim_{d}"), DataType::Int64, false);
    let values = Field::new("soma_data", sql_type(values), nullable);
    Arc::new(Schema::new((0..dimensions).map(dimension).chain([values]).collect::<Vec<_>>()))
}

/// A CSR or CSC matrix, whose stored values are rows, as often as they are stored.
#[derive(Debug)]
pub(crate) struct FileSparse {
    matrix: SparseMatrix,
    schema: SchemaRef,
    nnz: u64,
}

impl FileSparse {
    pub(crate) fn new(matrix: SparseMatrix) -> Result<Self> {
        let schema = schema_of(2, matrix.data_type(), false);
        Ok(Self { schema, nnz: matrix.nnz()?, matrix })
    }

    /// The number of the column for the axis that is compressed.
    fn major(&self) -> usize {
        match self.matrix.format() {
            SparseFormat::Csr => 0,
            SparseFormat::Csc => 1,
        }
    }

    fn shape(&self) -> [u64; 2] {
        let (rows, columns) = self.matrix.shape();
        [rows, columns]
    }

    fn failed(&self, error: ArrowError) -> vacuole_query::Error {
        of_arrow(self.matrix.path(), error)
    }

    /// The stored values of some rows (CSR) or columns (CSC), given with where they are.
    fn rows(
        &self,
        of: &[(u64, Range<u64>)],
        wanted: &Wanted,
        (schema, minor): (&SchemaRef, &Selection),
    ) -> Result<RecordBatch> {
        let stored = Chosen::from_ranges(of.iter().map(|(_, values)| values.clone()));
        let all = *minor == Selection::All;
        let indices = match all && !wanted.columns.contains(&(1 - self.major())) {
            true => None,
            false => Some(self.matrix.read_chosen_indices(&stored)?),
        };
        let columns = wanted.columns.iter().map(|&column| -> Result<ArrayRef> {
            Ok(match column {
                2 => {
                    let values = self.matrix.read_chosen_data(&stored)?;
                    cast(&values, self.schema.field(2).data_type())
                        .map_err(|error| self.failed(error))?
                }
                column if column == self.major() => {
                    let mut values = Vec::with_capacity(stored.len() as usize);
                    for (position, range) in of {
                        let times = (range.end - range.start) as usize;
                        values.extend(std::iter::repeat_n(*position as i64, times));
                    }
                    Arc::new(Int64Array::from(values))
                }
                _ => {
                    let indices = indices.iter().flat_map(|indices| indices.iter());
                    Arc::new(Int64Array::from_iter_values(indices.map(|&index| index.into())))
                }
            })
        });
        let columns = columns.collect::<Result<_>>()?;
        let rows = batch(schema, columns, stored.len() as usize).map_err(|e| self.failed(e))?;
        let Some(indices) = indices.filter(|_| !all) else { return Ok(rows) };
        let keep = BooleanBuffer::collect_bool(indices.len(), |place| {
            indices.get(place).is_some_and(|&index| minor.contains(index.into()))
        });
        filter_record_batch(&rows, &BooleanArray::new(keep, None)).map_err(|e| self.failed(e))
    }
}

impl Rows for FileSparse {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn kind(&self) -> &'static str {
        "sparse array"
    }

    fn count(&self) -> Option<u64> {
        Some(self.nnz)
    }

    fn coordinates(&self, column: usize) -> Option<(i64, i64)> {
        bounds(&self.shape(), column)
    }

    fn read(&self, wanted: &Wanted, put: &mut Put<'_>) -> Result<()> {
        let schema = projected(&self.schema, &wanted.columns);
        let major = self.major();
        let length = self.shape()[major];
        let minor = wanted.selection(1 - major);
        let indptr = self.matrix.indptr()?;
        let most = match wanted.limit {
            Some(_) => wanted.at_a_time(),
            None => wanted.at_a_time().max(self.matrix.chunk_elements().unwrap_or(0)),
        };
        let mut some: Vec<(u64, Range<u64>)> = Vec::new();
        let mut held = 0;
        let mut hand_on = |some: &[(u64, Range<u64>)]| -> Result<bool> {
            let rows = self.rows(some, wanted, (&schema, &minor))?;
            Ok(rows.num_rows() == 0 || put(rows))
        };
        for position in positions(&wanted.selection(major), length).positions() {
            let Some([start, end, ..]) = indptr.get(position as usize..) else { break };
            if start == end {
                continue;
            }
            some.push((position, *start..*end));
            held += end - start;
            if held >= most {
                if !hand_on(&some)? {
                    return Ok(());
                }
                some.clear();
                held = 0;
            }
        }
        if !some.is_empty() {
            hand_on(&some)?;
        }
        Ok(())
    }
}

/// A dense array, whose every cell is a row.
#[derive(Debug)]
pub(crate) struct FileDense {
    array: DenseArray,
    schema: SchemaRef,
}

impl FileDense {
    pub(crate) fn new(array: DenseArray) -> Self {
        let schema = schema_of(array.shape().len(), array.data_type(), true);
        Self { array, schema }
    }
}

impl Rows for FileDense {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn kind(&self) -> &'static str {
        "dense array"
    }

    fn count(&self) -> Option<u64> {
        count(self.array.shape())
    }

    fn coordinates(&self, column: usize) -> Option<(i64, i64)> {
        bounds(self.array.shape(), column)
    }

    fn read(&self, wanted: &Wanted, put: &mut Put<'_>) -> Result<()> {
        let shape = self.array.shape();
        let schema = projected(&self.schema, &wanted.columns);
        let failed = |error: ArrowError| of_arrow(self.array.path(), error);
        // Rows are read whole.
        let rows_only = Wanted {
            selections: wanted
                .selections
                .iter()
                .filter(|(column, _)| *column == 0)
                .cloned()
                .collect(),
            ..wanted.clone()
        };
        each_region(shape, &rows_only, |region| {
            let (start, length) = region.first().copied().unwrap_or_default();
            let columns = wanted.columns.iter().map(|&column| match column < shape.len() {
                true => Ok(coordinate(region, column)),
                false => {
                    let values = self.array.read_rows(start..start + length)?;
                    cast(&values, self.schema.field(column).data_type()).map_err(failed)
                }
            });
            let columns = columns.collect::<Result<_>>()?;
            match chosen(region, wanted, (&schema, columns)).map_err(failed)? {
                Some(rows) => Ok(put(rows)),
                None => Ok(true),
            }
        })
    }
}
