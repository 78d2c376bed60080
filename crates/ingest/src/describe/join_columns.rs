//! Columns of one name in several files, as the one column that they become.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_schema::{DataType, Field};
use arrow_select::concat::concat;
use arrow_select::take::take;
use vacuole_tiledb::schema::Enumeration;

use super::base::StoredColumn;
use super::column::{Codes, MOST_CATEGORIES, enumeration};
use super::join_to::{codes_of, join_to};
use super::{Context, SomaColumn, widen};
use crate::error::{Error, Result};
use crate::write::cells;

/// What to do about integers here and floats there.
pub(super) const WIDEN: &str = "convert one of them, or store integers as floats with --widen";

/// The columns of one file.
pub(super) struct OfInput<'a> {
    /// The file's name.
    pub(super) input: &'a str,
    pub(super) columns: &'a [SomaColumn],
}

/// What the columns of all files become.
pub(super) struct Joined {
    /// In the order in which they first appear.
    pub(super) fields: Vec<Field>,
    pub(super) enumerations: Vec<Enumeration>,
    /// What becomes of each column, for each file by name.
    pub(super) sources: Vec<HashMap<String, Change>>,
    /// What does not fit together.
    pub(super) problems: Vec<String>,
    /// Types that change.
    pub(super) notes: Vec<String>,
}

/// What becomes of a file's column.
pub(super) enum Change {
    /// Nothing.
    Kept,
    /// Its codes are others.
    Recoded(Vec<i32>),
    /// Its categories take the place of codes.
    Decoded,
    /// Codes take the place of its values.
    Encoded(Codes),
    /// It has no value.
    Nulls,
}

impl Change {
    /// The column as it is stored.
    pub(super) fn apply(self, column: SomaColumn, field: &Field) -> SomaColumn {
        let mut column = match self {
            Self::Kept => column,
            Self::Recoded(codes) => column.recoded(codes),
            Self::Decoded => column.decoded(),
            Self::Encoded(codes) => column.encoded(codes),
            Self::Nulls => SomaColumn::nulls(field.clone()),
        };
        column.field = field.clone();
        column
    }
}

/// A column of a file, by the file's number.
pub(super) type Found<'a> = (usize, &'a SomaColumn);

/// Joins the columns of several files by name, and with those of the data frame that is there.
pub(super) fn join_columns(
    context: &Context<'_>,
    path: &str,
    there: &[StoredColumn],
    inputs: &[OfInput<'_>],
) -> Result<Joined> {
    let names = there.iter().map(|column| column.field.name().as_str());
    let mut places: HashMap<&str, usize> = names.clone().zip(0..).collect();
    let mut by_name: Vec<(&str, Vec<Found<'_>>)> = names.map(|name| (name, Vec::new())).collect();
    for (input, of_input) in inputs.iter().enumerate() {
        for column in of_input.columns {
            let name = column.field.name().as_str();
            let place = *places.entry(name).or_insert_with(|| {
                by_name.push((name, Vec::new()));
                by_name.len() - 1
            });
            if let Some((_, found)) = by_name.get_mut(place) {
                found.push((input, column));
            }
        }
    }
    let mut joined = Joined {
        fields: Vec::new(),
        enumerations: Vec::new(),
        sources: std::iter::repeat_with(HashMap::new).take(inputs.len()).collect(),
        problems: Vec::new(),
        notes: Vec::new(),
    };
    let input = |number: usize| inputs.get(number).map_or("", |of_input| of_input.input);
    let is_in_all = |found: &[Found<'_>]| found.len() == inputs.len();
    for (place, (name, found)) in by_name.into_iter().enumerate() {
        let one = match there.get(place) {
            Some(there) => join_to(context, there, &found, is_in_all(&found))?,
            None => join_one(context, &found)?,
        };
        match one {
            One::Joined { field, enumeration, changes, note } => {
                for ((number, _), change) in found.iter().zip(changes) {
                    if let Some(of_input) = joined.sources.get_mut(*number) {
                        of_input.insert(name.to_owned(), change);
                    }
                }
                joined.notes.extend(note.map(|note| format!("{path}/{name}: {note}")));
                joined.fields.push(field);
                joined.enumerations.extend(enumeration);
            }
            One::Conflict { a, b, remedy } => {
                let ((a, a_is), (b, b_is)) = (a, b);
                joined.problems.push(format!(
                    "{path}/{name}: expected one type, found {a_is} in {} and {b_is} in {}; {remedy}",
                    input(a),
                    input(b)
                ));
            }
            One::Unfit { number, message } => {
                let file = number.map(|number| format!("{}: ", input(number))).unwrap_or_default();
                joined.problems.push(format!("{file}{path}/{name}: {message}"));
            }
        }
    }
    Ok(joined)
}

/// What the columns of one name become.
pub(super) enum One {
    Joined {
        field: Field,
        enumeration: Option<Enumeration>,
        changes: Vec<Change>,
        /// What changes about values.
        note: Option<String>,
    },
    Conflict {
        a: (usize, String),
        b: (usize, String),
        remedy: &'static str,
    },
    /// A file's column, or that there is none, does not fit what is there.
    Unfit {
        number: Option<usize>,
        message: String,
    },
}

fn join_one(context: &Context<'_>, found: &[Found<'_>]) -> Result<One> {
    let has_values = |(_, column): &&Found<'_>| match &column.categories {
        // A categorical column that is null in every row has none.
        Some(categories) => !categories.is_empty(),
        None => true,
    };
    let Some(first) = found.iter().find(has_values).or(found.first()) else {
        let field = Field::new("", DataType::LargeUtf8, true);
        return Ok(One::Joined { field, enumeration: None, changes: Vec::new(), note: None });
    };
    let of_first = value_type(first.1);
    let mut expected = of_first.clone();
    for other in found.iter().filter(has_values) {
        let of_other = value_type(other.1);
        // Categories stay what they are.
        let plain = first.1.categories.is_none() && other.1.categories.is_none();
        let wider = match plain {
            true => widen::common(&expected, &of_other, context.options.widen),
            false => (expected == of_other).then(|| of_other.clone()),
        };
        let Some(wider) = wider else {
            let with_widen = plain && widen::common(&expected, &of_other, true).is_some();
            return Ok(One::Conflict {
                a: (first.0, shown(&of_first)),
                b: (other.0, shown(&of_other)),
                remedy: if with_widen { WIDEN } else { "convert one of them" },
            });
        };
        expected = wider;
    }
    let widened = found.iter().filter(has_values).any(|(_, c)| value_type(c) != expected);
    let widened = widened
        .then(|| format!("stored as {}: its type is not the same in all files", shown(&expected)));
    let name = first.1.field.name();
    let plain = found.iter().filter(has_values).any(|(_, column)| column.categories.is_none());
    let as_values = |note: Option<String>| {
        let changes = found.iter().map(|(_, column)| match &column.categories {
            None => Change::Kept,
            Some(categories) if categories.is_empty() => Change::Nulls,
            Some(_) => Change::Decoded,
        });
        let field = Field::new(name, expected.clone(), true);
        One::Joined { field, enumeration: None, changes: changes.collect(), note }
    };
    if plain {
        let mixed = found.iter().filter(has_values).any(|(_, column)| column.categories.is_some());
        return Ok(as_values(
            mixed
                .then(|| {
                    let shown = shown(&expected);
                    format!("stored as {shown}: it is categorical in some of the files only")
                })
                .or(widened),
        ));
    }
    let ordered = |column: &SomaColumn| column.field.dict_is_ordered() == Some(true);
    for other in found.iter().filter(has_values) {
        let alike = match ordered(first.1) {
            true => ordered(other.1) && first.1.categories == other.1.categories,
            false => !ordered(other.1),
        };
        if !alike {
            let text = |column: &SomaColumn| match ordered(column) {
                true => "ordered categories".to_owned(),
                false => "categories without an order".to_owned(),
            };
            return Ok(One::Conflict {
                a: (first.0, text(first.1)),
                b: (other.0, text(other.1)),
                remedy: "give both the same categories in the same order",
            });
        }
    }
    let (union, codes) = union(name, None, found)?;
    if union.len() > MOST_CATEGORIES {
        let (shown, count) = (shown(&expected), union.len());
        let why = format!("stored as {shown}: the files have {count} categories together");
        return Ok(as_values(Some(why)));
    }
    let is_ordered = ordered(first.1);
    let enumeration = enumeration(context, name, &union, is_ordered)?;
    let values = Box::new(union.data_type().clone());
    let data_type = DataType::Dictionary(Box::new(DataType::Int32), values);
    let field = Field::new(name, data_type, true).with_dict_is_ordered(is_ordered);
    let changes = codes.into_iter().map(Change::Recoded).collect();
    Ok(One::Joined { field, enumeration: Some(enumeration), changes, note: None })
}

/// What messages call a type.
pub(super) fn shown(data_type: &DataType) -> String {
    match data_type {
        DataType::LargeUtf8 => "string".to_owned(),
        other => other.to_string().to_lowercase(),
    }
}

/// The type of a column's values, whether they are categories or not.
pub(super) fn value_type(column: &SomaColumn) -> DataType {
    match column.field.data_type() {
        DataType::Dictionary(_, values) => (**values).clone(),
        other => other.clone(),
    }
}

/// All categories in the order in which they first appear, behind those that are there, and the codes that those of each
/// file become.
pub(super) fn union(
    name: &str,
    there: Option<&ArrayRef>,
    found: &[Found<'_>],
) -> Result<(ArrayRef, Vec<Vec<i32>>)> {
    let arrow =
        |source| Error::Soma(vacuole_soma::Error::Arrow { object: name.to_owned(), source });
    let mut known: HashMap<Vec<u8>, i32> = HashMap::new();
    let mut parts: Vec<ArrayRef> = Vec::new();
    let mut codes = Vec::with_capacity(found.len());
    if let Some(there) = there {
        known = codes_of(there);
        parts.push(Arc::clone(there));
    }
    for (_, column) in found {
        let Some(categories) = &column.categories else { continue };
        let stored = cells::of_array(categories);
        let mut new = Vec::new();
        let mut of_column = Vec::with_capacity(categories.len());
        for category in 0..categories.len() {
            let next = known.len() as i32;
            let bytes = stored.cell(category, categories.len()).to_vec();
            let code = *known.entry(bytes).or_insert_with(|| {
                new.push(category as u64);
                next
            });
            of_column.push(code);
        }
        codes.push(of_column);
        if !new.is_empty() {
            let new = arrow_array::UInt64Array::from(new);
            parts.push(take(categories, &new, None).map_err(arrow)?);
        }
    }
    let parts: Vec<&dyn arrow_array::Array> = parts.iter().map(|part| &**part).collect();
    let union = match parts.as_slice() {
        [] => arrow_array::new_empty_array(&DataType::LargeUtf8),
        parts => concat(parts).map_err(arrow)?,
    };
    Ok((union, codes))
}
