//! Rows of a table of statistics.

use std::fmt;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, Decimal128Array, Float64Array, Int64Array, LargeStringArray, RecordBatch, UInt64Array,
};
use arrow_schema::{ArrowError, DECIMAL128_MAX_PRECISION, DataType, Field, Schema, SchemaRef};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Per;
use super::groups::{self, Groups};
use super::sums::{Sum, Totals};
use crate::error::{Error, Result};

/// A sum or an extreme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of integers, exactly.
    Integer(i128),
    /// Of floats.
    Float(f64),
}

impl fmt::Display for Number {
    /// A float as the shortest text that reads as the same one, the very large and small ones with an exponent: `0.5`,
    /// `1e-5`, `inf`, `NaN`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Integer(value) => write!(f, "{value}"),
            Self::Float(value) if value != 0.0 && !(1e-4..1e16).contains(&value.abs()) => {
                write!(f, "{value:e}")
            }
            Self::Float(value) => write!(f, "{value}"),
        }
    }
}

impl Serialize for Number {
    /// As JSON has numbers; those that it has not are the texts `NaN`, `inf` and `-inf`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::Integer(value) => serializer.serialize_i128(value),
            Self::Float(value) if value.is_finite() => serializer.serialize_f64(value),
            Self::Float(value) if value.is_nan() => serializer.serialize_str("NaN"),
            Self::Float(value) => {
                serializer.serialize_str(if value > 0.0 { "inf" } else { "-inf" })
            }
        }
    }
}

/// The statistics of a gene, of a cell, of a gene in a group, or of a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatsRow {
    /// The id of the gene, where there is a row for each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub var_id: Option<String>,
    /// The id of the cell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obs_id: Option<String>,
    /// The value that the cells of the group have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<Value>,
    /// Values, zeros among them.
    pub n: u64,
    /// Values that are not zero, NaN among them.
    pub nnz: u64,
    /// Their sum.
    pub sum: Number,
    /// The sum divided by `n`; NaN where that is 0.
    pub mean: Number,
    /// The mean squared distance from the mean; NaN where there is nothing to divide by.
    pub variance: Number,
    /// The smallest value; `None` where there is none.
    pub min: Option<Number>,
    /// The largest value.
    pub max: Option<Number>,
}

/// Makes rows of totals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) ddof: u32,
    /// Whether the values are integers.
    pub(super) integers: bool,
}

impl Rows {
    pub(super) fn gene(self, id: &str, group: Option<&Value>, n: u64, totals: &Totals) -> StatsRow {
        StatsRow { var_id: Some(id.to_owned()), group: group.cloned(), ..self.row(n, totals) }
    }

    pub(super) fn cell(self, id: &str, n: u64, totals: &Totals) -> StatsRow {
        StatsRow { obs_id: Some(id.to_owned()), ..self.row(n, totals) }
    }

    pub(super) fn layer(self, n: u64, totals: &Totals) -> StatsRow {
        self.row(n, totals)
    }

    fn row(self, n: u64, totals: &Totals) -> StatsRow {
        let found = totals.finish(n, self.ddof);
        let number = |sum: Sum| match self.integers {
            true => Number::Integer(sum.integer()),
            false => Number::Float(sum.float()),
        };
        StatsRow {
            var_id: None,
            obs_id: None,
            group: None,
            n,
            nnz: found.nonzero,
            sum: number(found.sum),
            mean: Number::Float(found.mean),
            variance: Number::Float(found.variance),
            min: found.min.map(number),
            max: found.max.map(number),
        }
    }
}

impl StatsRow {
    /// The names of the columns that rows of a kind have.
    pub fn columns(per: &Per) -> Vec<&'static str> {
        let ids: &[&str] = match per {
            Per::Gene => &["var_id"],
            Per::Cell => &["obs_id"],
            Per::Group(_) => &["var_id", "group"],
            Per::Layer => &[],
        };
        [ids, &["n", "nnz", "sum", "mean", "variance", "min", "max"]].concat()
    }

    /// The text of each of its columns; `None` for what it has not.
    pub fn cells(&self) -> Vec<Option<String>> {
        let ids = self.var_id.iter().chain(&self.obs_id).cloned();
        let group = self.group.iter().map(|group| match group {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        let counts = [self.n, self.nnz].map(|count| count.to_string());
        let numbers = [Some(self.sum), Some(self.mean), Some(self.variance), self.min, self.max];
        let numbers = numbers.map(|number| number.map(|number| number.to_string()));
        ids.chain(group).chain(counts).map(Some).chain(numbers).collect()
    }
}

/// Whether values are integers or truth values, whose sums are told as integers.
pub(super) fn holds_integers(data_type: &DataType) -> bool {
    data_type.is_integer() || *data_type == DataType::Boolean
}

/// The columns of a table of statistics of values of this type.
pub(super) fn schema(per: &Per, data_type: &DataType, groups: Option<&Groups>) -> SchemaRef {
    let number = match data_type {
        // Sums of them need more than 64 bits.
        DataType::Int64 | DataType::UInt64 => DataType::Decimal128(DECIMAL128_MAX_PRECISION, 0),
        other if holds_integers(other) => DataType::Int64,
        _ => DataType::Float64,
    };
    let field = |name: &str| match name {
        "var_id" | "obs_id" => Field::new(name, DataType::LargeUtf8, false),
        "group" => Field::new(name, groups.map_or(DataType::Null, Groups::data_type), false),
        "n" | "nnz" => Field::new(name, DataType::UInt64, false),
        "sum" => Field::new(name, number.clone(), false),
        "min" | "max" => Field::new(name, number.clone(), true),
        _ => Field::new(name, DataType::Float64, false),
    };
    Arc::new(Schema::new(StatsRow::columns(per).into_iter().map(field).collect::<Vec<_>>()))
}

/// Rows as a table.
pub(super) fn batch(schema: &SchemaRef, rows: &[StatsRow]) -> Result<RecordBatch> {
    let fits = |error| Error::arrow("statistics", error);
    let column = |field: &Arc<Field>| -> Result<ArrayRef> {
        let texts = |text: fn(&StatsRow) -> Option<&str>| -> ArrayRef {
            Arc::new(LargeStringArray::from_iter_values(
                rows.iter().map(|row| text(row).unwrap_or_default()),
            ))
        };
        let counts = |count: fn(&StatsRow) -> u64| -> ArrayRef {
            Arc::new(UInt64Array::from_iter_values(rows.iter().map(count)))
        };
        let told = |number: fn(&StatsRow) -> Option<Number>| {
            numbers(field.data_type(), rows.iter().map(number)).map_err(fits)
        };
        match field.name().as_str() {
            "var_id" => Ok(texts(|row| row.var_id.as_deref())),
            "obs_id" => Ok(texts(|row| row.obs_id.as_deref())),
            "group" => {
                Ok(groups::array(field.data_type(), rows.iter().map(|row| row.group.as_ref())))
            }
            "n" => Ok(counts(|row| row.n)),
            "nnz" => Ok(counts(|row| row.nnz)),
            "sum" => told(|row| Some(row.sum)),
            "mean" => told(|row| Some(row.mean)),
            "variance" => told(|row| Some(row.variance)),
            "min" => told(|row| row.min),
            _ => told(|row| row.max),
        }
    };
    let columns = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(fits)
}

/// Numbers as an array of a type that holds them.
fn numbers(
    data_type: &DataType,
    numbers: impl Iterator<Item = Option<Number>>,
) -> Result<ArrayRef, ArrowError> {
    let integer = |number| match number {
        Number::Integer(value) => value,
        Number::Float(value) => value as i128,
    };
    let float = |number| match number {
        Number::Integer(value) => value as f64,
        Number::Float(value) => value,
    };
    Ok(match data_type {
        DataType::Int64 => {
            let narrow = |value: i128| {
                let wide = || ArrowError::ArithmeticOverflow(format!("{value} is no int64"));
                i64::try_from(value).map_err(|_| wide())
            };
            let values = numbers.map(|number| number.map(integer).map(narrow).transpose());
            Arc::new(values.collect::<Result<Int64Array, _>>()?)
        }
        DataType::Decimal128(precision, scale) => {
            let values: Decimal128Array = numbers.map(|number| number.map(integer)).collect();
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        _ => Arc::new(numbers.map(|number| number.map(float)).collect::<Float64Array>()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_so_that_they_are_read_again() {
        let text = |value: f64| Number::Float(value).to_string();
        for value in [0.0, 0.1, -1.5, 1e300, 1e-300, 123_456_789.25, 1e16, 9e-5, f64::MAX] {
            assert_eq!(text(value).parse(), Ok(value));
            assert!(text(value).len() < 25, "{}", text(value));
        }
        assert_eq!(
            [text(f64::NAN), text(f64::INFINITY), text(f64::NEG_INFINITY)],
            ["NaN", "inf", "-inf"]
        );
        let json = |number| serde_json::to_string(&number).unwrap();
        assert_eq!(json(Number::Integer(i128::from(u64::MAX))), "18446744073709551615");
        assert_eq!(json(Number::Integer(i128::from(i64::MIN))), "-9223372036854775808");
        assert_eq!(json(Number::Integer(1 << 70)), "1180591620717411303424");
        assert_eq!(json(Number::Float(f64::NAN)), "\"NaN\"");
    }
}
