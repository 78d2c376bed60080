//! Columns of AnnData frames as columns of SOMA data frames.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int32Type};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Int32Array, LargeStringArray, PrimitiveArray,
};
use arrow_schema::{DataType, Field};
use arrow_select::filter::filter;
use arrow_select::take::take;
use vacuole_anndata::model::{Column, ColumnEncoding, widened};
use vacuole_anndata::{Chosen, Frame, StoredColumn};
use vacuole_soma::anndata_record::ColumnKind;
use vacuole_soma::array::stored_type;
use vacuole_tiledb::schema::Enumeration;

use super::Context;
use super::ids::rows_at_once;
use crate::error::{Result, in_object};

/// Categorical columns with more categories are stored as plain values (tiledbsoma: what a signed 16-bit
/// index can hold).
pub(super) const MOST_CATEGORIES: usize = 32_767;

/// How many rows are looked at at a time.
const ROWS: u64 = 1 << 18;

/// Where a column's values come from.
pub(crate) enum ColumnSource {
    Stored(Box<StoredColumn>),
    /// Every value is null.
    Nulls,
    /// The index of a frame, as text.
    Index(Frame),
    /// The first category in every row.
    First,
    /// Values in memory: ids made unique, or the columns of an array of strings.
    Values(ArrayRef),
}

/// A column as it is stored.
pub(crate) struct SomaColumn {
    /// Its name and type; dictionaries of `int32` are categorical.
    pub(crate) field: Field,
    pub(crate) source: ColumnSource,
    /// Those of a categorical column.
    pub(crate) categories: Option<ArrayRef>,
    treatment: Treatment,
    /// Codes that take the place of those of the categories, by position.
    codes: Option<Vec<i32>>,
    /// Codes that take the place of values.
    encoded: Option<Codes>,
}

/// Codes by the bytes of values.
pub(super) type Codes = HashMap<Vec<u8>, i32>;

/// What happens to values on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Treatment {
    /// They are stored as they are.
    AsIs,
    /// NaN becomes null, as in the reference; half floats become single ones.
    Float,
    /// The codes are stored, and index an enumeration.
    Codes,
    /// New codes take the place of the old ones, by position: only categories in use are kept.
    Recoded(Vec<i32>),
    /// Every row is null, and the categories are lost, as in the reference.
    NoCategories,
    /// Categories take the place of their codes.
    Decoded,
}

impl SomaColumn {
    /// A column of strings in memory.
    pub(crate) fn strings(name: &str, values: ArrayRef) -> Self {
        Self::values(Field::new(name, DataType::LargeUtf8, true), values)
    }

    /// The ids of a frame.
    pub(super) fn index(name: &str, frame: &Frame) -> Self {
        let field = Field::new(name, DataType::LargeUtf8, true);
        Self::new(field, ColumnSource::Index(frame.clone()), Treatment::AsIs)
    }

    /// How many rows to read at a time where they are read one after another.
    pub(super) fn rows_at_once(&self) -> u64 {
        match &self.source {
            ColumnSource::Stored(column) => rows_at_once(column),
            ColumnSource::Index(frame) => rows_at_once(frame.stored_index()),
            ColumnSource::Nulls | ColumnSource::First | ColumnSource::Values(_) => ROWS,
        }
    }

    /// A column in memory, of values in their stored form.
    pub(super) fn values(field: Field, values: ArrayRef) -> Self {
        Self::new(field, ColumnSource::Values(values), Treatment::AsIs)
    }

    /// A column without any value.
    pub(super) fn nulls(field: Field) -> Self {
        Self::new(field, ColumnSource::Nulls, Treatment::AsIs)
    }

    /// A categorical column with one value in every row, and its enumeration.
    pub(super) fn constant(
        context: &Context<'_>,
        name: &str,
        value: &str,
    ) -> Result<(Self, Enumeration)> {
        let values = Box::new(DataType::LargeUtf8);
        let field = Field::new(name, DataType::Dictionary(Box::new(DataType::Int32), values), true);
        let categories: ArrayRef = Arc::new(LargeStringArray::from(vec![value]));
        let enumeration = enumeration(context, name, &categories, false)?;
        let column = Self::new(field, ColumnSource::First, Treatment::AsIs);
        Ok((Self { categories: Some(categories), ..column }, enumeration))
    }

    fn new(field: Field, source: ColumnSource, treatment: Treatment) -> Self {
        Self { field, source, categories: None, treatment, codes: None, encoded: None }
    }

    /// The same column with other codes for its categories.
    pub(super) fn recoded(mut self, codes: Vec<i32>) -> Self {
        self.codes = Some(codes);
        self
    }

    /// A column of values with codes in their place.
    pub(super) fn encoded(mut self, codes: Codes) -> Self {
        self.encoded = Some(codes);
        self
    }

    /// All rows, as many at a time as are looked at.
    pub(super) fn blocks(&self) -> impl Iterator<Item = Range<u64>> {
        let rows = match &self.source {
            ColumnSource::Stored(column) => column.len(),
            ColumnSource::Values(values) => values.len() as u64,
            ColumnSource::Index(frame) => frame.n_rows(),
            // There is nothing to see in them.
            ColumnSource::Nulls | ColumnSource::First => 0,
        };
        (0..rows.div_ceil(ROWS)).map(move |block| block * ROWS..((block + 1) * ROWS).min(rows))
    }

    /// A categorical column with values in the place of codes.
    pub(super) fn decoded(mut self) -> Self {
        self.treatment = match self.treatment {
            Treatment::Codes | Treatment::Recoded(_) => Treatment::Decoded,
            _ if matches!(self.source, ColumnSource::First) => Treatment::Decoded,
            other => other,
        };
        self
    }

    /// A stored column, and the enumeration of a categorical one; `None` where SOMA has no place for it.
    pub(crate) fn describe(
        context: &Context<'_>,
        name: &str,
        column: &StoredColumn,
    ) -> Result<Option<(Self, Option<Enumeration>)>> {
        let stored = column.data_type();
        let (data_type, treatment) = match (column.encoding(), &stored) {
            (ColumnEncoding::Categorical { ordered }, DataType::Dictionary(..)) => {
                return Self::categorical(context, name, column, ordered).map(Some);
            }
            (_, DataType::Float16) => (DataType::Float32, Treatment::Float),
            (_, DataType::Float32 | DataType::Float64) => (stored, Treatment::Float),
            _ if stored_type(&stored).is_ok() => (stored, Treatment::AsIs),
            _ => return Ok(None),
        };
        let field = Field::new(name, data_type, true);
        let source = ColumnSource::Stored(Box::new(column.clone()));
        Ok(Some((Self::new(field, source, treatment), None)))
    }

    /// How AnnData encodes the column, where the stored one holds all of it.
    pub(crate) fn lossless(&self) -> Option<ColumnKind> {
        let ColumnSource::Stored(column) = &self.source else { return None };
        let stored = column.data_type();
        match (&self.treatment, column.encoding()) {
            (Treatment::Codes, _) => {
                let half = matches!(&stored, DataType::Dictionary(_, values) if **values == DataType::Float16);
                (!half).then_some(ColumnKind::Categorical)
            }
            (Treatment::Float, _) if stored == DataType::Float16 => Some(ColumnKind::Half),
            (Treatment::Float, ColumnEncoding::Plain) => Some(ColumnKind::Plain),
            (Treatment::AsIs, ColumnEncoding::Plain | ColumnEncoding::String) => {
                Some(ColumnKind::Plain)
            }
            (Treatment::AsIs, _) => Some(ColumnKind::Nullable),
            _ => None,
        }
    }

    fn categorical(
        context: &Context<'_>,
        name: &str,
        column: &StoredColumn,
        ordered: bool,
    ) -> Result<(Self, Option<Enumeration>)> {
        let mut used: Vec<bool> = Vec::new();
        let mut any_null = false;
        let mut start = 0;
        let mut categories = None;
        // Of several files all categories are joined, in use or not, as the reference does when it registers them.
        let looked_at = if context.of_several { column.len().min(1) } else { column.len() };
        while start < looked_at || categories.is_none() {
            let end = (start + ROWS).min(looked_at);
            let rows = column.read_rows(start..end)?.values;
            if let Some(rows) = rows.as_dictionary_opt::<Int32Type>() {
                used.resize(rows.values().len(), false);
                any_null |= rows.null_count() > 0;
                for code in rows.keys().iter().flatten() {
                    if let Some(used) = used.get_mut(code as usize) {
                        *used = true;
                    }
                }
                categories.get_or_insert_with(|| Arc::clone(rows.values()));
            }
            if end == looked_at {
                break;
            }
            start = end;
        }
        if context.of_several {
            (used, any_null) = (vec![true; used.len()], false);
        }
        let any_valid = used.contains(&true);
        let source = ColumnSource::Stored(Box::new(column.clone()));
        let categories =
            categories.unwrap_or_else(|| arrow_array::new_empty_array(&DataType::LargeUtf8));
        let categories = widened(&categories);
        let values = categories.data_type().clone();
        if any_valid && categories.len() > MOST_CATEGORIES {
            let field = Field::new(name, values, true);
            return Ok((Self::new(field, source, Treatment::Decoded), None));
        }
        let (values, ordered, treatment) = match any_valid {
            true => (values, ordered, Treatment::Codes),
            false => (DataType::LargeUtf8, false, Treatment::NoCategories),
        };
        let (kept, treatment) = match treatment {
            Treatment::Codes if any_null && used.contains(&false) => {
                in_use(name, &categories, &used)?
            }
            Treatment::Codes => (categories, Treatment::Codes),
            other => (arrow_array::new_empty_array(&DataType::LargeUtf8), other),
        };
        let enumeration = enumeration(context, name, &kept, ordered)?;
        let data_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(values));
        let field = Field::new(name, data_type, true).with_dict_is_ordered(ordered);
        let column = Self { categories: Some(kept), ..Self::new(field, source, treatment) };
        Ok((column, Some(enumeration)))
    }

    /// The values of some rows in their stored form: codes of a categorical column are `int32`.
    pub(crate) fn read_rows(&self, rows: std::ops::Range<u64>) -> Result<ArrayRef> {
        let values = self.read_treated(rows)?;
        let codes = self.codes.as_ref().zip(values.as_primitive_opt::<Int32Type>());
        let values = match (codes, &self.encoded) {
            (Some((codes, values)), _) => Arc::new(with_codes(values, codes)),
            (None, Some(codes)) => encode(&values, codes),
            (None, None) => values,
        };
        let stored = match self.field.data_type() {
            DataType::Dictionary(index, _) => index,
            other => other,
        };
        crate::write::stored_as(values, stored, self.field.name())
    }

    fn read_treated(&self, rows: std::ops::Range<u64>) -> Result<ArrayRef> {
        let column = match &self.source {
            ColumnSource::Nulls => {
                let stored = match self.field.data_type() {
                    DataType::Dictionary(codes, _) => codes,
                    other => other,
                };
                return Ok(arrow_array::new_null_array(stored, (rows.end - rows.start) as usize));
            }
            ColumnSource::First if self.treatment == Treatment::Decoded => {
                let first = self.categories.as_ref().and_then(|all| all.as_string_opt::<i64>());
                let first = first.filter(|all| !all.is_empty()).map(|all| all.value(0));
                let rows = (rows.end - rows.start) as usize;
                return Ok(Arc::new(LargeStringArray::from(vec![first; rows])));
            }
            ColumnSource::First => {
                return Ok(Arc::new(Int32Array::from(vec![0; (rows.end - rows.start) as usize])));
            }
            ColumnSource::Index(frame) => return Ok(frame.index_of(&Chosen::from_ranges([rows]))?),
            ColumnSource::Values(values) => {
                let (start, end) = (rows.start as usize, rows.end as usize);
                return Ok(values.slice(start, end - start));
            }
            ColumnSource::Stored(column) => column,
        };
        let Column { values, .. } = column.read_rows(rows)?;
        Ok(match &self.treatment {
            Treatment::AsIs => values,
            Treatment::Float => without_nan(&widened(&values)),
            Treatment::NoCategories => {
                let stored = match self.field.data_type() {
                    DataType::Dictionary(codes, _) => codes,
                    other => other,
                };
                arrow_array::new_null_array(stored, values.len())
            }
            Treatment::Codes => match values.as_dictionary_opt::<Int32Type>() {
                Some(values) => Arc::new(values.keys().clone()),
                None => values,
            },
            Treatment::Recoded(codes) => match values.as_dictionary_opt::<Int32Type>() {
                Some(values) => Arc::new(with_codes(values.keys(), codes)),
                None => values,
            },
            Treatment::Decoded => match values.as_dictionary_opt::<Int32Type>() {
                Some(values) => {
                    let decoded = take(values.values(), values.keys(), None);
                    let object = self.field.name().clone();
                    without_nan(&widened(&decoded.map_err(|source| {
                        crate::Error::Soma(vacuole_soma::Error::Arrow { object, source })
                    })?))
                }
                None => values,
            },
        })
    }
}

/// Codes in the place of values.
fn encode(values: &ArrayRef, codes: &Codes) -> ArrayRef {
    let stored = crate::write::cells::of_array(values);
    let code = |row: usize| {
        values.is_valid(row).then(|| codes.get(stored.cell(row, values.len())).copied()).flatten()
    };
    Arc::new((0..values.len()).map(code).collect::<Int32Array>())
}

/// New codes in the place of old ones.
fn with_codes(values: &Int32Array, codes: &[i32]) -> Int32Array {
    let new = |code: i32| codes.get(code as usize).copied();
    values.iter().map(|code| code.and_then(new)).collect()
}

/// Only the categories in use, and the codes that take the place of the old ones.
///
/// tiledbsoma drops the others from columns that have a null, and keeps them in columns without.
fn in_use(name: &str, categories: &ArrayRef, used: &[bool]) -> Result<(ArrayRef, Treatment)> {
    let kept = filter(categories, &BooleanArray::from(used.to_vec())).map_err(|source| {
        crate::Error::Soma(vacuole_soma::Error::Arrow { object: name.to_owned(), source })
    })?;
    let mut next = 0;
    let codes = used.iter().map(|&used| {
        let code = next;
        next += i32::from(used);
        code
    });
    Ok((kept, Treatment::Recoded(codes.collect())))
}

/// Null for NaN in floats.
fn without_nan(values: &ArrayRef) -> ArrayRef {
    fn nulled<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>) -> ArrayRef
    where
        T::Native: PartialEq,
    {
        // NaN is the one value that is not itself.
        #[allow(clippy::eq_op, reason = "tells NaN from numbers of any width")]
        let is_number = |value: &T::Native| *value == *value;
        if values.values().iter().all(is_number) {
            return Arc::new(values.clone());
        }
        let numbers = values.iter().map(|value| value.filter(is_number));
        Arc::new(numbers.collect::<PrimitiveArray<T>>())
    }
    match values.data_type() {
        DataType::Float32 => values.as_primitive_opt::<Float32Type>().map(nulled),
        DataType::Float64 => values.as_primitive_opt::<Float64Type>().map(nulled),
        _ => None,
    }
    .unwrap_or_else(|| Arc::clone(values))
}

pub(super) fn enumeration(
    context: &Context<'_>,
    column: &str,
    categories: &ArrayRef,
    ordered: bool,
) -> Result<Enumeration> {
    let element = format!("categories of '{column}'");
    let (datatype, var) = in_object(stored_type(categories.data_type()), &element)?;
    let cells = crate::write::cells::of_array(categories);
    Ok(Enumeration {
        name: column.to_owned(),
        // The file is named by the write and the column's number, which describing the frame fills in.
        file: format!("__{}", context.uuid),
        datatype,
        values_per_cell: (!var).then_some(1),
        ordered,
        data: cells.data.into_owned(),
        offsets: cells.offsets.unwrap_or_default(),
    })
}
