//! What looks like a call: `attr`, `val`, the tests of texts, and the methods that they are not.

use super::{Level, Node, Parser};
use crate::value_filter::ast::{Column, Expr, Literal, Span, TextTest, Wanted};
use crate::value_filter::lexer::{Fault, Token};

impl Parser {
    /// A call, whose function's name has been read.
    pub(super) fn call(&mut self, name: &str, start: Span) -> Result<(Node, Span), Fault> {
        let text_test = TextTest::FUNCTIONS.into_iter().find(|test| test.word() == name);
        if text_test.is_none() && name != "attr" && name != "val" {
            return Err(no_function(name, start));
        }
        self.bump();
        if self.peek() == &Token::CloseParen {
            return Err(self.unexpected("an argument"));
        }
        let (argument, span) = self.operand(Level::Bar)?;
        if let Some(test) = text_test {
            return self.text_test(test, start, (argument, span));
        }
        let node = match (name, argument) {
            ("attr", Node::Value(Literal::Str(column))) => Node::Column(column),
            ("attr", Node::Column(column)) => {
                return Err(Fault::new(
                    span,
                    format!("attr takes a string: write attr(\"{column}\"), or {column} alone"),
                ));
            }
            ("attr", _) => return Err(Fault::new(span, "attr takes a column's name, a string")),
            (_, Node::Value(literal)) => Node::Value(literal),
            _ => return Err(Fault::new(span, "val takes a number, a string, True, False or None")),
        };
        let end = self.expect(&Token::CloseParen)?;
        Ok((node, start.to(end)))
    }

    /// `startswith(column, 'text')` and its like, whose first argument has been read.
    fn text_test(
        &mut self,
        test: TextTest,
        start: Span,
        (argument, span): (Node, Span),
    ) -> Result<(Node, Span), Fault> {
        let word = test.word();
        let Node::Column(name) = argument else {
            let message = format!("{word} begins with a column: write {word}(column, 'text')");
            return Err(Fault::new(span, message));
        };
        let column = Column { name, span };
        if !self.eat(&Token::Comma) {
            return Err(self.unexpected(&format!("`,` and the text that {word} looks for")));
        }
        let (argument, span) = self.operand(Level::Bar)?;
        let Node::Value(Literal::Str(text)) = argument else {
            return Err(Fault::new(
                span,
                format!("{word} looks for a string: {word}(column, 'text')"),
            ));
        };
        self.eat(&Token::Comma);
        let end = self.expect(&Token::CloseParen)?;
        let condition = Expr::Text { column, test, wanted: Wanted { text, span } };
        Ok((Node::Condition(condition), start.to(end)))
    }

    /// The fault for `orig.ident` and for `name.startswith('x')`.
    pub(super) fn dotted(&mut self, mut name: String, start: Span) -> Fault {
        let mut span = start;
        let mut method = String::new();
        while let (Token::Dot, Token::Name(part)) = (self.peek(), self.peek_next()) {
            if !method.is_empty() {
                name.push('.');
                name.push_str(&method);
            }
            method.clone_from(part);
            self.bump();
            span = start.to(self.bump());
        }
        if self.peek() == &Token::OpenParen {
            let column = name.strip_suffix(".str").unwrap_or(&name);
            let column = Column { name: column.to_owned(), span };
            return match instead_of(&method, &column.to_string()) {
                Some(remedy) => {
                    Fault::new(span, format!("columns have no methods: write {remedy}"))
                }
                None => Fault::new(span, "columns have no methods"),
            };
        }
        if !method.is_empty() {
            name.push('.');
            name.push_str(&method);
        }
        Fault::new(span, format!("a name with a point is written attr(\"{name}\")"))
    }
}

fn no_function(name: &str, span: Span) -> Fault {
    let remedy = match instead_of(name, "column") {
        Some(remedy) => format!("write {remedy}"),
        None => "there are startswith, endswith, contains and matches, each of a column and a \
                 string, and attr(\"column\") and val(value)"
            .to_owned(),
    };
    Fault::new(span, format!("there is no function `{name}`: {remedy}"))
}

/// What to write for a function or a method of pandas or SQL.
fn instead_of(function: &str, column: &str) -> Option<String> {
    let function = function.to_ascii_lowercase();
    Some(match function.as_str() {
        "startswith" | "starts_with" | "prefix" => format!("startswith({column}, 'text')"),
        "endswith" | "ends_with" | "suffix" => format!("endswith({column}, 'text')"),
        "contains" => {
            format!("contains({column}, 'text'), or matches({column}, 'pattern')")
        }
        "matches" | "match" | "fullmatch" | "search" | "regexp" | "rlike" | "regexp_like"
        | "regexp_matches" => format!("matches({column}, 'pattern')"),
        "isnull" | "isna" | "is_null" => format!("{column} is null"),
        "notnull" | "notna" | "is_not_null" => format!("{column} is not null"),
        "isnan" | "is_nan" => format!("{column} is nan"),
        "isin" | "is_in" => format!("{column} in ['a', 'b']"),
        "between" => format!("1 <= {column} <= 5"),
        "lower" | "upper" | "casefold" => format!("{column} ilike 'text'"),
        _ => return None,
    })
}
