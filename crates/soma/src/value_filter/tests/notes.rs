//! Values that are no categories, and filters that find nothing.

use arrow_array::{ArrayRef, RecordBatch};

use super::frame;
use crate::value_filter::{Note, Tally, ValueFilter};

fn notes(batch: &RecordBatch, text: &str) -> Vec<String> {
    let bound = ValueFilter::parse(text).unwrap().bind(&batch.schema()).unwrap();
    let categories = |name: &str| -> Option<ArrayRef> { batch.column_by_name(name).cloned() };
    bound.notes(categories).iter().map(Note::to_string).collect()
}

#[test]
fn values_that_are_no_categories() {
    let batch = frame();
    for (text, expected) in [
        ("d == 'm' and dn in ['a', 'z'] and s == 'nope' and d == None", &[][..]),
        ("d == 'mm'", &["column `d` has no category 'mm' (did you mean 'm'?)"]),
        ("d != 'nope'", &["column `d` has no category 'nope'; it has 'm', 'z', 'a'"]),
        (
            "not d in ['nope', 'm'] or d == 'nope'",
            &["column `d` has no category 'nope'; it has 'm', 'z', 'a'"],
        ),
        ("do < 'M2'", &["column `do` has no category 'M2' (did you mean 'm'?)"]),
        ("di == 11", &["column `di` has no category 11; it has 50, 10, 30"]),
        ("di in [10.0, 10.5]", &["column `di` has no category 10.5; it has 50, 10, 30"]),
        ("df == 0.5 or df == -0.0", &["column `df` has no category -0.0; it has 0.5, NaN, -3"]),
        ("db == 2", &["column `db` has no category 2; it has True, False"]),
        (
            "startswith(d, 'm') and contains(dn, 'q')",
            &["no category of column `dn` satisfies contains(dn, 'q')"],
        ),
        ("d not like 'q%'", &["no category of column `d` satisfies d like 'q%'"]),
    ] {
        assert_eq!(notes(&batch, text), expected, "{text}");
    }
    let bound = ValueFilter::parse("d == 'q'").unwrap().bind(&batch.schema()).unwrap();
    assert!(bound.notes(|_| None).is_empty());
}

#[test]
fn many_notes_are_counted() {
    let values: Vec<String> = (0..20_000).map(|i| format!("'value {i}'")).collect();
    let found = notes(&frame(), &format!("d in [{}, 'm']", values.join(", ")));
    assert_eq!(found.len(), 7);
    assert_eq!(found[6], "19994 more values of the filter are no categories");
    let long = notes(&frame(), &format!("d == '{}'", "x".repeat(1_000_000)));
    assert!(long[0].chars().count() < 200, "{}", long[0]);
}

#[test]
fn why_nothing_is_found() {
    let batch = frame();
    let why = |text: &str| {
        let bound = ValueFilter::parse(text).unwrap().bind(&batch.schema()).unwrap();
        let mut tally = Tally::default();
        for rows in [batch.slice(0, 3), batch.slice(3, 5)] {
            let counted = bound.evaluate_counting(&rows, &mut tally).unwrap();
            assert_eq!(counted, bound.evaluate(&rows).unwrap());
        }
        assert_eq!(tally.rows(), 8);
        bound.why_nothing(&tally)
    };
    assert_eq!(why("i32 == 1"), None);
    assert_eq!(why("i32 == 1000"), None);
    assert_eq!(why("i32 == 1 and s == ''"), None);
    assert_eq!(
        why("i32 > 1 and u8 < 0 and s == 'q'").unwrap(),
        "no row satisfies `u8 < 0`, nor `s == 'q'`"
    );
    assert_eq!(
        why("(i32 == 1 or i32 == 3) and (b == False) and (s == 'zz')").unwrap(),
        "no row satisfies all conditions at once: alone `i32 == 1 or i32 == 3` holds for 2, \
         `b == False` holds for 4, `s == 'zz'` holds for 1"
    );
    let empty = batch.slice(0, 0);
    let bound = ValueFilter::parse("i32 > 1 and u8 < 0").unwrap().bind(&batch.schema()).unwrap();
    let mut tally = Tally::default();
    bound.evaluate_counting(&empty, &mut tally).unwrap();
    assert_eq!(bound.why_nothing(&tally), None);
}
