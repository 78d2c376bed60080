//! Columns of data frames, and the same kinds of value outside a frame.

use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::builder::LargeStringBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Float32Array, Float64Array, Int32Array, make_array,
};
use arrow_buffer::NullBuffer;
use arrow_schema::DataType;
use arrow_select::take::take;

use super::placed::Placement;
use super::{Chosen, DenseArray, natural};
use crate::container::{Group, Node, integers};
use crate::model::{Column, ColumnEncoding};
use crate::{Error, Result};

/// One-dimensional values in a file: a column, or a pandas array in `uns`.
#[derive(Clone, Debug)]
pub struct StoredColumn(Source);

#[derive(Clone, Debug)]
enum Source {
    Plain(DenseArray),
    Categorical {
        codes: DenseArray,
        categories: Categories,
        ordered: bool,
    },
    Nullable {
        values: DenseArray,
        mask: DenseArray,
        encoding: ColumnEncoding,
    },
    /// "0", "1" and so on: the index that AnnData makes up where none is stored.
    Numbered(u64),
    /// The column of a part, for all cells. Those that the part does not have are null, or NaN where it holds floats.
    Placed {
        column: Box<StoredColumn>,
        placement: Arc<Placement>,
    },
    /// What another format holds in a form of its own; categorical where there are categories.
    Foreign {
        values: Arc<dyn ForeignValues>,
        length: u64,
        data_type: DataType,
        categories: Option<ArrayRef>,
    },
}

/// Values of another format than AnnData's.
pub(crate) trait ForeignValues: Debug + Send + Sync {
    /// All values: strings (`LargeUtf8`) or booleans, without nulls.
    fn read(&self) -> Result<ArrayRef>;
}

/// The categories of a categorical column.
#[derive(Clone, Debug)]
enum Categories {
    Stored(DenseArray),
    Values(ArrayRef),
}

impl StoredColumn {
    /// Numbers, booleans or strings without nulls.
    pub(super) fn plain(array: DenseArray) -> Result<Self> {
        check_vector(&array)?;
        Ok(Self(Source::Plain(array)))
    }

    /// The numbers from 0 to `length`, less one, as strings.
    pub(super) fn numbered(length: u64) -> Self {
        Self(Source::Numbered(length))
    }

    /// Values of another format. Strings become a categorical column where AnnData makes one of them when it
    /// writes a file; they are read for it.
    pub(crate) fn foreign(values: Arc<dyn ForeignValues>) -> Result<Self> {
        let found = values.read()?;
        let categories = natural::categories(&found).map(|found| Arc::new(found) as ArrayRef);
        let (length, data_type) = (found.len() as u64, found.data_type().clone());
        Ok(Self(Source::Foreign { values, length, data_type, categories }))
    }

    /// The column of a part, for all cells.
    pub(super) fn placed(self, placement: &Arc<Placement>) -> Self {
        Self(Source::Placed { column: Box::new(self), placement: Arc::clone(placement) })
    }

    /// Strings of another format that are an index.
    pub(crate) fn foreign_index(values: Arc<dyn ForeignValues>, length: u64) -> Self {
        let data_type = DataType::LargeUtf8;
        Self(Source::Foreign { values, length, data_type, categories: None })
    }

    /// Codes in `codes`, which stand for `categories`.
    pub(super) fn categorical(
        codes: DenseArray,
        categories: DenseArray,
        ordered: bool,
    ) -> Result<Self> {
        check_codes(&codes)?;
        check_vector(&categories)?;
        let categories = Categories::Stored(categories);
        Ok(Self(Source::Categorical { codes, categories, ordered }))
    }

    /// Codes in `codes`, which stand for categories in memory.
    pub(super) fn categorical_of(codes: DenseArray, categories: ArrayRef) -> Result<Self> {
        check_codes(&codes)?;
        let categories = Categories::Values(categories);
        Ok(Self(Source::Categorical { codes, categories, ordered: false }))
    }

    /// A pandas array in a group of its own; none for groups of any other encoding.
    pub(super) fn open_group(group: &Group, kind: &str, version: &str) -> Result<Option<Self>> {
        let encoding = match (kind, version) {
            ("categorical", "0.2.0") => return Self::open_categorical(group).map(Some),
            ("nullable-integer", "0.1.0") => ColumnEncoding::NullableInteger,
            ("nullable-boolean", "0.1.0") => ColumnEncoding::NullableBoolean,
            ("nullable-string-array", "0.1.0") => ColumnEncoding::NullableString,
            _ => return Ok(None),
        };
        Self::open_nullable(group, encoding).map(Some)
    }

    /// A group of encoding `categorical`: `codes`, `categories` and the attribute `ordered`.
    fn open_categorical(group: &Group) -> Result<Self> {
        let ordered = group.attributes().truth("ordered").map_err(|error| group.locate(error))?;
        let codes = DenseArray::new(group.require_dataset("codes")?)?;
        // Writers other than AnnData may store categories as a nullable array without nulls.
        let categories = match group.require("categories")? {
            Node::Dataset(dataset) => DenseArray::new(dataset)?,
            Node::Group(group) => DenseArray::new(group.require_dataset("values")?)?,
        };
        Self::categorical(codes, categories, ordered.unwrap_or(false))
    }

    /// A group of `values` and a `mask` that is true where a value is missing.
    fn open_nullable(group: &Group, encoding: ColumnEncoding) -> Result<Self> {
        let values = DenseArray::new(group.require_dataset("values")?)?;
        let mask = DenseArray::new(group.require_dataset("mask")?)?;
        check_vector(&values)?;
        let fits = match encoding {
            ColumnEncoding::NullableInteger => values.data_type().is_integer(),
            ColumnEncoding::NullableBoolean => *values.data_type() == DataType::Boolean,
            _ => *values.data_type() == DataType::LargeUtf8,
        };
        if !fits {
            return Err(values.locate(Error::unsupported(format!(
                "a nullable array ({encoding:?}) of {} is not read",
                values.data_type()
            ))));
        }
        if mask.shape() != values.shape() || *mask.data_type() != DataType::Boolean {
            return Err(mask.locate(Error::corrupt(format!(
                "expected {} booleans, found the shape {:?} of {}",
                values.n_rows(),
                mask.shape(),
                mask.data_type()
            ))));
        }
        Ok(Self(Source::Nullable { values, mask, encoding }))
    }

    /// The values, if they are integers that may be codes of categories.
    pub(super) fn as_codes(&self) -> Option<&DenseArray> {
        match &self.0 {
            Source::Plain(array) if array.data_type().is_integer() => Some(array),
            _ => None,
        }
    }

    /// The number of values.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Source::Plain(array) => array.n_rows(),
            Source::Categorical { codes, .. } => codes.n_rows(),
            Source::Nullable { values, .. } => values.n_rows(),
            Source::Numbered(length) | Source::Foreign { length, .. } => *length,
            Source::Placed { placement, .. } => placement.n_cells(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How AnnData sees the values.
    pub fn encoding(&self) -> ColumnEncoding {
        match &self.0 {
            Source::Plain(array) if *array.data_type() == DataType::LargeUtf8 => {
                ColumnEncoding::String
            }
            Source::Plain(_) => ColumnEncoding::Plain,
            Source::Categorical { ordered, .. } => {
                ColumnEncoding::Categorical { ordered: *ordered }
            }
            Source::Nullable { encoding, .. } => *encoding,
            Source::Numbered(_) => ColumnEncoding::String,
            Source::Foreign { categories: Some(_), .. } => {
                ColumnEncoding::Categorical { ordered: false }
            }
            Source::Foreign { data_type: DataType::LargeUtf8, .. } => ColumnEncoding::String,
            Source::Foreign { .. } => ColumnEncoding::Plain,
            Source::Placed { column, placement } if placement.lacks_any() => {
                match (column.encoding(), column.data_type()) {
                    (ColumnEncoding::String, _) => ColumnEncoding::NullableString,
                    (ColumnEncoding::Plain, DataType::Boolean) => ColumnEncoding::NullableBoolean,
                    (ColumnEncoding::Plain, found) if found.is_integer() => {
                        ColumnEncoding::NullableInteger
                    }
                    (other, _) => other,
                }
            }
            Source::Placed { column, .. } => column.encoding(),
        }
    }

    /// The type of the values: for a categorical column, a dictionary of the categories' type.
    pub fn data_type(&self) -> DataType {
        match &self.0 {
            Source::Plain(array) => array.data_type().clone(),
            Source::Categorical { categories, .. } => {
                let values = match categories {
                    Categories::Stored(array) => array.data_type().clone(),
                    Categories::Values(array) => array.data_type().clone(),
                };
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(values))
            }
            Source::Nullable { values, .. } => values.data_type().clone(),
            Source::Numbered(_) => DataType::LargeUtf8,
            Source::Foreign { data_type, categories: Some(_), .. } => {
                DataType::Dictionary(Box::new(DataType::Int32), Box::new(data_type.clone()))
            }
            Source::Foreign { data_type, .. } => data_type.clone(),
            Source::Placed { column, .. } => column.data_type(),
        }
    }

    /// How many categories a categorical column has.
    pub fn category_count(&self) -> Option<u64> {
        match &self.0 {
            Source::Categorical { categories: Categories::Stored(array), .. } => {
                Some(array.n_rows())
            }
            Source::Categorical { categories: Categories::Values(array), .. } => {
                Some(array.len() as u64)
            }
            Source::Foreign { categories: Some(categories), .. } => Some(categories.len() as u64),
            Source::Placed { column, .. } => column.category_count(),
            _ => None,
        }
    }

    /// All values.
    ///
    /// # Errors
    ///
    /// As of [`StoredColumn::read_rows`].
    pub fn read(&self) -> Result<Column> {
        self.read_rows(0..self.len())
    }

    /// The values of `rows`; a categorical column still has all of its categories.
    ///
    /// # Errors
    ///
    /// `Corrupt` for a code without a category, and as of [`DenseArray::read_rows`].
    pub fn read_rows(&self, rows: Range<u64>) -> Result<Column> {
        self.read_chosen(&Chosen::from_ranges([rows]))
    }

    /// The values of chosen rows; a categorical column still has all of its categories.
    ///
    /// # Errors
    ///
    /// As of [`StoredColumn::read_rows`].
    pub fn read_chosen(&self, rows: &Chosen) -> Result<Column> {
        let values = match &self.0 {
            Source::Plain(array) => array.read_chosen(rows)?,
            Source::Categorical { codes, categories, .. } => {
                let categories = match categories {
                    Categories::Stored(array) => array.read()?.values,
                    Categories::Values(values) => values.clone(),
                };
                let read = codes.read_chosen(rows)?;
                dictionary(&read, categories).map_err(|error| codes.locate(error))?
            }
            Source::Nullable { values, mask, .. } => {
                let mask = mask.read_chosen(rows)?;
                let values = values.read_chosen(rows)?;
                let missing = mask.as_boolean_opt().map(|mask| mask.values());
                let valid = missing.map(|missing| NullBuffer::new(!missing));
                let data = values.to_data().into_builder().nulls(valid).build();
                make_array(data.map_err(|error| {
                    Error::corrupt("expected as many values as the mask has").caused_by(error)
                })?)
            }
            Source::Numbered(length) => {
                if rows.ranges().last().is_some_and(|last| last.end > *length) {
                    return Err(Error::invalid(format!("expected rows of 0 to {length}")));
                }
                let mut strings = LargeStringBuilder::new();
                rows.positions().for_each(|row| strings.append_value(row.to_string()));
                Arc::new(strings.finish())
            }
            Source::Placed { column, placement } => {
                let (wanted, places) = placement.places(rows);
                let values = take(&column.read_chosen(&wanted)?.values, &places, None);
                let values = values.map_err(|error| {
                    Error::corrupt("rows cannot be put in order").caused_by(error)
                })?;
                nan_for_null(values)
            }
            Source::Foreign { values, length, categories, .. } => {
                let values = values.read()?;
                if values.len() as u64 != *length {
                    return Err(Error::corrupt(format!(
                        "expected {length} values as before, found {}: the file was changed",
                        values.len()
                    )));
                }
                let chosen = match rows.is_all(*length) {
                    true => values,
                    false => rows.pick(&values, 0..*length, 1)?,
                };
                match categories {
                    Some(categories) => codes_of(&chosen, categories)?,
                    None => chosen,
                }
            }
        };
        Ok(Column { values, encoding: self.encoding() })
    }
}

fn check_vector(array: &DenseArray) -> Result<()> {
    match array.shape() {
        [_] => Ok(()),
        shape => Err(array.locate(Error::corrupt(format!(
            "expected values of one dimension, found the shape {shape:?}"
        )))),
    }
}

fn check_codes(codes: &DenseArray) -> Result<()> {
    check_vector(codes)?;
    if codes.data_type().is_integer() {
        return Ok(());
    }
    Err(codes.locate(Error::corrupt(format!(
        "expected codes of categories, found {}",
        codes.data_type()
    ))))
}

/// NaN for the nulls of floats; other values as they are.
fn nan_for_null(values: ArrayRef) -> ArrayRef {
    if let Some(floats) = values.as_primitive_opt::<Float32Type>() {
        return Arc::new(
            floats.iter().map(|v| Some(v.unwrap_or(f32::NAN))).collect::<Float32Array>(),
        );
    }
    if let Some(floats) = values.as_primitive_opt::<Float64Type>() {
        return Arc::new(
            floats.iter().map(|v| Some(v.unwrap_or(f64::NAN))).collect::<Float64Array>(),
        );
    }
    values
}

/// Strings as keys of categories, which have all of them.
fn codes_of(strings: &ArrayRef, categories: &ArrayRef) -> Result<ArrayRef> {
    let known = categories.as_string_opt::<i64>().into_iter().flatten().flatten();
    let known: HashMap<&str, i32> = known.zip(0..).collect();
    let strings = strings.as_string_opt::<i64>().into_iter().flatten();
    let code = |text: Option<&str>| text.and_then(|text| known.get(text)).copied().unwrap_or(-1);
    let codes: Int32Array = strings.map(|text| Some(code(text))).collect();
    if codes.values().contains(&-1) {
        return Err(Error::corrupt(
            "expected values as before, found others: the file was changed",
        ));
    }
    dictionary(&codes, Arc::clone(categories))
}

/// Codes as keys of their categories; -1 is null.
fn dictionary(codes: &dyn Array, categories: ArrayRef) -> Result<ArrayRef> {
    let count = categories.len();
    let keys = integers::<i64>(codes)
        .and_then(|codes| {
            let key = |code: i64| match code {
                -1 => Some(None),
                code => usize::try_from(code)
                    .ok()
                    .filter(|&code| code < count)
                    .and_then(|code| i32::try_from(code).ok())
                    .map(Some),
            };
            codes.into_iter().map(key).collect::<Option<Vec<Option<i32>>>>()
        })
        .map(Int32Array::from);
    let Some(keys) = keys else {
        return Err(Error::corrupt(format!(
            "expected codes of -1 to {count} less one, found one outside"
        )));
    };
    DictionaryArray::<Int32Type>::try_new(keys, categories)
        .map(|array| Arc::new(array) as ArrayRef)
        .map_err(|error| Error::corrupt("codes and categories do not fit").caused_by(error))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Int8Array, LargeStringArray, UInt16Array};

    use super::*;

    #[test]
    fn minus_one_is_null() {
        let categories: ArrayRef = Arc::new(LargeStringArray::from(vec!["b", "a"]));
        let array = dictionary(&Int8Array::from(vec![1, -1, 0]), categories.clone()).unwrap();
        let array = array.as_dictionary::<Int32Type>();
        assert_eq!(array.keys(), &Int32Array::from(vec![Some(1), None, Some(0)]));
        assert_eq!(array.values().len(), 2);
        for bad in [-2, 2] {
            assert!(dictionary(&Int8Array::from(vec![bad]), categories.clone()).is_err());
        }
        assert!(dictionary(&UInt16Array::from(vec![65535]), categories).is_err());
    }

    #[test]
    fn no_categories_are_enough_for_nulls() {
        let none: ArrayRef = Arc::new(LargeStringArray::from(Vec::<&str>::new()));
        assert_eq!(dictionary(&Int8Array::from(vec![-1, -1]), none).unwrap().null_count(), 2);
    }

    #[test]
    fn made_up_names_count_from_zero() {
        let column = StoredColumn::numbered(12).read_rows(9..12).unwrap();
        let expected = LargeStringArray::from(vec!["9", "10", "11"]);
        assert_eq!(column.values.as_string::<i64>(), &expected);
        assert!(StoredColumn::numbered(2).read_rows(0..3).is_err());
    }
}
