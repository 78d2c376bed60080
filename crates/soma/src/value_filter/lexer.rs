//! The words of a filter: Python's tokens, as far as a filter can use them.

use super::ast::{CompareOp, Literal, Span};
use super::number;
use super::string;

/// A fault in the text, before the text is attached to it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) span: Span,
    pub(super) message: String,
}

impl Fault {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Self { span, message: message.into() }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Name(String),
    /// A column's name between backquotes.
    Quoted(String),
    /// A number, string or bytes literal, `True`, `False` or `None`.
    Literal(Literal),
    And,
    Or,
    Not,
    In,
    Is,
    Compare(CompareOp),
    Ampersand,
    Bar,
    Tilde,
    Plus,
    Minus,
    Dot,
    Comma,
    OpenParen,
    CloseParen,
    OpenBracket,
    CloseBracket,
    End,
}

impl Token {
    /// The token as an error message names it.
    pub(super) fn describe(&self) -> String {
        let sign = match self {
            Self::Name(name) | Self::Quoted(name) => return format!("`{name}`"),
            Self::Literal(Literal::Str(_) | Literal::Bytes(_)) => return "a string".to_owned(),
            Self::Literal(literal) => return format!("`{literal}`"),
            Self::Compare(op) => return format!("`{op}`"),
            Self::End => return "the end of the filter".to_owned(),
            Self::And => "and",
            Self::Or => "or",
            Self::Not => "not",
            Self::In => "in",
            Self::Is => "is",
            Self::Ampersand => "&",
            Self::Bar => "|",
            Self::Tilde => "~",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Dot => ".",
            Self::Comma => ",",
            Self::OpenParen => "(",
            Self::CloseParen => ")",
            Self::OpenBracket => "[",
            Self::CloseBracket => "]",
        };
        format!("`{sign}`")
    }
}

/// The text as characters, and how far it has been read.
pub(super) struct Cursor {
    chars: Vec<char>,
    pub(super) at: usize,
}

impl Cursor {
    pub(super) fn new(text: &str) -> Self {
        Self { chars: text.chars().collect(), at: 0 }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at.saturating_add(ahead)).copied()
    }

    pub(super) fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    pub(super) fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// The characters from `start` to here.
    pub(super) fn since(&self, start: usize) -> String {
        self.chars.get(start..self.at).unwrap_or_default().iter().collect()
    }

    /// The place from `start` to here.
    pub(super) fn span(&self, start: usize) -> Span {
        Span { start, end: self.at }
    }
}

/// Cuts a filter into tokens; the last is [`Token::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<(Token, Span)>, Fault> {
    let mut cursor = Cursor::new(text);
    let mut found = Vec::new();
    loop {
        skip_space(&mut cursor);
        let start = cursor.at;
        let token = next(&mut cursor)?;
        let last = token == Token::End;
        found.push((token, cursor.span(start)));
        if last {
            return Ok(found);
        }
    }
}

/// Passes spaces, line breaks, continued lines and comments.
fn skip_space(cursor: &mut Cursor) {
    loop {
        match cursor.peek() {
            Some('#') => {
                while cursor.peek().is_some_and(|c| c != '\n') && cursor.bump().is_some() {}
            }
            Some('\\') if matches!(cursor.peek_at(1), Some('\n' | '\r')) => cursor.at += 2,
            Some(c) if c.is_whitespace() || c == '\u{feff}' => cursor.at += 1,
            _ => return,
        }
    }
}

fn next(cursor: &mut Cursor) -> Result<Token, Fault> {
    let Some(c) = cursor.peek() else { return Ok(Token::End) };
    if c.is_ascii_digit() || (c == '.' && cursor.peek_at(1).is_some_and(|d| d.is_ascii_digit())) {
        return number::scan(cursor).map(Token::Literal);
    }
    if let Some(prefix) = string::prefix(cursor) {
        return string::scan(cursor, prefix).map(Token::Literal);
    }
    if c == '_' || c.is_alphabetic() {
        return Ok(word(cursor));
    }
    if c == '`' {
        return quoted(cursor);
    }
    sign(cursor)
}

/// A name between backquotes, as pandas' queries have it: no escapes, and no backquote within.
fn quoted(cursor: &mut Cursor) -> Result<Token, Fault> {
    let start = cursor.at;
    cursor.at += 1;
    let opened = cursor.span(start);
    while cursor.peek().is_some_and(|c| !matches!(c, '`' | '\n' | '\r')) {
        cursor.at += 1;
    }
    let name = cursor.since(start + 1);
    if !cursor.eat('`') {
        return Err(Fault::new(opened, "this name has no closing backquote on its line"));
    }
    if name.is_empty() {
        return Err(Fault::new(cursor.span(start), "a column's name stands between backquotes"));
    }
    Ok(Token::Quoted(name))
}

fn word(cursor: &mut Cursor) -> Token {
    let start = cursor.at;
    while cursor.peek().is_some_and(is_word_char) {
        cursor.at += 1;
    }
    let word = cursor.since(start);
    match word.as_str() {
        "and" => Token::And,
        "or" => Token::Or,
        "not" => Token::Not,
        "in" => Token::In,
        "is" => Token::Is,
        "None" => Token::Literal(Literal::None),
        "True" => Token::Literal(Literal::Bool(true)),
        "False" => Token::Literal(Literal::Bool(false)),
        _ => Token::Name(word),
    }
}

pub(super) fn is_word_char(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn sign(cursor: &mut Cursor) -> Result<Token, Fault> {
    let start = cursor.at;
    let Some(c) = cursor.bump() else { return Ok(Token::End) };
    let message = match c {
        '=' if cursor.eat('=') => return Ok(Token::Compare(CompareOp::Equal)),
        '!' if cursor.eat('=') => return Ok(Token::Compare(CompareOp::NotEqual)),
        '<' if cursor.eat('=') => return Ok(Token::Compare(CompareOp::LessEqual)),
        '>' if cursor.eat('=') => return Ok(Token::Compare(CompareOp::GreaterEqual)),
        '<' if cursor.eat('>') => "`<>` is no operator: write `!=`".to_owned(),
        '<' => return Ok(Token::Compare(CompareOp::Less)),
        '>' => return Ok(Token::Compare(CompareOp::Greater)),
        '&' if cursor.eat('&') => "`&&` is no operator: write `and`".to_owned(),
        '&' => return Ok(Token::Ampersand),
        '|' if cursor.eat('|') => "`||` is no operator: write `or`".to_owned(),
        '|' => return Ok(Token::Bar),
        '~' => return Ok(Token::Tilde),
        '+' => return Ok(Token::Plus),
        '-' => return Ok(Token::Minus),
        '.' => return Ok(Token::Dot),
        ',' => return Ok(Token::Comma),
        '(' => return Ok(Token::OpenParen),
        ')' => return Ok(Token::CloseParen),
        '[' => return Ok(Token::OpenBracket),
        ']' => return Ok(Token::CloseBracket),
        '=' => "`=` is no comparison: write `==`".to_owned(),
        '!' => "`!` is no operator: write `not`, or `!=` for unequal".to_owned(),
        '‘' | '’' | '“' | '”' | '«' | '»' => {
            format!("`{c}` is no quotation mark here: write ' or \"")
        }
        c => format!("a filter has no use for `{}`", c.escape_debug()),
    };
    Err(Fault::new(cursor.span(start), message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Vec<Token> {
        tokens(text).unwrap().into_iter().map(|(token, _)| token).collect()
    }

    #[test]
    fn words_and_signs() {
        let name = |text: &str| Token::Name(text.to_owned());
        assert_eq!(
            plain("not in_x<=-5 and(é2 != None)|~[a.b,] # the rest\n"),
            [
                Token::Not,
                name("in_x"),
                Token::Compare(CompareOp::LessEqual),
                Token::Minus,
                Token::Literal(Literal::Int(5)),
                Token::And,
                Token::OpenParen,
                name("é2"),
                Token::Compare(CompareOp::NotEqual),
                Token::Literal(Literal::None),
                Token::CloseParen,
                Token::Bar,
                Token::Tilde,
                Token::OpenBracket,
                name("a"),
                Token::Dot,
                name("b"),
                Token::Comma,
                Token::CloseBracket,
                Token::End,
            ]
        );
        assert_eq!(plain(" \t\r\n\\\n"), [Token::End]);
        assert_eq!(plain("`a \\'b` "), [Token::Quoted("a \\'b".to_owned()), Token::End]);
        assert_eq!(plain("r b rb u"), [name("r"), name("b"), name("rb"), name("u"), Token::End]);
    }

    #[test]
    fn spans_count_characters() {
        let found = tokens("é == 'ü'").unwrap();
        let spans: Vec<_> = found.iter().map(|(_, span)| (span.start, span.end)).collect();
        assert_eq!(spans, [(0, 1), (2, 4), (5, 8), (8, 8)]);
    }

    #[test]
    fn foreign_signs_get_a_remedy() {
        for (text, remedy, at) in [
            ("a = 1", "`==`", 2),
            ("a <> 1", "`!=`", 2),
            ("a && b", "`and`", 2),
            ("a || b", "`or`", 2),
            ("!a", "`not`", 0),
            ("a == “x”", "' or \"", 5),
            ("a == `x", "closing backquote", 5),
            ("a == `x\n`", "closing backquote", 5),
            ("`` == 1", "a column's name", 0),
            ("a ^ b", "`^`", 2),
            ("a == 1;", "`;`", 6),
            ("a \0", "`\\0`", 2),
        ] {
            let fault = tokens(text).unwrap_err();
            assert!(fault.message.contains(remedy), "{text}: {}", fault.message);
            assert_eq!(fault.span.start, at, "{text}");
        }
    }
}
