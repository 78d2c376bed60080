//! Tokens to tree, with Python's precedence.
//!
//! From loose to tight: `or`; `and`; `not`; comparisons and membership; `|`; `&`; `~` and signs.
//! `|` and `&` thus take their operands before a comparison does, and `a == 1 & b == 2` is no
//! filter: the fault says where the parentheses go.

mod calls;
mod conditions;

pub(super) use conditions::instead_of_name;

use super::ast::{Column, CompareOp, Expr, Literal, Span};
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

/// What can stand behind an operand.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Operator {
    Or,
    And,
    Bar,
    Ampersand,
    Compare(CompareOp),
    Not,
    In,
    Is,
    Like,
    Ilike,
}

/// Operators that are words. No name can stand where they do, so that they count in any case.
const WORDS: [(&str, Operator); 7] = [
    ("or", Operator::Or),
    ("and", Operator::And),
    ("not", Operator::Not),
    ("in", Operator::In),
    ("is", Operator::Is),
    ("like", Operator::Like),
    ("ilike", Operator::Ilike),
];

impl Operator {
    fn of(token: &Token) -> Option<Self> {
        Some(match token {
            Token::Or => Self::Or,
            Token::And => Self::And,
            Token::Bar => Self::Bar,
            Token::Ampersand => Self::Ampersand,
            Token::Compare(op) => Self::Compare(*op),
            Token::Not => Self::Not,
            Token::In => Self::In,
            Token::Is => Self::Is,
            Token::Name(name) => {
                return WORDS
                    .iter()
                    .find(|(word, _)| name.eq_ignore_ascii_case(word))
                    .map(|(_, operator)| *operator);
            }
            _ => return None,
        })
    }
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

    /// The operator that stands here, behind an operand.
    fn operator(&self) -> Option<Operator> {
        Operator::of(self.peek())
    }

    fn eat_operator(&mut self, wanted: Operator) -> bool {
        let found = self.operator() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Whether a `NOT` that is no Python word negates what follows: a name that is no operator, or parentheses.
    /// Elsewhere it is a column.
    fn negates(&self, word: &str) -> bool {
        word.eq_ignore_ascii_case("not")
            && match self.peek_next() {
                Token::Quoted(_) | Token::OpenParen | Token::Tilde => true,
                Token::Name(_) => Operator::of(self.peek_next()).is_none(),
                _ => false,
            }
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
            Token::Name(word) if level <= Level::Not && self.negates(word) => {
                self.negation(Level::Not)?
            }
            Token::Tilde => self.negation(Level::Sign)?,
            Token::Plus | Token::Minus => self.signed()?,
            _ => self.primary()?,
        };
        loop {
            let Some(operator) = self.operator() else { return Ok((node, span)) };
            (node, span) = match operator {
                Operator::Or if level <= Level::Or => {
                    let first = node.condition(span)?;
                    self.joined(first, span, operator, Level::And, Expr::Or)?
                }
                Operator::And if level <= Level::And => {
                    let first = node.condition(span)?;
                    self.joined(first, span, operator, Level::Not, Expr::And)?
                }
                Operator::Bar if level <= Level::Bar => {
                    let first = node.guarded(span, '|', "or")?;
                    self.joined(first, span, operator, Level::Ampersand, Expr::Or)?
                }
                Operator::Ampersand if level <= Level::Ampersand => {
                    let first = node.guarded(span, '&', "and")?;
                    self.joined(first, span, operator, Level::Sign, Expr::And)?
                }
                Operator::Or | Operator::And | Operator::Bar | Operator::Ampersand => {
                    return Ok((node, span));
                }
                _ if level <= Level::Comparison => self.comparison(node, span)?,
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
        operator: Operator,
        level: Level,
        join: fn(Vec<Expr>) -> Expr,
    ) -> Result<(Node, Span), Fault> {
        let mut parts = vec![first];
        while self.eat_operator(operator) {
            let (node, part_span) = self.operand(level)?;
            parts.push(match operator {
                Operator::Bar => node.guarded(part_span, '|', "or")?,
                Operator::Ampersand => node.guarded(part_span, '&', "and")?,
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
            Token::Quoted(name) => {
                self.bump();
                Ok((Node::Column(name), span))
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
}
