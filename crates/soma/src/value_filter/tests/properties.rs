//! Properties of filters: spelling, logic, and resistance to any text.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int8Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{Field, Schema};
use proptest::prelude::*;

use crate::value_filter::ast::{Column, CompareOp, Expr, Literal, Span, TextTest, Value, Wanted};
use crate::value_filter::{Domain, ValueFilter, parser};

fn column(name: String) -> Column {
    Column { name, span: Span::default() }
}

fn value(literal: Literal) -> Value {
    Value { literal, span: Span::default() }
}

fn op() -> impl Strategy<Value = CompareOp> {
    prop_oneof![
        Just(CompareOp::Equal),
        Just(CompareOp::NotEqual),
        Just(CompareOp::Less),
        Just(CompareOp::LessEqual),
        Just(CompareOp::Greater),
        Just(CompareOp::GreaterEqual),
    ]
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(|v| Literal::Int(v.into())),
        // The least value has no literal: its positive counterpart is out of range.
        any::<i128>().prop_map(|v| Literal::Int(v.max(-i128::MAX))),
        any::<f64>().prop_filter("NaN has no spelling", |v| !v.is_nan()).prop_map(Literal::Float),
        prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY)].prop_map(Literal::Float),
        any::<String>().prop_map(Literal::Str),
        "[a-z'\"\\\\\n\r\t ]{0,8}".prop_map(Literal::Str),
        any::<Vec<u8>>().prop_map(Literal::Bytes),
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z_][a-zA-Z0-9_]{0,8}",
        any::<String>(),
        "(and|or|not|in|is|None|attr|val|like|ilike|contains|NOT|OR|null|Is|nan|`|a`b)"
    ]
}

fn text_test() -> impl Strategy<Value = TextTest> {
    prop_oneof![
        Just(TextTest::StartsWith),
        Just(TextTest::EndsWith),
        Just(TextTest::Contains),
        Just(TextTest::Matches),
        Just(TextTest::Like),
        Just(TextTest::Ilike),
    ]
}

/// Joins leaves by every connective, to a depth of a few.
fn tree(leaf: impl Strategy<Value = Expr> + 'static) -> impl Strategy<Value = Expr> {
    leaf.prop_recursive(4, 24, 3, |part| {
        prop_oneof![
            part.clone().prop_map(|part| Expr::Not(Box::new(part))),
            prop::collection::vec(part.clone(), 2..4).prop_map(Expr::And),
            prop::collection::vec(part, 2..4).prop_map(Expr::Or),
        ]
    })
}

fn any_expr() -> impl Strategy<Value = Expr> {
    tree(prop_oneof![
        (name(), op(), literal()).prop_map(|(name, op, literal)| Expr::Compare {
            column: column(name),
            op,
            value: value(literal),
        }),
        (name(), any::<bool>()).prop_map(|(name, equal)| Expr::Compare {
            column: column(name),
            op: if equal { CompareOp::Equal } else { CompareOp::NotEqual },
            value: value(Literal::None),
        }),
        (name(), op(), name()).prop_map(|(left, op, right)| Expr::Columns {
            left: column(left),
            op,
            right: column(right),
        }),
        (name(), text_test(), any::<String>()).prop_map(|(name, test, text)| Expr::Text {
            column: column(name),
            test,
            wanted: Wanted { text, span: Span::default() },
        }),
        name().prop_map(|name| Expr::Nan(column(name))),
        (name(), prop::collection::vec(literal(), 1..4), any::<bool>()).prop_map(
            |(name, literals, inside)| Expr::Member {
                column: column(name),
                values: literals.into_iter().map(value).collect(),
                inside,
            }
        ),
    ])
}

/// Conditions over the columns of [`frame`].
fn sound_expr() -> impl Strategy<Value = Expr> {
    let names = || prop_oneof![Just("n"), Just("f"), Just("d")].prop_map(str::to_owned);
    let literal = |name: &str, k: i8| match name {
        "n" => Literal::Int(k.into()),
        "f" => Literal::Float(k.into()),
        _ => Literal::Str(k.to_string()),
    };
    tree(prop_oneof![
        (names(), op(), 0i8..4).prop_map(move |(name, op, k)| Expr::Compare {
            value: value(literal(&name, k)),
            column: column(name),
            op,
        }),
        (names(), any::<bool>()).prop_map(|(name, equal)| Expr::Compare {
            column: column(name),
            op: if equal { CompareOp::Equal } else { CompareOp::NotEqual },
            value: value(Literal::None),
        }),
        (prop_oneof![Just(("n", "f")), Just(("f", "n")), Just(("d", "d"))], op()).prop_map(
            |((left, right), op)| Expr::Columns {
                left: column(left.to_owned()),
                op,
                right: column(right.to_owned()),
            }
        ),
        (prop_oneof![Just(TextTest::Contains), Just(TextTest::Matches)], 0i8..4).prop_map(
            |(test, k)| Expr::Text {
                column: column("d".to_owned()),
                test,
                wanted: Wanted { text: k.to_string(), span: Span::default() },
            }
        ),
        Just(Expr::Nan(column("f".to_owned()))),
        (names(), prop::collection::vec(0i8..4, 1..3), any::<bool>()).prop_map(
            move |(name, ks, inside)| Expr::Member {
                values: ks.into_iter().map(|k| value(literal(&name, k))).collect(),
                column: column(name),
                inside,
            }
        ),
    ])
}

/// Rows of small numbers; `d` holds them as ordered categories, `f` has NaN for 3.
type Rows = Vec<(Option<i8>, Option<i8>, Option<i8>)>;

fn cells() -> impl Strategy<Value = Rows> {
    let cell = || prop::option::of(0i8..4);
    prop::collection::vec((cell(), cell(), cell()), 0..80)
}

fn frame(rows: &Rows) -> RecordBatch {
    let categories = Arc::new(StringArray::from(vec!["0", "1", "2", "3"]));
    let codes = rows.iter().map(|row| row.2).collect();
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|row| row.0.map(i64::from)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|row| row.1.map(float)).collect::<Float64Array>()),
        Arc::new(DictionaryArray::<Int8Type>::new(codes, categories)),
    ];
    let fields: Vec<Field> = ["n", "f", "d"]
        .into_iter()
        .zip(&arrays)
        .map(|(name, a)| Field::new(name, a.data_type().clone(), true).with_dict_is_ordered(true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn float(k: i8) -> f64 {
    if k == 3 { f64::NAN } else { k.into() }
}

/// A comparison by SQL's rules: `None` is unknown, as is the order of NaN.
fn compared(name: &str, op: CompareOp, cell: i8, literal: &Literal) -> Option<bool> {
    let wanted: f64 = match literal {
        Literal::Int(k) => *k as f64,
        Literal::Float(k) => *k,
        Literal::Str(text) => text.parse().unwrap(),
        _ => unreachable!("no such literal in these trees"),
    };
    let stored = if name == "f" { float(cell) } else { f64::from(cell) };
    match stored.partial_cmp(&wanted) {
        Some(order) => Some(op.holds(order)),
        None if op.is_ordering() => None,
        None => Some(op == CompareOp::NotEqual),
    }
}

/// SQL's three-valued logic, row by row.
fn truth(expr: &Expr, row: &(Option<i8>, Option<i8>, Option<i8>)) -> Option<bool> {
    let cell = |column: &Column| match column.name.as_str() {
        "n" => row.0,
        "f" => row.1,
        _ => row.2,
    };
    let any = |parts: &mut dyn Iterator<Item = Option<bool>>| {
        let mut any = Some(false);
        for part in parts {
            any = match (any, part) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (None, _) | (_, None) => None,
                _ => Some(false),
            };
        }
        any
    };
    let not = |truth: Option<bool>| truth.map(|truth| !truth);
    match expr {
        Expr::Compare { column, op, value } if value.literal == Literal::None => {
            Some(cell(column).is_none() == (*op == CompareOp::Equal))
        }
        Expr::Compare { column, op, value } => {
            cell(column).and_then(|cell| compared(&column.name, *op, cell, &value.literal))
        }
        Expr::Member { column, values, inside } => {
            let inner = any(&mut values.iter().map(|value| {
                let cell = cell(column)?;
                compared(&column.name, CompareOp::Equal, cell, &value.literal)
            }));
            if *inside { inner } else { not(inner) }
        }
        Expr::Columns { left, op, right } => {
            let (x, y) = (cell(left)?, cell(right)?);
            let stored = |name: &str, k| if name == "f" { float(k) } else { f64::from(k) };
            match stored(&left.name, x).partial_cmp(&stored(&right.name, y)) {
                Some(order) => Some(op.holds(order)),
                None if op.is_ordering() => None,
                None => Some(*op == CompareOp::NotEqual),
            }
        }
        Expr::Text { column, wanted, .. } => {
            cell(column).map(|cell| cell.to_string() == wanted.text)
        }
        Expr::Nan(column) => cell(column).map(|cell| float(cell).is_nan()),
        Expr::Not(part) => not(truth(part, row)),
        Expr::Or(parts) => any(&mut parts.iter().map(|part| truth(part, row))),
        Expr::And(parts) => not(any(&mut parts.iter().map(|part| not(truth(part, row))))),
    }
}

/// Words and signs in any order.
fn soup() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "a", "b", "and", "or", "not", "in", "is", "None", "True", "attr", "val", "(", ")", "[",
        "null", "nan", "like", "NOT", "AND", "ilike", "contains", "matches", "`", "`c d`", ")",
        "(", "]", ",", "==", "!=", "<", ">=", "&", "|", "~", "-", "+", ".", "1", "2.5", "'x'",
        "b'y'", "0x", "'", "\\", "#", "\n", "é",
    ]);
    prop::collection::vec(words, 0..24).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn printed_trees_parse_to_themselves(expr in any_expr()) {
        let text = expr.to_string();
        match parser::parse(&text) {
            Ok(parsed) => prop_assert_eq!(parsed, expr),
            Err(fault) => prop_assert!(false, "{}: {}", text, fault.message),
        }
    }

    #[test]
    fn evaluation_is_three_valued_logic(expr in sound_expr(), rows in cells()) {
        let batch = frame(&rows);
        let filter = ValueFilter::parse(&expr.to_string()).unwrap();
        let mask = filter.bind(&batch.schema()).unwrap().evaluate(&batch).unwrap();
        let expected: Vec<bool> = rows.iter().map(|row| truth(&expr, row) == Some(true)).collect();
        prop_assert_eq!(mask.values().iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn rows_lie_within_the_ranges(expr in sound_expr(), rows in cells()) {
        let batch = frame(&rows);
        let bound = ValueFilter::parse(&expr.to_string()).unwrap().bind(&batch.schema()).unwrap();
        let categories = batch.column(2).as_any_dictionary().values().clone();
        let ranges = bound.ranges(|name| match name {
            "n" => Domain::Values,
            "d" => Domain::Codes(categories.clone()),
            _ => Domain::Unknown,
        });
        let mask = bound.evaluate(&batch).unwrap();
        for (name, low, high) in ranges {
            for row in mask.values().set_indices() {
                // The categories are the numbers that their codes are.
                let cell = if name == "n" { rows[row].0 } else { rows[row].2 };
                let cell = cell.map(i128::from);
                prop_assert!(cell.is_some_and(|cell| (low..=high).contains(&cell)), "{} {:?}", name, cell);
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in prop_oneof![any::<String>(), soup()]) {
        match ValueFilter::parse(&text) {
            Ok(filter) => prop_assert_eq!(ValueFilter::parse(&filter.to_string()), Ok(filter)),
            Err(error) => prop_assert!(error.to_string().ends_with('^')),
        }
    }

    #[test]
    fn cut_filters_are_parsed_or_refused(expr in any_expr(), keep in 0.0..1.0f64) {
        let text = expr.to_string();
        let count = (text.chars().count() as f64 * keep) as usize;
        let cut: String = text.chars().take(count).collect();
        if let Ok(filter) = ValueFilter::parse(&cut) {
            prop_assert_eq!(ValueFilter::parse(&filter.to_string()), Ok(filter));
        }
    }
}
