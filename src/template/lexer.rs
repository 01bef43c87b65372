//! Reads the tokens between `<<` and `>>` (or `<%` and `%>`), each with its place in the template.
//! Uses `error` only.

use super::error::{Fault, Span};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    Text(String),
    Integer(i64),
    Float(f64),
    Sign(&'static str),
    /// The closing mark; `trim` if a `-` stands before it.
    Close {
        trim: bool,
    },
}

pub(super) struct Lexer<'t> {
    text: &'t str,
    position: usize,
    close: &'static str,
    /// The opening mark, to point at when nothing closes it.
    opening: Span,
}

/// Longest first, so that `**` is not read as two `*`.
const SIGNS: [&str; 27] = [
    "==", "!=", "<=", ">=", "//", "**", "<", ">", "=", "(", ")", "[", "]", "{", "}", ".", ",", ":", "|", "~",
    "+", "-", "*", "/", "%", ";", "!",
];

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, opening: Span, close: &'static str) -> Self {
        Self { text, position: opening.end as usize, close, opening }
    }

    /// Where the last token ended.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    pub(super) fn next(&mut self) -> Result<(Token, Span), Box<Fault>> {
        let rest = &self.text[self.position..];
        self.position += rest.len() - rest.trim_start().len();
        let start = self.position;
        let token = self.token(&self.text[start..])?;
        Ok((token, Span::new(start, self.position)))
    }

    fn token(&mut self, rest: &str) -> Result<Token, Box<Fault>> {
        if let Some(trim) = self.closes(rest) {
            self.position += self.close.len() + usize::from(trim);
            return Ok(Token::Close { trim });
        }
        let Some(first) = rest.chars().next() else {
            return Err(self.never_closed());
        };
        match first {
            'a'..='z' | 'A'..='Z' | '_' => Ok(self.word(rest)),
            '0'..='9' => self.number(rest),
            '"' | '\'' => self.quoted(rest, first),
            _ => self.sign(rest, first),
        }
    }

    fn closes(&self, rest: &str) -> Option<bool> {
        if rest.starts_with(self.close) {
            return Some(false);
        }
        rest.strip_prefix('-')?.starts_with(self.close).then_some(true)
    }

    fn never_closed(&self) -> Box<Fault> {
        let mark = self.opening.of(self.text).trim_end_matches('-');
        Fault::syntax(self.opening, format!("this `{mark}` is never closed by `{}`", self.close))
    }

    fn word(&mut self, rest: &str) -> Token {
        let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        self.position += length;
        Token::Word(rest[..length].to_owned())
    }

    fn number(&mut self, rest: &str) -> Result<Token, Box<Fault>> {
        let start = self.position;
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let whole = digits(rest);
        let fraction = match rest[whole..].strip_prefix('.').map(digits) {
            Some(length) if length > 0 => length + 1,
            _ => 0,
        };
        self.position += whole + fraction;
        let written = &rest[..whole + fraction];
        let number = match fraction {
            0 => written.parse().ok().map(Token::Integer),
            _ => written.parse().ok().map(Token::Float),
        };
        let span = Span::new(start, self.position);
        number.ok_or_else(|| Fault::syntax(span, "this number is too large; write it as a text, in quotes"))
    }

    fn quoted(&mut self, rest: &str, quote: char) -> Result<Token, Box<Fault>> {
        let start = self.position;
        let mut text = String::new();
        let mut chars = rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => {
                    let place = Span::new(start + at, (start + at + 2).min(self.text.len()));
                    text.push(escaped(&mut chars, place)?);
                }
                _ if c == quote => {
                    self.position = start + at + 1;
                    return Ok(Token::Text(text));
                }
                _ => text.push(c),
            }
        }
        Err(Fault::syntax(Span::new(start, start + 1), "the text that begins here is never closed"))
    }

    fn sign(&mut self, rest: &str, first: char) -> Result<Token, Box<Fault>> {
        let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) else {
            let span = Span::new(self.position, self.position + first.len_utf8());
            return Err(Fault::syntax(span, format!("{first:?} has no meaning here")));
        };
        self.position += sign.len();
        Ok(Token::Sign(sign))
    }
}

fn escaped(chars: &mut impl Iterator<Item = (usize, char)>, place: Span) -> Result<char, Box<Fault>> {
    let unknown = || {
        Fault::syntax(place, r#"only \n, \r, \t, \\, \", \', \/ and \uXXXX may follow a backslash in a text"#)
    };
    match chars.next().map(|(_, c)| c) {
        Some('n') => Ok('\n'),
        Some('r') => Ok('\r'),
        Some('t') => Ok('\t'),
        Some(c @ ('\\' | '"' | '\'' | '/')) => Ok(c),
        Some('u') => {
            let digits: String = chars.take(4).map(|(_, c)| c).collect();
            let is_code = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let code = u32::from_str_radix(&digits, 16).ok().filter(|_| is_code);
            code.and_then(char::from_u32).ok_or_else(unknown)
        }
        _ => Err(unknown()),
    }
}
