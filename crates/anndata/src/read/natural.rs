//! Categories of columns that are stored as text, as AnnData makes them when it writes a file.

use std::cmp::Ordering;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, LargeStringArray};

/// The categories of strings, where there are fewer than strings: sorted, with numbers in them by their value. None
/// where every string is another one, or one is missing; AnnData leaves those as they are.
pub(crate) fn categories(strings: &ArrayRef) -> Option<LargeStringArray> {
    let strings = strings.as_string_opt::<i64>().filter(|strings| strings.null_count() == 0)?;
    let mut distinct: Vec<&str> = strings.iter().flatten().collect();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() >= strings.len() {
        return None;
    }
    // Texts that are alike but for leading zeros stay in their order.
    distinct.sort_by(|a, b| compare(a, b));
    Some(LargeStringArray::from(distinct))
}

/// Compares texts piece by piece: digits side by side as one number, the rest by its characters.
fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let (text_a, number_a) = split(&mut a);
        let (text_b, number_b) = split(&mut b);
        let order = text_a.cmp(text_b).then_with(|| match (number_a, number_b) {
            (Some(a), Some(b)) => value(a, b),
            // A number is one piece more.
            (a, b) => a.is_some().cmp(&b.is_some()),
        });
        if order != Ordering::Equal || number_a.is_none() {
            return order;
        }
        // A last number is the end: another piece of text begins only where there is some.
        match (a.is_empty(), b.is_empty()) {
            (false, false) => {}
            (a, b) => return b.cmp(&a),
        }
    }
}

/// Takes the text before the next digits, and the digits.
fn split<'a>(text: &mut &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
    let digit = |byte: &u8| byte.is_ascii_digit();
    let start = text.iter().position(digit).unwrap_or(text.len());
    let (before, rest) = text.split_at(start);
    let end = rest.iter().position(|byte| !digit(byte)).unwrap_or(rest.len());
    let (digits, rest) = rest.split_at(end);
    *text = rest;
    (before, (!digits.is_empty()).then_some(digits))
}

/// Compares numbers of any length.
fn value(a: &[u8], b: &[u8]) -> Ordering {
    let trim = |digits: &[u8]| digits.iter().take_while(|&&digit| digit == b'0').count();
    let (a, b) = (a.get(trim(a)..).unwrap_or_default(), b.get(trim(b)..).unwrap_or_default());
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn of(strings: &[&str]) -> Option<Vec<String>> {
        let strings: ArrayRef = Arc::new(LargeStringArray::from(strings.to_vec()));
        categories(&strings)
            .map(|found| found.iter().flatten().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_sort_by_value() {
        let found = of(&["chr10", "chr2", "chrX", "chr2", "chr", "2", "10", "", "1x"]);
        assert_eq!(found.unwrap(), ["", "1x", "2", "10", "chr", "chr2", "chr10", "chrX"]);
        let found = of(&["a01", "a1", "a1b", "a1", "a001", "a1b2"]);
        assert_eq!(found.unwrap(), ["a001", "a01", "a1", "a1b", "a1b2"]);
    }

    #[test]
    fn distinct_strings_are_no_categories() {
        assert_eq!(of(&["b", "a"]), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&["a", "a"]).unwrap(), ["a"]);
    }
}
