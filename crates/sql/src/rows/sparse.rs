//! Data frames and sparse arrays of an experiment.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int32Type;
use arrow_array::{Array as _, ArrayRef, DictionaryArray, Int32Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{ArrowError, DataType, Schema, SchemaRef};
use vacuole_query::Result;
use vacuole_soma::{Array, Selection, SparseReadOptions, Within};
use vacuole_tiledb::schema::Range;

use super::{Put, Rows, Wanted, batch, of_arrow, projected, sql_field};

/// An array whose cells are rows.
#[derive(Debug)]
pub(crate) struct Sparse {
    array: Array,
    schema: SchemaRef,
    /// The categories of columns, as SQL has them; of the others that have some all values are laid out.
    categories: BTreeMap<usize, ArrayRef>,
    coordinates: Vec<Option<(i64, i64)>>,
    count: Option<u64>,
}

impl Sparse {
    pub(crate) fn new(array: Array) -> Result<Self> {
        let stored = array.arrow_schema();
        let mut fields: Vec<_> = stored.fields().iter().map(|field| sql_field(field)).collect();
        let mut categories = BTreeMap::new();
        for (column, field) in fields.iter_mut().enumerate() {
            if !matches!(field.data_type(), DataType::Dictionary(..)) {
                continue;
            }
            match array.enumeration(field.name()).map(|values| cast(values, &DataType::Utf8)) {
                Some(Ok(values)) => {
                    categories.insert(column, values);
                }
                // Too much text for one array.
                _ => *field = field.clone().with_data_type(DataType::LargeUtf8),
            }
        }
        let coordinates = (0..stored.fields().len()).map(|column| coordinates(&array, column));
        let coordinates = coordinates.collect();
        let count = array.count_by_metadata();
        Ok(Self { schema: Arc::new(Schema::new(fields)), categories, coordinates, count, array })
    }

    /// Columns as they are stored, as SQL has them.
    fn converted(
        &self,
        stored: &RecordBatch,
        (schema, columns): (&SchemaRef, &[usize]),
    ) -> Result<RecordBatch, ArrowError> {
        let converted = columns.iter().zip(stored.columns()).zip(schema.fields());
        let converted = converted.map(|((column, values), field)| {
            match (self.categories.get(column), values.as_any_dictionary_opt()) {
                (Some(categories), Some(codes)) => {
                    let codes = cast(codes.keys(), &DataType::Int32)?;
                    let codes: Int32Array = codes.as_primitive::<Int32Type>().clone();
                    let values = DictionaryArray::try_new(codes, Arc::clone(categories))?;
                    Ok(Arc::new(values) as ArrayRef)
                }
                _ if values.data_type() == field.data_type() => Ok(Arc::clone(values)),
                _ => cast(values, field.data_type()),
            }
        });
        batch(schema, converted.collect::<Result<_, _>>()?, stored.num_rows())
    }
}

/// The coordinates that cells can have in a dimension of 64-bit integers: those of the domain, and of the first dimension
/// no others than it has.
pub(super) fn coordinates(array: &Array, column: usize) -> Option<(i64, i64)> {
    let schema = array.schema();
    let dimension = schema.dimensions.get(column)?;
    dimension.signed_tiling()?;
    if *array.arrow_schema().field(column).data_type() != DataType::Int64 {
        return None;
    }
    let current = schema.current_domain.as_ref().and_then(|domain| domain.get(column));
    let (mut low, mut high) = current.or(dimension.domain.as_ref()).and_then(Range::as_signed)?;
    if let (0, Some((first, last))) = (column, array.used_range()) {
        (low, high) = (low.max(first), high.min(last));
    }
    Some((low, high))
}

impl Rows for Sparse {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn kind(&self) -> &'static str {
        match self.schema.field_with_name("soma_data") {
            Ok(_) => "sparse array",
            Err(_) => "data frame",
        }
    }

    fn count(&self) -> Option<u64> {
        self.count
    }

    fn coordinates(&self, column: usize) -> Option<(i64, i64)> {
        self.coordinates.get(column).copied().flatten()
    }

    fn categories(&self, column: usize) -> Option<ArrayRef> {
        let values = self.categories.get(&column)?;
        let codes = i32::try_from(values.len()).ok()?;
        let codes: Int32Array = (0..codes).map(Some).chain([None]).collect();
        Some(Arc::new(DictionaryArray::try_new(codes, Arc::clone(values)).ok()?))
    }

    fn has_ranges(&self, column: usize) -> bool {
        use DataType as D;
        let field = self.array.arrow_schema().field(column);
        self.coordinates(column).is_none()
            && (field.data_type().is_integer() || matches!(field.data_type(), D::Timestamp(..)))
    }

    fn read(&self, wanted: &Wanted, put: &mut Put<'_>) -> Result<()> {
        let names = wanted.columns.iter().map(|&column| self.schema.field(column).name().clone());
        let dimensions = 0..self.array.schema().dimensions.len();
        let within = wanted.within.iter().map(|&(column, low, high)| Within {
            column: self.schema.field(column).name().clone(),
            // Beyond the ends there are unsigned integers still.
            low: if low == i64::MIN { i128::MIN } else { low.into() },
            high: if high == i64::MAX { i128::MAX } else { high.into() },
        });
        let options = SparseReadOptions {
            selections: dimensions.map(|column| wanted.selection(column)).collect(),
            columns: Some(names.collect()),
            within: within.collect(),
            at_a_time: Some(wanted.at_a_time()),
            in_parts: false,
        };
        if options.selections.iter().any(|s| *s == Selection::Ranges(Vec::new())) {
            return Ok(());
        }
        let schema = projected(&self.schema, &wanted.columns);
        for stored in self.array.read_sparse(&options)? {
            let rows = self.converted(&stored?, (&schema, &wanted.columns));
            if !put(rows.map_err(|error| of_arrow(self.array.display(), error))?) {
                break;
            }
        }
        Ok(())
    }
}
