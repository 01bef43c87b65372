//! A cursor over the tokens of one tag or value, with the names in scope and the bounds on what is read.
//! Uses the lexer.

use super::error::{Fault, Span};
use super::lexer::{Lexer, Token};
use super::syntax::How;

/// Operators, filters and parts on one path through an expression: it bounds the depth of every walk.
const MOST_STEPS: usize = 128;
const MOST_NESTED: usize = 32;

/// A loop variable that is in scope. `literals` are all it can be, if that is known.
pub(super) struct Variable {
    pub(super) name: String,
    pub(super) literals: Option<Vec<String>>,
}

pub(super) struct Tokens<'t, 's> {
    lexer: Lexer<'t>,
    pub(super) scope: &'s [Variable],
    next: (Token, Span),
    /// Where the first token began, and where the one before `next` ended.
    pub(super) first: u32,
    ended: u32,
    pub(super) steps: usize,
    pub(super) nested: usize,
    /// What a last `| raw` or `| quote` said.
    pub(super) how: How,
}

type Result<T> = std::result::Result<T, Box<Fault>>;

impl<'t, 's> Tokens<'t, 's> {
    pub(super) fn new(mut lexer: Lexer<'t>, scope: &'s [Variable]) -> Result<Self> {
        let next = lexer.next()?;
        let first = next.1.start;
        Ok(Self { lexer, scope, next, ended: first, first, steps: 0, nested: 0, how: How::Encoded })
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

    /// Reads what is nested in parentheses, brackets or the like.
    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.nested += 1;
        if self.nested > MOST_NESTED {
            return Err(Fault::refused(self.span(), format!("nested deeper than {MOST_NESTED} levels")));
        }
        let result = read(self);
        self.nested -= 1;
        result
    }

    /// Counts one thing that is wrapped around what stands at `span`.
    pub(super) fn step(&mut self, span: Span) -> Result<()> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            let message = format!("more than {MOST_STEPS} operators and filters in one expression");
            return Err(Fault::refused(span, message));
        }
        Ok(())
    }
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
