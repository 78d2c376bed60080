//! Comparisons and the other tests that stand behind an operand.

use super::{Level, Node, Operator, Parser};
use crate::value_filter::ast::{Column, CompareOp, Expr, Literal, Span, TextTest, Value, Wanted};
use crate::value_filter::lexer::{Fault, Token};

impl Parser {
    /// One comparison, a chain of them, or another test; the left operand has been read.
    pub(super) fn comparison(
        &mut self,
        left: Node,
        left_span: Span,
    ) -> Result<(Node, Span), Fault> {
        let (mut left, mut left_span) = (left, left_span);
        let mut span = left_span;
        let mut parts = Vec::new();
        loop {
            let op = match self.operator() {
                Some(Operator::Compare(op)) => op,
                Some(operator) if is_test(operator) && parts.is_empty() => {
                    return self.test(left, left_span);
                }
                Some(operator) if is_test(operator) => {
                    return Err(Fault::new(
                        self.span(),
                        "this test is no part of a chain of comparisons: join them with `and`",
                    ));
                }
                _ => break,
            };
            self.bump();
            let (right, right_span) = self.operand(Level::Bar)?;
            parts.push(compare((&left, left_span), op, (&right, right_span))?);
            span = span.to(right_span);
            (left, left_span) = (right, right_span);
        }
        let expr = match (parts.pop(), parts.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                parts.push(last);
                Expr::And(parts)
            }
            (None, _) => return Err(self.unexpected("a comparison")),
        };
        Ok((Node::Condition(expr), span))
    }

    /// `in`, `is`, `like` and their opposites.
    fn test(&mut self, left: Node, left_span: Span) -> Result<(Node, Span), Fault> {
        let (expr, end) = if self.operator() == Some(Operator::Is) {
            self.bump();
            self.missing(left, left_span)?
        } else {
            let negated = self.eat_operator(Operator::Not);
            match self.operator() {
                Some(Operator::In) => self.membership(left, left_span, !negated)?,
                Some(Operator::Like) => self.like(left, left_span, TextTest::Like, negated)?,
                Some(Operator::Ilike) => self.like(left, left_span, TextTest::Ilike, negated)?,
                _ => return Err(self.unexpected("`in` or `like`")),
            }
        };
        match self.operator() {
            Some(Operator::Compare(_)) => {}
            Some(operator) if is_test(operator) => {}
            _ => return Ok((Node::Condition(expr), left_span.to(end))),
        }
        Err(self.unexpected("`and`, `or` or the end after a membership test, `is` or `like`"))
    }

    /// What follows `is`: `null`, `not null`, `nan`, `not nan`.
    fn missing(&mut self, left: Node, left_span: Span) -> Result<(Expr, Span), Fault> {
        let Node::Column(name) = left else {
            return Err(Fault::new(left_span, "only a column can stand to the left of `is`"));
        };
        let column = Column { name, span: left_span };
        let negated = self.eat_operator(Operator::Not);
        let span = self.span();
        let is_nan = match self.peek() {
            Token::Literal(Literal::None) => false,
            Token::Name(word) if word.eq_ignore_ascii_case("null") => false,
            Token::Name(word) if word.eq_ignore_ascii_case("none") => false,
            Token::Name(word) if word.eq_ignore_ascii_case("nan") => true,
            _ => {
                return Err(self.unexpected("null or nan after `is` (values are compared with ==)"));
            }
        };
        self.bump();
        let expr = match (is_nan, negated) {
            (false, _) => Expr::Compare {
                column,
                op: if negated { CompareOp::NotEqual } else { CompareOp::Equal },
                value: Value { literal: Literal::None, span },
            },
            (true, false) => Expr::Nan(column),
            (true, true) => Expr::Not(Box::new(Expr::Nan(column))),
        };
        Ok((expr, span))
    }

    /// `like` or `ilike`, which has not been read, and its pattern.
    fn like(
        &mut self,
        left: Node,
        left_span: Span,
        test: TextTest,
        negated: bool,
    ) -> Result<(Expr, Span), Fault> {
        let word = test.word();
        self.bump();
        let Node::Column(name) = left else {
            let message = format!("only a column can stand to the left of `{word}`");
            return Err(Fault::new(left_span, message));
        };
        let (pattern, span) = self.operand(Level::Bar)?;
        let Node::Value(Literal::Str(text)) = pattern else {
            let message = format!("the pattern of {word} is a string, as in x {word} 'T%'");
            return Err(Fault::new(span, message));
        };
        let column = Column { name, span: left_span };
        let expr = Expr::Text { column, test, wanted: Wanted { text, span } };
        Ok((if negated { Expr::Not(Box::new(expr)) } else { expr }, span))
    }

    /// `in`, which has not been read, and its list.
    fn membership(
        &mut self,
        left: Node,
        left_span: Span,
        inside: bool,
    ) -> Result<(Expr, Span), Fault> {
        self.bump();
        let Node::Column(name) = left else {
            return Err(Fault::new(left_span, "only a column can stand to the left of `in`"));
        };
        if self.peek() != &Token::OpenBracket {
            return Err(self.unexpected("a list of values in square brackets"));
        }
        let open = self.bump();
        let mut values = Vec::new();
        while self.peek() != &Token::CloseBracket {
            let (item, span) = self.operand(Level::Bar)?;
            values.push(match item {
                Node::Value(Literal::None) => {
                    return Err(Fault::new(
                        span,
                        "None cannot be in a list: add `or` and a test with `is null`",
                    ));
                }
                Node::Value(literal) => Value { literal, span },
                Node::Column(name) => {
                    let remedy = instead_of_name(&name);
                    let message = format!("a list holds values, not columns; {remedy}");
                    return Err(Fault::new(span, message));
                }
                Node::Condition(_) => return Err(Fault::new(span, "a list holds values only")),
            });
            if !self.eat(&Token::Comma) {
                break;
            }
        }
        let close = self.expect(&Token::CloseBracket)?;
        if values.is_empty() {
            return Err(Fault::new(open.to(close), "the list needs at least one value"));
        }
        let column = Column { name, span: left_span };
        Ok((Expr::Member { column, values, inside }, close))
    }
}

fn is_test(operator: Operator) -> bool {
    matches!(
        operator,
        Operator::Not | Operator::In | Operator::Is | Operator::Like | Operator::Ilike
    )
}

/// One comparison: of a column with a value, whichever stands on the left, or with a column.
fn compare(left: (&Node, Span), op: CompareOp, right: (&Node, Span)) -> Result<Expr, Fault> {
    let ((name, span), (literal, value_span), op) = match (left, right) {
        ((Node::Column(name), at), (Node::Value(literal), end)) => ((name, at), (literal, end), op),
        ((Node::Value(literal), at), (Node::Column(name), end)) => {
            ((name, end), (literal, at), op.flipped())
        }
        ((Node::Column(left), at), (Node::Column(right), end)) => {
            return Ok(Expr::Columns {
                left: Column { name: left.clone(), span: at },
                op,
                right: Column { name: right.clone(), span: end },
            });
        }
        ((Node::Value(_), at), (Node::Value(_), end)) => {
            return Err(Fault::new(at.to(end), "one side of a comparison must be a column"));
        }
        ((Node::Condition(_), span), _) | (_, (Node::Condition(_), span)) => {
            return Err(Fault::new(span, "a condition cannot be compared"));
        }
    };
    if *literal == Literal::None && op.is_ordering() {
        return Err(Fault::new(value_span, "None has no order: compare with == or !="));
    }
    Ok(Expr::Compare {
        column: Column { name: name.clone(), span },
        op,
        value: Value { literal: literal.clone(), span: value_span },
    })
}

/// What to write for a name that is no column and may stand for a value.
pub(in crate::value_filter) fn instead_of_name(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "true" => "write True for the truth value".to_owned(),
        "false" => "write False for the truth value".to_owned(),
        "null" | "none" | "na" => "write `is null` for what is missing".to_owned(),
        "nan" => "write `is nan`: NaN is equal to nothing, itself included".to_owned(),
        "inf" => "write 1e999 for infinity".to_owned(),
        _ => format!("if `{name}` is a string, quote it: {}", Literal::Str(name.to_owned())),
    }
}
