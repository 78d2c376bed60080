//! Tests of one value, with the literals already of the column's type.

use std::collections::HashSet;

use arrow_schema::TimeUnit;

use super::ast::{CompareOp, Literal, Value};
use super::text::Text;
use super::time;

/// What one column must satisfy. Null satisfies none of them but [`Predicate::Missing`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Predicate {
    Missing,
    Present,
    Integers(Integers),
    Floats(Floats),
    Bytes(Bytes),
    /// A test of strings, or its opposite.
    Text {
        test: Text,
        inside: bool,
    },
    /// The position of the value among ordered categories, against that of the category that
    /// satisfies `category`; nothing matches where none does.
    Position {
        op: CompareOp,
        category: Box<Predicate>,
    },
}

impl Predicate {
    /// The stored types that the predicate can test, for error messages.
    pub(super) fn expects(&self) -> &'static str {
        match self {
            Self::Missing | Self::Present => "any type",
            Self::Integers(_) => "integers, booleans or timestamps",
            Self::Floats(_) => "floating-point numbers",
            Self::Bytes(_) => "strings or binary values",
            Self::Text { .. } => "strings",
            Self::Position { .. } => "ordered categories",
        }
    }
}

/// A test of integers, of booleans as 0 and 1, and of timestamps as their counts.
///
/// Literals compare by their exact value, whatever the column's width: every comparison of an
/// integer is membership in an interval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Integers {
    /// `low..=high`, or everything else.
    Interval { low: i128, high: i128, inside: bool },
    /// Sorted values, or everything else.
    Set { values: Vec<i128>, inside: bool },
}

impl Integers {
    /// The test of one comparison; `None` where the literal is no number, nor for counts of a unit of time a moment.
    pub(super) fn compare(
        op: CompareOp,
        literal: &Literal,
        unit: Option<TimeUnit>,
    ) -> Option<Self> {
        // The integers nearest to the literal from either side; equal where it is one itself.
        let (below, above) = match (literal, unit) {
            (Literal::Int(value), _) => (*value, *value),
            (Literal::Bool(value), _) => (i128::from(*value), i128::from(*value)),
            // `as` saturates, far beyond every column's range.
            (Literal::Float(value), _) => (value.floor() as i128, value.ceil() as i128),
            (Literal::Str(text), Some(unit)) => time::nearest(text, unit).ok()?,
            (Literal::None | Literal::Str(_) | Literal::Bytes(_), _) => return None,
        };
        let (low, high, inside) = match op {
            // Empty where the literal lies between two integers.
            CompareOp::Equal => (above, below, true),
            CompareOp::NotEqual => (above, below, false),
            CompareOp::Less => (i128::MIN, above.saturating_sub(1), true),
            CompareOp::LessEqual => (i128::MIN, below, true),
            CompareOp::Greater => (below.saturating_add(1), i128::MAX, true),
            CompareOp::GreaterEqual => (above, i128::MAX, true),
        };
        Some(Self::Interval { low, high, inside })
    }

    /// The number that a literal is, where a column can hold it.
    pub(super) fn only(&self) -> Option<i128> {
        match self {
            Self::Interval { low, high, inside: true } if low == high => Some(*low),
            _ => None,
        }
    }

    /// The test of membership in a list.
    ///
    /// # Errors
    /// The value that is no number.
    pub(super) fn member(
        list: &[Value],
        inside: bool,
        unit: Option<TimeUnit>,
    ) -> Result<Self, &Value> {
        let mut values = Vec::new();
        for value in list {
            let equal = Self::compare(CompareOp::Equal, &value.literal, unit).ok_or(value)?;
            values.extend(equal.only());
        }
        values.sort_unstable();
        values.dedup();
        Ok(Self::Set { values, inside })
    }

    pub(super) fn holds(&self, value: i128) -> bool {
        match self {
            Self::Interval { low, high, inside } => (*low <= value && value <= *high) == *inside,
            Self::Set { values, inside } => values.binary_search(&value).is_ok() == *inside,
        }
    }
}

/// A test of floating-point numbers by IEEE 754: nothing but `!=` and `not in` holds for NaN, and
/// the zeros are equal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Floats {
    Compare {
        op: CompareOp,
        value: f64,
    },
    Nan {
        inside: bool,
    },
    /// Sorted by `total_cmp`, without negative zeros.
    Set {
        values: Vec<f64>,
        inside: bool,
    },
}

impl Floats {
    /// The test of one comparison; `None` where the literal is no number.
    ///
    /// A column of 32-bit numbers (`single`) is compared with the nearest 32-bit number, so that
    /// `x == 0.1` finds what was stored as 0.1.
    pub(super) fn compare(op: CompareOp, literal: &Literal, single: bool) -> Option<Self> {
        Some(Self::Compare { op, value: nearest_float(literal, single)? })
    }

    /// The test of membership in a list.
    ///
    /// # Errors
    /// The value that is no number.
    pub(super) fn member(list: &[Value], inside: bool, single: bool) -> Result<Self, &Value> {
        let mut values = list
            .iter()
            .map(|value| nearest_float(&value.literal, single).map(|v| v + 0.0).ok_or(value))
            .collect::<Result<Vec<f64>, _>>()?;
        values.sort_unstable_by(f64::total_cmp);
        values.dedup();
        Ok(Self::Set { values, inside })
    }

    pub(super) fn holds(&self, value: f64) -> bool {
        match self {
            Self::Compare { op, value: literal } => match value.partial_cmp(literal) {
                Some(order) => op.holds(order),
                None => *op == CompareOp::NotEqual,
            },
            Self::Nan { inside } => value.is_nan() == *inside,
            Self::Set { values, inside } => {
                let wanted = value + 0.0;
                values.binary_search_by(|known| known.total_cmp(&wanted)).is_ok() == *inside
            }
        }
    }
}

pub(super) fn nearest_float(literal: &Literal, single: bool) -> Option<f64> {
    Some(match (literal, single) {
        (Literal::Int(value), false) => *value as f64,
        // In one step: rounding to 64 bits first could round twice.
        (Literal::Int(value), true) => f64::from(*value as f32),
        (Literal::Float(value), false) => *value,
        (Literal::Float(value), true) => f64::from(*value as f32),
        (Literal::Bool(value), _) => f64::from(u8::from(*value)),
        (Literal::None | Literal::Str(_) | Literal::Bytes(_), _) => return None,
    })
}

/// A bytewise test of strings (as UTF-8) and binary values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bytes {
    Compare { op: CompareOp, value: Vec<u8> },
    Set { values: HashSet<Vec<u8>>, inside: bool },
}

impl Bytes {
    /// The test of one comparison; `None` where the literal is no string.
    pub(super) fn compare(op: CompareOp, literal: &Literal) -> Option<Self> {
        Some(Self::Compare { op, value: bytes(literal)? })
    }

    /// The test of membership in a list.
    ///
    /// # Errors
    /// The value that is no string.
    pub(super) fn member(list: &[Value], inside: bool) -> Result<Self, &Value> {
        let values = list
            .iter()
            .map(|value| bytes(&value.literal).ok_or(value))
            .collect::<Result<HashSet<_>, _>>()?;
        Ok(Self::Set { values, inside })
    }

    pub(super) fn holds(&self, value: &[u8]) -> bool {
        match self {
            // Slices of different lengths are unequal without being compared.
            Self::Compare { op: CompareOp::Equal, value: literal } => value == literal,
            Self::Compare { op: CompareOp::NotEqual, value: literal } => value != literal,
            Self::Compare { op, value: literal } => op.holds(value.cmp(literal)),
            Self::Set { values, inside } => values.contains(value) == *inside,
        }
    }
}

pub(super) fn bytes(literal: &Literal) -> Option<Vec<u8>> {
    match literal {
        Literal::Str(text) => Some(text.clone().into_bytes()),
        Literal::Bytes(bytes) => Some(bytes.clone()),
        Literal::None | Literal::Bool(_) | Literal::Int(_) | Literal::Float(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value_filter::ast::Span;
    use proptest::prelude::*;

    fn value(literal: Literal) -> Value {
        Value { literal, span: Span::default() }
    }

    const OPS: [CompareOp; 6] = [
        CompareOp::Equal,
        CompareOp::NotEqual,
        CompareOp::Less,
        CompareOp::LessEqual,
        CompareOp::Greater,
        CompareOp::GreaterEqual,
    ];

    proptest! {
        #[test]
        fn integers_against_halves(value in -6i32..6, halves in -12i32..12) {
            let literal = Literal::Float(f64::from(halves) / 2.0);
            for op in OPS {
                let test = Integers::compare(op, &literal, None).unwrap();
                prop_assert_eq!(test.holds(i128::from(value)), op.holds((value * 2).cmp(&halves)));
            }
            let list = [Value { literal, span: Span::default() }];
            let set = Integers::member(&list, true, None).unwrap();
            prop_assert_eq!(set.holds(i128::from(value)), value * 2 == halves);
        }

        #[test]
        fn integers_against_integers(value in any::<i64>(), other in any::<i64>()) {
            for op in OPS {
                let test = Integers::compare(op, &Literal::Int(i128::from(other)), None).unwrap();
                prop_assert_eq!(test.holds(i128::from(value)), op.holds(value.cmp(&other)));
            }
        }

        #[test]
        fn negated_comparisons_are_opposite(value in any::<i64>(), literal in any::<f64>()) {
            for op in OPS {
                let literal = Literal::Float(if literal.is_nan() { 0.5 } else { literal });
                let test = Integers::compare(op, &literal, None).unwrap();
                let opposite = Integers::compare(op.negated(), &literal, None).unwrap();
                prop_assert_ne!(test.holds(i128::from(value)), opposite.holds(i128::from(value)));
            }
        }
    }

    #[test]
    fn literals_beyond_every_integer() {
        for (literal, above) in [(1e300, true), (f64::INFINITY, true), (-1e300, false)] {
            let literal = Literal::Float(literal);
            for value in [i128::from(i64::MIN), 0, i128::from(u64::MAX)] {
                let holds = |op| Integers::compare(op, &literal, None).unwrap().holds(value);
                assert_eq!(holds(CompareOp::Less), above);
                assert_eq!(holds(CompareOp::LessEqual), above);
                assert_eq!(holds(CompareOp::Greater), !above);
                assert_eq!(holds(CompareOp::GreaterEqual), !above);
                assert!(!holds(CompareOp::Equal) && holds(CompareOp::NotEqual));
            }
        }
    }

    #[test]
    fn floats_follow_ieee() {
        let holds = |op, literal: f64, single, stored| {
            Floats::compare(op, &Literal::Float(literal), single).unwrap().holds(stored)
        };
        for op in OPS {
            assert_eq!(holds(op, 1.0, false, f64::NAN), op == CompareOp::NotEqual);
        }
        assert!(holds(CompareOp::Equal, 0.0, false, -0.0));
        assert!(holds(CompareOp::Equal, 0.1, true, f64::from(0.1f32)));
        assert!(!holds(CompareOp::Equal, 0.1, false, f64::from(0.1f32)));
        let zeros = [value(Literal::Float(-0.0))];
        let zero = Floats::member(&zeros, true, false).unwrap();
        assert!(zero.holds(0.0) && zero.holds(-0.0) && !zero.holds(f64::NAN));
        let three = [value(Literal::Int(3))];
        let others = Floats::member(&three, false, false).unwrap();
        assert!(others.holds(f64::NAN) && !others.holds(3.0));
        let odd = Literal::Int((1 << 24) + 1);
        assert!(Floats::compare(CompareOp::Equal, &odd, true).unwrap().holds(16_777_216.0));
    }

    #[test]
    fn bytes_compare_as_bytes() {
        let test = Bytes::compare(CompareOp::Greater, &Literal::Str("z".into())).unwrap();
        assert!(test.holds("é".as_bytes()) && !test.holds(b"Z") && !test.holds(b""));
        assert!(Bytes::compare(CompareOp::Equal, &Literal::Int(1)).is_none());
        let mixed = [value(Literal::Str("1".into())), value(Literal::Int(1))];
        assert_eq!(Bytes::member(&mixed, true), Err(&mixed[1]));
        assert_eq!(Integers::member(&mixed, true, None), Err(&mixed[0]));
    }
}
