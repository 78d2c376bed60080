//! Tokens to tree, with Python's precedence.
//!
//! From loose to tight: `or`; `and`; `not`; comparisons and membership; `|`; `&`; `~` and signs.
//! `|` and `&` thus take their operands before a comparison does, and `a == 1 & b == 2` is no
//! filter: the fault says where the parentheses go.

use super::ast::{Column, CompareOp, Expr, Literal, Span, Value};
use super::lexer::{Fault, Token, tokens};

/// Calls of [`Parser::operand`] that may be open at once. It bounds the depth of the tree, hence
/// the stack of everything that walks it: 0.5 MiB of a thread's 2 MiB, and 1.5 MiB in a build
/// without any optimisation. A pair of parentheses takes one call, or two behind an operator.
const DEPTH: usize = 128;

/// How tightly operators bind, loose to tight.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
enum Level {
    Or,
    And,
    Not,
    Comparison,
    Bar,
    Ampersand,
    Sign,
}

/// Parses a whole filter.
pub(super) fn parse(text: &str) -> Result<Expr, Fault> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.peek() == &Token::End {
        return Err(Fault::new(parser.span(), "the filter is empty"));
    }
    let (node, span) = parser.operand(Level::Or)?;
    if parser.peek() != &Token::End {
        return Err(parser.unexpected("the end of the filter"));
    }
    node.condition(span)
}

/// What an operand turned out to be.
enum Node {
    Column(String),
    Value(Literal),
    Condition(Expr),
}

impl Node {
    fn condition(self, span: Span) -> Result<Expr, Fault> {
        match self {
            Self::Condition(expr) => Ok(expr),
            Self::Column(name) => {
                let column = Column { name, span };
                Err(Fault::new(
                    span,
                    format!("a column alone is no condition: compare it, as in {column} == True"),
                ))
            }
            Self::Value(_) => {
                Err(Fault::new(span, "a value alone is no condition: compare a column with it"))
            }
        }
    }

    /// An operand of `&` or `|`, which Python binds more tightly than comparisons.
    fn guarded(self, span: Span, sign: char, word: &str) -> Result<Expr, Fault> {
        match self {
            Self::Condition(expr) => Ok(expr),
            _ => Err(Fault::new(
                span,
                format!(
                    "`{sign}` binds more tightly than comparisons: put each side in parentheses, \
                     as in (a == 1) {sign} (b == 2), or write `{word}`"
                ),
            )),
        }
    }
}

struct Parser {
    /// Ends with [`Token::End`].
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).map_or(&Token::End, |(token, _)| token)
    }

    fn peek_next(&self) -> &Token {
        self.tokens.get(self.at + 1).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(Span::default(), |(_, span)| *span)
    }

    fn bump(&mut self) -> Span {
        let span = self.span();
        self.at += 1;
        span
    }

    fn eat(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == wanted;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: &Token) -> Result<Span, Fault> {
        if self.peek() == wanted {
            return Ok(self.bump());
        }
        Err(self.unexpected(&wanted.describe()))
    }

    fn unexpected(&self, expected: &str) -> Fault {
        Fault::new(self.span(), format!("expected {expected}, found {}", self.peek().describe()))
    }

    /// Parses an operand of an operator that binds as tightly as `level`, or tighter.
    fn operand(&mut self, level: Level) -> Result<(Node, Span), Fault> {
        if self.depth >= DEPTH {
            return Err(Fault::new(self.span(), "the filter is nested too deeply"));
        }
        self.depth += 1;
        let result = self.operand_within(level);
        self.depth -= 1;
        result
    }

    fn operand_within(&mut self, level: Level) -> Result<(Node, Span), Fault> {
        let (mut node, mut span) = match self.peek() {
            Token::Not if level <= Level::Not => self.negation(Level::Not)?,
            Token::Tilde => self.negation(Level::Sign)?,
            Token::Plus | Token::Minus => self.signed()?,
            _ => self.primary()?,
        };
        loop {
            (node, span) = match self.peek() {
                Token::Or if level <= Level::Or => {
                    let first = node.condition(span)?;
                    self.joined(first, span, &Token::Or, Level::And, Expr::Or)?
                }
                Token::And if level <= Level::And => {
                    let first = node.condition(span)?;
                    self.joined(first, span, &Token::And, Level::Not, Expr::And)?
                }
                Token::Bar if level <= Level::Bar => {
                    let first = node.guarded(span, '|', "or")?;
                    self.joined(first, span, &Token::Bar, Level::Ampersand, Expr::Or)?
                }
                Token::Ampersand if level <= Level::Ampersand => {
                    let first = node.guarded(span, '&', "and")?;
                    self.joined(first, span, &Token::Ampersand, Level::Sign, Expr::And)?
                }
                Token::Compare(_) | Token::In | Token::Not | Token::Is
                    if level <= Level::Comparison =>
                {
                    self.comparison(node, span)?
                }
                _ => return Ok((node, span)),
            };
        }
    }

    /// `not` or `~`, with an operand of the given level.
    fn negation(&mut self, level: Level) -> Result<(Node, Span), Fault> {
        let start = self.bump();
        let (node, span) = self.operand(level)?;
        let expr = node.condition(span)?;
        Ok((Node::Condition(Expr::Not(Box::new(expr))), start.to(span)))
    }

    /// The operands that follow the first, each after `operator`.
    fn joined(
        &mut self,
        first: Expr,
        mut span: Span,
        operator: &Token,
        level: Level,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<(Node, Span), Fault> {
        let mut parts = vec![first];
        while self.eat(operator) {
            let (node, part_span) = self.operand(level)?;
            parts.push(match operator {
                Token::Bar => node.guarded(part_span, '|', "or")?,
                Token::Ampersand => node.guarded(part_span, '&', "and")?,
                _ => node.condition(part_span)?,
            });
            span = span.to(part_span);
        }
        Ok((Node::Condition(join(parts)), span))
    }

    /// A number behind any count of `+` and `-`.
    fn signed(&mut self) -> Result<(Node, Span), Fault> {
        let start = self.span();
        let mut negative = false;
        while matches!(self.peek(), Token::Plus | Token::Minus) {
            negative ^= self.peek() == &Token::Minus;
            self.bump();
        }
        let (node, span) = self.operand(Level::Sign)?;
        let literal = match node {
            Node::Value(Literal::Int(value)) => {
                // A literal is below 2^127 and so is its negative.
                Literal::Int(if negative { value.saturating_neg() } else { value })
            }
            Node::Value(Literal::Float(value)) => {
                Literal::Float(if negative { -value } else { value })
            }
            _ => return Err(Fault::new(start.to(span), "only a number can have a sign")),
        };
        Ok((Node::Value(literal), start.to(span)))
    }

    fn primary(&mut self) -> Result<(Node, Span), Fault> {
        let span = self.span();
        match self.peek().clone() {
            Token::Literal(literal) => {
                self.bump();
                self.literal(literal, span)
            }
            Token::Name(name) => {
                self.bump();
                match self.peek() {
                    Token::OpenParen => self.call(&name, span),
                    Token::Dot => Err(self.dotted(name, span)),
                    _ => Ok((Node::Column(name), span)),
                }
            }
            Token::OpenParen => {
                self.bump();
                let (node, _) = self.operand(Level::Or)?;
                let end = self.expect(&Token::CloseParen)?;
                Ok((node, span.to(end)))
            }
            Token::OpenBracket => {
                Err(Fault::new(span, "a list can stand only to the right of `in` and `not in`"))
            }
            _ => Err(self.unexpected("a column or a value")),
        }
    }

    /// Joins a string to the strings right behind it, as Python does.
    fn literal(&mut self, mut literal: Literal, mut span: Span) -> Result<(Node, Span), Fault> {
        while let Token::Literal(next @ (Literal::Str(_) | Literal::Bytes(_))) = self.peek() {
            match (&mut literal, next) {
                (Literal::Str(text), Literal::Str(more)) => text.push_str(more),
                (Literal::Bytes(bytes), Literal::Bytes(more)) => bytes.extend_from_slice(more),
                (Literal::Str(_) | Literal::Bytes(_), _) => {
                    return Err(Fault::new(
                        self.span(),
                        "a string and bytes cannot be written as one literal",
                    ));
                }
                _ => break,
            }
            span = span.to(self.bump());
        }
        Ok((Node::Value(literal), span))
    }

    /// `attr("name")` or `val(value)`; the function's name has been read.
    fn call(&mut self, name: &str, start: Span) -> Result<(Node, Span), Fault> {
        if name != "attr" && name != "val" {
            return Err(Fault::new(
                start,
                format!("there is no function `{name}`: only attr(\"column\") and val(value)"),
            ));
        }
        self.bump();
        if self.peek() == &Token::CloseParen {
            return Err(self.unexpected("an argument"));
        }
        let (argument, span) = self.operand(Level::Bar)?;
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

    /// The fault for `orig.ident`.
    fn dotted(&mut self, mut name: String, start: Span) -> Fault {
        let mut span = start;
        while let (Token::Dot, Token::Name(part)) = (self.peek(), self.peek_next()) {
            name.push('.');
            name.push_str(part);
            self.bump();
            span = start.to(self.bump());
        }
        Fault::new(span, format!("a name with a point is written attr(\"{name}\")"))
    }

    /// One comparison, a chain of them, or a membership test; the left operand has been read.
    fn comparison(&mut self, left: Node, left_span: Span) -> Result<(Node, Span), Fault> {
        let (mut left, mut left_span) = (left, left_span);
        let mut span = left_span;
        let mut parts = Vec::new();
        loop {
            let op = match self.peek() {
                Token::Compare(op) => *op,
                Token::In | Token::Not if parts.is_empty() => {
                    return self.membership(left, left_span);
                }
                Token::In | Token::Not => {
                    return Err(Fault::new(
                        self.span(),
                        "a membership test is no part of a chain of comparisons: join them with `and`",
                    ));
                }
                Token::Is => {
                    return Err(Fault::new(
                        self.span(),
                        "`is` is no comparison here: write == None or != None for missing values",
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

    fn membership(&mut self, left: Node, left_span: Span) -> Result<(Node, Span), Fault> {
        let inside = !self.eat(&Token::Not);
        self.expect(&Token::In)?;
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
                        "None cannot be in a list: add `or` and a comparison with == None",
                    ));
                }
                Node::Value(literal) => Value { literal, span },
                Node::Column(name) => return Err(quote(&name, span)),
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
        if matches!(self.peek(), Token::Compare(_) | Token::In | Token::Not) {
            return Err(self.unexpected("`and`, `or` or the end after a membership test"));
        }
        let column = Column { name, span: left_span };
        Ok((Node::Condition(Expr::Member { column, values, inside }), left_span.to(close)))
    }
}

/// One comparison of a column with a value, whichever stands on the left.
fn compare(left: (&Node, Span), op: CompareOp, right: (&Node, Span)) -> Result<Expr, Fault> {
    let ((name, span), (literal, value_span), op) = match (left, right) {
        ((Node::Column(name), at), (Node::Value(literal), end)) => ((name, at), (literal, end), op),
        ((Node::Value(literal), at), (Node::Column(name), end)) => {
            ((name, end), (literal, at), op.flipped())
        }
        ((Node::Column(_), _), (Node::Column(name), span)) => return Err(quote(name, span)),
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

/// The fault for a name where a value belongs.
fn quote(name: &str, span: Span) -> Fault {
    let remedy = match name {
        "true" => "write True".to_owned(),
        "false" => "write False".to_owned(),
        "null" | "none" => "write None".to_owned(),
        "nan" | "NaN" => "NaN is equal to nothing, itself included".to_owned(),
        "inf" => "write 1e999 for infinity".to_owned(),
        _ => format!("if `{name}` is a string, quote it: {}", Literal::Str(name.to_owned())),
    };
    Fault::new(span, format!("columns are compared with values, not with columns; {remedy}"))
}
