//! A filter's tree against a schema: columns found, literals of the columns' types.
//!
//! Binding also removes every `not`, by turning the comparisons below it into their opposites.
//! What is left is made of tests that are true or not, joined by and and or; under it the
//! unknown of SQL's logic and false give the same rows, so that evaluation needs two values only.

use arrow_schema::{DataType, Field, Schema};

use super::ast::{Column, CompareOp, Expr, Literal, Value};
use super::error::{FilterError, Place};
use super::lexer::{Token, tokens};
use super::predicate::{Bytes, Floats, Integers, Predicate};
use super::suggest;

/// A condition ready to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// One column, by its place in the filter's list of columns.
    Test {
        column: usize,
        predicate: Predicate,
    },
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// Binds a tree; the columns are returned in order of appearance.
pub(super) fn bind(
    text: &str,
    expr: &Expr,
    schema: &Schema,
) -> Result<(Vec<String>, Condition), FilterError> {
    let mut binder = Binder { text, schema, columns: Vec::new() };
    let condition = binder.bind(expr, false)?;
    Ok((binder.columns, condition))
}

struct Binder<'a> {
    text: &'a str,
    schema: &'a Schema,
    columns: Vec<String>,
}

impl<'a> Binder<'a> {
    fn bind(&mut self, expr: &Expr, negated: bool) -> Result<Condition, FilterError> {
        match expr {
            Expr::Not(part) => self.bind(part, !negated),
            Expr::And(parts) | Expr::Or(parts) => {
                let parts = parts
                    .iter()
                    .map(|part| self.bind(part, negated))
                    .collect::<Result<Vec<_>, _>>()?;
                // The opposite of "all" is "any of the opposites".
                let all = matches!(expr, Expr::And(_)) != negated;
                Ok(if all { Condition::All(parts) } else { Condition::Any(parts) })
            }
            Expr::Compare { column, op, value } => {
                let op = if negated { op.negated() } else { *op };
                let (index, field) = self.column(column)?;
                let predicate = self.comparison(column, field, op, value)?;
                Ok(Condition::Test { column: index, predicate })
            }
            Expr::Member { column, values, inside } => {
                let (index, field) = self.column(column)?;
                let predicate = self.membership(column, field, values, *inside != negated)?;
                Ok(Condition::Test { column: index, predicate })
            }
        }
    }

    fn column(&mut self, column: &Column) -> Result<(usize, &'a Field), FilterError> {
        let Some((_, field)) = self.schema.column_with_name(&column.name) else {
            let names = || self.schema.fields().iter().map(|field| field.name().as_str());
            return Err(FilterError::UnknownColumn {
                column: column.name.clone(),
                near: suggest::nearest(&column.name, names()),
                available: names().map(str::to_owned).collect(),
                place: Box::new(Place::new(self.text, column.span)),
            });
        };
        let known = self.columns.iter().position(|name| *name == column.name);
        let index = known.unwrap_or_else(|| {
            self.columns.push(column.name.clone());
            self.columns.len() - 1
        });
        Ok((index, field))
    }

    fn comparison(
        &self,
        column: &Column,
        field: &Field,
        op: CompareOp,
        value: &Value,
    ) -> Result<Predicate, FilterError> {
        if value.literal == Literal::None {
            let missing = op == CompareOp::Equal;
            return Ok(if missing { Predicate::Missing } else { Predicate::Present });
        }
        let ordering = matches!(field.data_type(), DataType::Dictionary(..)) && op.is_ordering();
        if ordering && field.dict_is_ordered() != Some(true) {
            return Err(FilterError::Unordered {
                column: column.name.clone(),
                op: op.to_string(),
                place: Box::new(Place::new(self.text, column.span)),
            });
        }
        let tested = if ordering { CompareOp::Equal } else { op };
        let literal = &value.literal;
        let predicate = match self.kind(column, field)? {
            Kind::Integers => Integers::compare(tested, literal).map(Predicate::Integers),
            Kind::Floats { single } => {
                Floats::compare(tested, literal, single).map(Predicate::Floats)
            }
            Kind::Bytes => Bytes::compare(tested, literal).map(Predicate::Bytes),
        };
        let predicate = predicate.ok_or_else(|| self.mismatch(column, field, value))?;
        Ok(if ordering {
            Predicate::Position { op, category: Box::new(predicate) }
        } else {
            predicate
        })
    }

    fn membership(
        &self,
        column: &Column,
        field: &Field,
        values: &[Value],
        inside: bool,
    ) -> Result<Predicate, FilterError> {
        let predicate = match self.kind(column, field)? {
            Kind::Integers => Integers::member(values, inside).map(Predicate::Integers),
            Kind::Floats { single } => {
                Floats::member(values, inside, single).map(Predicate::Floats)
            }
            Kind::Bytes => Bytes::member(values, inside).map(Predicate::Bytes),
        };
        predicate.map_err(|value| self.mismatch(column, field, value))
    }

    fn kind(&self, column: &Column, field: &Field) -> Result<Kind, FilterError> {
        Kind::of(field.data_type()).ok_or_else(|| FilterError::UnsupportedType {
            column: column.name.clone(),
            data_type: field.data_type().clone(),
            place: Box::new(Place::new(self.text, column.span)),
        })
    }

    fn mismatch(&self, column: &Column, field: &Field, value: &Value) -> FilterError {
        FilterError::TypeMismatch {
            column: column.name.clone(),
            data_type: field.data_type().clone(),
            literal: value.literal.to_string(),
            hint: hint(field.data_type(), &value.literal),
            place: Box::new(Place::new(self.text, value.span)),
        }
    }
}

/// The literals that a stored type can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Integers,
    Floats { single: bool },
    Bytes,
}

impl Kind {
    /// The kind of a column's values, or of its categories.
    fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Dictionary(_, values) if !matches!(**values, DataType::Dictionary(..)) => {
                Self::of(values)
            }
            DataType::Int8
            | DataType::Int16
            | DataType::Int32
            | DataType::Int64
            | DataType::UInt8
            | DataType::UInt16
            | DataType::UInt32
            | DataType::UInt64
            | DataType::Boolean
            | DataType::Timestamp(..) => Some(Self::Integers),
            DataType::Float32 => Some(Self::Floats { single: true }),
            DataType::Float64 => Some(Self::Floats { single: false }),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Binary | DataType::LargeBinary => {
                Some(Self::Bytes)
            }
            _ => None,
        }
    }
}

/// What to write instead, where that can be guessed.
fn hint(data_type: &DataType, literal: &Literal) -> String {
    match literal {
        Literal::Int(_) | Literal::Float(_) | Literal::Bool(_) => {
            format!(": write '{literal}' for the string")
        }
        Literal::Str(_) if matches!(data_type, DataType::Timestamp(..)) => {
            ": write the time as the number that is stored".to_owned()
        }
        Literal::Str(text) if unquoted_is_value(text) => {
            format!(": write {text} without quotation marks")
        }
        Literal::None | Literal::Str(_) | Literal::Bytes(_) => String::new(),
    }
}

/// Whether the text would be a number or a truth value without its quotation marks.
fn unquoted_is_value(text: &str) -> bool {
    let tokens = tokens(text.strip_prefix('-').unwrap_or(text)).unwrap_or_default();
    let number = |literal: &Literal| {
        matches!(literal, Literal::Int(_) | Literal::Float(_) | Literal::Bool(_))
    };
    matches!(tokens.as_slice(), [(Token::Literal(value), _), (Token::End, _)] if number(value))
}
