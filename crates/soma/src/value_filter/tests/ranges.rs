//! What filters say of the values of a column.

use arrow_array::Array;
use arrow_array::cast::AsArray;

use super::frame;
use crate::value_filter::{Domain, ValueFilter};

#[test]
fn ranges_follow_from_conditions() {
    const MIN: i128 = i128::MIN;
    const MAX: i128 = i128::MAX;
    let batch = frame();
    let domain = |name: &str| match batch.column_by_name(name) {
        Some(array) if name != "s" => match array.as_any_dictionary_opt() {
            Some(dictionary) => Domain::Codes(dictionary.values().clone()),
            None if array.data_type().is_integer() => Domain::Values,
            None => Domain::Unknown,
        },
        _ => Domain::Unknown,
    };
    for (text, expected) in [
        ("i32 == 3", &[("i32", 3, 3)][..]),
        ("i32 < 3.5", &[("i32", MIN, 3)]),
        ("i32 == 3.5", &[("i32", 4, 3)]),
        ("i32 != 3", &[]),
        ("i32 in [7, -2, 5]", &[("i32", -2, 7)]),
        ("i32 not in [7]", &[]),
        ("not i32 >= 3", &[("i32", MIN, 2)]),
        ("1 < i32 < 5 and u8 >= 2 and f64 < 1", &[("i32", 2, 4), ("u8", 2, MAX)]),
        ("i32 == 3 or i32 == 9", &[("i32", 3, 9)]),
        ("i32 == 3 or u8 == 9", &[]),
        ("i32 == 3 and u8 == 1 or i32 < 0", &[("i32", MIN, 3)]),
        ("not (i32 < 3 or u8 > 5)", &[("i32", 3, MAX), ("u8", MIN, 5)]),
        ("i32 is null or i32 == 3", &[]),
        ("i32 == 3 and i32 == 4", &[("i32", 4, 3)]),
        ("i32 in [1.5] or i32 == 4", &[("i32", 4, 4)]),
        ("i32 < u8", &[]),
        // Categories are m, z, a.
        ("d == 'z'", &[("d", 1, 1)]),
        ("d != 'a'", &[("d", 0, 1)]),
        ("d in ['a', 'm']", &[("d", 0, 2)]),
        ("d == 'nope'", &[("d", 1, 0)]),
        ("d == 'nope' or d like 'z%'", &[("d", 1, 1)]),
        ("do > 'm'", &[("do", 1, 2)]),
        ("di == 10", &[("di", 1, 1)]),
        ("d is not null", &[]),
        ("s == 'a'", &[]),
        ("f64 == 1", &[]),
    ] {
        let bound = ValueFilter::parse(text).unwrap().bind(&batch.schema()).unwrap();
        assert_eq!(bound.ranges(domain), expected, "{text}");
    }
}
