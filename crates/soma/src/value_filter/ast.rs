//! What a filter says, once its spelling no longer matters.
//!
//! The tree is printed in one canonical spelling (`and`, `or`, `not`, the column on the left),
//! which parses back to the same tree.

use std::fmt;

/// A stretch of the filter's text, in characters; `end` is one past the last.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end }
    }
}

/// Where a node stands is no part of what it says, so that two trees compare by meaning.
impl PartialEq for Span {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// One of the six comparisons, read with the column on the left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompareOp {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl CompareOp {
    /// The operator that says the same with its sides exchanged.
    pub(super) fn flipped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessEqual => Self::GreaterEqual,
            Self::Greater => Self::Less,
            Self::GreaterEqual => Self::LessEqual,
        }
    }

    /// The operator that says the opposite.
    pub(super) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterEqual,
            Self::LessEqual => Self::Greater,
            Self::Greater => Self::LessEqual,
            Self::GreaterEqual => Self::Less,
        }
    }

    pub(super) fn is_ordering(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }

    /// Whether the operator holds between two values that stand in `order`.
    pub(super) fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterEqual => order.is_ge(),
        }
    }
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
        })
    }
}

/// A value written in the filter.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    None,
    Bool(bool),
    Int(i128),
    /// Never NaN, which has no spelling; infinite where the number written is too large.
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) if value.is_infinite() => {
                f.write_str(if *value > 0.0 { "1e999" } else { "-1e999" })
            }
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Str(text) => write_str(f, text),
            Self::Bytes(bytes) => {
                f.write_str("b'")?;
                for &byte in bytes {
                    match byte {
                        b'\\' | b'\'' => write!(f, "\\{}", char::from(byte))?,
                        b' '..=b'~' => write!(f, "{}", char::from(byte))?,
                        _ => write!(f, "\\x{byte:02x}")?,
                    }
                }
                f.write_str("'")
            }
        }
    }
}

fn write_str(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("'")?;
    for c in text.chars() {
        match c {
            '\\' | '\'' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_ascii_control() => write!(f, "\\x{:02x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("'")
}

/// A literal and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Value {
    pub(super) literal: Literal,
    pub(super) span: Span,
}

/// A test of a text, on strings only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
    /// A regular expression, found anywhere in the text.
    Matches,
    /// SQL's pattern of the whole text.
    Like,
    /// The same, without regard to case.
    Ilike,
}

impl TextTest {
    /// Those that are written as functions of a column and a string.
    pub(super) const FUNCTIONS: [Self; 4] =
        [Self::StartsWith, Self::EndsWith, Self::Contains, Self::Matches];

    /// The word that the filter has for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::StartsWith => "startswith",
            Self::EndsWith => "endswith",
            Self::Contains => "contains",
            Self::Matches => "matches",
            Self::Like => "like",
            Self::Ilike => "ilike",
        }
    }
}

/// What is looked for in a text, and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Wanted {
    pub(super) text: String,
    pub(super) span: Span,
}

/// A column's name and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) span: Span,
}

/// Words that cannot be a bare column name.
pub(super) const RESERVED: [&str; 8] = ["and", "or", "not", "in", "is", "None", "True", "False"];

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.name.chars();
        let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !RESERVED.contains(&self.name.as_str());
        if plain {
            f.write_str(&self.name)
        } else {
            f.write_str("attr(")?;
            write_str(f, &self.name)?;
            f.write_str(")")
        }
    }
}

/// A condition on a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Compare {
        column: Column,
        op: CompareOp,
        value: Value,
    },
    /// `column in [values]`, or `not in` where `inside` is false; at least one value, none of
    /// them `None`.
    Member {
        column: Column,
        values: Vec<Value>,
        inside: bool,
    },
    /// Two columns, row by row.
    Columns {
        left: Column,
        op: CompareOp,
        right: Column,
    },
    Text {
        column: Column,
        test: TextTest,
        wanted: Wanted,
    },
    /// Whether the column is NaN.
    Nan(Column),
    Not(Box<Expr>),
    /// At least two parts.
    And(Vec<Expr>),
    /// At least two parts.
    Or(Vec<Expr>),
}

impl Expr {
    /// Calls `visit` on every column of the tree, in the order of the text.
    pub(super) fn each_column<'a>(&'a self, visit: &mut impl FnMut(&'a Column)) {
        match self {
            Self::Compare { column, .. }
            | Self::Member { column, .. }
            | Self::Text { column, .. }
            | Self::Nan(column) => visit(column),
            Self::Columns { left, right, .. } => {
                visit(left);
                visit(right);
            }
            Self::Not(part) => part.each_column(visit),
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    part.each_column(visit);
                }
            }
        }
    }

    /// How tightly the node's canonical spelling holds together.
    fn strength(&self) -> u8 {
        match self {
            Self::Or(_) => 0,
            Self::And(_) => 1,
            Self::Not(_) => 2,
            Self::Compare { .. }
            | Self::Member { .. }
            | Self::Columns { .. }
            | Self::Text { .. }
            | Self::Nan(_) => 3,
        }
    }

    /// Writes the node, in parentheses where it would fall apart beside a stronger operator.
    fn write_part(&self, f: &mut fmt::Formatter<'_>, least: u8) -> fmt::Result {
        if self.strength() < least { write!(f, "({self})") } else { write!(f, "{self}") }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compare { column, op, value } => write!(f, "{column} {op} {}", value.literal),
            Self::Member { column, values, inside } => {
                write!(f, "{column} {}", if *inside { "in [" } else { "not in [" })?;
                for (i, value) in values.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{}", value.literal)?;
                }
                f.write_str("]")
            }
            Self::Columns { left, op, right } => write!(f, "{left} {op} {right}"),
            Self::Text { column, test: test @ (TextTest::Like | TextTest::Ilike), wanted } => {
                write!(f, "{column} {} ", test.word())?;
                write_str(f, &wanted.text)
            }
            Self::Text { column, test, wanted } => {
                write!(f, "{}({column}, ", test.word())?;
                write_str(f, &wanted.text)?;
                f.write_str(")")
            }
            Self::Nan(column) => write!(f, "{column} is nan"),
            Self::Not(part) => {
                f.write_str("not ")?;
                part.write_part(f, 2)
            }
            Self::And(parts) | Self::Or(parts) => {
                let least = self.strength() + 1;
                let word = if matches!(self, Self::And(_)) { " and " } else { " or " };
                for (i, part) in parts.iter().enumerate() {
                    if i > 0 {
                        f.write_str(word)?;
                    }
                    part.write_part(f, least)?;
                }
                Ok(())
            }
        }
    }
}
