//! Predicates as coordinates: which values of one column make a condition true.
//!
//! Comparisons and lists become ranges. Whatever else is said of a coordinate, as `soma_dim_0 % 2 = 0` or what a join has found
//! on its other side, is evaluated for each coordinate that there can be, which takes far less time than to read the cells.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, Field, Schema};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, InListExpr, Literal};
use datafusion::physical_expr::utils::{collect_columns, reassign_expr_columns};
use datafusion::physical_plan::ColumnarValue;
use vacuole_soma::Selection;

/// The most coordinates that a condition is evaluated for.
const MOST_EVALUATED: u64 = 1 << 26;

/// The most ranges that are told to the reader: beyond that they take more memory than they save.
const MOST_RANGES: usize = 1 << 21;

/// How many coordinates are evaluated at a time.
const AT_A_TIME: usize = 1 << 16;

/// The values of a column that a condition finds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// What it may find.
    pub(crate) selection: Selection,
    /// Whether it finds all of these.
    pub(crate) exact: bool,
}

/// The only column that a condition looks at.
pub(crate) fn only_column(condition: &Arc<dyn PhysicalExpr>) -> Option<Column> {
    let mut columns = collect_columns(condition).into_iter();
    columns.next().filter(|_| columns.next().is_none())
}

/// Those of the coordinates `within` for which a condition on `field`, its only column, is true. The coordinates are never
/// null.
pub(crate) fn coordinates(
    condition: &Arc<dyn PhysicalExpr>,
    field: &Field,
    within: &Selection,
) -> Found {
    if let Some(literal) = condition.downcast_ref::<Literal>() {
        return match literal.value() {
            ScalarValue::Boolean(Some(true)) => Found::exactly(within.clone()),
            ScalarValue::Boolean(_) | ScalarValue::Null => Found::nothing(),
            _ => Found::at_most(within),
        };
    }
    if let Some(binary) = condition.downcast_ref::<BinaryExpr>() {
        match binary.op() {
            Operator::And => {
                let left = coordinates(binary.left(), field, within);
                let right = coordinates(binary.right(), field, &left.selection);
                return Found { exact: left.exact && right.exact, ..right };
            }
            Operator::Or => {
                let left = coordinates(binary.left(), field, within);
                let right = coordinates(binary.right(), field, within);
                let exact = left.exact && right.exact;
                return Found { selection: either(left.selection, right.selection), exact };
            }
            _ => {}
        }
        if let Some(selection) = compared(binary) {
            return Found::exactly(both(within, &selection));
        }
    }
    if let Some(list) = condition.downcast_ref::<InListExpr>()
        && let Some(selection) = listed(list)
    {
        return Found::exactly(both(within, &selection));
    }
    evaluated(condition, field, within).unwrap_or_else(|| Found::at_most(within))
}

impl Found {
    fn exactly(selection: Selection) -> Self {
        Self { selection, exact: true }
    }

    fn at_most(within: &Selection) -> Self {
        Self { selection: within.clone(), exact: false }
    }

    fn nothing() -> Self {
        Self::exactly(Selection::Ranges(Vec::new()))
    }
}

/// What two selections have in common.
pub(crate) fn both(left: &Selection, right: &Selection) -> Selection {
    let (Selection::Ranges(left), Selection::Ranges(right)) = (left, right) else {
        return if *left == Selection::All { right.clone() } else { left.clone() };
    };
    let mut common = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (left.get(i), right.get(j)) {
        let (low, high) = (a.0.max(b.0), a.1.min(b.1));
        if low <= high {
            common.push((low, high));
        }
        if a.1 < b.1 { i += 1 } else { j += 1 }
    }
    Selection::Ranges(common)
}

fn either(left: Selection, right: Selection) -> Selection {
    match (left, right) {
        (Selection::Ranges(left), Selection::Ranges(right)) => {
            Selection::ranges(left.into_iter().chain(right))
        }
        _ => Selection::All,
    }
}

/// How many coordinates a selection has; none where there is no end to them.
pub(crate) fn size(selection: &Selection) -> Option<u64> {
    let Selection::Ranges(ranges) = selection else { return None };
    let lengths = ranges.iter().map(|(low, high)| high.abs_diff(*low).checked_add(1));
    lengths.into_iter().try_fold(0u64, |sum, length| sum.checked_add(length?))
}

/// The coordinates that a comparison with a number finds.
fn compared(binary: &BinaryExpr) -> Option<Selection> {
    let number = |side: &Arc<dyn PhysicalExpr>| {
        side.downcast_ref::<Literal>().and_then(|literal| integer(literal.value()))
    };
    let (op, number) = match (is_column(binary.left()), is_column(binary.right())) {
        (true, false) => (*binary.op(), number(binary.right())?),
        (false, true) => (binary.op().swap()?, number(binary.left())?),
        _ => return None,
    };
    // A comparison with null is never true.
    let Some(number) = number else { return Some(Selection::Ranges(Vec::new())) };
    let below = number.checked_sub(1).map(|last| (i64::MIN, last));
    let above = number.checked_add(1).map(|first| (first, i64::MAX));
    let ranges = match op {
        Operator::Eq => vec![(number, number)],
        Operator::NotEq => below.into_iter().chain(above).collect(),
        Operator::Lt => below.into_iter().collect(),
        Operator::LtEq => vec![(i64::MIN, number)],
        Operator::Gt => above.into_iter().collect(),
        Operator::GtEq => vec![(number, i64::MAX)],
        _ => return None,
    };
    Some(Selection::ranges(ranges))
}

/// The coordinates in a list of numbers.
fn listed(list: &InListExpr) -> Option<Selection> {
    if list.negated() || !is_column(list.expr()) {
        return None;
    }
    let numbers = list.list().iter().map(|number| {
        number.downcast_ref::<Literal>().and_then(|literal| integer(literal.value()))
    });
    let numbers: Vec<Option<i64>> = numbers.collect::<Option<_>>()?;
    Some(Selection::points(numbers.into_iter().flatten()))
}

fn is_column(side: &Arc<dyn PhysicalExpr>) -> bool {
    side.downcast_ref::<Column>().is_some()
}

/// A whole number, or a time as it is stored; within, none where it is null.
fn integer(value: &ScalarValue) -> Option<Option<i64>> {
    Some(match value {
        ScalarValue::Int8(value) => value.map(i64::from),
        ScalarValue::Int16(value) => value.map(i64::from),
        ScalarValue::Int32(value) => value.map(i64::from),
        ScalarValue::Int64(value)
        | ScalarValue::TimestampSecond(value, None)
        | ScalarValue::TimestampMillisecond(value, None)
        | ScalarValue::TimestampMicrosecond(value, None)
        | ScalarValue::TimestampNanosecond(value, None) => *value,
        ScalarValue::UInt8(value) => value.map(i64::from),
        ScalarValue::UInt16(value) => value.map(i64::from),
        ScalarValue::UInt32(value) => value.map(i64::from),
        ScalarValue::UInt64(Some(value)) => Some(i64::try_from(*value).ok()?),
        ScalarValue::UInt64(None) | ScalarValue::Null => None,
        _ => return None,
    })
}

/// The coordinates for which a condition turns out to be true; none where they are too many to try, or one fails: whoever
/// evaluates it for cells tells of that.
fn evaluated(
    condition: &Arc<dyn PhysicalExpr>,
    field: &Field,
    within: &Selection,
) -> Option<Found> {
    let Selection::Ranges(ranges) = within else { return None };
    if size(within)? > MOST_EVALUATED {
        return None;
    }
    let mut found: Vec<(i64, i64)> = Vec::new();
    let alone = Alone::new(condition, field)?;
    // Ranges may be single coordinates: they are evaluated together.
    let mut coordinates = ranges.iter().flat_map(|(low, high)| *low..=*high);
    loop {
        let some: Vec<i64> = coordinates.by_ref().take(AT_A_TIME).collect();
        if some.is_empty() {
            return Some(Found::exactly(Selection::Ranges(found)));
        }
        let values: ArrayRef = Arc::new(Int64Array::from(some.clone()));
        let holds = alone.holds(cast(&values, field.data_type()).ok()?)?;
        for (coordinate, holds) in some.into_iter().zip(&holds) {
            if holds != Some(true) {
                continue;
            }
            match found.last_mut() {
                Some(last) if last.1.checked_add(1) == Some(coordinate) => last.1 = coordinate,
                _ => found.push((coordinate, coordinate)),
            }
        }
        if found.len() > MOST_RANGES {
            return None;
        }
    }
}

/// Of the categories of a column, and null at the end of them, those that a condition finds.
pub(crate) fn categories(
    condition: &Arc<dyn PhysicalExpr>,
    field: &Field,
    values: ArrayRef,
) -> Option<BooleanArray> {
    Alone::new(condition, field)?.holds(values)
}

/// A condition on the values of its column, with nothing beside it.
struct Alone {
    condition: Arc<dyn PhysicalExpr>,
    schema: Arc<Schema>,
}

impl Alone {
    fn new(condition: &Arc<dyn PhysicalExpr>, field: &Field) -> Option<Self> {
        let schema = Arc::new(Schema::new(vec![field.clone().with_nullable(true)]));
        let condition = reassign_expr_columns(Arc::clone(condition), &schema).ok()?;
        Some(Self { condition, schema })
    }

    fn holds(&self, values: ArrayRef) -> Option<BooleanArray> {
        let rows = values.len();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![values]).ok()?;
        match self.condition.evaluate(&batch).ok()? {
            ColumnarValue::Array(holds) if *holds.data_type() == DataType::Boolean => {
                Some(holds.as_boolean().clone())
            }
            ColumnarValue::Scalar(ScalarValue::Boolean(holds)) => {
                Some(BooleanArray::from(vec![holds; rows]))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
