//! The groups that the values of a column make.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, LargeStringArray, UInt64Array,
    downcast_integer_array,
};
use arrow_schema::DataType;
use serde_json::Value;

/// The group of a row without one.
pub(crate) const NONE: u32 = u32::MAX;

/// The kind of the values of groups.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Kind {
    #[default]
    Text,
    Integers,
    Truths,
    Floats,
}

/// The groups of some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Groups {
    kind: Kind,
    /// The value of each group: of ordered categories in their order, others as they sort.
    pub(crate) values: Vec<Value>,
    /// How many rows each has; never 0.
    pub(crate) sizes: Vec<u64>,
    /// The group of each row.
    pub(crate) of: Vec<u32>,
}

impl Groups {
    /// The groups of rows by their values; nulls and NaN are in none. `None` where values cannot be told apart.
    pub(crate) fn new(values: &ArrayRef, ordered: bool) -> Option<Self> {
        if let Some(categories) = values.as_any_dictionary_opt() {
            let of_category = Self::new(categories.values(), false)?;
            // Without categories all codes are null, and cannot be made ones of some.
            if categories.values().is_empty() {
                let of = vec![NONE; values.len()];
                return Some(Self { of, kind: of_category.kind, ..Self::default() });
            }
            let codes = categories.normalized_keys();
            let group = |row: usize, code: &usize| match categories.keys().is_null(row) {
                true => NONE,
                false => of_category.of.get(*code).copied().unwrap_or(NONE),
            };
            let of = codes.iter().enumerate().map(|(row, code)| group(row, code)).collect();
            let mut order: Vec<usize> = (0..of_category.values.len()).collect();
            if ordered {
                let place =
                    |group: &usize| of_category.of.iter().position(|g| *g as usize == *group);
                order.sort_by_key(place);
            }
            let found = Self::counted(&of_category.values, of, &order);
            return Some(Self { kind: of_category.kind, ..found });
        }
        downcast_integer_array!(
            values => {
                Some(Self::told_apart(Kind::Integers, values.iter(), |&value| Value::from(value)))
            }
            DataType::Boolean => {
                let values = values.as_boolean().iter();
                Some(Self::told_apart(Kind::Truths, values, |&value| Value::from(value)))
            }
            DataType::Utf8 => {
                let values = values.as_string::<i32>().iter();
                Some(Self::told_apart(Kind::Text, values, |&value| Value::from(value)))
            }
            DataType::LargeUtf8 => {
                let values = values.as_string::<i64>().iter();
                Some(Self::told_apart(Kind::Text, values, |&value| Value::from(value)))
            }
            DataType::Float32 => {
                let values = values.as_primitive::<Float32Type>().iter();
                Some(Self::of_floats(values.map(|value| value.map(f64::from))))
            }
            DataType::Float64 => {
                Some(Self::of_floats(values.as_primitive::<Float64Type>().iter()))
            }
            _ => None,
        )
    }

    /// The type of the values as a column of a table.
    pub(crate) fn data_type(&self) -> DataType {
        match self.kind {
            Kind::Text => DataType::LargeUtf8,
            Kind::Truths => DataType::Boolean,
            Kind::Floats => DataType::Float64,
            Kind::Integers => match self.values.iter().all(Value::is_i64) {
                true => DataType::Int64,
                false => DataType::UInt64,
            },
        }
    }

    fn of_floats(values: impl Iterator<Item = Option<f64>>) -> Self {
        // Adding a zero makes one of both zeros.
        let bits = values.map(|v| v.filter(|v| !v.is_nan()).map(|v| (v + 0.0).to_bits()));
        Self::told_apart(Kind::Floats, bits, |&bits| match f64::from_bits(bits) {
            value if value.is_finite() => Value::from(value),
            value => Value::from(if value > 0.0 { "inf" } else { "-inf" }),
        })
    }

    fn told_apart<T: Hash + Eq>(
        kind: Kind,
        rows: impl Iterator<Item = Option<T>>,
        value: impl Fn(&T) -> Value,
    ) -> Self {
        let mut known: HashMap<T, u32> = HashMap::new();
        let mut values = Vec::new();
        let mut group = |found: T| match known.get(&found) {
            Some(&group) => group,
            None => {
                let group = values.len() as u32;
                values.push(value(&found));
                known.insert(found, group);
                group
            }
        };
        let of = rows.map(|row| row.map_or(NONE, &mut group)).collect();
        let order: Vec<usize> = (0..values.len()).collect();
        let mut groups = Self::counted(&values, of, &order);
        groups.sort();
        Self { kind, ..groups }
    }

    /// The groups that have rows, in an order.
    fn counted(values: &[Value], mut of: Vec<u32>, order: &[usize]) -> Self {
        let mut sizes = vec![0u64; values.len()];
        for &group in &of {
            if let Some(size) = sizes.get_mut(group as usize) {
                *size += 1;
            }
        }
        let mut places = vec![NONE; values.len()];
        let mut found = Self::default();
        for &group in order.iter().filter(|&&group| sizes[group] > 0) {
            places[group] = found.values.len() as u32;
            found.values.push(values[group].clone());
            found.sizes.push(sizes[group]);
        }
        for group in &mut of {
            *group = places.get(*group as usize).copied().unwrap_or(NONE);
        }
        Self { of, ..found }
    }

    fn sort(&mut self) {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_by(|&a, &b| compare(&self.values[a], &self.values[b]));
        *self = Self::counted(&self.values, std::mem::take(&mut self.of), &order);
    }
}

/// Values of groups, as a column of a type that holds them.
pub(crate) fn array<'a>(
    data_type: &DataType,
    values: impl Iterator<Item = Option<&'a Value>>,
) -> ArrayRef {
    match data_type {
        DataType::Boolean => {
            Arc::new(values.map(|v| v.and_then(Value::as_bool)).collect::<BooleanArray>())
        }
        DataType::Int64 => {
            Arc::new(values.map(|v| v.and_then(Value::as_i64)).collect::<Int64Array>())
        }
        DataType::UInt64 => {
            Arc::new(values.map(|v| v.and_then(Value::as_u64)).collect::<UInt64Array>())
        }
        DataType::Float64 => Arc::new(values.map(|v| v.and_then(number)).collect::<Float64Array>()),
        _ => Arc::new(values.map(|v| v.and_then(Value::as_str)).collect::<LargeStringArray>()),
    }
}

/// The number that a value is or, as infinities are, names.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) if text == "-inf" => Some(f64::NEG_INFINITY),
        Value::String(text) if text == "inf" => Some(f64::INFINITY),
        other => other.as_f64(),
    }
}

/// Values of one kind, as they sort; infinities are text among floats.
fn compare(a: &Value, b: &Value) -> Ordering {
    let place = |value: &Value| match value {
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        other => number(other),
    };
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => match (a.as_i64(), b.as_i64(), a.as_u64(), b.as_u64()) {
            (Some(a), Some(b), ..) => a.cmp(&b),
            (_, _, Some(a), Some(b)) => a.cmp(&b),
            _ => place(a).partial_cmp(&place(b)).unwrap_or(Ordering::Equal),
        },
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::types::Int8Type;
    use arrow_array::{DictionaryArray, Int8Array, StringArray};
    use serde_json::json;

    use super::*;

    fn check(values: ArrayRef, ordered: bool, expected: Value, of: &[i32]) {
        let groups = Groups::new(&values, ordered).unwrap();
        assert_eq!(Value::from(groups.values.clone()), expected);
        let found: Vec<i32> = groups.of.iter().map(|&group| group as i32).collect();
        assert_eq!(found, of);
        let counted =
            (0..groups.values.len()).map(|k| of.iter().filter(|&&o| o == k as i32).count());
        assert_eq!(groups.sizes, counted.map(|count| count as u64).collect::<Vec<_>>());
    }

    #[test]
    fn values_make_groups() {
        let texts = StringArray::from(vec![Some("b"), None, Some("a"), Some("b"), Some("")]);
        check(Arc::new(texts), false, json!(["", "a", "b"]), &[2, -1, 1, 2, 0]);
        let integers = Int64Array::from(vec![Some(i64::MAX), Some(-1), None, Some(i64::MAX - 1)]);
        check(Arc::new(integers), false, json!([-1, i64::MAX - 1, i64::MAX]), &[2, 0, -1, 1]);
        let truths = BooleanArray::from(vec![Some(true), Some(false), None]);
        check(Arc::new(truths), false, json!([false, true]), &[1, 0, -1]);
        let floats =
            Float64Array::from(vec![0.5, f64::NAN, -0.0, 0.0, f64::NEG_INFINITY, f64::INFINITY]);
        check(Arc::new(floats), false, json!(["-inf", 0.0, 0.5, "inf"]), &[2, -1, 1, 1, 0, 3]);
    }

    #[test]
    fn categories_come_sorted_or_in_their_order() {
        let keys = Int8Array::from(vec![Some(2), None, Some(0), Some(2), Some(3)]);
        let names = StringArray::from(vec!["late", "unused", "early", "all"]);
        let categories: ArrayRef =
            Arc::new(DictionaryArray::<Int8Type>::new(keys, Arc::new(names)));
        check(categories.clone(), false, json!(["all", "early", "late"]), &[1, -1, 2, 1, 0]);
        check(categories, true, json!(["late", "early", "all"]), &[1, -1, 0, 1, 2]);
        let nothing = DictionaryArray::<Int8Type>::new(
            Int8Array::from(vec![None, None]),
            Arc::new(StringArray::from(Vec::<&str>::new())),
        );
        check(Arc::new(nothing), false, json!([]), &[-1, -1]);
    }
}
