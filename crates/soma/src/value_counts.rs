//! The values of a column, each with how many cells hold it.

use std::collections::HashMap;
use std::hash::Hash;

use arrow_array::array::AnyDictionaryArray;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, PrimitiveArray};
use arrow_schema::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A value, and how many cells hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValueCount {
    /// Text, a number, or a truth value. A float that is no number is the text `NaN`, `inf` or `-inf`; a time is the
    /// number that is stored.
    pub value: Value,
    /// How many cells hold it; never 0.
    pub count: u64,
}

/// What a column holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSummary {
    /// Its values: those of an ordered categorical in the order of the categories, others with the most frequent first,
    /// and among as frequent ones as they sort. `None` where there are more than were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<Vec<ValueCount>>,
    /// The smallest number; NaN is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The largest number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// How many cells are null.
    pub nulls: u64,
}

/// How many different values are kept of a column.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of text and categories.
    pub texts: usize,
    /// Of numbers and times.
    pub numbers: usize,
    /// The bytes of all texts together.
    pub bytes: usize,
}

impl Limits {
    /// All of them.
    pub const NONE: Self = Self { texts: usize::MAX, numbers: usize::MAX, bytes: usize::MAX };
}

/// Counts the cells of one column, batch by batch; counters of parts can be put together.
#[derive(Clone, Debug)]
pub struct Counter {
    limits: Limits,
    ordered: bool,
    nulls: u64,
    found: Found,
}

#[derive(Clone, Debug)]
enum Found {
    /// By code.
    Categories(ArrayRef, Vec<u64>),
    Booleans([u64; 2]),
    Texts(Distinct<String>),
    Signed(Numbers<i64>),
    Unsigned(Numbers<u64>),
    /// By their bits, put so that they sort as the floats do.
    Floats(Numbers<i64>),
    /// Types whose values are not told apart.
    Other,
}

/// Distinct values, until they are too many.
#[derive(Clone, Debug)]
struct Distinct<T> {
    counts: Option<HashMap<T, u64>>,
    most: usize,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Numbers<T> {
    distinct: Distinct<T>,
    range: Option<(T, T)>,
}

impl<T: Hash + Eq> Distinct<T> {
    fn new(most: usize, bytes: usize) -> Self {
        Self { counts: Some(HashMap::new()), most, bytes }
    }

    /// Adds cells of a value that takes up `bytes` where it is a new one.
    fn add(&mut self, value: T, count: u64, bytes: usize) {
        let Some(counts) = &mut self.counts else { return };
        let known = counts.len();
        *counts.entry(value).or_insert(0) += count;
        if counts.len() > known {
            if counts.len() > self.most || bytes > self.bytes {
                self.counts = None;
            } else {
                self.bytes -= bytes;
            }
        }
    }
}

impl<T: Copy + Ord + Hash> Numbers<T> {
    fn new(limits: &Limits) -> Self {
        Self { distinct: Distinct::new(limits.numbers, usize::MAX), range: None }
    }

    fn add(&mut self, value: T, count: u64, in_range: bool) {
        self.distinct.add(value, count, 0);
        if in_range {
            self.widen(value, value);
        }
    }

    fn widen(&mut self, low: T, high: T) {
        let (a, b) = self.range.unwrap_or((low, high));
        self.range = Some((a.min(low), b.max(high)));
    }

    fn merge(&mut self, other: Self) {
        match other.distinct.counts {
            Some(counts) => counts.into_iter().for_each(|(v, n)| self.distinct.add(v, n, 0)),
            None => self.distinct.counts = None,
        }
        if let Some((low, high)) = other.range {
            self.widen(low, high);
        }
    }

    fn finish(self, value: impl Fn(T) -> Value) -> ColumnSummary {
        let values = self.distinct.counts.map(|counts| by_count(counts, &value));
        let (min, max) = self.range.map(|(low, high)| (value(low), value(high))).unzip();
        ColumnSummary { values, min, max, nulls: 0 }
    }
}

/// The most frequent first.
fn by_count<T: Ord>(counts: HashMap<T, u64>, value: impl Fn(T) -> Value) -> Vec<ValueCount> {
    let mut sorted: Vec<(T, u64)> = counts.into_iter().collect();
    sorted.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    sorted.into_iter().map(|(v, count)| ValueCount { value: value(v), count }).collect()
}

impl Counter {
    /// For a column of a type; `ordered` where it is an ordered categorical.
    pub fn new(data_type: &DataType, ordered: bool, limits: Limits) -> Self {
        use DataType as D;
        let found = match data_type {
            D::Dictionary(_, values) => {
                Found::Categories(arrow_array::new_empty_array(values), Vec::new())
            }
            D::Boolean => Found::Booleans([0; 2]),
            D::Utf8 | D::LargeUtf8 => Found::Texts(Distinct::new(limits.texts, limits.bytes)),
            D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::Timestamp(..) => {
                Found::Signed(Numbers::new(&limits))
            }
            D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => Found::Unsigned(Numbers::new(&limits)),
            D::Float32 | D::Float64 => Found::Floats(Numbers::new(&limits)),
            _ => Found::Other,
        };
        Self { limits, ordered, nulls: 0, found }
    }

    /// Counts the cells of a batch, whose column has the type announced.
    pub fn add(&mut self, cells: &ArrayRef) {
        self.nulls += cells.null_count() as u64;
        let valid = |at: &usize| cells.is_valid(*at);
        match &mut self.found {
            Found::Categories(values, counts) => {
                let Some(dictionary) = cells.as_any_dictionary_opt() else { return };
                let mut own = vec![0; dictionary.values().len()];
                for code in valid_codes(dictionary) {
                    if let Some(count) = own.get_mut(code) {
                        *count += 1;
                    }
                }
                add_categories(values, counts, dictionary.values(), &own);
            }
            Found::Booleans(counts) => {
                let Some(bits) = cells.as_boolean_opt() else { return };
                let set = bits.true_count() as u64;
                counts[1] += set;
                counts[0] += (bits.len() - bits.null_count()) as u64 - set;
            }
            Found::Texts(distinct) => {
                let rows = (0..cells.len()).filter(valid);
                let mut add = |text: &str| match &mut distinct.counts {
                    // No copy of what is known.
                    Some(counts) if counts.contains_key(text) => {
                        counts.entry(text.to_owned()).and_modify(|count| *count += 1);
                    }
                    Some(_) => distinct.add(text.to_owned(), 1, text.len()),
                    None => {}
                };
                if let Some(texts) = cells.as_string_opt::<i64>() {
                    rows.for_each(|row| add(texts.value(row)));
                } else if let Some(texts) = cells.as_string_opt::<i32>() {
                    rows.for_each(|row| add(texts.value(row)));
                }
            }
            Found::Signed(numbers) => {
                macro_rules! add {
                    ($type:ty) => {
                        valid_values::<$type>(cells)
                            .for_each(|value| numbers.add(i64::from(value), 1, true))
                    };
                }
                match cells.data_type() {
                    DataType::Int8 => add!(Int8Type),
                    DataType::Int16 => add!(Int16Type),
                    DataType::Int32 => add!(Int32Type),
                    DataType::Timestamp(TimeUnit::Second, _) => add!(TimestampSecondType),
                    DataType::Timestamp(TimeUnit::Millisecond, _) => add!(TimestampMillisecondType),
                    DataType::Timestamp(TimeUnit::Microsecond, _) => add!(TimestampMicrosecondType),
                    DataType::Timestamp(TimeUnit::Nanosecond, _) => add!(TimestampNanosecondType),
                    _ => add!(Int64Type),
                }
            }
            Found::Unsigned(numbers) => {
                macro_rules! add {
                    ($type:ty) => {
                        valid_values::<$type>(cells)
                            .for_each(|value| numbers.add(u64::from(value), 1, true))
                    };
                }
                match cells.data_type() {
                    DataType::UInt8 => add!(UInt8Type),
                    DataType::UInt16 => add!(UInt16Type),
                    DataType::UInt32 => add!(UInt32Type),
                    _ => add!(UInt64Type),
                }
            }
            Found::Floats(numbers) => match cells.data_type() {
                DataType::Float32 => valid_values::<Float32Type>(cells)
                    .for_each(|v| numbers.add(to_sortable(f64::from(v)), 1, !v.is_nan())),
                _ => valid_values::<Float64Type>(cells)
                    .for_each(|v| numbers.add(to_sortable(v), 1, !v.is_nan())),
            },
            Found::Other => {}
        }
    }

    /// Adds what another counter of the same column has found.
    pub fn merge(&mut self, other: Self) {
        self.nulls += other.nulls;
        match (&mut self.found, other.found) {
            (Found::Categories(values, counts), Found::Categories(more, own)) => {
                add_categories(values, counts, &more, &own);
            }
            (Found::Booleans(counts), Found::Booleans(own)) => {
                counts.iter_mut().zip(own).for_each(|(count, own)| *count += own);
            }
            (Found::Texts(distinct), Found::Texts(own)) => match own.counts {
                Some(own) => own.into_iter().for_each(|(text, count)| {
                    let bytes = text.len();
                    distinct.add(text, count, bytes);
                }),
                None => distinct.counts = None,
            },
            (Found::Signed(numbers), Found::Signed(own))
            | (Found::Floats(numbers), Found::Floats(own)) => numbers.merge(own),
            (Found::Unsigned(numbers), Found::Unsigned(own)) => numbers.merge(own),
            _ => self.found = Found::Other,
        }
    }

    /// What was found.
    pub fn finish(self) -> ColumnSummary {
        let Self { limits, ordered, nulls, found } = self;
        let summary = match found {
            Found::Categories(values, counts) => ColumnSummary {
                values: categories(&values, &counts, ordered, &limits),
                ..<_>::default()
            },
            Found::Booleans(counts) => {
                let counts = [(false, counts[0]), (true, counts[1])];
                let counts = counts.into_iter().filter(|(_, count)| *count > 0).collect();
                ColumnSummary { values: Some(by_count(counts, Value::Bool)), ..<_>::default() }
            }
            Found::Texts(distinct) => {
                let values = distinct.counts.map(|counts| by_count(counts, Value::String));
                ColumnSummary { values, ..<_>::default() }
            }
            Found::Signed(numbers) => numbers.finish(Value::from),
            Found::Unsigned(numbers) => numbers.finish(Value::from),
            Found::Floats(numbers) => numbers.finish(|bits| float(from_sortable(bits))),
            Found::Other => ColumnSummary::default(),
        };
        ColumnSummary { nulls, ..summary }
    }
}

/// The codes of the cells that are not null; those of nulls can be anything.
fn valid_codes(dictionary: &dyn AnyDictionaryArray) -> Vec<usize> {
    if dictionary.values().is_empty() {
        return Vec::new();
    }
    let codes = dictionary.normalized_keys().into_iter().enumerate();
    codes.filter(|(row, _)| dictionary.is_valid(*row)).map(|(_, code)| code).collect()
}

/// Adds counts by code, of `more` values, to counts of `values`.
fn add_categories(values: &mut ArrayRef, counts: &mut Vec<u64>, more: &ArrayRef, own: &[u64]) {
    if values.is_empty() {
        *values = more.clone();
    }
    counts.resize(values.len().max(counts.len()), 0);
    // All batches of one read have the same categories.
    debug_assert!(more.is_empty() || values.len() == more.len());
    counts.iter_mut().zip(own).for_each(|(count, own)| *count += own);
}

/// The categories that cells hold.
fn categories(
    values: &ArrayRef,
    counts: &[u64],
    ordered: bool,
    limits: &Limits,
) -> Option<Vec<ValueCount>> {
    let mut found: Vec<(usize, ValueCount)> = Vec::new();
    let mut bytes = 0;
    for (code, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        // A category of one value, told as a column of that type would be.
        let mut one = Counter::new(values.data_type(), false, Limits::NONE);
        one.add(&values.slice(code, 1));
        let value = one.finish().values?.pop()?.value;
        bytes += value.as_str().map_or(0, str::len);
        found.push((code, ValueCount { value, count }));
        if found.len() > limits.texts || bytes > limits.bytes {
            return None;
        }
    }
    if !ordered {
        let text = |found: &ValueCount| found.value.as_str().map(str::to_owned);
        found.sort_by(|(a_code, a), (b_code, b)| {
            let ties = || text(a).cmp(&text(b)).then(a_code.cmp(b_code));
            b.count.cmp(&a.count).then_with(ties)
        });
    }
    Some(found.into_iter().map(|(_, found)| found).collect())
}

fn valid_values<T: arrow_array::ArrowPrimitiveType>(
    cells: &ArrayRef,
) -> impl Iterator<Item = T::Native> + '_ {
    let values: Option<&PrimitiveArray<T>> = cells.as_primitive_opt::<T>();
    values.into_iter().flat_map(|values| values.iter().flatten())
}

/// Bits of a float that sort as the floats do, NaN behind all; -0 is 0.
fn to_sortable(value: f64) -> i64 {
    let value = if value == 0.0 { 0.0 } else { value };
    let bits = if value.is_nan() { f64::NAN } else { value }.to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

fn from_sortable(bits: i64) -> f64 {
    f64::from_bits((bits ^ (((bits >> 63) as u64) >> 1) as i64) as u64)
}

fn float(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None if value.is_nan() => Value::from("NaN"),
        None => Value::from(if value > 0.0 { "inf" } else { "-inf" }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow_array::{
        BooleanArray, DictionaryArray, Float32Array, Int8Array, LargeStringArray, UInt64Array,
    };
    use serde_json::json;

    fn count(cells: ArrayRef, ordered: bool, limits: Limits) -> Value {
        let whole = |parts: &[ArrayRef]| {
            let mut all = Counter::new(cells.data_type(), ordered, limits);
            for part in parts {
                let mut counter = Counter::new(cells.data_type(), ordered, limits);
                counter.add(part);
                all.merge(counter);
            }
            serde_json::to_value(all.finish()).unwrap()
        };
        let found = whole(&[Arc::clone(&cells)]);
        for cut in 0..cells.len() {
            let parts = [cells.slice(0, cut), cells.slice(cut, cells.len() - cut)];
            assert_eq!(whole(&parts), found, "cut at {cut}");
        }
        found
    }

    #[test]
    fn categories_come_in_their_order_or_by_count() {
        let keys = Int8Array::from(vec![Some(2), Some(0), None, Some(2)]);
        let values: ArrayRef = Arc::new(LargeStringArray::from(vec!["b", "unused", "a"]));
        let cells: ArrayRef = Arc::new(DictionaryArray::new(keys, values));
        let (a, b) = (json!({"value": "a", "count": 2}), json!({"value": "b", "count": 1}));
        assert_eq!(
            count(cells.clone(), false, Limits::NONE),
            json!({"values": [a, b], "nulls": 1})
        );
        assert_eq!(count(cells.clone(), true, Limits::NONE), json!({"values": [b, a], "nulls": 1}));
        let few = Limits { texts: 1, ..Limits::NONE };
        assert_eq!(count(cells, true, few), json!({"nulls": 1}));
    }

    #[test]
    fn numbers_have_a_range_that_nan_is_not_in() {
        let cells = vec![Some(f32::NAN), Some(-0.5), None, Some(f32::INFINITY), Some(-0.5)];
        let cells: ArrayRef = Arc::new(Float32Array::from(cells));
        let values = json!([{"value": -0.5, "count": 2}, {"value": "inf", "count": 1}, {"value": "NaN", "count": 1}]);
        let range = json!({"values": values, "min": -0.5, "max": "inf", "nulls": 1});
        assert_eq!(count(cells.clone(), false, Limits::NONE), range);
        let none = Limits { numbers: 0, ..Limits::NONE };
        let range = json!({"min": -0.5, "max": "inf", "nulls": 1});
        assert_eq!(count(cells, false, none), range);
        let large: ArrayRef = Arc::new(UInt64Array::from(vec![u64::MAX, 3]));
        let found = count(large, false, none);
        assert_eq!(found, json!({"min": 3, "max": u64::MAX, "nulls": 0}));
    }

    #[test]
    fn texts_are_kept_while_there_is_room() {
        let cells: ArrayRef = Arc::new(LargeStringArray::from(vec!["xy", "z", "xy"]));
        let all = json!([{"value": "xy", "count": 2}, {"value": "z", "count": 1}]);
        let all = json!({"values": all, "nulls": 0});
        assert_eq!(count(cells.clone(), false, Limits { bytes: 3, ..Limits::NONE }), all);
        assert_eq!(count(cells, false, Limits { bytes: 2, ..Limits::NONE }), json!({"nulls": 0}));
        let cells: ArrayRef = Arc::new(BooleanArray::from(vec![Some(true), None]));
        let found = json!({"values": [{"value": true, "count": 1}], "nulls": 1});
        assert_eq!(count(cells, false, Limits::NONE), found);
    }
}
