//! Filters that are refused, and sizes that are not.

use super::{frame, rows};
use crate::value_filter::{FilterError, ValueFilter};

#[test]
fn unsound_filters_name_the_place() {
    let batch = frame();
    for (text, at, reason) in [
        ("", 0, "empty"),
        (" # nothing", 10, "empty"),
        ("i32", 0, "i32 == True"),
        ("not b", 4, "b == True"),
        ("attr('x y')", 0, "attr('x y') == True"),
        ("True and i32 == 1", 0, "value alone"),
        ("i32 == 1 and", 12, "found the end of the filter"),
        ("and i32 == 1", 0, "found `and`"),
        ("(i32 == 1", 9, "expected `)`"),
        ("i32 == 1)", 8, "found `)`"),
        ("i32 == 1 s", 9, "found `s`"),
        ("i32 = 1", 4, "`==`"),
        ("i32 == 1 & i32 == 3", 7, "in parentheses"),
        ("(s == 'a') | s == 'b'", 13, "in parentheses"),
        ("i32 == x", 7, "no column `x`; if `x` is a string, quote it: 'x'; the columns are"),
        ("null == i32", 0, "`is null`"),
        ("i32 in [x]", 8, "quote it: 'x'"),
        ("b == true", 5, "write True"),
        ("f64 == nan", 7, "NaN is equal to nothing"),
        ("f64 == `nan", 7, "closing backquote"),
        ("i32 == ~1", 8, "value alone"),
        ("b == not True", 5, "found `not`"),
        ("i32 == -'a'", 7, "sign"),
        ("1 == 1", 0, "must be a column"),
        ("i32 < 5 < 6", 6, "must be a column"),
        ("(i32 == 1) == True", 0, "a condition cannot"),
        ("sn < None", 5, "None has no order"),
        ("sn in [None]", 7, "None cannot be in a list"),
        ("b is True", 5, "compared with =="),
        ("b is not b", 9, "null or nan"),
        ("sn is", 5, "null or nan"),
        ("1 is null", 0, "left of `is`"),
        ("sn is null == True", 11, "after a membership test, `is`"),
        ("1 < i32 is null", 8, "chain"),
        ("i32 is nan", 0, "`is nan` is a test of floating-point numbers"),
        ("s like", 6, "found the end"),
        ("s like s", 7, "a string, as in x like 'T%'"),
        ("s like b'a'", 7, "a string"),
        ("'a' like s", 0, "left of `like`"),
        ("s like 'a' like 'b'", 11, "`is` or `like`"),
        ("1 < s like 'a'", 6, "chain"),
        ("s like 'a\\\\'", 7, "ends in a backslash"),
        ("s not == 'a'", 6, "`in` or `like`"),
        ("i32 ilike '1%'", 0, "column `i32` holds Int32, and `ilike` is a test of strings"),
        ("di like '1%'", 0, "test of strings"),
        ("startswith(by, 'a')", 11, "test of strings"),
        ("not contains(i32, '1')", 13, "test of strings"),
        ("matches(s, '(')", 11, "no regular expression: unclosed group"),
        ("matches(s, '(?:a{1000}){1000}')", 11, "more than 10 MiB"),
        ("contains()", 9, "argument"),
        ("contains(s)", 10, "expected `,`"),
        ("contains('a', s)", 9, "write contains(column, 'text')"),
        ("contains(s, 1)", 12, "looks for a string"),
        ("contains(s, s)", 12, "looks for a string"),
        ("contains(s, 'a', 'b')", 17, "expected `)`"),
        ("contains(s, 'a') == True", 0, "a condition cannot be compared"),
        ("s.startswith('a')", 0, "write startswith(s, 'text')"),
        ("s.str.contains('a')", 0, "contains(s, 'text'), or matches(s, 'pattern')"),
        ("attr.x.isna()", 0, "write attr('attr.x') is null"),
        ("s.foo('a')", 0, "no methods"),
        ("starts_with(s, 'a')", 0, "write startswith(column"),
        ("i32 AND i32 == 1", 0, "column alone"),
        ("i32 == 1 AND", 12, "found the end"),
        ("i32 == s", 0, "`i32` holds Int32 and cannot be compared with column `s`, which holds"),
        ("1 < i32 < ts", 4, "cannot be compared with column `ts`"),
        ("d == i32", 0, "cannot be compared"),
        ("d < do", 0, "no order"),
        ("do < d", 5, "no order"),
        ("do < s", 0, "only one of them has ordered categories"),
        ("list == i32", 0, "only `is null`"),
        ("i32 == list", 7, "only `is null`"),
        ("i32 != i33", 7, "did you mean `i32`"),
        ("ts == '2020-13-01'", 6, "no day 1 in month 13"),
        ("i32 in []", 7, "at least one"),
        ("i32 in (1, 2)", 7, "square brackets"),
        ("i32 in [1 2]", 10, "expected `]`"),
        ("i32 in [1", 9, "expected `]`"),
        ("i32 not [1]", 8, "expected `in`"),
        ("1 in [1]", 0, "only a column"),
        ("i32 in [1] == True", 11, "after a membership"),
        ("1 < i32 in [3]", 8, "chain"),
        ("[1] == i32", 0, "right of `in`"),
        ("orig.ident == 'x'", 0, "attr(\"orig.ident\")"),
        ("f(i32) == 1", 0, "no function `f`"),
        ("attr() == 1", 5, "argument"),
        ("attr(i32) == 1", 5, "attr(\"i32\")"),
        ("attr(1) == 1", 5, "a string"),
        ("attr('a', 'b') == 1", 8, "expected `)`"),
        ("val(i32) == 1", 4, "val takes"),
        ("s == 'a' b'a'", 9, "one literal"),
        ("s == 'a", 5, "closing"),
        ("i32 == 003", 7, "write 3"),
        ("sx == 'a'", 0, "did you mean `s` or `sn`?"),
        ("é == 'ü' and i33 == 1", 0, "there is no column `é`; the columns are i8, u8"),
        ("s == 'é' and i33 == 1", 13, "did you mean `i32`"),
        ("i32 == 'a'", 7, "column `i32` holds Int32 and cannot be compared with 'a' ("),
        ("i32 == '-3'", 7, "write -3 without"),
        ("i32 in [1, b'3']", 11, "b'3'"),
        ("s == 1", 5, "write '1' for the string"),
        ("s in ['a', 1.5]", 11, "1.5"),
        ("b == 'True'", 5, "write True without"),
        ("ts == '2020'", 6, "'2024-03-01T12:00:00'"),
        ("ts in [1, 'x']", 10, "write a date"),
        ("ts == b'2020-01-01'", 6, "cannot be compared"),
        ("d < 'n'", 0, "no order"),
        ("30 > di", 5, "`<` means nothing"),
        ("not di < 30", 4, "no order"),
        ("list == 1", 0, "only `is null`"),
        ("list in [1]", 0, "only `is null`"),
    ] {
        let error = rows(&batch, text).expect_err(text);
        let message = error.to_string();
        assert!(message.contains(reason), "{text}: {message}");
        let place = match &error {
            FilterError::Syntax { place, .. }
            | FilterError::UnknownColumn { place, .. }
            | FilterError::TypeMismatch { place, .. }
            | FilterError::UnsupportedType { place, .. }
            | FilterError::Unordered { place, .. }
            | FilterError::WrongTest { place, .. }
            | FilterError::Incomparable { place, .. }
            | FilterError::DifferentOrders { place, .. } => place,
            other => panic!("{text}: {other}"),
        };
        assert_eq!(place.start, at, "{text}: {message}");
        assert!(message.contains(&format!("(character {} of the filter)\n", at + 1)), "{message}");
        assert!(message.ends_with('^'), "{message}");
    }
}

#[test]
fn an_error_reads_well() {
    let error = rows(&frame(), "b == True and i32 in [1, 'a']").unwrap_err();
    assert_eq!(
        error.to_string(),
        "column `i32` holds Int32 and cannot be compared with 'a' (character 26 of the filter)\n  \
         b == True and i32 in [1, 'a']\n  \
         \u{20}                        ^^^"
    );
}

/// On half of a thread's usual stack.
#[test]
fn deep_nesting_is_refused() {
    let deep = |n: usize| {
        vec![
            format!("{}i32 == 1{}", "(".repeat(n), ")".repeat(n)),
            "(".repeat(n),
            format!("{}i32 == 1", "not ".repeat(n)),
            format!("{}(i32 == 1)", "~".repeat(n)),
            format!("i32 == {}1{}", "-(".repeat(n), ")".repeat(n)),
            format!("i32 == {}1{}", "val(".repeat(n), ")".repeat(n)),
            format!("{}i32 == 1{}", "i32 == 1 or (".repeat(n), ")".repeat(n)),
            format!("i32 in {}", "[".repeat(n)),
            format!("{}contains(s, 'x'){}", "(".repeat(n), ")".repeat(n)),
            format!("s like {}'x'{}", "(".repeat(n), ")".repeat(n)),
            format!("{}s is null{}", "NOT (".repeat(n), ")".repeat(n)),
            "contains(".repeat(n),
        ]
    };
    let work = move || {
        for text in deep(10_000) {
            assert!(ValueFilter::parse(&text).is_err());
        }
        let sound = |text: &String| !text.ends_with(['(', '[']);
        for text in deep(60).iter().filter(|text| sound(text)) {
            let filter = ValueFilter::parse(text).unwrap();
            assert_eq!(ValueFilter::parse(&filter.to_string()), Ok(filter));
            rows(&frame(), text).unwrap();
        }
    };
    std::thread::Builder::new().stack_size(1 << 20).spawn(work).unwrap().join().unwrap();
}

#[test]
fn width_is_not_bounded() {
    let terms: Vec<String> = (0..5_000).map(|i| format!("i32 == {i}")).collect();
    assert_eq!(rows(&frame(), &terms.join(" or ")).unwrap(), [1, 2, 3, 4, 5]);
    let values: Vec<String> = (0..50_000).map(|i| i.to_string()).collect();
    let list = format!("i32 in [{}]", values.join(", "));
    assert_eq!(rows(&frame(), &list).unwrap(), [1, 2, 3, 4, 5]);
    let signs = format!("i32 == {}1", "-".repeat(10_000));
    assert_eq!(rows(&frame(), &signs).unwrap(), [2]);
}
