//! Number literals, as Python spells them.

use super::ast::Literal;
use super::lexer::{Cursor, Fault, is_word_char};

/// Reads the number at the cursor, which stands on a digit, or on a point before one.
///
/// # Errors
/// Misplaced underscores or leading zeros, letters that follow, integers of 2^127 and above,
/// imaginary numbers.
pub(super) fn scan(cursor: &mut Cursor) -> Result<Literal, Fault> {
    let start = cursor.at;
    let radix = match (cursor.peek(), cursor.peek_at(1)) {
        (Some('0'), Some('x' | 'X')) => 16,
        (Some('0'), Some('o' | 'O')) => 8,
        (Some('0'), Some('b' | 'B')) => 2,
        _ => 10,
    };
    let mut is_float = false;
    let mut sound = true;
    if radix == 10 {
        if cursor.peek() != Some('.') {
            sound = digits(cursor, 10);
        }
        if cursor.eat('.') {
            is_float = true;
            if cursor.peek().is_some_and(|c| c.is_ascii_digit()) {
                sound &= digits(cursor, 10);
            }
        }
        if matches!(cursor.peek(), Some('e' | 'E')) {
            let signed = usize::from(matches!(cursor.peek_at(1), Some('+' | '-')));
            if cursor.peek_at(1 + signed).is_some_and(|c| c.is_ascii_digit()) {
                is_float = true;
                cursor.at += 1 + signed;
                sound &= digits(cursor, 10);
            }
        }
    } else {
        cursor.at += 2;
        cursor.eat('_');
        sound = digits(cursor, radix);
    }
    if !sound || cursor.peek().is_some_and(is_word_char) {
        while cursor.peek().is_some_and(is_word_char) {
            cursor.at += 1;
        }
        let text = cursor.since(start);
        let reason = if text.ends_with(['j', 'J']) { ": imaginary numbers are none" } else { "" };
        return Err(Fault::new(cursor.span(start), format!("`{text}` is no number{reason}")));
    }

    let text: String = cursor.since(start).chars().filter(|&c| c != '_').collect();
    let fault = |message: String| Fault::new(cursor.span(start), message);
    if is_float {
        return text
            .parse()
            .map(Literal::Float)
            .map_err(|_| fault(format!("`{text}` is no number")));
    }
    let figures = if radix == 10 { text.as_str() } else { text.get(2..).unwrap_or_default() };
    if radix == 10 && figures.starts_with('0') && figures.contains(|c| c != '0') {
        let plain = figures.trim_start_matches('0');
        return Err(fault(format!("an integer has no leading zeros: write {plain}")));
    }
    i128::from_str_radix(figures, radix).map(Literal::Int).map_err(|_| {
        fault("this integer is beyond every column's range (2^127 and above)".to_owned())
    })
}

/// Passes digits with single underscores between them; false where that is not what stands here.
fn digits(cursor: &mut Cursor, radix: u32) -> bool {
    let mut after_digit = false;
    loop {
        match cursor.peek() {
            Some(c) if c.is_digit(radix) => after_digit = true,
            Some('_') if after_digit => after_digit = false,
            _ => return after_digit,
        }
        cursor.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Literal, String> {
        let mut cursor = Cursor::new(text);
        let literal = scan(&mut cursor).map_err(|fault| fault.message)?;
        assert_eq!(cursor.at, text.chars().count(), "{text} is read to its end");
        Ok(literal)
    }

    #[test]
    fn integers() {
        for (text, value) in [
            ("0", 0),
            ("00", 0),
            ("0_0", 0),
            ("17", 17),
            ("1_000_000", 1_000_000),
            ("0x_fF", 255),
            ("0b1_01", 5),
            ("0O17", 15),
            ("170141183460469231731687303715884105727", i128::MAX),
        ] {
            assert_eq!(read(text), Ok(Literal::Int(value)), "{text}");
        }
    }

    #[test]
    fn floats() {
        for (text, value) in [
            ("1.", 1.0),
            (".5", 0.5),
            ("1e3", 1000.0),
            ("1E+3", 1000.0),
            ("5.e-1", 0.5),
            ("1_0.2_5e0_1", 102.5),
            ("003.5", 3.5),
            ("01e1", 10.0),
            ("1e400", f64::INFINITY),
            ("1e-400", 0.0),
        ] {
            assert_eq!(read(text), Ok(Literal::Float(value)), "{text}");
        }
    }

    #[test]
    fn refused() {
        for text in [
            "1__0",
            "1_",
            "0x",
            "0xg",
            "0b2",
            "0o8",
            "007",
            "0_1",
            "1e",
            "1e+",
            "1_e3",
            "1._5",
            "1.5_",
            "1or",
            "2nd",
            "1j",
            "1.5J",
            "0x_",
            "0x__1",
            "170141183460469231731687303715884105728",
        ] {
            assert!(scan(&mut Cursor::new(text)).is_err(), "{text}");
        }
        assert!(read("007").unwrap_err().contains("write 7"));
    }
}
