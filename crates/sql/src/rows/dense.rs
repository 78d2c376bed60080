//! Dense arrays, whose every cell is a row.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::compute::filter_record_batch;
use vacuole_query::Result;
use vacuole_soma::{Array, Error as SomaError, ErrorKind, Selection};

use super::{Put, Rows, Wanted, batch, of_arrow, projected, sql_field};

/// How many cells of a dense array are laid out at a time.
pub(super) const CELLS: u64 = 1 << 18;

/// A dense array of an experiment.
#[derive(Debug)]
pub(crate) struct Dense {
    array: Array,
    schema: SchemaRef,
    shape: Vec<u64>,
}

impl Dense {
    pub(crate) fn new(array: Array) -> Result<Self> {
        let shape: Option<Vec<u64>> = array.shape().into_iter().collect();
        let Some(shape) = shape.filter(|shape| !shape.is_empty()) else {
            let message = "expected dimensions of integers in a dense array";
            let error = SomaError::new(ErrorKind::Unsupported, array.display(), message);
            return Err(error.into());
        };
        let dimensions = shape.len();
        let fields = array.arrow_schema().fields().iter().enumerate().map(|(column, field)| {
            match column < dimensions {
                true => Field::new(field.name(), DataType::Int64, false),
                false => sql_field(field),
            }
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { array, schema, shape })
    }
}

impl Rows for Dense {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn kind(&self) -> &'static str {
        "dense array"
    }

    fn count(&self) -> Option<u64> {
        count(&self.shape)
    }

    fn coordinates(&self, column: usize) -> Option<(i64, i64)> {
        bounds(&self.shape, column)
    }

    fn read(&self, wanted: &Wanted, put: &mut Put<'_>) -> Result<()> {
        let schema = projected(&self.schema, &wanted.columns);
        each_region(&self.shape, wanted, |region| {
            let closed: Vec<(u64, u64)> =
                region.iter().map(|&(low, n)| (low, low + n - 1)).collect();
            let columns = wanted.columns.iter().map(|&column| match column < self.shape.len() {
                true => Ok(coordinate(region, column)),
                false => {
                    let field = self.schema.field(column);
                    let values = self.array.read_dense(field.name(), &closed)?.values;
                    cast(&values, field.data_type())
                        .map_err(|error| of_arrow(self.array.display(), error))
                }
            });
            let columns = columns.collect::<Result<_>>()?;
            let rows = chosen(region, wanted, (&schema, columns));
            match rows.map_err(|error| of_arrow(self.array.display(), error))? {
                Some(rows) => Ok(put(rows)),
                None => Ok(true),
            }
        })
    }
}

/// How many cells an array of this shape has.
pub(super) fn count(shape: &[u64]) -> Option<u64> {
    shape.iter().try_fold(1u64, |cells, length| cells.checked_mul(*length))
}

/// The coordinates of a dimension.
pub(super) fn bounds(shape: &[u64], column: usize) -> Option<(i64, i64)> {
    let length = i64::try_from(*shape.get(column)?).ok()?;
    Some((0, length - 1))
}

/// Hands on the regions that have the cells that are wanted, row by row of the first dimension and some rows at a time,
/// until one says that it is enough. Of each dimension there are the first coordinate and the length.
pub(super) fn each_region(
    shape: &[u64],
    wanted: &Wanted,
    mut take: impl FnMut(&[(u64, u64)]) -> Result<bool>,
) -> Result<()> {
    let clipped = shape.iter().enumerate().map(|(column, &length)| {
        let last = i64::try_from(length).ok().and_then(|length| length.checked_sub(1));
        match wanted.selection(column).clip(0, last.unwrap_or(-1)) {
            Selection::Ranges(ranges) => ranges,
            Selection::All => Vec::new(),
        }
    });
    let clipped: Vec<Vec<(i64, i64)>> = clipped.collect();
    let hull = |ranges: &Vec<(i64, i64)>| Some((ranges.first()?.0, ranges.last()?.1));
    let Some(hulls) = clipped.iter().map(hull).collect::<Option<Vec<(i64, i64)>>>() else {
        return Ok(());
    };
    let lengths: Vec<(u64, u64)> =
        hulls.iter().map(|&(low, high)| (low as u64, (high - low) as u64 + 1)).collect();
    let of_a_row: u64 = lengths.iter().skip(1).map(|(_, length)| length).product();
    let cells = wanted.limit.map_or(CELLS, |limit| CELLS.min(limit as u64));
    let most = (cells / of_a_row.max(1)).max(1);
    for &(low, high) in clipped.first().into_iter().flatten() {
        let (mut start, end) = (low as u64, high as u64 + 1);
        while start < end {
            let mut region = lengths.clone();
            let rows = most.min(end - start);
            if let Some(first) = region.first_mut() {
                *first = (start, rows);
            }
            if !take(&region)? {
                return Ok(());
            }
            start += rows;
        }
    }
    Ok(())
}

/// The coordinates that the cells of a region have in a dimension, the last dimension running fastest.
pub(super) fn coordinate(region: &[(u64, u64)], column: usize) -> ArrayRef {
    let lengths = |part: &[(u64, u64)]| part.iter().map(|(_, length)| length).product::<u64>();
    let (before, rest) = region.split_at(column.min(region.len()));
    let (start, length) = rest.first().copied().unwrap_or_default();
    let times = lengths(rest.get(1..).unwrap_or_default());
    let mut values = Vec::with_capacity((lengths(before) * length * times) as usize);
    for _ in 0..lengths(before) {
        for value in start..start + length {
            values.extend(std::iter::repeat_n(value as i64, times as usize));
        }
    }
    Arc::new(Int64Array::from(values))
}

/// The cells of a region that are wanted, as rows; none where there are none.
pub(super) fn chosen(
    region: &[(u64, u64)],
    wanted: &Wanted,
    (schema, columns): (&SchemaRef, Vec<ArrayRef>),
) -> Result<Option<RecordBatch>, arrow_schema::ArrowError> {
    let cells = count(&region.iter().map(|(_, length)| *length).collect::<Vec<_>>());
    let cells = cells.unwrap_or_default() as usize;
    let rows = batch(schema, columns, cells)?;
    let mut keep: Option<BooleanBuffer> = None;
    // Of the first dimension all rows are wanted.
    for (column, &(low, length)) in region.iter().enumerate().skip(1) {
        let selection = wanted.selection(column);
        if selection.covers(low as i64, (low + length) as i64 - 1) {
            continue;
        }
        let times: u64 = region.iter().skip(column + 1).map(|(_, length)| length).product();
        let holds: Vec<bool> = (low..low + length).map(|c| selection.contains(c as i64)).collect();
        let kept = BooleanBuffer::collect_bool(cells, |cell| {
            let place = (cell as u64 / times.max(1)) % length;
            holds.get(place as usize).copied().unwrap_or(false)
        });
        keep = Some(keep.map_or(kept.clone(), |keep| &keep & &kept));
    }
    let rows = match keep {
        Some(keep) => filter_record_batch(&rows, &BooleanArray::new(keep, None))?,
        None => rows,
    };
    Ok((rows.num_rows() > 0).then_some(rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;

    #[test]
    fn every_chosen_cell_comes_once_and_in_order() {
        let shape = [5u64, 4, 3];
        let selections =
            [Selection::ranges([(1, 2), (4, 4)]), Selection::points([0, 3]), Selection::All];
        for limit in [None, Some(1), Some(20)] {
            let wanted = Wanted {
                columns: vec![0, 1, 2],
                selections: selections.iter().cloned().enumerate().collect(),
                limit,
                ..Wanted::default()
            };
            let fields = ["a", "b", "c"].map(|name| Field::new(name, DataType::Int64, false));
            let schema = Arc::new(Schema::new(fields.to_vec()));
            let mut found = Vec::new();
            each_region(&shape, &wanted, |region| {
                let columns = (0..3).map(|column| coordinate(region, column)).collect();
                let rows = chosen(region, &wanted, (&schema, columns)).unwrap().unwrap();
                for row in 0..rows.num_rows() {
                    let value = |c: usize| rows.column(c).as_primitive::<Int64Type>().value(row);
                    found.push([value(0), value(1), value(2)]);
                }
                Ok(true)
            })
            .unwrap();
            let mut expected = Vec::new();
            for a in [1, 2, 4] {
                for b in [0, 3] {
                    expected.extend([0, 1, 2].map(|c| [a, b, c]));
                }
            }
            assert_eq!(found, expected);
        }
    }
}
