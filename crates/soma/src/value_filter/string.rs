//! String and bytes literals, as Python spells them.

use super::ast::{Literal, Span};
use super::lexer::{Cursor, Fault};

/// What stands before the opening quotation mark.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix {
    letters: usize,
    raw: bool,
    bytes: bool,
    formatted: bool,
}

/// The prefix at the cursor, where a string literal begins there.
pub(super) fn prefix(cursor: &Cursor) -> Option<Prefix> {
    let mut prefix = Prefix { letters: 0, raw: false, bytes: false, formatted: false };
    let mut unicode = false;
    loop {
        let seen = match cursor.peek_at(prefix.letters)? {
            '\'' | '"' => return Some(prefix),
            'r' | 'R' if !unicode => &mut prefix.raw,
            'b' | 'B' if !unicode && !prefix.formatted => &mut prefix.bytes,
            'f' | 'F' if !unicode && !prefix.bytes => &mut prefix.formatted,
            'u' | 'U' if prefix.letters == 0 => &mut unicode,
            _ => return None,
        };
        if std::mem::replace(seen, true) {
            return None;
        }
        prefix.letters += 1;
    }
}

/// Reads the literal at the cursor, whose prefix is known.
///
/// # Errors
/// A literal that does not end, escapes that stand for no character, formatted strings,
/// characters outside ASCII in bytes.
pub(super) fn scan(cursor: &mut Cursor, prefix: Prefix) -> Result<Literal, Fault> {
    let start = cursor.at;
    cursor.at += prefix.letters;
    if prefix.formatted {
        return Err(Fault::new(
            cursor.span(start),
            "a formatted string has no meaning in a filter: leave out the f",
        ));
    }
    let quote = cursor.bump();
    let triple = cursor.peek() == quote && cursor.peek_at(1) == quote;
    if triple {
        cursor.at += 2;
    }
    let opened = cursor.span(start);
    let mut content =
        if prefix.bytes { Content::Bytes(Vec::new()) } else { Content::Str(String::new()) };
    loop {
        let here = cursor.at;
        let Some(c) = cursor.bump() else {
            return Err(Fault::new(opened, "this string has no closing quotation mark"));
        };
        let closes = !triple || (cursor.peek() == quote && cursor.peek_at(1) == quote);
        if Some(c) == quote && closes {
            cursor.at += if triple { 2 } else { 0 };
            break;
        }
        if c == '\n' && !triple {
            return Err(Fault::new(opened, "this string does not end on its line"));
        }
        if c == '\\' && !prefix.raw {
            escape(cursor, here, &mut content)?;
            continue;
        }
        content.push(c, cursor.span(here))?;
        if c == '\\' {
            // A raw string keeps the backslash, which still hides a quotation mark.
            let hidden = cursor.at;
            if let Some(c) = cursor.bump() {
                content.push(c, cursor.span(hidden))?;
            }
        }
    }
    Ok(match content {
        Content::Str(text) => Literal::Str(text),
        Content::Bytes(bytes) => Literal::Bytes(bytes),
    })
}

enum Content {
    Str(String),
    Bytes(Vec<u8>),
}

impl Content {
    /// Adds a character written as itself.
    fn push(&mut self, c: char, span: Span) -> Result<(), Fault> {
        match self {
            Self::Str(text) => text.push(c),
            Self::Bytes(bytes) => match u8::try_from(c) {
                Ok(byte) if byte.is_ascii() => bytes.push(byte),
                _ => {
                    return Err(Fault::new(
                        span,
                        format!(
                            "bytes hold ASCII only: write `{c}` as \\x escapes, or leave out the b"
                        ),
                    ));
                }
            },
        }
        Ok(())
    }

    /// Adds the character, or for bytes the byte, of a number.
    fn push_code(&mut self, code: u32, span: Span) -> Result<(), Fault> {
        match self {
            Self::Str(text) => match char::from_u32(code) {
                Some(c) => text.push(c),
                None => return Err(Fault::new(span, "this escape stands for no character")),
            },
            Self::Bytes(bytes) => match u8::try_from(code) {
                Ok(byte) => bytes.push(byte),
                Err(_) => return Err(Fault::new(span, "this escape is larger than a byte")),
            },
        }
        Ok(())
    }
}

/// Reads the escape whose backslash stood at `start` and has been read.
fn escape(cursor: &mut Cursor, start: usize, content: &mut Content) -> Result<(), Fault> {
    let in_bytes = matches!(content, Content::Bytes(_));
    let Some(c) = cursor.bump() else { return Ok(()) };
    let code = match c {
        '\n' => return Ok(()),
        '\r' => {
            cursor.eat('\n');
            return Ok(());
        }
        '\\' | '\'' | '"' => u32::from(c),
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        't' => 0x09,
        'v' => 0x0b,
        '0'..='7' => {
            let mut code = c.to_digit(8).unwrap_or(0);
            for _ in 0..2 {
                let Some(digit) = cursor.peek().and_then(|c| c.to_digit(8)) else { break };
                cursor.at += 1;
                code = code * 8 + digit;
            }
            code
        }
        'x' => hex(cursor, start, 2)?,
        'u' if !in_bytes => hex(cursor, start, 4)?,
        'U' if !in_bytes => hex(cursor, start, 8)?,
        'N' if !in_bytes => {
            return Err(Fault::new(
                cursor.span(start),
                "characters cannot be named here: write the character itself, or \\u and its number",
            ));
        }
        other => {
            // Python keeps the backslash of an escape that it does not know.
            content.push('\\', cursor.span(start))?;
            return content.push(other, cursor.span(start));
        }
    };
    content.push_code(code, cursor.span(start))
}

fn hex(cursor: &mut Cursor, start: usize, figures: usize) -> Result<u32, Fault> {
    let mut code = 0u32;
    for _ in 0..figures {
        let Some(digit) = cursor.peek().and_then(|c| c.to_digit(16)) else {
            return Err(Fault::new(
                cursor.span(start),
                format!("this escape needs {figures} hexadecimal digits"),
            ));
        };
        cursor.at += 1;
        code = (code << 4) | digit;
    }
    Ok(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Literal, String> {
        let mut cursor = Cursor::new(text);
        let prefix = prefix(&cursor).expect("a string literal");
        let literal = scan(&mut cursor, prefix).map_err(|fault| fault.message)?;
        assert_eq!(cursor.at, text.chars().count(), "{text} is read to its end");
        Ok(literal)
    }

    #[test]
    fn strings() {
        for (text, value) in [
            ("''", ""),
            (r#""it's""#, "it's"),
            (r"'it\'s'", "it's"),
            (r"'a\\b\n\t\a\b\f\r\v'", "a\\b\n\t\u{7}\u{8}\u{c}\r\u{b}"),
            (r"'\x41\101\0\7x\u00e9\U0001F9EC'", "AA\0\u{7}xé🧬"),
            (r"'\777'", "\u{1ff}"),
            (r"'\q\8'", r"\q\8"),
            (r"r'\x41\''", r"\x41\'"),
            ("U'é'", "é"),
            ("'''a'b\"\nc'''", "a'b\"\nc"),
            (r#""""a"" """"#, r#"a"" "#),
            ("''''a'''", "'a"),
            ("'a\\\nb'", "ab"),
            ("'a\\\r\nb'", "ab"),
        ] {
            assert_eq!(read(text), Ok(Literal::Str(value.to_owned())), "{text}");
        }
    }

    #[test]
    fn bytes() {
        for (text, value) in [
            ("b''", &b""[..]),
            (r"b'a\xff\0\377'", b"a\xff\x00\xff"),
            (r"Rb'\xff'", br"\xff"),
            (r"bR'\xff'", br"\xff"),
            (r"b'\u00e9\N'", br"\u00e9\N"),
        ] {
            assert_eq!(read(text), Ok(Literal::Bytes(value.to_vec())), "{text}");
        }
    }

    #[test]
    fn refused() {
        for (text, reason) in [
            ("'a", "no closing"),
            ("'''a''", "no closing"),
            (r"'a\'", "no closing"),
            (r"r'a\'", "no closing"),
            ("'a\nb'", "on its line"),
            (r"'\x4'", "2 hexadecimal"),
            (r"'\u12'", "4 hexadecimal"),
            (r"'\ud800'", "no character"),
            (r"'\UFFFFFFFF'", "no character"),
            (r"'\N{DASH}'", "named"),
            (r"b'\400'", "larger"),
            ("b'é'", "ASCII"),
            (r"b'\é'", "ASCII"),
            ("f'a'", "formatted"),
            ("rF'a'", "formatted"),
        ] {
            assert!(read(text).unwrap_err().contains(reason), "{text}");
        }
    }

    #[test]
    fn prefixes() {
        for text in ["r", "ur'a'", "bb'a'", "bu'a'", "bf'a'", "x'a'", "rbr'a'", ""] {
            assert!(prefix(&Cursor::new(text)).is_none(), "{text}");
        }
    }
}
