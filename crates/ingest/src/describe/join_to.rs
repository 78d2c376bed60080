//! Columns of files, as more rows of a column that is there already. It keeps its type; categories are added to its own.

use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::base::StoredColumn;
use super::column::{Codes, MOST_CATEGORIES, enumeration};
use super::join_columns::{Change, Found, One, WIDEN, shown, union, value_type};
use super::{Context, SomaColumn, widen};
use crate::error::{Error, Result};
use crate::write::cells;

/// What becomes of the columns of one name, where there is one by that name. `is_in_all` says whether every file has it.
pub(super) fn join_to(
    context: &Context<'_>,
    there: &StoredColumn,
    found: &[Found<'_>],
    is_in_all: bool,
) -> Result<One> {
    if !there.field.is_nullable() {
        if !is_in_all {
            let message =
                "the experiment's column cannot be null, and not all files have it; add it to them";
            return Ok(One::Unfit { number: None, message: message.to_owned() });
        }
        for (number, column) in found {
            if let Some(row) = first_null(column)? {
                let message = format!(
                    "the experiment's column cannot be null, found no value in row {row}; give it one"
                );
                return Ok(One::Unfit { number: Some(*number), message });
            }
        }
    }
    match &there.categories {
        Some(categories) => join_categories(context, there, categories, found),
        None => Ok(join_values(context, &there.field, found)),
    }
}

/// Columns of numbers, strings and booleans.
fn join_values(context: &Context<'_>, field: &Field, found: &[Found<'_>]) -> One {
    let stored = field.data_type();
    let mut changes = Vec::with_capacity(found.len());
    let mut note = None;
    for (number, column) in found {
        let data_type = value_type(column);
        let change = match &column.categories {
            Some(categories) if categories.is_empty() => Change::Nulls,
            Some(_) if data_type == *stored => Change::Decoded,
            None if widen::fits(&data_type, stored, context.options.widen) => Change::Kept,
            of => return unfit(*number, stored, &data_type, of.is_none()),
        };
        if matches!(change, Change::Kept) && data_type != *stored {
            note = Some(format!("{} of files is stored as {}", shown(&data_type), shown(stored)));
        }
        if matches!(change, Change::Decoded) {
            note =
                Some(format!("categories are stored as {}, as in the experiment", shown(stored)));
        }
        changes.push(change);
    }
    One::Joined { field: field.clone(), enumeration: None, changes, note }
}

fn unfit(number: usize, stored: &DataType, found: &DataType, plain: bool) -> One {
    let remedy = match plain && widen::fits(found, stored, true) {
        true => WIDEN,
        false => "convert the file's",
    };
    let message = format!(
        "expected {}, as in the experiment, found {}; {remedy}",
        shown(stored),
        shown(found)
    );
    One::Unfit { number: Some(number), message }
}

/// Categorical columns: what the files have is added.
fn join_categories(
    context: &Context<'_>,
    there: &StoredColumn,
    categories: &ArrayRef,
    found: &[Found<'_>],
) -> Result<One> {
    let name = there.field.name();
    let DataType::Dictionary(index, stored) = there.field.data_type() else {
        let message = "expected a column of categories in the experiment".to_owned();
        return Ok(One::Unfit { number: None, message });
    };
    let is_ordered = there.field.dict_is_ordered() == Some(true);
    for (number, column) in found {
        let Some(of_file) = column.categories.as_ref() else {
            let data_type = value_type(column);
            if data_type != **stored {
                return Ok(unfit(*number, stored, &data_type, false));
            }
            continue;
        };
        if of_file.is_empty() {
            continue;
        }
        if value_type(column) != **stored {
            return Ok(unfit(*number, stored, &value_type(column), false));
        }
        if is_ordered != (column.field.dict_is_ordered() == Some(true)) {
            let order = |ordered| if ordered { "with an order" } else { "without an order" };
            let message = format!(
                "expected categories {}, as in the experiment, found some {}; convert the file's",
                order(is_ordered),
                order(!is_ordered)
            );
            return Ok(One::Unfit { number: Some(*number), message });
        }
    }
    let (mut union, codes) = union(name, Some(categories), found)?;
    let mut codes = codes.into_iter();
    let mut known = codes_of(&union);
    let mut changes = Vec::with_capacity(found.len());
    let mut note = None;
    for (_, column) in found {
        changes.push(match &column.categories {
            Some(of_file) => match (of_file.is_empty(), codes.next().unwrap_or_default()) {
                (true, _) => Change::Nulls,
                (false, codes) => Change::Recoded(codes),
            },
            None => {
                union = with_values(name, union, &mut known, column)?;
                let what = "values of files are stored as categories, as in the experiment";
                note = Some(what.to_owned());
                Change::Encoded(Codes::new())
            }
        });
    }
    // Only now are all values known.
    for change in &mut changes {
        if let Change::Encoded(codes) = change {
            codes.clone_from(&known);
        }
    }
    if union.len() > most(index) {
        let message = format!(
            "expected at most {} categories, which the experiment's codes of {index} can tell apart, found {}",
            most(index),
            union.len()
        );
        return Ok(One::Unfit { number: None, message });
    }
    if is_ordered && union.len() > categories.len() {
        let new = union.len() - categories.len();
        let message = format!(
            "expected the categories of the experiment, which have an order, found {new} others; convert the files'"
        );
        return Ok(One::Unfit { number: None, message });
    }
    let mut enlarged = None;
    if union.len() > categories.len() {
        let mut with = enumeration(context, name, &union, is_ordered)?;
        with.name.clone_from(there.enumeration.as_ref().unwrap_or(name));
        enlarged = Some(with);
    }
    Ok(One::Joined { field: there.field.clone(), enumeration: enlarged, changes, note })
}

/// How many categories codes of a type can tell apart.
fn most(index: &DataType) -> usize {
    match index {
        DataType::Int8 => i8::MAX as usize + 1,
        DataType::UInt8 => u8::MAX as usize + 1,
        DataType::Int16 => i16::MAX as usize + 1,
        DataType::UInt16 => u16::MAX as usize + 1,
        _ => i32::MAX as usize,
    }
}

/// The codes of categories, by their bytes.
pub(super) fn codes_of(categories: &ArrayRef) -> Codes {
    let stored = cells::of_array(categories);
    let count = categories.len();
    (0..count).map(|code| (stored.cell(code, count).to_vec(), code as i32)).collect()
}

/// The categories and behind them what values there are of a column that has none.
fn with_values(
    name: &str,
    mut categories: ArrayRef,
    known: &mut Codes,
    column: &SomaColumn,
) -> Result<ArrayRef> {
    let arrow =
        |source| Error::Soma(vacuole_soma::Error::Arrow { object: name.to_owned(), source });
    for rows in column.blocks() {
        let values = column.read_rows(rows)?;
        let stored = cells::of_array(&values);
        let mut new = Vec::new();
        for row in (0..values.len()).filter(|&row| values.is_valid(row)) {
            let value = stored.cell(row, values.len());
            if !known.contains_key(value) {
                known.insert(value.to_vec(), known.len() as i32);
                new.push(row as u64);
            }
        }
        if known.len() > MOST_CATEGORIES {
            let message = format!(
                "expected values that can be categories, as in the experiment, found more than {MOST_CATEGORIES} of them"
            );
            return Err(Error::Unfit { object: name.to_owned(), message });
        }
        if !new.is_empty() {
            let new = take(&values, &arrow_array::UInt64Array::from(new), None).map_err(arrow)?;
            categories = concat(&[&*categories, &*new]).map_err(arrow)?;
        }
    }
    Ok(categories)
}

/// The first row of a column that has no value.
fn first_null(column: &SomaColumn) -> Result<Option<u64>> {
    for rows in column.blocks() {
        let values = column.read_rows(rows.clone())?;
        if values.null_count() > 0 {
            let row = (0..values.len()).find(|&row| values.is_null(row)).unwrap_or(0);
            return Ok(Some(rows.start + row as u64));
        }
    }
    Ok(None)
}
