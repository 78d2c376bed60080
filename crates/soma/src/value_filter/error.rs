//! What can be wrong with a filter, and where in its text.

use std::fmt;

use arrow_schema::DataType;

use super::ast::Span;

/// The characters shown on either side of the marked ones, so that a long list of values does
/// not bury the caret.
const CONTEXT: usize = 60;

/// The characters marked at most.
const MARKED: usize = 40;

/// A place in the text of a filter, or of another language.
///
/// Prints as the line of text in question over a row of carets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Characters before the place; 0 is the filter's start.
    pub start: usize,
    /// One past the place's last character; equal to `start` at the end of the text.
    pub end: usize,
    line: String,
    indent: usize,
    carets: usize,
}

impl Place {
    /// From one character of a text to another, which it does not have in it.
    pub fn at(text: &str, start: usize, end: usize) -> Self {
        Self::new(text, Span { start, end })
    }

    pub(super) fn new(text: &str, span: Span) -> Self {
        let is_break = |c: &char| matches!(c, '\n' | '\r');
        let chars: Vec<char> = text.chars().collect();
        let start = span.start.min(chars.len());
        let (before, after) = chars.split_at(start);
        let before: Vec<char> =
            before.iter().rev().take_while(|c| !is_break(c)).copied().take(CONTEXT + 1).collect();
        let wanted = span.end.saturating_sub(start).max(1);
        let after: Vec<char> = after.iter().take_while(|c| !is_break(c)).copied().collect();
        let carets = wanted.min(after.len()).clamp(1, MARKED);

        let mut line = String::new();
        let mut indent = before.len();
        if before.len() > CONTEXT {
            line.push('…');
        }
        line.extend(before.iter().take(CONTEXT).rev().map(printable));
        indent = indent.min(CONTEXT + 1);
        line.extend(after.iter().take(carets + CONTEXT).map(printable));
        if after.len() > carets + CONTEXT {
            line.push('…');
        }
        Self { start, end: span.end.max(start), line, indent, carets }
    }
}

/// Tabs and other control characters would put the carets in the wrong place.
fn printable(c: &char) -> char {
    if c.is_control() { ' ' } else { *c }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {}", self.line)?;
        write!(f, "  {:indent$}{}", "", "^".repeat(self.carets), indent = self.indent)
    }
}

/// A filter that cannot be parsed, bound or evaluated.
///
/// All kinds with a [`Place`] are the filter writer's to correct; the last
/// two concern the batch that the filter was evaluated on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The text is no filter.
    #[error("{message} (character {} of the filter)\n{place}", place.start + 1)]
    Syntax {
        /// What was expected, what was found and, where there is one, the remedy.
        message: String,
        /// Where it was found.
        place: Box<Place>,
    },

    /// The filter names a column that the schema does not have.
    #[error(
        "there is no column `{column}`{}{hint}; the columns are {} (character {} of the filter)\n{place}",
        did_you_mean(near), listed(available), place.start + 1
    )]
    UnknownColumn {
        /// The name in the filter.
        column: String,
        /// The schema's columns of similar names, nearest first; at most three.
        near: Vec<String>,
        /// `; ` and what to write where a value may have been meant, or nothing.
        hint: String,
        /// All of the schema's columns.
        available: Vec<String>,
        /// Where the filter names it.
        place: Box<Place>,
    },

    /// A column is compared with a value of another type.
    #[error(
        "column `{column}` holds {data_type} and cannot be compared with {literal}{hint} \
         (character {} of the filter)\n{place}",
        place.start + 1
    )]
    TypeMismatch {
        /// The column's name.
        column: String,
        /// The column's type.
        data_type: DataType,
        /// The value, as the filter's canonical spelling has it.
        literal: String,
        /// `: ` and the remedy, or nothing.
        hint: String,
        /// Where the value stands.
        place: Box<Place>,
    },

    /// A column's type is none that values can be compared with.
    #[error(
        "column `{column}` holds {data_type}, on which only `is null` and `is not null` work \
         (character {} of the filter)\n{place}",
        place.start + 1
    )]
    UnsupportedType {
        /// The column's name.
        column: String,
        /// The column's type.
        data_type: DataType,
        /// Where the column stands.
        place: Box<Place>,
    },

    /// A column's categories are asked for an order that they do not have.
    #[error(
        "the categories of column `{column}` have no order, so `{op}` means nothing for them; \
         compare with ==, !=, in or not in (character {} of the filter)\n{place}",
        place.start + 1
    )]
    Unordered {
        /// The column's name.
        column: String,
        /// The operator, with the column on its left.
        op: String,
        /// Where the column stands.
        place: Box<Place>,
    },

    /// A test is asked of a column of another type.
    #[error(
        "column `{column}` holds {data_type}, and `{test}` is a test of {of} (character {} of the \
         filter)\n{place}",
        place.start + 1
    )]
    WrongTest {
        /// The column's name.
        column: String,
        /// The column's type.
        data_type: DataType,
        /// The test.
        test: String,
        /// What it tests.
        of: &'static str,
        /// Where the column stands.
        place: Box<Place>,
    },

    /// Two columns are compared whose values cannot be.
    #[error(
        "column `{left}` holds {left_type} and cannot be compared with column `{right}`, which holds \
         {right_type} (character {} of the filter)\n{place}",
        place.start + 1
    )]
    Incomparable {
        /// The column on the left.
        left: String,
        /// Its type.
        left_type: DataType,
        /// The column on the right.
        right: String,
        /// Its type.
        right_type: DataType,
        /// Where they stand.
        place: Box<Place>,
    },

    /// Two columns of categories have no order in common.
    #[error(
        "columns `{left}` and `{right}` have no order in common, as `{op}` needs it: {reason}; compare \
         with == or != (character {} of the filter)\n{place}",
        place.start + 1
    )]
    DifferentOrders {
        /// The column on the left.
        left: String,
        /// The column on the right.
        right: String,
        /// The operator.
        op: String,
        /// Why they have none.
        reason: String,
        /// Where they stand.
        place: Box<Place>,
    },

    /// The batch lacks one of the filter's columns.
    #[error("the batch to filter has no column `{column}`")]
    MissingColumn {
        /// The column's name.
        column: String,
    },

    /// A column of the batch is not what the filter was bound to.
    #[error("column `{column}` of the batch to filter is {found}, expected {expected}")]
    BatchColumn {
        /// The column's name.
        column: String,
        /// What the filter was bound to.
        expected: String,
        /// What the batch holds.
        found: String,
    },
}

fn did_you_mean(near: &[String]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let names: Vec<String> = near.iter().map(|name| format!("`{name}`")).collect();
    format!(" (did you mean {}?)", names.join(" or "))
}

fn listed(available: &[String]) -> String {
    const SHOWN: usize = 40;
    let mut text = available.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if available.len() > SHOWN {
        text.push_str(&format!(" and {} more", available.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carets_stand_under_the_place() {
        let place = Place::new("sex == 'f' and\n  age > x", Span { start: 23, end: 24 });
        assert_eq!(place.to_string(), "    age > x\n          ^");
        let end = Place::new("a ==", Span { start: 4, end: 4 });
        assert_eq!(end.to_string(), "  a ==\n      ^");
        let tab = Place::new("é\tb == 1", Span { start: 2, end: 3 });
        assert_eq!(tab.to_string(), "  é b == 1\n    ^");
    }

    #[test]
    fn long_texts_are_cut_around_the_place() {
        let text = format!("{}X{}", "a".repeat(1000), "b".repeat(1000));
        let shown = Place::new(&text, Span { start: 1000, end: 1001 }).to_string();
        let (line, carets) = shown.split_once('\n').unwrap();
        assert_eq!(line.chars().count(), 2 + 1 + CONTEXT + 1 + CONTEXT + 1);
        assert_eq!(line.chars().nth(carets.chars().count() - 1), Some('X'));
        let wide = Place::new(&text, Span { start: 0, end: 2001 }).to_string();
        assert_eq!(wide.matches('^').count(), MARKED);
    }

    #[test]
    fn a_place_beyond_the_text_is_its_end() {
        assert_eq!(Place::new("ab", Span { start: 9, end: 12 }).start, 2);
        assert_eq!(Place::new("", Span { start: 0, end: 0 }).to_string(), "  \n  ^");
    }
}
