//! Reads expressions by precedence and refuses, by name and with a reason, what a template may not do.
//! Uses the lexer; `names` reads the references.

use super::error::{Fault, Span};
use super::format::nearest;
use super::lexer::{Lexer, Token};
use super::names;
use super::syntax::{Comparison, Conditional, Emit, Expr, ExprKind, Filter, Filtering, How, LoopField};
use super::syntax::{PartName, ReaderField, Test};

/// Operators, filters and parentheses of one expression: it bounds the depth of every walk over it.
const MOST_STEPS: usize = 128;
const MOST_NESTED: usize = 32;
const MOST_ITEMS: usize = 1024;

/// A loop variable that is in scope. `literals` are all it can be, if that is known.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) literals: Option<Vec<String>>,
}

/// Reads one tag's or one value's tokens.
pub(super) struct Reader<'t, 's> {
    lexer: Lexer<'t>,
    pub(super) scope: &'s [Variable],
    next: (Token, Span),
    /// Where the token before `next` ended.
    ended: u32,
    first: u32,
    steps: usize,
    nested: usize,
}

type Result<T> = std::result::Result<T, Box<Fault>>;

impl<'t, 's> Reader<'t, 's> {
    pub(super) fn new(mut lexer: Lexer<'t>, scope: &'s [Variable]) -> Result<Self> {
        let next = lexer.next()?;
        let first = next.1.start;
        Ok(Self { lexer, scope, next, ended: first, first, steps: 0, nested: 0 })
    }

    pub(super) fn peek(&self) -> &Token {
        &self.next.0
    }

    pub(super) fn span(&self) -> Span {
        self.next.1
    }

    pub(super) fn advance(&mut self) -> Result<(Token, Span)> {
        self.ended = self.next.1.end;
        let is_last = matches!(self.next.0, Token::Close { .. });
        let next = if is_last { self.next.clone() } else { self.lexer.next()? };
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// Takes the sign if it comes next.
    pub(super) fn takes(&mut self, sign: &str) -> Result<bool> {
        let is_next = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    pub(super) fn takes_word(&mut self, word: &str) -> Result<bool> {
        let is_next = self.is_word(word);
        if is_next {
            self.advance()?;
        }
        Ok(is_next)
    }

    pub(super) fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(found) if found == word)
    }

    pub(super) fn expect(&mut self, sign: &str) -> Result<Span> {
        let span = self.span();
        if self.takes(sign)? { Ok(span) } else { Err(self.unexpected(&format!("`{sign}`"))) }
    }

    pub(super) fn expect_word(&mut self, wanted: &str) -> Result<(String, Span)> {
        match self.advance()? {
            (Token::Word(word), span) => Ok((word, span)),
            (token, span) => Err(unexpected(&token, span, wanted)),
        }
    }

    /// The end of the tag: whether it trims, and where the text goes on.
    pub(super) fn close(&mut self) -> Result<(bool, usize)> {
        match self.peek() {
            Token::Close { trim } => Ok((*trim, self.lexer.position())),
            _ => Err(self.unexpected("the end")),
        }
    }

    pub(super) fn unexpected(&self, wanted: &str) -> Box<Fault> {
        unexpected(self.peek(), self.span(), wanted)
    }

    /// Whether nothing stands between the last token and the next.
    pub(super) fn is_adjacent(&self) -> bool {
        self.ended == self.next.1.start
    }

    pub(super) fn since(&self, start: Span) -> Span {
        Span { start: start.start, end: self.ended }
    }

    /// What stands between `<<` and `>>`.
    pub(super) fn emit(&mut self) -> Result<Emit> {
        let expr = self.expression()?;
        let mut how = How::Encoded;
        if let Some((_, last)) = self.last_filter() {
            self.advance()?;
            how = last;
            if matches!(self.peek(), Token::Sign("|")) {
                return Err(Fault::refused(
                    self.span(),
                    "nothing may follow `raw` or `quote`: they say how the value is written",
                ));
            }
        }
        Ok(Emit { expr, how })
    }

    /// `raw` and `quote` are left for [`Self::emit`]; anywhere else they are refused there.
    fn last_filter(&self) -> Option<(&'static str, How)> {
        let Token::Word(word) = self.peek() else { return None };
        Filter::LAST.into_iter().find(|(name, _)| name == word)
    }

    pub(super) fn expression(&mut self) -> Result<Expr> {
        self.deeper(|reader| {
            let then = reader.or()?;
            if !reader.takes_word("if")? {
                return Ok(then);
            }
            let condition = reader.or()?;
            if !reader.takes_word("else")? {
                return Err(reader
                    .unexpected("`else`")
                    .hint("say what is written otherwise: `a if b else c`"));
            }
            let otherwise = reader.expression()?;
            let span = then.span.to(otherwise.span);
            let kind = ExprKind::Conditional(Box::new(Conditional { condition, then, otherwise }));
            Ok(Expr { span, kind })
        })
    }

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.nested += 1;
        if self.nested > MOST_NESTED {
            return Err(Fault::refused(self.span(), format!("nested deeper than {MOST_NESTED} levels")));
        }
        let result = read(self);
        self.nested -= 1;
        result
    }

    fn step(&mut self, span: Span) -> Result<()> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(Fault::refused(
                span,
                format!("more than {MOST_STEPS} operators and filters in one expression"),
            ));
        }
        Ok(())
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
                fault.hint("a name with `-`, `.` or `/` is written in brackets: `secrets[\"a-b\"]`")
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
            self.step(expr.span)?;
            if matches!(self.peek(), Token::Sign("." | "[")) {
                expr = self.part(expr)?;
            } else if self.takes("|")? {
                if self.last_filter().is_some() {
                    return self.must_be_last(expr);
                }
                expr = self.filter(expr)?;
            } else if self.takes_word("is")? {
                expr = self.test(expr)?;
            } else {
                return Ok(expr);
            }
        }
    }

    /// `raw` and `quote` end the whole of what is emitted; else there would be values that some
    /// later step has to know about.
    fn must_be_last(&mut self, expr: Expr) -> Result<Expr> {
        if self.nested == 1 && expr.span.start == self.first {
            return Ok(expr);
        }
        let fault = Fault::refused(self.span(), "`raw` and `quote` say how a whole value is written");
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

    fn items(&mut self, close: &str) -> Result<Vec<Expr>> {
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
            items.push(self.deeper(Self::expression)?);
        }
        Ok(items)
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

    fn atom(&mut self) -> Result<Expr> {
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

    fn negative(&mut self, start: Span) -> Result<ExprKind> {
        match self.advance()? {
            (Token::Integer(number), _) => Ok(ExprKind::Integer(-number)),
            (Token::Float(number), _) => Ok(ExprKind::Float(-number)),
            _ => Err(Fault::refused(start, "templates do not calculate: `-` is refused")),
        }
    }

    /// `(a)` or the list `(a, b)`.
    fn parenthesis(&mut self, start: Span) -> Result<Expr> {
        let first = self.deeper(Self::expression)?;
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
            None => fault.hint(format!("a secret is written `secrets.{word}`, a text in quotes")),
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

/// The names that a value may begin with.
pub(super) const NAMES: [&str; 4] = ["secrets", "secret", "env", "reader"];

fn choose<T: Copy>(name: &str, at: Span, owner: &str, table: &[(&'static str, T)]) -> Result<T> {
    let known = || table.iter().map(|(known, _)| *known);
    table.iter().find(|(known, _)| *known == name).map(|(_, item)| *item).ok_or_else(|| {
        let fault = Fault::refused(at, format!("there is no `{owner}.{name}`"));
        match nearest(name, known()) {
            Some(near) => fault.did_you_mean(Some(near)),
            None => fault.hint(format!("there are {}", known().collect::<Vec<_>>().join(", "))),
        }
    })
}

pub(super) fn unexpected(token: &Token, span: Span, wanted: &str) -> Box<Fault> {
    let found = match token {
        Token::Word(word) => format!("`{word}`"),
        Token::Text(_) => "a text".to_owned(),
        Token::Integer(_) | Token::Float(_) => "a number".to_owned(),
        Token::Sign(sign) => format!("`{sign}`"),
        Token::Close { .. } => "the end".to_owned(),
    };
    Fault::syntax(span, format!("{wanted} should stand here, not {found}"))
}
