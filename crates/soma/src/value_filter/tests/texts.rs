//! Tests of texts, on strings and on categories.

use std::sync::Arc;

use arrow_array::types::Int8Type;
use arrow_array::{ArrayRef, DictionaryArray, Int8Array, RecordBatch, StringArray};

use super::rows;
use super::tables::{ALL, check};

#[test]
fn strings_and_categories() {
    check(&[
        ("s like 'a'", &[0, 6]),
        ("s ilike 'A'", &[0, 5, 6]),
        ("s like '_'", &[0, 1, 3, 5, 6, 7]),
        ("s LIKE '%z'", &[4]),
        ("s like '%' '%'", ALL),
        ("s not like 'a'", &[1, 2, 3, 4, 5, 7]),
        ("not s like 'a'", &[1, 2, 3, 4, 5, 7]),
        ("not s not like 'a'", &[0, 6]),
        ("startswith(s, 'z')", &[4]),
        ("endswith(s, '')", ALL),
        ("contains(`s`, 'é',)", &[3]),
        ("matches(attr('s'), '^[a-z]$')", &[0, 1, 6]),
        (r"matches(s, r'^\w$') and not matches(s, '(?i)a')", &[1, 3, 7]),
        ("startswith(d, 'z') or d == 'a'", &[1, 2, 4, 5, 7]),
        ("d like '%'", ALL),
        ("do ilike 'M'", &[0, 3, 6]),
        ("(contains(s, 'a')) & startswith(d, 'm')", &[0, 6]),
        ("~contains(s, 'a') & (b == True)", &[2, 4]),
    ]);
}

#[test]
fn nulls_are_never_true() {
    check(&[
        ("sn like '%'", &[0, 1, 3, 4, 5, 6, 7]),
        ("sn not like '%'", &[]),
        ("sn not like 'a'", &[1, 3, 4, 5, 6, 7]),
        ("not contains(sn, 'a')", &[1, 3, 4, 5, 6, 7]),
        ("dn not ilike 'M'", &[2, 4, 7]),
        ("contains(dn, 'm') or sn is null", &[0, 2, 3, 6]),
    ]);
}

/// What lies under a null is not looked at, nor is a null among the categories anything.
#[test]
fn null_categories() {
    let values = Arc::new(StringArray::from(vec![Some("a"), None, Some("b")]));
    let keys = Int8Array::from(vec![Some(0), Some(1), None, Some(2)]);
    let column: ArrayRef = Arc::new(DictionaryArray::<Int8Type>::new(keys, values));
    let batch = RecordBatch::try_from_iter_with_nullable([("d", column, true)]).unwrap();
    assert_eq!(rows(&batch, "d not like 'a'").unwrap(), [3]);
    assert_eq!(rows(&batch, "matches(d, '')").unwrap(), [0, 3]);
}
