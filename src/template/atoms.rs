//! Reads what expressions are made of: literals, lists, parentheses and names.
//! `names` reads those of secrets.

use super::error::{Fault, Span};
use super::lexer::Token;
use super::names;
use super::syntax::{Expr, ExprKind, LoopField, ReaderField};
use super::tokens::{Tokens, unexpected};
use crate::nearest::nearest;

const MOST_ITEMS: usize = 1024;

/// The names that a value may begin with.
pub(super) const NAMES: [&str; 4] = ["secrets", "secret", "env", "reader"];

type Result<T> = std::result::Result<T, Box<Fault>>;

impl Tokens<'_, '_> {
    pub(super) fn atom(&mut self) -> Result<Expr> {
        let (token, start) = self.advance()?;
        let kind = match token {
            Token::Text(text) => ExprKind::Text(text),
            Token::Integer(number) => ExprKind::Integer(number),
            Token::Float(number) => ExprKind::Float(number),
            Token::Sign("-") => self.negative(start)?,
            Token::Sign("[") => ExprKind::List(self.items("]")?),
            Token::Sign("(") => return self.parenthesis(start),
            Token::Sign("{") => return Err(Fault::refused(start, "map literals are refused")),
            Token::Word(word) => self.named(&word, start)?,
            token => return Err(unexpected(&token, start, "a value")),
        };
        Ok(Expr { span: self.since(start), kind })
    }

    pub(super) fn items(&mut self, close: &str) -> Result<Vec<Expr>> {
        let mut items = Vec::new();
        while !self.takes(close)? {
            if !items.is_empty() {
                self.expect(",")?;
                if self.takes(close)? {
                    break;
                }
            }
            if items.len() == MOST_ITEMS {
                return Err(Fault::refused(self.span(), format!("more than {MOST_ITEMS} items")));
            }
            // Items stand beside each other, so each begins with the steps that led here.
            let steps = self.steps;
            items.push(self.expression()?);
            self.steps = steps;
        }
        Ok(items)
    }

    fn negative(&mut self, start: Span) -> Result<ExprKind> {
        match self.advance()? {
            (Token::Integer(number), _) => Ok(ExprKind::Integer(-number)),
            (Token::Float(number), _) => Ok(ExprKind::Float(-number)),
            _ => Err(Fault::refused(start, "templates do not calculate: `-` is refused")),
        }
    }

    /// `(a)` or the list `(a, b)`.
    fn parenthesis(&mut self, start: Span) -> Result<Expr> {
        let first = self.expression()?;
        if self.takes(")")? {
            return Ok(Expr { span: self.since(start), kind: first.kind });
        }
        self.expect(",")?;
        let mut items = vec![first];
        items.extend(self.items(")")?);
        Ok(Expr { span: self.since(start), kind: ExprKind::List(items) })
    }

    fn named(&mut self, word: &str, start: Span) -> Result<ExprKind> {
        if let Some(variable) = self.scope.iter().rposition(|variable| variable.name == word) {
            return Ok(ExprKind::Variable(variable));
        }
        match word {
            "true" | "True" => Ok(ExprKind::Bool(true)),
            "false" | "False" => Ok(ExprKind::Bool(false)),
            "none" | "None" | "null" => Ok(ExprKind::Null),
            "secrets" => names::secrets(self, start),
            "secret" => names::secret(self, start),
            "env" => self.member("env", start).map(|(name, _)| ExprKind::Env(name)),
            "reader" => self.reader_field(start),
            "loop" if !self.scope.is_empty() => self.loop_field(start),
            _ => Err(self.unknown_name(word, start)),
        }
    }

    fn unknown_name(&self, word: &str, start: Span) -> Box<Fault> {
        if matches!(self.peek(), Token::Sign("(")) {
            let fault = Fault::refused(start, format!("there is no function `{word}`"));
            return fault.did_you_mean(nearest(word, ["secret"]));
        }
        let fault = Fault::syntax(start, format!("`{word}` is not a name that templates know"));
        let scope = self.scope.iter().map(|variable| variable.name.as_str());
        match nearest(word, NAMES.into_iter().chain(scope)) {
            Some(name) => fault.did_you_mean(Some(name)),
            None => fault.hint(format!("write `secrets.{word}` for a secret, or quotes around a text")),
        }
    }

    /// `.name` or `["name"]` after `env` or `reader`.
    fn member(&mut self, owner: &str, start: Span) -> Result<(String, Span)> {
        if self.takes(".")? {
            return self.expect_word(&format!("a name after `{owner}.`"));
        }
        if !self.takes("[")? {
            return Err(Fault::refused(start, format!("`{owner}` as a whole cannot be used"))
                .hint(format!("name one: `{owner}.NAME`")));
        }
        match self.advance()? {
            (Token::Text(name), span) => self.expect("]").map(|_| (name, span)),
            (token, span) => Err(unexpected(&token, span, "a name in quotes")),
        }
    }

    fn reader_field(&mut self, start: Span) -> Result<ExprKind> {
        let (name, at) = self.member("reader", start)?;
        let fields = [
            ("uid", ReaderField::Uid),
            ("gid", ReaderField::Gid),
            ("unit", ReaderField::Unit),
            ("exe", ReaderField::Exe),
        ];
        choose(&name, at, "reader", &fields).map(ExprKind::Reader)
    }

    fn loop_field(&mut self, start: Span) -> Result<ExprKind> {
        let (name, at) = self.member("loop", start)?;
        let fields = [
            ("index", LoopField::Index),
            ("index0", LoopField::Index0),
            ("first", LoopField::First),
            ("last", LoopField::Last),
            ("length", LoopField::Length),
        ];
        choose(&name, at, "loop", &fields).map(ExprKind::Loop)
    }
}

fn choose<T: Copy>(name: &str, at: Span, owner: &str, table: &[(&'static str, T)]) -> Result<T> {
    let known = || table.iter().map(|(known, _)| *known);
    table.iter().find(|(known, _)| *known == name).map(|(_, item)| *item).ok_or_else(|| {
        let fault = Fault::refused(at, format!("there is no `{owner}.{name}`"));
        match nearest(name, known()) {
            Some(near) => fault.did_you_mean(Some(near)),
            None => fault.hint(format!("one of {}", known().collect::<Vec<_>>().join(", "))),
        }
    })
}
