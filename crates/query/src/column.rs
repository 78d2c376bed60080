//! Columns of SOMA data frames as AnnData's.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, DictionaryArray, Int32Array, LargeStringArray,
    PrimitiveArray, RecordBatch, downcast_integer_array,
};
use arrow_schema::{DataType, Field};
use arrow_select::take::take;
use vacuole_anndata::model::{Column, ColumnEncoding};
use vacuole_soma::anndata_record::ColumnKind;
use vacuole_soma::layout::JOIN_ID;
use vacuole_soma::{Error as SomaError, ErrorKind, Object, keys};

use crate::error::Result;

/// A data frame as AnnData holds it.
pub(crate) struct AnnDataFrame {
    pub(crate) index_name: Option<String>,
    pub(crate) index: ArrayRef,
    pub(crate) columns: Vec<(String, Column)>,
}

/// Which column of a data frame holds the ids.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdColumn<'a> {
    /// What the user asks for, who may know better.
    pub(crate) asked: Option<&'a str>,
    /// What the ingest has recorded.
    pub(crate) recorded: Option<&'a str>,
    /// What it is called usually.
    pub(crate) usual: &'a str,
}

impl IdColumn<'_> {
    /// The columns that may be it, the first that there is being it: that which is asked for and no other, else the
    /// one that was the index in pandas (`soma_dataframe_original_index_name`), the recorded one, the usual one, and
    /// `index`.
    pub(crate) fn candidates(&self, object: &Object) -> Vec<String> {
        if let Some(asked) = self.asked {
            return vec![asked.to_owned()];
        }
        let others = self.recorded.into_iter().chain([self.usual, "index"]);
        original_index_name(object).into_iter().chain(others.map(str::to_owned)).collect()
    }
}

/// Turns rows of `obs` or `var` into AnnData's frame. Without a column of ids the join ids are the index.
///
/// # Errors
/// [`InvalidInput`](ErrorKind::InvalidInput) where the column asked for is not there or holds no ids.
pub(crate) fn frame(
    object: &Object,
    rows: &RecordBatch,
    id_column: &IdColumn<'_>,
    join_ids: bool,
) -> Result<AnnDataFrame> {
    let original = original_index_name(object);
    let candidates = id_column.candidates(object).into_iter();
    let index_column =
        { candidates }.find(|name| rows.column_by_name(name).is_some_and(|c| ids(c).is_some()));
    if let (Some(asked), None) = (id_column.asked, &index_column) {
        return Err(no_ids(object, asked));
    }
    let index = rows.column_by_name(index_column.as_deref().unwrap_or(JOIN_ID)).and_then(ids);
    let Some(index) = index else {
        let message =
            format!("expected a column '{}' or '{JOIN_ID}' for the index", id_column.usual);
        return Err(SomaError::new(ErrorKind::InvalidInput, object.display(), message).into());
    };
    let mut columns = Vec::new();
    for (field, values) in rows.schema().fields().iter().zip(rows.columns()) {
        let name = field.name();
        if Some(name) == index_column.as_ref() || (name == JOIN_ID && !join_ids) {
            continue;
        }
        let column = column(field, values).ok_or_else(|| {
            let message =
                format!("column '{name}': AnnData cannot hold {}; leave it out", field.data_type());
            SomaError::new(ErrorKind::Unsupported, object.display(), message)
        })?;
        columns.push((name.clone(), column));
    }
    // As tiledbsoma has it: the index has a name where it had one, or where it is asked for.
    let index_name = original
        .filter(|name| index_column.as_ref() == Some(name))
        .or_else(|| id_column.asked.map(str::to_owned));
    Ok(AnnDataFrame { index_name, index, columns })
}

/// The error where the column asked for does not hold the ids.
fn no_ids(object: &Object, asked: &str) -> crate::Error {
    let fields = object.array().map(|array| array.arrow_schema().fields().clone());
    let fields = fields.unwrap_or_default();
    let message = match fields.find(asked) {
        Some((_, field)) => format!(
            "expected text or integers in the column '{asked}' for the index, found {}; name another column",
            field.data_type()
        ),
        None => {
            let names: Vec<String> = fields.iter().map(|f| format!("'{}'", f.name())).collect();
            format!(
                "expected a column '{asked}' for the index, found {}; name one of these",
                names.join(", ")
            )
        }
    };
    SomaError::new(ErrorKind::InvalidInput, object.display(), message).into()
}

/// The name that the index had in pandas.
pub(crate) fn original_index_name(object: &Object) -> Option<String> {
    let json = object.metadata().get(keys::INDEX_NAME)?.as_str()?;
    serde_json::from_str::<Option<String>>(json).ok().flatten()
}

/// A column as the text of an index, where it can be one: text, categories of text, integers. A null id reads as
/// the empty string.
pub(crate) fn ids(column: &ArrayRef) -> Option<ArrayRef> {
    fn of<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>) -> ArrayRef
    where
        T::Native: ToString,
    {
        let text = values.iter().map(|value| value.map_or_else(String::new, |v| v.to_string()));
        Arc::new(LargeStringArray::from_iter_values(text))
    }
    downcast_integer_array!(
        column => Some(of(column)),
        DataType::LargeUtf8 if column.null_count() == 0 => Some(Arc::clone(column)),
        DataType::LargeUtf8 => {
            let values = column.as_string::<i64>().iter().map(Option::unwrap_or_default);
            Some(Arc::new(LargeStringArray::from_iter_values(values)) as ArrayRef)
        }
        DataType::Dictionary(_, values) if **values == DataType::LargeUtf8 => {
            let values = column.as_any_dictionary_opt()?;
            let values = take(values.values(), values.keys(), None).ok()?;
            ids(&values)
        }
        _ => None,
    )
}

/// Whether [`ids`] makes ids of columns of a type.
pub(crate) fn can_be_ids(data_type: &DataType) -> bool {
    match data_type {
        DataType::LargeUtf8 => true,
        DataType::Dictionary(_, values) => **values == DataType::LargeUtf8,
        other => other.is_integer(),
    }
}

/// A column as AnnData holds it; `None` for types that it does not have.
pub(crate) fn column(field: &Field, values: &ArrayRef) -> Option<Column> {
    let nulls = values.null_count() > 0;
    let plain = |encoding| Some(Column { values: Arc::clone(values), encoding });
    match field.data_type() {
        DataType::Dictionary(..) => {
            let ordered = field.dict_is_ordered().unwrap_or(false);
            let encoding = ColumnEncoding::Categorical { ordered };
            Some(Column { values: with_int32_codes(values)?, encoding })
        }
        DataType::Boolean if nulls => plain(ColumnEncoding::NullableBoolean),
        DataType::LargeUtf8 if nulls => plain(ColumnEncoding::NullableString),
        DataType::LargeUtf8 => plain(ColumnEncoding::String),
        DataType::Float32 if nulls => {
            let values = with_nan::<Float32Type>(values, f32::NAN)?;
            Some(Column { values, encoding: ColumnEncoding::Plain })
        }
        DataType::Float64 if nulls => {
            let values = with_nan::<Float64Type>(values, f64::NAN)?;
            Some(Column { values, encoding: ColumnEncoding::Plain })
        }
        other if other.is_integer() && nulls => plain(ColumnEncoding::NullableInteger),
        other if other.is_integer() || other.is_floating() || *other == DataType::Boolean => {
            plain(ColumnEncoding::Plain)
        }
        _ => None,
    }
}

/// A column in the encoding that it had in AnnData; `None` where the stored one cannot have been that.
pub(crate) fn restored(field: &Field, values: &ArrayRef, kind: ColumnKind) -> Option<Column> {
    let encoding = match (kind, values.data_type()) {
        (ColumnKind::Half, _) => {
            let singles = with_nan::<Float32Type>(values, f32::NAN)?;
            let halves: PrimitiveArray<Float16Type> =
                singles.as_primitive_opt::<Float32Type>()?.unary(half::f16::from_f32);
            return Some(Column { values: Arc::new(halves), encoding: ColumnEncoding::Plain });
        }
        (ColumnKind::Nullable, DataType::Boolean) => ColumnEncoding::NullableBoolean,
        (ColumnKind::Nullable, DataType::LargeUtf8) => ColumnEncoding::NullableString,
        (ColumnKind::Nullable, _) => ColumnEncoding::NullableInteger,
        (ColumnKind::Plain | ColumnKind::Categorical, _) => return column(field, values),
    };
    Some(Column { values: Arc::clone(values), encoding })
}

/// Floats with NaN where they are null, as pandas holds them.
fn with_nan<T: ArrowPrimitiveType>(values: &ArrayRef, nan: T::Native) -> Option<ArrayRef> {
    let values = values.as_primitive_opt::<T>()?;
    let filled = values.iter().map(|value| value.unwrap_or(nan));
    Some(Arc::new(PrimitiveArray::<T>::from_iter_values(filled)))
}

fn with_int32_codes(values: &ArrayRef) -> Option<ArrayRef> {
    fn recode<K: ArrowDictionaryKeyType>(values: &ArrayRef) -> Option<ArrayRef>
    where
        K::Native: TryInto<i32>,
    {
        let values = values.as_dictionary_opt::<K>()?;
        let codes = values.keys().iter().map(|code| code.and_then(|code| code.try_into().ok()));
        let codes = Int32Array::from_iter(codes);
        let recoded = DictionaryArray::<Int32Type>::try_new(codes, Arc::clone(values.values()));
        Some(Arc::new(recoded.ok()?))
    }
    if values.as_dictionary_opt::<Int32Type>().is_some() {
        return Some(Arc::clone(values));
    }
    recode::<Int8Type>(values)
        .or_else(|| recode::<Int16Type>(values))
        .or_else(|| recode::<Int64Type>(values))
        .or_else(|| recode::<UInt8Type>(values))
        .or_else(|| recode::<UInt16Type>(values))
        .or_else(|| recode::<UInt32Type>(values))
        .or_else(|| recode::<UInt64Type>(values))
}
