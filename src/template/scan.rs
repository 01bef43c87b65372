//! Decides what in a template is ours. `<<` and `<%` occur in real files (here-documents, shifts, YAML's
//! merge key), so with angle brackets a mark is ours only if something of ours follows; all else is text.
//! Uses `error` and the tables of names.

use super::error::{Fault, Span};
use super::filters;
use super::format::Syntax;
use super::names::NAMES;
use crate::nearest::nearest;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Value,
    Tag,
    Comment,
}

/// A mark that opens something of ours. `span` takes in the `-` of a trimming one.
pub(super) struct Opening {
    pub(super) mark: Mark,
    pub(super) span: Span,
}

impl Mark {
    /// What opens it and what closes it.
    pub(super) fn delimiters(self, syntax: Syntax) -> (&'static str, &'static str) {
        match (syntax, self) {
            (Syntax::Angle, Self::Value) => ("<<", ">>"),
            (Syntax::Angle, Self::Tag) => ("<%", "%>"),
            (Syntax::Angle, Self::Comment) => ("<#", "#>"),
            (Syntax::Jinja, Self::Value) => ("{{", "}}"),
            (Syntax::Jinja, Self::Tag) => ("{%", "%}"),
            (Syntax::Jinja, Self::Comment) => ("{#", "#}"),
        }
    }
}

/// Tags that templates have, and those that Jinja has and templates refuse.
pub(super) const TAGS: [&str; 8] = ["if", "elif", "else", "endif", "for", "endfor", "raw", "endraw"];
pub(super) const REFUSED_TAGS: [&str; 20] = [
    "set",
    "endset",
    "macro",
    "endmacro",
    "call",
    "endcall",
    "filter",
    "endfilter",
    "block",
    "endblock",
    "with",
    "endwith",
    "include",
    "import",
    "from",
    "extends",
    "autoescape",
    "do",
    "break",
    "continue",
];

pub(super) struct Scanner<'t> {
    text: &'t str,
    syntax: Syntax,
    /// The next closing mark of a comment, so that unclosed ones cost one search and not one each.
    comment_close: Option<usize>,
    /// Where a mark stands that is not ours.
    pub(super) foreign: Vec<usize>,
    /// The first of them that was meant for us, and is not known.
    pub(super) unknown: Option<Box<Fault>>,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str, syntax: Syntax) -> Self {
        Self { text, syntax, comment_close: Some(0), foreign: Vec::new(), unknown: None }
    }

    /// The next mark of ours at or after `from`.
    pub(super) fn next(&mut self, from: usize, scope: &[String]) -> Option<Opening> {
        let bracket = if self.syntax == Syntax::Angle { '<' } else { '{' };
        let mut at = from;
        while let Some(found) = self.text[at..].find(bracket) {
            at += found;
            let mark = match self.text.as_bytes().get(at + 1) {
                Some(&second) if second == bracket as u8 => Some(Mark::Value),
                Some(b'%') => Some(Mark::Tag),
                Some(b'#') => Some(Mark::Comment),
                _ => None,
            };
            if let Some(mark) = mark {
                if self.is_ours(mark, at, scope) {
                    let trim = self.text[at + 2..].starts_with('-');
                    return Some(Opening { mark, span: Span::new(at, at + 2 + usize::from(trim)) });
                }
                self.foreign.push(at);
            }
            at += 1;
        }
        None
    }

    fn is_ours(&mut self, mark: Mark, at: usize, scope: &[String]) -> bool {
        if self.syntax == Syntax::Jinja {
            return true;
        }
        let rest = &self.text[at + 2..];
        let inner = rest.strip_prefix('-').unwrap_or(rest).trim_start();
        let inner_at = self.text.len() - inner.len();
        let unknown = match mark {
            Mark::Comment => return self.closes_comment(at + 2),
            Mark::Value if is_value(inner, scope) => return true,
            Mark::Tag if is_tag(inner) => return true,
            Mark::Value => refuse_unknown_value(inner, inner_at),
            Mark::Tag => refuse_unknown_tag(inner, inner_at),
        };
        self.unknown = self.unknown.take().or(unknown.err());
        false
    }

    fn closes_comment(&mut self, from: usize) -> bool {
        if self.comment_close.is_some_and(|close| close < from) {
            self.comment_close = self.text[from..].find("#>").map(|found| from + found);
        }
        self.comment_close.is_some()
    }
}

/// Whether a value of ours begins here: a name of ours that is used, or a literal that is filtered.
fn is_value(inner: &str, scope: &[String]) -> bool {
    let inner = inner.trim_start_matches(|c: char| matches!(c, '(' | '[') || c.is_ascii_whitespace());
    let head = word(inner);
    let rest = &inner[head.len()..];
    match head {
        "" => literal(inner).is_some_and(is_worked_on),
        "true" | "false" | "none" => is_worked_on(rest),
        "not" => is_value(rest, scope),
        "secret" => rest.trim_start().starts_with(['(', '.', '[']),
        "secrets" | "env" | "reader" => is_used(rest),
        "loop" => !scope.is_empty() && is_used(rest),
        _ => scope.iter().any(|name| name == head) && is_used(rest),
    }
}

/// What follows a name that is meant as ours: a part, a filter, or the end on the same line.
fn is_used(rest: &str) -> bool {
    rest.trim_start().starts_with(['.', '[', '|', '~']) || closes_on_line(rest)
}

/// What follows a literal that is not just a here-document's `<<'EOF' | sort >>out`.
fn is_worked_on(rest: &str) -> bool {
    let rest = rest.trim_start();
    let goes_on = rest.starts_with(['~', ',']) || word(rest) == "if";
    filters(rest) || goes_on && closes_on_line(rest)
}

fn filters(rest: &str) -> bool {
    rest.strip_prefix('|').is_some_and(|filter| filters::is_known(word(filter.trim_start())))
}

fn closes_on_line(rest: &str) -> bool {
    // Far enough for what people write; a longer search at each mark would let a template of marks
    // alone take forever.
    let near = &rest.as_bytes()[..rest.len().min(256)];
    let line = near.split(|&byte| byte == b'\n').next().unwrap_or(near);
    line.windows(2).any(|pair| pair == b">>")
}

/// A closed `<< word.word >>` that we do not know is meant for us, and never silently text.
fn refuse_unknown_value(inner: &str, inner_at: usize) -> Result<(), Box<Fault>> {
    let head = word(inner);
    let length = inner.find(|c: char| !is_word_character(c) && c != '.').unwrap_or(inner.len());
    let (path, rest) = inner.split_at(length);
    let near = nearest(head, NAMES).filter(|near| *near != head);
    let is_path = !head.is_empty() && path[head.len()..].starts_with('.') && !path.ends_with('.');
    let is_closed = ["", "-"].iter().any(|trim| rest.trim_start().starts_with(&format!("{trim}>>")));
    let is_call =
        near.is_some() && path == head && ["[\"", "(\"", "['", "('"].iter().any(|s| rest.starts_with(s));
    if !is_call && !(is_path && (is_closed || filters(rest.trim_start()))) {
        return Ok(());
    }
    let span = Span::new(inner_at, inner_at + path.len());
    let fault = Fault::syntax(span, format!("`{head}` is not a name that templates know"));
    Err(match near {
        Some(near) => fault.did_you_mean(Some(near)),
        None => fault.hint(format!(
            "write `secrets.{path}` for a field of a secret, `<% raw %>…<% endraw %>` for the text itself"
        )),
    })
}

fn is_tag(inner: &str) -> bool {
    let name = word(inner);
    TAGS.contains(&name) || REFUSED_TAGS.contains(&name)
}

/// A tag's name that is one letter off.
fn refuse_unknown_tag(inner: &str, inner_at: usize) -> Result<(), Box<Fault>> {
    let name = word(inner);
    let is_near = |tag: &&&str| {
        (tag.len() > 2 || name.starts_with(**tag)) && strsim::damerau_levenshtein(name, tag) == 1
    };
    match TAGS.iter().find(is_near) {
        None => Ok(()),
        near => {
            let span = Span::new(inner_at, inner_at + name.len());
            Err(Fault::syntax(span, format!("there is no tag `{name}`")).did_you_mean(near))
        }
    }
}

fn word(text: &str) -> &str {
    let length = text.find(|c| !is_word_character(c)).unwrap_or(text.len());
    if text.starts_with(|c: char| c.is_ascii_digit()) { "" } else { &text[..length] }
}

fn is_word_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What follows a text or a number.
fn literal(inner: &str) -> Option<&str> {
    let quote = inner.chars().next()?;
    if quote == '"' || quote == '\'' {
        let end = inner[1..].find([quote, '\n'])? + 1;
        return inner[end..].strip_prefix(quote);
    }
    let rest = inner.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    (rest.len() < inner.len()).then_some(rest)
}
