//! Why a sound filter may find less than was meant: values that are no categories, and conditions that find nothing.

use std::collections::HashSet;
use std::fmt;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef};

use super::ast::Literal;
use super::columns::{Cell, cells};
use super::evaluate::by_value;
use super::predicate::Predicate;
use super::suggest;
use super::text::Text;

/// How many notes are spelled out.
const MOST: usize = 6;

/// How many categories are listed where none is near.
const LISTED: usize = 10;

/// The characters of a value or condition that are shown.
const SHOWN: usize = 80;

/// What a filter asks of a column's categories.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Asked {
    column: usize,
    question: Question,
}

#[derive(Debug, Clone, PartialEq)]
enum Question {
    /// Equality with a value, which no category can have where it has no key.
    Value { literal: Literal, key: Option<Key> },
    /// A test of texts, as the filter has it.
    Test { spelled: String, predicate: Predicate },
}

/// A value by which it is equal to others.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Int(i128),
    Float(u64),
    Bytes(Vec<u8>),
}

impl Key {
    /// Both zeros are one.
    pub(super) fn float(value: f64) -> Self {
        Self::Float((value + 0.0).to_bits())
    }

    fn of(cell: Cell<'_>) -> Self {
        match cell {
            Cell::Int(value) => Self::Int(value),
            Cell::Float(value) => Self::float(value),
            Cell::Bytes(bytes) => Self::Bytes(bytes.to_vec()),
        }
    }
}

impl Asked {
    pub(super) fn value(column: usize, literal: Literal, key: Option<Key>) -> Self {
        Self { column, question: Question::Value { literal, key } }
    }

    pub(super) fn test(column: usize, spelled: String, test: Text) -> Self {
        let predicate = Predicate::Text { test, inside: true };
        Self { column, question: Question::Test { spelled, predicate } }
    }
}

/// Something about a filter that is no error, and may be why it finds nothing.
///
/// Prints as a sentence without its full stop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A value that is none of the categories of the column it is compared with.
    NoCategory {
        /// The column's name.
        column: String,
        /// The value, as the filter's canonical spelling has it.
        value: String,
        /// The nearest categories, spelled the same way; at most three.
        near: Vec<String>,
        /// The first categories.
        first: Vec<String>,
        /// How many categories there are.
        count: usize,
    },
    /// A test of texts that holds for none of the column's categories.
    NoMatch {
        /// The column's name.
        column: String,
        /// The test, in canonical spelling.
        test: String,
    },
    /// More notes of the same kinds.
    More(usize),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCategory { column, value, near, first, count } => {
                write!(f, "column `{column}` has no category {}", shortened(value))?;
                let list = |values: &[String], word: &str| {
                    let values: Vec<String> = values.iter().map(|v| shortened(v)).collect();
                    values.join(word)
                };
                if !near.is_empty() {
                    return write!(f, " (did you mean {}?)", list(near, " or "));
                }
                match (first.len(), count.saturating_sub(first.len())) {
                    (0, _) => write!(f, ": it has none"),
                    (_, 0) => write!(f, "; it has {}", list(first, ", ")),
                    (_, more) => write!(f, "; it has {} and {more} more", list(first, ", ")),
                }
            }
            Self::NoMatch { column, test } => {
                write!(f, "no category of column `{column}` satisfies {}", shortened(test))
            }
            Self::More(1) => f.write_str("another value of the filter is no category"),
            Self::More(count) => write!(f, "{count} more values of the filter are no categories"),
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The notes on what is asked of categories; `categories` gives those of a column, where they are known.
pub(super) fn notes(
    asked: &[Asked],
    columns: &[String],
    categories: impl Fn(&str) -> Option<ArrayRef>,
) -> Vec<Note> {
    let lists: Vec<Option<Categories>> = columns
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let wanted = asked.iter().any(|asked| asked.column == index);
            wanted.then(|| categories(name)).flatten().map(Categories::new)
        })
        .collect();
    let mut notes = Vec::new();
    let mut more = 0;
    for Asked { column, question } in asked {
        let (Some(name), Some(Some(list))) = (columns.get(*column), lists.get(*column)) else {
            continue;
        };
        if list.answers(question) {
            continue;
        }
        let note = list.note(name, question, notes.len() < MOST);
        match note {
            Some(note) if !notes.contains(&note) => notes.push(note),
            Some(_) => {}
            None => more += 1,
        }
    }
    notes.extend((more > 0).then_some(Note::More(more)));
    notes
}

/// The categories of a column, and how to find them.
struct Categories {
    values: ArrayRef,
    keys: HashSet<Key>,
}

impl Categories {
    /// Of a dictionary, its values.
    fn new(values: ArrayRef) -> Self {
        let values = match values.as_any_dictionary_opt() {
            Some(dictionary) => dictionary.values().clone(),
            None => values,
        };
        let keys = match cells(values.as_ref()) {
            Some(read) => (0..values.len()).filter_map(&read).map(Key::of).collect(),
            None => HashSet::new(),
        };
        Self { values, keys }
    }

    /// Whether a category is what is asked for, or the values are none that could be looked through.
    fn answers(&self, question: &Question) -> bool {
        match question {
            Question::Value { key, .. } => key.as_ref().is_some_and(|key| self.keys.contains(key)),
            Question::Test { predicate, .. } => by_value(predicate, self.values.as_ref())
                .map_or(true, |found| found.count_set_bits() > 0),
        }
    }

    fn note(&self, column: &str, question: &Question, room: bool) -> Option<Note> {
        if !room {
            return None;
        }
        let column = column.to_owned();
        let literal = match question {
            Question::Test { spelled, .. } => {
                return Some(Note::NoMatch { column, test: spelled.clone() });
            }
            Question::Value { literal, .. } => literal,
        };
        let texts = self.texts();
        let near = match literal {
            Literal::Str(wanted) => {
                suggest::nearest_values(wanted, texts.iter().map(String::as_str))
            }
            _ => Vec::new(),
        };
        let spelled = |text: String| Literal::Str(text).to_string();
        let first = match texts.is_empty() {
            true => self.spelled(LISTED),
            false => texts.iter().take(LISTED).cloned().map(spelled).collect(),
        };
        Some(Note::NoCategory {
            column,
            value: literal.to_string(),
            near: near.into_iter().map(spelled).collect(),
            first,
            count: self.values.len() - self.values.null_count(),
        })
    }

    /// The categories that are texts.
    fn texts(&self) -> Vec<String> {
        let Some(read) = cells(self.values.as_ref()) else { return Vec::new() };
        let text = |cell| match cell {
            Cell::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(str::to_owned),
            Cell::Int(_) | Cell::Float(_) => None,
        };
        (0..self.values.len()).filter_map(&read).filter_map(text).collect()
    }

    /// The first categories that are numbers.
    fn spelled(&self, most: usize) -> Vec<String> {
        let Some(read) = cells(self.values.as_ref()) else { return Vec::new() };
        let boolean = self.values.as_boolean_opt().is_some();
        let number = |cell| match cell {
            Cell::Int(value) if boolean => Some(Literal::Bool(value != 0).to_string()),
            Cell::Int(value) => Some(value.to_string()),
            Cell::Float(value) => Some(value.to_string()),
            Cell::Bytes(_) => None,
        };
        (0..self.values.len()).filter_map(&read).filter_map(number).take(most).collect()
    }
}

/// How many rows each condition of a filter has found, when they are joined by `and`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    rows: u64,
    found: u64,
    parts: Vec<u64>,
}

impl Tally {
    /// The rows that were looked at.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The rows that the whole filter has found.
    pub fn found(&self) -> u64 {
        self.found
    }

    pub(super) fn add_rows(&mut self, rows: usize, found: usize) {
        self.rows += rows as u64;
        self.found += found as u64;
    }

    pub(super) fn add_part(&mut self, part: usize, found: usize) {
        if self.parts.len() <= part {
            self.parts.resize(part + 1, 0);
        }
        if let Some(count) = self.parts.get_mut(part) {
            *count += found as u64;
        }
    }

    /// Why nothing was found, where it was not for the only condition or for want of rows.
    pub(super) fn why_nothing(&self, spelled: &[String]) -> Option<String> {
        if self.found > 0
            || self.rows == 0
            || spelled.len() < 2
            || spelled.len() != self.parts.len()
        {
            return None;
        }
        let parts = || spelled.iter().zip(&self.parts);
        let never: Vec<String> = parts()
            .filter(|(_, found)| **found == 0)
            .map(|(part, _)| format!("`{}`", shortened(part)))
            .collect();
        if !never.is_empty() {
            return Some(format!("no row satisfies {}", never.join(", nor ")));
        }
        let alone: Vec<String> = parts()
            .map(|(part, found)| format!("`{}` holds for {found}", shortened(part)))
            .collect();
        Some(format!("no row satisfies all conditions at once: alone {}", alone.join(", ")))
    }
}
