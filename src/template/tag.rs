//! One `<< >>` or `<% %>` of ours as tokens of the engine, with the bounds on what it may hold. The engine
//! tells only lines of what it cannot read; here it is found which token is meant. Uses the engine's lexer.

use minijinja::machinery::{Token, Tokenizer, parse};
use minijinja::syntax::SyntaxConfig;

use super::error::{Fault, Span};
use super::scan::{Mark, Opening};

/// Operators, filters and parts on one path through an expression: it bounds the depth of every walk,
/// the engine's too.
const MOST_STEPS: usize = 128;
const MOST_NESTED: usize = 32;

/// What can follow a filter's name and is not its argument.
const OPERATORS: [&str; 7] = ["if", "else", "and", "or", "not", "in", "is"];

type Result<T> = std::result::Result<T, Box<Fault>>;

pub(super) struct Tag<'t> {
    text: &'t str,
    mark: Mark,
    opening: Span,
    tokens: Vec<Span>,
    /// Where the text goes on.
    pub(super) end: usize,
}

impl<'t> Tag<'t> {
    pub(super) fn read(text: &'t str, opening: &Opening, config: &SyntaxConfig) -> Result<Self> {
        let start = opening.span.start as usize;
        let mut tag =
            Self { text, mark: opening.mark, opening: opening.span, tokens: Vec::new(), end: start };
        let mut tokenizer = Tokenizer::new(&text[start..], "", false, config.clone());
        loop {
            let next = tokenizer.next_token();
            let Ok(Some((token, span))) = next else { return Err(tag.unread(next.is_err(), config)) };
            tag.end = start + span.end_offset as usize;
            match token {
                Token::VariableStart | Token::BlockStart => {}
                Token::VariableEnd | Token::BlockEnd => return tag.check().map(|()| tag),
                _ => tag.tokens.push(Span::new(start + span.start_offset as usize, tag.end)),
            }
        }
    }

    pub(super) fn opening(&self) -> Span {
        self.opening
    }

    /// The first token: of a `<% %>` its name.
    pub(super) fn head(&self) -> Option<Span> {
        self.tokens.first().copied()
    }

    /// The loop variables of a `for`.
    pub(super) fn targets(&self) -> impl Iterator<Item = Span> {
        let targets = self.tokens.iter().skip(1).take_while(|token| token.of(self.text) != "in");
        targets.copied().filter(|token| self.is_word(*token))
    }

    /// A filter's bare argument (`| default 'x'`), wherever one is.
    pub(super) fn bare_arguments(&self) -> Vec<Span> {
        let words: Vec<_> = self.tokens.iter().map(|token| token.of(self.text)).collect();
        let follows_filter = |at: &usize| words[at - 2] == "|" && self.is_word(self.tokens[at - 1]);
        let arguments = (2..words.len()).filter(follows_filter).filter(|at| self.is_atom(*at));
        arguments.map(|at| self.tokens[at].to(self.tokens[self.end_of_atom(at)])).collect()
    }

    fn is_atom(&self, at: usize) -> bool {
        let is_quoted =
            |word: &str| word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '\'' | '"'));
        let word = self.tokens[at].of(self.text);
        is_quoted(word) || self.is_word(self.tokens[at]) && !OPERATORS.contains(&word)
    }

    /// The last token of a literal, or of a name with its parts and arguments.
    fn end_of_atom(&self, from: usize) -> usize {
        let mut at = from;
        let mut open = 0;
        for next in from + 1..self.tokens.len() {
            match self.tokens[next].of(self.text) {
                "[" | "(" if self.is_word(self.tokens[from]) => open += 1,
                "]" | ")" if open > 0 => open -= 1,
                _ if open > 0 => {}
                "." if self.is_word(self.tokens[from]) => {}
                _ if self.tokens[at].of(self.text) == "." => {}
                _ => break,
            }
            at = next;
        }
        at
    }

    fn is_word(&self, token: Span) -> bool {
        token.of(self.text).starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    }

    fn check(&self) -> Result<()> {
        let mut open = Vec::new();
        let mut steps = 0;
        for token in &self.tokens {
            match token.of(self.text) {
                "(" | "[" | "{" => open.push(steps),
                ")" | "]" | "}" => drop(open.pop()),
                // Items stand beside each other, so each begins with the steps that led here.
                "," => steps = open.last().copied().unwrap_or(0),
                sign if is_step(sign) => steps += 1,
                _ => {}
            }
            if open.len() > MOST_NESTED {
                return Err(Fault::refused(*token, format!("nested deeper than {MOST_NESTED} levels")));
            }
            if steps > MOST_STEPS {
                let message = format!("more than {MOST_STEPS} operators and filters in one expression");
                return Err(Fault::refused(*token, message));
            }
        }
        Ok(())
    }

    /// What is wrong in this tag, if the engine cannot read it.
    pub(super) fn fault(&self, config: &SyntaxConfig) -> Option<Box<Fault>> {
        let close = self.delimiters(config).1;
        let end = Span::new(self.end - close.len(), self.end);
        let token = self.tokens.get(self.stumbles_at(config)?).copied().unwrap_or(end);
        if self.text[token.start as usize..].starts_with(close) {
            let end = Span::new(token.start as usize, token.start as usize + close.len());
            return Some(Fault::syntax(end, "something is missing before the end"));
        }
        Some(Fault::syntax(token, format!("`{}` cannot stand here", token.of(self.text))))
    }

    /// The token that the engine does not expect; one too many if it expects more.
    fn stumbles_at(&self, config: &SyntaxConfig) -> Option<usize> {
        let (open, close) = self.delimiters(config);
        let head = self.head().map_or("", |head| head.of(self.text));
        let (before, after) = match head {
            _ if self.mark != Mark::Tag => ("", ""),
            "if" => ("", "endif"),
            "for" => ("", "endfor"),
            "elif" | "else" => ("if 1", "endif"),
            "endif" => ("if 1", ""),
            "endfor" => ("for x in x", ""),
            _ => ("", ""),
        };
        let tag = |name: &str| if name.is_empty() { String::new() } else { format!("{open}{name}{close}") };
        // The engine tells the line, so each token gets one of its own.
        let words: Vec<_> = self.tokens.iter().map(|token| token.of(self.text).replace('\n', " ")).collect();
        let text = format!("{}{open}\n{}\n{close}{}", tag(before), words.join("\n"), tag(after));
        let line = parse(&text, "", config.clone()).err()?.line()?;
        Some(line.saturating_sub(2))
    }

    fn delimiters<'c>(&self, config: &'c SyntaxConfig) -> (&'c str, &'c str) {
        if self.mark == Mark::Tag { config.block_delimiters() } else { config.variable_delimiters() }
    }

    /// Why the text ended, or could not be read on, before the closing mark.
    fn unread(&self, is_broken: bool, config: &SyntaxConfig) -> Box<Fault> {
        let (open, close) = self.delimiters(config);
        if self.check().is_ok()
            && self.stumbles_at(config).is_some_and(|at| at < self.tokens.len())
            && let Some(fault) = self.fault(config)
        {
            return fault;
        }
        let rest = self.text[self.end..].trim_start();
        let at = self.text.len() - rest.len();
        match rest.chars().next() {
            Some('\'' | '"') if is_broken => {
                Fault::syntax(Span::new(at, at + 1), "the text that begins here is never closed")
            }
            Some(c) if is_broken => {
                Fault::syntax(Span::new(at, at + c.len_utf8()), format!("{c:?} has no meaning here"))
            }
            _ => Fault::syntax(self.opening, format!("this `{open}` is never closed by `{close}`")),
        }
    }
}

fn is_step(sign: &str) -> bool {
    let is_word = sign.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_word {
        OPERATORS.contains(&sign)
    } else {
        matches!(
            sign,
            "." | "|"
                | "~"
                | "+"
                | "-"
                | "*"
                | "/"
                | "//"
                | "%"
                | "**"
                | "=="
                | "!="
                | "<"
                | ">"
                | "<="
                | ">="
        )
    }
}
