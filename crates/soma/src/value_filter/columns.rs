//! Two columns, compared row by row.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, DictionaryArray, downcast_dictionary_array};
use arrow_buffer::{ArrowNativeType, BooleanBuffer};
use arrow_schema::{DataType, TimeUnit};

use super::ast::CompareOp;
use super::error::{FilterError, Place};
use super::evaluate::Fault;

/// A comparison of two columns, by their places in the filter's list of columns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) left: usize,
    pub(super) op: CompareOp,
    pub(super) right: usize,
    /// Where it stands in the filter, if the places of ordered categories are compared: only a batch tells whether the
    /// two lists are the same.
    pub(super) ordered: Option<Box<Place>>,
}

/// What columns are compared as. Only those of one class can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Numbers,
    Times,
    Bytes,
}

impl Class {
    /// The class of a column's values, or of its categories.
    pub(super) fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Dictionary(_, values) if !matches!(**values, DataType::Dictionary(..)) => {
                Self::of(values)
            }
            DataType::Timestamp(..) => Some(Self::Times),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                Some(Self::Bytes)
            }
            DataType::Boolean | DataType::Float32 | DataType::Float64 => Some(Self::Numbers),
            other => other.is_integer().then_some(Self::Numbers),
        }
    }
}

/// The rows of two arrays for which the comparison is true.
pub(super) fn compare(
    pair: &Pair,
    (left, right): (&dyn Array, &dyn Array),
    (left_name, right_name): (&str, &str),
) -> Result<BooleanBuffer, FilterError> {
    check_codes(left).map_err(|fault| fault.of_column(left_name))?;
    check_codes(right).map_err(|fault| fault.of_column(right_name))?;
    let cells_of = |array, name| {
        cells(array).ok_or_else(|| unlike("a type that can be compared", array, name))
    };
    if let Some(place) = &pair.ordered {
        let categories = [(left, left_name), (right, right_name)].map(|(array, name)| {
            array
                .as_any_dictionary_opt()
                .map(|dictionary| dictionary.values().as_ref())
                .ok_or_else(|| unlike("ordered categories", array, name))
        });
        let [left_list, right_list] = categories;
        let (left_list, right_list) = (left_list?, right_list?);
        let both = (cells_of(left_list, left_name)?, cells_of(right_list, right_name)?);
        let same = left_list.len() == right_list.len()
            && (0..left_list.len()).all(|i| match (both.0(i), both.1(i)) {
                (Some(left), Some(right)) => left.compare(&right) == Some(Ordering::Equal),
                (left, right) => left.is_none() && right.is_none(),
            });
        if !same {
            return Err(FilterError::DifferentOrders {
                left: left_name.to_owned(),
                right: right_name.to_owned(),
                op: pair.op.to_string(),
                reason: "their categories are different lists".to_owned(),
                place: place.clone(),
            });
        }
        let place_of =
            |array, name| codes(array).ok_or_else(|| unlike("ordered categories", array, name));
        let (left, right) = (place_of(left, left_name)?, place_of(right, right_name)?);
        return Ok(BooleanBuffer::collect_bool(
            left.len,
            |row| matches!(((left.read)(row), (right.read)(row)), (Some(l), Some(r)) if pair.op.holds(l.cmp(&r))),
        ));
    }
    let (left_cells, right_cells) = (cells_of(left, left_name)?, cells_of(right, right_name)?);
    let classes = [Class::of(left.data_type()), Class::of(right.data_type())];
    if classes[0] != classes[1] {
        return Err(unlike(&format!("values as those of {}", left.data_type()), right, right_name));
    }
    Ok(BooleanBuffer::collect_bool(left.len().min(right.len()), |row| {
        match (left_cells(row), right_cells(row)) {
            (Some(left), Some(right)) => match left.compare(&right) {
                Some(order) => pair.op.holds(order),
                // NaN.
                None => pair.op == CompareOp::NotEqual,
            },
            _ => false,
        }
    }))
}

fn unlike(expected: &str, array: &dyn Array, name: &str) -> FilterError {
    let found = array.data_type().to_string();
    Fault { expected: expected.to_owned(), found }.of_column(name)
}

/// One value that is not null.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    /// Integers, booleans as 0 and 1, and moments in nanoseconds.
    Int(i128),
    Float(f64),
    Bytes(&'a [u8]),
}

impl Cell<'_> {
    /// By exact value; `None` where one is NaN, or they are not of one class.
    fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(right)),
            (Self::Float(left), Self::Float(right)) => left.partial_cmp(right),
            (Self::Int(left), Self::Float(right)) => int_with_float(*left, *right),
            (Self::Float(left), Self::Int(right)) => {
                int_with_float(*right, *left).map(Ordering::reverse)
            }
            (Self::Bytes(left), Self::Bytes(right)) => Some(left.cmp(right)),
            (Self::Bytes(_), _) | (_, Self::Bytes(_)) => None,
        }
    }
}

/// Compares without rounding either number.
fn int_with_float(int: i128, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = 170_141_183_460_469_231_731_687_303_715_884_105_728.0;
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    // A whole number within the range of i128.
    let floor = float.floor();
    let above = if float > floor { Ordering::Less } else { Ordering::Equal };
    Some(int.cmp(&(floor as i128)).then(above))
}

/// Gives the value of a row, which must be one of the array's.
pub(super) type Cells<'a> = Box<dyn Fn(usize) -> Option<Cell<'a>> + 'a>;

/// The values of an array; `None` for types that are not compared.
pub(super) fn cells(array: &dyn Array) -> Option<Cells<'_>> {
    const SECOND: i128 = 1_000_000_000;
    match array.data_type() {
        DataType::Int8 => ints::<Int8Type>(array, 1),
        DataType::Int16 => ints::<Int16Type>(array, 1),
        DataType::Int32 => ints::<Int32Type>(array, 1),
        DataType::Int64 => ints::<Int64Type>(array, 1),
        DataType::UInt8 => ints::<UInt8Type>(array, 1),
        DataType::UInt16 => ints::<UInt16Type>(array, 1),
        DataType::UInt32 => ints::<UInt32Type>(array, 1),
        DataType::UInt64 => ints::<UInt64Type>(array, 1),
        DataType::Timestamp(TimeUnit::Second, _) => ints::<TimestampSecondType>(array, SECOND),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            ints::<TimestampMillisecondType>(array, SECOND / 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            ints::<TimestampMicrosecondType>(array, SECOND / 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => ints::<TimestampNanosecondType>(array, 1),
        DataType::Float32 => floats::<Float32Type>(array),
        DataType::Float64 => floats::<Float64Type>(array),
        DataType::Boolean => {
            let array = array.as_boolean_opt()?;
            Some(Box::new(move |row| {
                array.is_valid(row).then(|| Cell::Int(i128::from(array.value(row))))
            }))
        }
        DataType::Utf8 => {
            let array = array.as_string_opt::<i32>()?;
            Some(Box::new(move |row| known(array, row, || array.value(row).as_bytes())))
        }
        DataType::LargeUtf8 => {
            let array = array.as_string_opt::<i64>()?;
            Some(Box::new(move |row| known(array, row, || array.value(row).as_bytes())))
        }
        DataType::Binary => {
            let array = array.as_binary_opt::<i32>()?;
            Some(Box::new(move |row| known(array, row, || array.value(row))))
        }
        DataType::LargeBinary => {
            let array = array.as_binary_opt::<i64>()?;
            Some(Box::new(move |row| known(array, row, || array.value(row))))
        }
        DataType::Dictionary(_, values) if !matches!(**values, DataType::Dictionary(..)) => {
            let values = cells(array.as_any_dictionary_opt()?.values().as_ref())?;
            let codes = codes(array)?;
            Some(Box::new(move |row| (codes.read)(row).and_then(&values)))
        }
        _ => None,
    }
}

fn known<'a>(array: &dyn Array, row: usize, value: impl FnOnce() -> &'a [u8]) -> Option<Cell<'a>> {
    array.is_valid(row).then(|| Cell::Bytes(value()))
}

fn ints<T: ArrowPrimitiveType<Native: Into<i128>>>(
    array: &dyn Array,
    scale: i128,
) -> Option<Cells<'_>> {
    let array = array.as_primitive_opt::<T>()?;
    Some(Box::new(move |row| {
        array.is_valid(row).then(|| Cell::Int(array.value(row).into() * scale))
    }))
}

fn floats<T: ArrowPrimitiveType<Native: Into<f64>>>(array: &dyn Array) -> Option<Cells<'_>> {
    let array = array.as_primitive_opt::<T>()?;
    Some(Box::new(move |row| array.is_valid(row).then(|| Cell::Float(array.value(row).into()))))
}

/// The codes of a dictionary that stand for one of its values.
struct Codes<'a> {
    len: usize,
    read: Box<dyn Fn(usize) -> Option<usize> + 'a>,
}

fn codes(array: &dyn Array) -> Option<Codes<'_>> {
    fn of<K: ArrowDictionaryKeyType>(array: &DictionaryArray<K>) -> Option<Codes<'_>> {
        let (keys, values) = (array.keys(), array.values());
        let read = move |row| {
            let code = keys.is_valid(row).then(|| keys.value(row).as_usize())?;
            (code < values.len() && values.is_valid(code)).then_some(code)
        };
        Some(Codes { len: array.len(), read: Box::new(read) })
    }
    downcast_dictionary_array! {
        array => of(array),
        _ => None,
    }
}

/// That no code of a dictionary is beyond its values.
fn check_codes(array: &dyn Array) -> Result<(), Fault> {
    fn of<K: ArrowDictionaryKeyType>(array: &DictionaryArray<K>) -> Result<(), Fault> {
        let (keys, count) = (array.keys(), array.values().len());
        let within = |row| keys.is_null(row) || keys.value(row).as_usize() < count;
        match (0..array.len()).all(within) {
            true => Ok(()),
            false => Err(Fault::code_beyond(count)),
        }
    }
    downcast_dictionary_array! {
        array => of(array),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Halves are exact in both types.
        #[test]
        fn integers_and_floats_by_value(int in -1_000_000i64..1_000_000, halves in -4_000_000i64..4_000_000) {
            let found = int_with_float(i128::from(int), halves as f64 / 2.0);
            prop_assert_eq!(found, Some((int * 2).cmp(&halves)));
        }
    }

    #[test]
    fn large_integers_are_not_rounded() {
        let float = 9_007_199_254_740_992.0; // 2^53
        for (int, order) in [(-1, Ordering::Less), (0, Ordering::Equal), (1, Ordering::Greater)] {
            assert_eq!(int_with_float((1 << 53) + int, float), Some(order));
        }
        assert_eq!(int_with_float(i128::from(u64::MAX), u64::MAX as f64), Some(Ordering::Less));
        assert_eq!(int_with_float(0, f64::INFINITY), Some(Ordering::Less));
        assert_eq!(int_with_float(i128::MAX, f64::NEG_INFINITY), Some(Ordering::Greater));
        assert_eq!(int_with_float(0, -0.0), Some(Ordering::Equal));
        assert_eq!(int_with_float(0, f64::NAN), None);
    }
}
