//! Filters and the rows they find, spelled in several ways and on parts of the batch.

use super::{frame, rows};
use crate::value_filter::ValueFilter;

pub(super) fn check(table: &[(&str, &[usize])]) {
    let batch = frame();
    for (text, expected) in table {
        assert_eq!(rows(&batch, text).as_deref(), Ok(*expected), "{text}");
        let printed = ValueFilter::parse(text).unwrap().to_string();
        assert_eq!(rows(&batch, &printed).as_deref(), Ok(*expected), "{text} as {printed}");
        let part = batch.slice(3, 4);
        let moved: Vec<usize> =
            expected.iter().filter(|row| (3..7).contains(*row)).map(|row| row - 3).collect();
        assert_eq!(rows(&part, text), Ok(moved), "{text} on rows 3 to 6");
    }
}

pub(super) const ALL: &[usize] = &[0, 1, 2, 3, 4, 5, 6, 7];

#[test]
fn numbers() {
    check(&[
        ("i32 == 1", &[2]),
        ("i32 != 1", &[0, 1, 3, 4, 5, 6, 7]),
        ("i32 < 1", &[0, 1, 7]),
        ("i32 <= 1", &[0, 1, 2, 7]),
        ("i32 > 4", &[5, 6]),
        ("i32 >= 4", &[4, 5, 6]),
        ("i32 == 3.0", &[3]),
        ("i32 >= -0.5", &[1, 2, 3, 4, 5, 6]),
        ("i32 == True", &[2]),
        ("i32 == --1", &[2]),
        ("i32 == - 5", &[0]),
        ("i32 == 0b11", &[3]),
        ("i32 in [1, 3]", &[2, 3]),
        ("i32 in [1, 1, 1,]", &[2]),
        ("i32 in [val(1), 0x3]", &[2, 3]),
        ("i32 not in [1, 3]", &[0, 1, 4, 5, 6, 7]),
        ("i8 == -128 or i8 == 127", &[0, 7]),
        ("u64 > 9223372036854775807", &[6, 7]),
        ("u64 == 18446744073709551615", &[7]),
        ("u64 in [18446744073709551615]", &[7]),
        ("u64 == 1.0", &[1]),
        ("ts < 3", &[0, 1, 2]),
        ("ts in [1, 2]", &[1, 2]),
        ("b == True", &[0, 2, 4, 6]),
        ("b == 0", &[1, 3, 5, 7]),
        ("b != True", &[1, 3, 5, 7]),
        ("b < True", &[1, 3, 5, 7]),
        ("b <= True", ALL),
        ("b > True", &[]),
    ]);
}

/// tiledbsoma cuts the literal to the column's type, or refuses it.
#[test]
fn numbers_of_another_type_compare_by_value() {
    check(&[
        ("i32 == 3.5", &[]),
        ("i32 != 3.5", ALL),
        ("i32 < 3.5", &[0, 1, 2, 3, 7]),
        ("i32 > 3.5", &[4, 5, 6]),
        ("i32 < -0.5", &[0, 7]),
        ("i32 in [-5, 1.5, 3.0]", &[0, 3]),
        ("i32 not in [1.5]", ALL),
        ("i32 < 3000000000", ALL),
        ("i32 > 1e300", &[]),
        ("i32 > -1e999", ALL),
        ("i8 < 128", ALL),
        ("i8 <= -129", &[]),
        ("i8 != -129", ALL),
        ("u8 > -1", ALL),
        ("u8 == 256", &[]),
        ("u8 in [1, 255, 256, -1]", &[1, 7]),
        ("u64 < 18446744073709551616", ALL),
        ("u64 == -1", &[]),
        ("ts >= 3.5", &[4, 5, 6, 7]),
        ("b == 2", &[]),
        ("b < 2", ALL),
        ("b > 0.5", &[0, 2, 4, 6]),
        ("b in [True]", &[0, 2, 4, 6]),
        ("b not in [1, 0]", &[]),
        ("di == 10.5", &[]),
        ("di in [10.0, 10.5]", &[1, 4, 7]),
    ]);
}

#[test]
fn floats() {
    check(&[
        ("f64 == 0.1", &[0]),
        ("f32 == 0.1", &[0]),
        ("f32 in [0.1]", &[0]),
        ("f32 <= 0.1", &[0, 4, 5, 6, 7]),
        ("f32 == 1e39", &[3]),
        ("f64 == 1e400", &[3]),
        ("f64 == -1e400", &[4]),
        ("f64 == 0", &[5, 6]),
        ("f64 == -0.0", &[5, 6]),
        ("f64 == .5", &[1]),
        ("f64 < 1", &[0, 1, 4, 5, 6, 7]),
        ("f64 >= 1", &[3]),
        ("f64 == True", &[]),
        // NaN has no order, and is equal to nothing.
        ("f64 != 0.1", &[1, 2, 3, 4, 5, 6, 7]),
        ("not f64 == 0.1", &[1, 2, 3, 4, 5, 6, 7]),
        ("f64 not in [0.1]", &[1, 2, 3, 4, 5, 6, 7]),
        ("not f64 < 1", &[3]),
        ("df == 0.5", &[0, 3, 6]),
        ("df != 0.5", &[1, 2, 4, 5, 7]),
    ]);
    // tiledbsoma finds only one of the two zeros.
    check(&[("f64 in [0]", &[5, 6]), ("f64 not in [-0.0]", &[0, 1, 2, 3, 4, 7])]);
}

#[test]
fn strings() {
    check(&[
        ("s == 'é'", &[3]),
        (r"s == '\u00e9'", &[3]),
        (r#"s == "\x61""#, &[0, 6]),
        (r"s == r'\x61'", &[]),
        ("s == 'z' 'z'", &[4]),
        ("s == '''a'''", &[0, 6]),
        ("s == b'a'", &[0, 6]),
        ("s > 'a'", &[1, 3, 4]),
        ("s >= 'a'", &[0, 1, 3, 4, 6]),
        ("s == ''", &[2]),
        ("s < ''", &[]),
        ("s <= ''", &[2]),
        ("s in ['a', b'zz']", &[0, 4, 6]),
        ("s not in ['a', 'zz']", &[1, 2, 3, 5, 7]),
        (r"by == b'\xff'", &[3]),
        (r"by == '\xff'", &[]),
        ("by == 'a'", &[0, 6]),
        ("by < b'a'", &[2, 5, 7]),
        (r"by in [b'\x00', '']", &[2, 7]),
    ]);
}

#[test]
fn nulls_are_never_true() {
    check(&[
        ("sn == 'a'", &[0]),
        ("sn != 'a'", &[1, 3, 4, 5, 6, 7]),
        ("not sn == 'a'", &[1, 3, 4, 5, 6, 7]),
        ("sn not in ['a']", &[1, 3, 4, 5, 6, 7]),
        ("sn == ''", &[6]),
        ("in_ < 5", &[0, 2, 3]),
        ("not in_ < 5", &[5, 6, 7]),
        ("in_ != 1", &[2, 3, 5, 6, 7]),
        ("fn < 5", &[0, 3]),
        ("not fn == 1", &[2, 3, 5, 6, 7]),
        ("bn == False", &[1, 5, 7]),
        ("not bn == True", &[1, 5, 7]),
        ("sn == None", &[2]),
        ("None == sn", &[2]),
        ("sn != None", &[0, 1, 3, 4, 5, 6, 7]),
        ("not sn != None", &[2]),
        ("dn == None", &[1, 5]),
        ("dn != val(None)", &[0, 2, 3, 4, 6, 7]),
        ("s == None", &[]),
        ("s != None", ALL),
    ]);
    // tiledbsoma refuses these.
    check(&[
        ("sn is null", &[2]),
        ("sn IS NOT NULL", &[0, 1, 3, 4, 5, 6, 7]),
        ("dn is None and not in_ is None", &[5]),
        ("not sn is not None", &[2]),
        ("dn Is Not nOnE", &[0, 2, 3, 4, 6, 7]),
        ("list is null", &[0, 1, 2]),
        ("fn is nan", &[2]),
        ("fn is not nan", &[0, 3, 5, 6, 7]),
        ("not fn is nan", &[0, 3, 5, 6, 7]),
        ("f32 is NaN or f64 is nan", &[2]),
        ("df is nan", &[1, 4, 7]),
    ]);
    // tiledbsoma has no columns of lists.
    check(&[("list == None", &[0, 1, 2]), ("not list == None", &[3, 4, 5, 6, 7])]);
}

#[test]
fn categories() {
    check(&[
        ("d == 'a'", &[2, 5]),
        ("d != 'a'", &[0, 1, 3, 4, 6, 7]),
        ("d == 'nope'", &[]),
        ("d != 'nope'", ALL),
        ("not d != 'nope'", &[]),
        ("d in ['nope', 'a']", &[2, 5]),
        ("d not in ['nope', 'a']", &[0, 1, 3, 4, 6, 7]),
        ("dn != 'm'", &[2, 4, 7]),
        ("dn != 'nope'", &[0, 2, 3, 4, 6, 7]),
        ("dn not in ['nope']", &[0, 2, 3, 4, 6, 7]),
        ("di == 10", &[1, 4, 7]),
        ("di in [10, 50]", &[0, 1, 3, 4, 6, 7]),
        ("db == True", &[0, 3, 5, 6]),
        ("db != 1", &[1, 2, 4, 7]),
        // Ordered categories stand in the order of their list: m, z, a.
        ("do < 'z'", &[0, 3, 6]),
        ("do > 'm'", &[1, 2, 4, 5, 7]),
        ("do >= 'm'", ALL),
        ("not do > 'm'", &[0, 3, 6]),
        ("do < 'nope'", &[]),
        ("do >= 'nope'", &[]),
        ("do != 'nope'", ALL),
    ]);
}

#[test]
fn connectives() {
    check(&[
        ("i32 == 1 and i32 == 3", &[]),
        ("i32 == 1 or i32 == 3 and s == 'zz'", &[2]),
        ("(i32 == 1) & (s == '')", &[2]),
        ("(s == 'b') | (i32 > 1) & (i32 < 5)", &[1, 3, 4]),
        ("(i32 == 1) | (i32 == 3) and s == 'é'", &[3]),
        ("not i32 == 1 and s == 'zz'", &[4]),
        ("(i32 == 1) and not (s == 'zz') or b == True", &[0, 2, 4, 6]),
        ("5 < i32", &[6]),
        ("1 != i32", &[0, 1, 3, 4, 5, 6, 7]),
        ("1 < i32 < 5", &[3, 4]),
        ("5 > i32 > 0", &[2, 3, 4]),
        ("5 == i32 == 5", &[5]),
        ("((i32)) == (1)", &[2]),
        ("attr('i32') == 1", &[2]),
        (r#"attr("o.d " 'd') in [1, 2]"#, &[1, 2]),
        ("val(1) == attr('o.d d')", &[1]),
        ("i32 == 3 # the comment", &[3]),
    ]);
    // Words in SQL's case, and names in backquotes, as in pandas' queries.
    check(&[
        ("i32 == 1 OR i32 == 3 And s == 'zz'", &[2]),
        ("i32 IN [1, 3] AND NOT s == ''", &[3]),
        ("NOT (i32 == 1 or i32 == 3)", &[0, 1, 4, 5, 6, 7]),
        ("NOT `o.d d` < 5", &[5, 6, 7]),
        ("`o.d d` Not In [0, 1] and (`i32`) == 4", &[4]),
        ("1 < `i32` < 5", &[3, 4]),
        ("`o.d d` is null", &[]),
    ]);
    // tiledbsoma refuses the first two and the last two, and ends with a segmentation fault on
    // the rest.
    check(&[
        ("~(i32 == 1)", &[0, 1, 3, 4, 5, 6, 7]),
        ("(i32 < 4) & ~(i32 == 1)", &[0, 1, 3, 7]),
        ("not not i32 == 1", &[2]),
        ("not (i32 == 1 or sn == 'zz')", &[0, 1, 3, 5, 6, 7]),
        ("not (i32 == 1 and s == '')", &[0, 1, 3, 4, 5, 6, 7]),
        ("not (b == True or sn == 'a')", &[1, 3, 5, 7]),
        ("not dn in ['m']", &[2, 4, 7]),
        ("not (i32 == 1) & (s == 'zz')", ALL),
        ("not 1 < i32 < 5", &[0, 1, 2, 5, 6, 7]),
        ("val(-1) == i8", &[1]),
        (" \t\n i32\n==\n3 ", &[3]),
    ]);
}

/// `ts` counts microseconds from 1970 on; numpy's units are tested in `time`.
#[test]
fn moments() {
    check(&[
        ("ts == '1970-01-01'", &[0]),
        ("ts > '1970-01-01'", &[1, 2, 3, 4, 5, 6, 7]),
        ("ts < '1970-01-01T00:00:00.000003'", &[0, 1, 2]),
        ("ts == '1970-01-01 00:00:00.000003Z'", &[3]),
        ("ts == '1970-01-01T02:00:00.000003+02:00'", &[3]),
        ("ts == '1970-01-01T00:00:00.0000035'", &[]),
        ("ts != '1970-01-01T00:00:00.0000035'", ALL),
        ("ts <= '1970-01-01T00:00:00.0000035'", &[0, 1, 2, 3]),
        ("ts > '1970-01-01T00:00:00.0000035'", &[4, 5, 6, 7]),
        ("'1969-12-31T23:59' < ts < '2024-03-01'", ALL),
        ("ts in ['1970-01-01T00:00:00.000001', 2, '2024-03-01']", &[1, 2]),
        ("ts not in ['1970-01-01', '1970-01-01T00:00:00.0000005']", &[1, 2, 3, 4, 5, 6, 7]),
        ("not ts >= '1970-01-01T00:00:00.000006'", &[0, 1, 2, 3, 4, 5]),
    ]);
}
