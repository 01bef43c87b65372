//! Reads expressions by precedence, and refuses, by name and with a reason, what a template may not do.
//! `atoms` reads what the operators and filters work on.

use super::error::Fault;
use super::lexer::Token;
use super::syntax::{Comparison, Conditional, Emit, Expr, ExprKind, Filter, Filtering, How, PartName, Test};
use super::tokens::{Tokens, unexpected};
use crate::nearest::nearest;

type Result<T> = std::result::Result<T, Box<Fault>>;

impl Tokens<'_, '_> {
    /// What stands between `<<` and `>>`.
    pub(super) fn emit(&mut self) -> Result<Emit> {
        let expr = self.expression()?;
        Ok(Emit { expr, how: self.how })
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.deeper(|tokens| {
            let then = tokens.or()?;
            if !tokens.takes_word("if")? {
                return Ok(then);
            }
            let condition = tokens.or()?;
            if !tokens.takes_word("else")? {
                return Err(tokens
                    .unexpected("`else`")
                    .hint("say what is written otherwise: `a if b else c`"));
            }
            let otherwise = tokens.expression()?;
            let span = then.span.to(otherwise.span);
            let kind = ExprKind::Conditional(Box::new(Conditional { condition, then, otherwise }));
            Ok(Expr { span, kind })
        })
    }

    fn or(&mut self) -> Result<Expr> {
        let mut left = self.and()?;
        while self.takes_word("or")? {
            left = self.pair(left, Self::and, ExprKind::Or)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr> {
        let mut left = self.not()?;
        while self.takes_word("and")? {
            left = self.pair(left, Self::not, ExprKind::And)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr> {
        let start = self.span();
        if !self.takes_word("not")? {
            return self.comparison();
        }
        let inner = self.deeper(Self::not)?;
        Ok(Expr { span: start.to(inner.span), kind: ExprKind::Not(Box::new(inner)) })
    }

    fn comparison(&mut self) -> Result<Expr> {
        let mut left = self.concat()?;
        while let Some(comparison) = self.comparison_sign()? {
            left = self.pair(left, Self::concat, |pair| ExprKind::Compare(comparison, pair))?;
        }
        Ok(left)
    }

    fn comparison_sign(&mut self) -> Result<Option<Comparison>> {
        let found = match self.peek() {
            Token::Sign("==") => Comparison::Equal,
            Token::Sign("!=") => Comparison::NotEqual,
            Token::Sign("<") => Comparison::Less,
            Token::Sign("<=") => Comparison::LessOrEqual,
            Token::Sign(">") => Comparison::Greater,
            Token::Sign(">=") => Comparison::GreaterOrEqual,
            Token::Word(word) if word == "in" => Comparison::In,
            Token::Word(word) if word == "not" => Comparison::NotIn,
            _ => return Ok(None),
        };
        self.advance()?;
        if found == Comparison::NotIn && !self.takes_word("in")? {
            return Err(self.unexpected("`in` after `not`"));
        }
        Ok(Some(found))
    }

    fn concat(&mut self) -> Result<Expr> {
        let mut left = self.primary()?;
        loop {
            match self.peek() {
                Token::Sign("~" | "+") => self.advance()?,
                Token::Sign(sign @ ("-" | "*" | "**" | "/" | "//" | "%")) => {
                    return Err(self.no_arithmetic(sign, &left));
                }
                _ => return Ok(left),
            };
            left = self.pair(left, Self::primary, ExprKind::Concat)?;
        }
    }

    fn no_arithmetic(&self, sign: &str, left: &Expr) -> Box<Fault> {
        let fault = Fault::refused(self.span(), format!("templates do not calculate: `{sign}` is refused"));
        match &left.kind {
            ExprKind::Secret(_) if self.is_adjacent() => {
                fault.hint("write a name with `-`, `.` or `/` in brackets: `secrets[\"a-b\"]`")
            }
            _ => fault,
        }
    }

    fn pair(
        &mut self,
        left: Expr,
        read: fn(&mut Self) -> Result<Expr>,
        kind: impl FnOnce(Box<[Expr; 2]>) -> ExprKind,
    ) -> Result<Expr> {
        self.step(left.span)?;
        let right = read(self)?;
        Ok(Expr { span: left.span.to(right.span), kind: kind(Box::new([left, right])) })
    }

    /// An atom with its parts, filters and tests.
    fn primary(&mut self) -> Result<Expr> {
        let mut expr = self.atom()?;
        loop {
            if matches!(self.peek(), Token::Sign("." | "[")) {
                expr = self.part(expr)?;
            } else if self.takes("|")? {
                match self.last_filter() {
                    Some(how) => return self.last(expr, how),
                    None => expr = self.filter(expr)?,
                }
            } else if self.takes_word("is")? {
                expr = self.test(expr)?;
            } else {
                return Ok(expr);
            }
            self.step(expr.span)?;
        }
    }

    fn last_filter(&self) -> Option<How> {
        let Token::Word(word) = self.peek() else { return None };
        Filter::LAST.iter().find(|(name, _)| name == word).map(|(_, how)| *how)
    }

    /// `raw` and `quote` are about the whole of what is emitted; else there would be values that some
    /// later step has to know about.
    fn last(&mut self, expr: Expr, how: How) -> Result<Expr> {
        let (_, at) = self.advance()?;
        let is_whole = self.nested == 1 && expr.span.start == self.first;
        if is_whole && matches!(self.peek(), Token::Close { .. }) {
            self.how = how;
            return Ok(expr);
        }
        let fault = Fault::refused(at, "`raw` and `quote` say how a whole value is written");
        Err(fault.hint("put them last, and what comes before in parentheses: `<< (a ~ b) | quote >>`"))
    }

    fn part(&mut self, base: Expr) -> Result<Expr> {
        let is_bracket = self.takes("[")?;
        if !is_bracket {
            self.expect(".")?;
        }
        let name = match self.advance()? {
            (Token::Word(word), _) if !is_bracket => PartName::Key(word),
            (Token::Text(text), _) if is_bracket => PartName::Key(text),
            (Token::Integer(index), _) => PartName::Index(index as usize),
            (token, span) => return Err(unexpected(&token, span, "a part's name or number")),
        };
        if is_bracket {
            self.expect("]")?;
        }
        let span = self.since(base.span);
        match &base.kind {
            ExprKind::Secret(_) => Err(Fault::refused(span, "a field has no parts")
                .hint("for JSON in a field write `(secrets.name.field | from_json).part`")),
            ExprKind::Filter(_) | ExprKind::Variable(_) | ExprKind::Part(..) | ExprKind::Conditional(_) => {
                Ok(Expr { span, kind: ExprKind::Part(Box::new(base), name) })
            }
            _ => Err(Fault::refused(span, "this has no parts")),
        }
    }

    fn filter(&mut self, base: Expr) -> Result<Expr> {
        let (name, at) = self.expect_word("a filter's name")?;
        let Some((_, filter, fewest, most)) = Filter::ALL.into_iter().find(|known| known.0 == name) else {
            return Err(Fault::refused(at, format!("there is no filter `{name}`"))
                .did_you_mean(nearest(&name, Filter::names())));
        };
        let arguments = self.filter_arguments()?;
        let span = self.since(base.span);
        if arguments.len() < fewest || arguments.len() > most {
            let wanted = if fewest == most { format!("{most}") } else { format!("{fewest} to {most}") };
            return Err(Fault::syntax(
                at,
                format!("`{name}` takes {wanted} argument(s), here are {}", arguments.len()),
            ));
        }
        Ok(Expr { span, kind: ExprKind::Filter(Box::new(Filtering { base, filter, arguments })) })
    }

    /// In parentheses, or a single one that simply follows: `| default 'x'`.
    fn filter_arguments(&mut self) -> Result<Vec<Expr>> {
        if self.takes("(")? {
            return self.items(")");
        }
        let follows = match self.peek() {
            Token::Text(_) | Token::Integer(_) | Token::Float(_) => true,
            Token::Word(word) => !matches!(word.as_str(), "if" | "else" | "and" | "or" | "not" | "in" | "is"),
            _ => false,
        };
        if !follows {
            return Ok(Vec::new());
        }
        let mut argument = self.atom()?;
        while matches!(self.peek(), Token::Sign("." | "[")) {
            argument = self.part(argument)?;
        }
        Ok(vec![argument])
    }

    fn test(&mut self, base: Expr) -> Result<Expr> {
        let negated = self.takes_word("not")?;
        let (name, at) = self.expect_word("a test's name")?;
        let test = match (name.as_str(), negated) {
            ("defined", false) | ("undefined", true) => Test::Defined,
            ("undefined", false) | ("defined", true) => Test::Undefined,
            ("none" | "null", false) => Test::Null,
            ("none" | "null", true) => Test::NotNull,
            _ => {
                return Err(Fault::refused(at, format!("there is no test `{name}`"))
                    .did_you_mean(nearest(&name, ["defined", "undefined", "none"])));
            }
        };
        Ok(Expr { span: self.since(base.span), kind: ExprKind::Is(test, Box::new(base)) })
    }
}
