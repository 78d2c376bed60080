//! A filter's tree against a schema: columns found, literals of the columns' types.
//!
//! Binding also removes every `not`, by turning the comparisons below it into their opposites.
//! What is left is made of tests that are true or not, joined by and and or; under it the
//! unknown of SQL's logic and false give the same rows, so that evaluation needs two values only.

use arrow_schema::{DataType, Field, Schema, TimeUnit};

use super::ast::{Column, CompareOp, Expr, Literal, Span, TextTest, Value, Wanted};
use super::columns::{Class, Pair};
use super::error::{FilterError, Place};
use super::lexer::{Token, tokens};
use super::notes::{Asked, Key};
use super::parser::instead_of_name;
use super::predicate::{Bytes, Floats, Integers, Predicate, bytes, nearest_float};
use super::text::Text;
use super::{suggest, time};

/// A condition ready to be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    /// One column, by its place in the filter's list of columns.
    Test {
        column: usize,
        predicate: Predicate,
    },
    /// Two columns.
    Columns(Pair),
    All(Vec<Condition>),
    Any(Vec<Condition>),
}

/// What binding a tree gives.
pub(super) struct Bound {
    /// The columns, in order of appearance.
    pub(super) columns: Vec<String>,
    pub(super) condition: Condition,
    /// What is asked of categories.
    pub(super) asked: Vec<Asked>,
}

/// Binds a tree.
pub(super) fn bind(text: &str, expr: &Expr, schema: &Schema) -> Result<Bound, FilterError> {
    let mut binder = Binder { text, schema, columns: Vec::new(), asked: Vec::new() };
    let condition = binder.bind(expr, false)?;
    Ok(Bound { columns: binder.columns, condition, asked: binder.asked })
}

struct Binder<'a> {
    text: &'a str,
    schema: &'a Schema,
    columns: Vec<String>,
    asked: Vec<Asked>,
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
                let (index, field) = self.column(column, false)?;
                let predicate = self.comparison(column, field, op, value)?;
                self.ask(index, field, std::slice::from_ref(value));
                Ok(Condition::Test { column: index, predicate })
            }
            Expr::Member { column, values, inside } => {
                let (index, field) = self.column(column, false)?;
                let predicate = self.membership(column, field, values, *inside != negated)?;
                self.ask(index, field, values);
                Ok(Condition::Test { column: index, predicate })
            }
            Expr::Columns { left, op, right } => {
                self.pair(left, if negated { op.negated() } else { *op }, right)
            }
            Expr::Text { column, test, wanted } => {
                let (index, field) = self.column(column, false)?;
                let test = self.text_test(column, field, *test, wanted)?;
                if matches!(field.data_type(), DataType::Dictionary(..)) {
                    self.asked.push(Asked::test(index, expr.to_string(), test.clone()));
                }
                let predicate = Predicate::Text { test, inside: !negated };
                Ok(Condition::Test { column: index, predicate })
            }
            Expr::Nan(column) => {
                let (index, field) = self.column(column, false)?;
                if !matches!(self.kind(column, field)?, Kind::Floats { .. }) {
                    return Err(self.wrong_test(column, field, "is nan", "floating-point numbers"));
                }
                let predicate = Predicate::Floats(Floats::Nan { inside: !negated });
                Ok(Condition::Test { column: index, predicate })
            }
        }
    }

    /// Notes which values a column's categories are compared with.
    fn ask(&mut self, index: usize, field: &Field, values: &[Value]) {
        let DataType::Dictionary(_, categories) = field.data_type() else { return };
        let Some(kind) = Kind::of(categories) else { return };
        for Value { literal, .. } in values {
            let key = match kind {
                Kind::Integers => Integers::compare(CompareOp::Equal, literal, None)
                    .and_then(|equal| equal.only())
                    .map(Key::Int),
                Kind::Floats { single } => nearest_float(literal, single).map(Key::float),
                Kind::Bytes => bytes(literal).map(Key::Bytes),
                Kind::Times(_) => return,
            };
            if *literal != Literal::None {
                self.asked.push(Asked::value(index, literal.clone(), key));
            }
        }
    }

    /// A comparison of two columns.
    fn pair(
        &mut self,
        left: &Column,
        op: CompareOp,
        right: &Column,
    ) -> Result<Condition, FilterError> {
        let (left_index, left_field) = self.column(left, true)?;
        let (right_index, right_field) = self.column(right, true)?;
        let place = Box::new(Place::new(self.text, left.span.to(right.span)));
        let unsupported = |column: &Column, field: &Field| FilterError::UnsupportedType {
            column: column.name.clone(),
            data_type: field.data_type().clone(),
            place: Box::new(Place::new(self.text, column.span)),
        };
        let (left_type, right_type) = (left_field.data_type(), right_field.data_type());
        let left_class = Class::of(left_type).ok_or_else(|| unsupported(left, left_field))?;
        let right_class = Class::of(right_type).ok_or_else(|| unsupported(right, right_field))?;
        if left_class != right_class {
            return Err(FilterError::Incomparable {
                left: left.name.clone(),
                left_type: left_type.clone(),
                right: right.name.clone(),
                right_type: right_type.clone(),
                place,
            });
        }
        let categories = |data_type: &DataType| matches!(data_type, DataType::Dictionary(..));
        let either = categories(left_type) || categories(right_type);
        if !op.is_ordering() || !either {
            let pair = Pair { left: left_index, op, right: right_index, ordered: None };
            return Ok(Condition::Columns(pair));
        }
        for (column, field) in [(left, left_field), (right, right_field)] {
            if categories(field.data_type()) && field.dict_is_ordered() != Some(true) {
                return Err(self.unordered(column, op));
            }
        }
        if !(categories(left_type) && categories(right_type)) {
            return Err(FilterError::DifferentOrders {
                left: left.name.clone(),
                right: right.name.clone(),
                op: op.to_string(),
                reason: "only one of them has ordered categories".to_owned(),
                place,
            });
        }
        let pair = Pair { left: left_index, op, right: right_index, ordered: Some(place) };
        Ok(Condition::Columns(pair))
    }

    fn text_test(
        &self,
        column: &Column,
        field: &Field,
        test: TextTest,
        wanted: &Wanted,
    ) -> Result<Text, FilterError> {
        let values = match field.data_type() {
            DataType::Dictionary(_, values) => values,
            other => other,
        };
        if !matches!(values, DataType::Utf8 | DataType::LargeUtf8) {
            return Err(self.wrong_test(column, field, test.word(), "strings"));
        }
        Text::new(test, &wanted.text).map_err(|message| FilterError::Syntax {
            message,
            place: Box::new(self.place(wanted.span)),
        })
    }

    fn wrong_test(
        &self,
        column: &Column,
        field: &Field,
        test: &str,
        of: &'static str,
    ) -> FilterError {
        FilterError::WrongTest {
            column: column.name.clone(),
            data_type: field.data_type().clone(),
            test: test.to_owned(),
            of,
            place: Box::new(self.place(column.span)),
        }
    }

    fn unordered(&self, column: &Column, op: CompareOp) -> FilterError {
        FilterError::Unordered {
            column: column.name.clone(),
            op: op.to_string(),
            place: Box::new(self.place(column.span)),
        }
    }

    fn place(&self, span: Span) -> Place {
        Place::new(self.text, span)
    }

    /// A column's place and field; `bare` where the name may be meant as a value.
    fn column(&mut self, column: &Column, bare: bool) -> Result<(usize, &'a Field), FilterError> {
        let Some((_, field)) = self.schema.column_with_name(&column.name) else {
            let names = || self.schema.fields().iter().map(|field| field.name().as_str());
            return Err(FilterError::UnknownColumn {
                column: column.name.clone(),
                near: suggest::nearest(&column.name, names()),
                hint: if bare {
                    format!("; {}", instead_of_name(&column.name))
                } else {
                    String::new()
                },
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
            return Err(self.unordered(column, op));
        }
        let tested = if ordering { CompareOp::Equal } else { op };
        let literal = &value.literal;
        let predicate = match self.kind(column, field)? {
            Kind::Integers => Integers::compare(tested, literal, None).map(Predicate::Integers),
            Kind::Times(unit) => {
                Integers::compare(tested, literal, Some(unit)).map(Predicate::Integers)
            }
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
            Kind::Integers => Integers::member(values, inside, None).map(Predicate::Integers),
            Kind::Times(unit) => {
                Integers::member(values, inside, Some(unit)).map(Predicate::Integers)
            }
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
    Times(TimeUnit),
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
            | DataType::Boolean => Some(Self::Integers),
            DataType::Timestamp(unit, _) => Some(Self::Times(*unit)),
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
    let unit = match data_type {
        DataType::Timestamp(unit, _) => Some(*unit),
        DataType::Dictionary(_, values) => match **values {
            DataType::Timestamp(unit, _) => Some(unit),
            _ => None,
        },
        _ => None,
    };
    match literal {
        Literal::Int(_) | Literal::Float(_) | Literal::Bool(_) => {
            format!(": write '{literal}' for the string")
        }
        Literal::Str(text) if unit.is_some() => {
            let unit = unit.unwrap_or(TimeUnit::Second);
            time::nearest(text, unit).err().map_or(String::new(), |reason| format!(": {reason}"))
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
