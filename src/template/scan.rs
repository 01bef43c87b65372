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

/// How other template languages call ours. `end` is not among them: it ends what is open.
const FOREIGN_TAGS: [(&str, &str); 21] = [
    ("elseif", "elif"),
    ("elsif", "elif"),
    ("fi", "endif"),
    ("unless", "if not"),
    ("endunless", "endif"),
    ("switch", "if"),
    ("case", "if"),
    ("when", "elif"),
    ("endswitch", "endif"),
    ("endcase", "endif"),
    ("endwhen", "endif"),
    ("esac", "endif"),
    ("foreach", "for"),
    ("endforeach", "endfor"),
    ("each", "for"),
    ("endeach", "endfor"),
    ("while", "for"),
    ("endwhile", "endfor"),
    ("done", "endfor"),
    ("verbatim", "raw"),
    ("endverbatim", "endraw"),
];

/// What is open where a mark stands.
#[derive(Default)]
pub(super) struct Around {
    /// The loop variables.
    pub(super) scope: Vec<String>,
    /// What ends the innermost `if` or `for`.
    pub(super) end: Option<&'static str>,
}

/// The next place of a text, found once for all who ask from before it.
struct Ahead {
    what: &'static str,
    at: Option<usize>,
}

impl Ahead {
    fn of(what: &'static str) -> Self {
        Self { what, at: Some(0) }
    }

    fn after(&mut self, text: &str, from: usize) -> Option<usize> {
        if self.at.is_some_and(|at| at < from) {
            self.at = text[from..].find(self.what).map(|found| from + found);
        }
        self.at
    }
}

pub(super) struct Scanner<'t> {
    text: &'t str,
    syntax: Syntax,
    comment_close: Ahead,
    tag_close: Ahead,
    /// Where a mark stands that is not ours.
    pub(super) foreign: Vec<usize>,
    /// The first of them that was meant for us, and is not known.
    pub(super) unknown: Option<Box<Fault>>,
    /// What was left as text and might have been meant for us, with what to write then.
    pub(super) doubtful: Vec<(String, Span)>,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str, syntax: Syntax) -> Self {
        Self {
            text,
            syntax,
            comment_close: Ahead::of("#>"),
            tag_close: Ahead::of("%>"),
            foreign: Vec::new(),
            unknown: None,
            doubtful: Vec::new(),
        }
    }

    /// The next mark of ours at or after `from`.
    pub(super) fn next(&mut self, from: usize, around: &Around) -> Option<Opening> {
        let opening = self.find(from, around);
        if self.syntax == Syntax::Angle {
            let end = opening.as_ref().map_or(self.text.len(), |opening| opening.span.start as usize);
            self.doubt_braces(from, end);
        }
        opening
    }

    fn find(&mut self, from: usize, around: &Around) -> Option<Opening> {
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
                if self.is_ours(mark, at, around) {
                    let trim = self.text[at + 2..].starts_with('-');
                    return Some(Opening { mark, span: Span::new(at, at + 2 + usize::from(trim)) });
                }
                self.foreign.push(at);
            }
            at += 1;
        }
        None
    }

    fn is_ours(&mut self, mark: Mark, at: usize, around: &Around) -> bool {
        if self.syntax == Syntax::Jinja {
            return true;
        }
        let rest = &self.text[at + 2..];
        let inner = rest.strip_prefix('-').unwrap_or(rest).trim_start();
        let inner_at = self.text.len() - inner.len();
        let unknown = match mark {
            Mark::Comment => return self.comment_close.after(self.text, at + 2).is_some(),
            Mark::Value if is_value(inner, &around.scope) => return true,
            Mark::Tag if is_tag(inner) => return true,
            Mark::Value => self.refuse_unknown_value(inner, inner_at),
            Mark::Tag => self.refuse_unknown_tag(inner, inner_at, around.end),
        };
        self.unknown = self.unknown.take().or(unknown.err());
        false
    }

    /// A closed `<< word.word >>` that we do not know is meant for us, and never silently text; nor is one
    /// word with a filter of ours. One word alone can be a here-document or a shift.
    fn refuse_unknown_value(&mut self, inner: &str, inner_at: usize) -> Result<(), Box<Fault>> {
        refuse_unknown_path(inner, inner_at)?;
        let name = secret_name(inner);
        let rest = inner[name.len()..].trim_start();
        let span = Span::new(inner_at, inner_at + name.len());
        if name.is_empty() {
            return Ok(());
        }
        if filters(rest) && closes_on_line(rest) {
            let fault = Fault::syntax(span, format!("`{name}` is not a name that templates know"));
            return Err(fault.did_you_mean(Some(named(name))));
        }
        if is_closing(rest) {
            self.doubtful.push((named(name), span));
        }
        Ok(())
    }

    /// Text that another syntax would take for a secret: `{{ secrets.a }}`.
    fn doubt_braces(&mut self, from: usize, end: usize) {
        let mut at = from;
        while let Some(found) = self.text[at..end].find("{{") {
            at += found + 2;
            let inner = self.text[at..end].trim_start();
            if !matches!(word(inner), "secrets" | "secret") {
                continue;
            }
            if let Some(close) = on_line(inner, b"}}") {
                let expression = inner[..close].trim_end();
                let start = end - inner.len();
                let span = Span::new(start, start + expression.len());
                self.doubtful.push((format!("<< {expression} >>"), span));
                at = start + close;
            }
        }
    }

    /// A tag's name that is one letter off, or another language's. Within an `if` or `for` no other name
    /// is text either, since the wrong branch could be served with it.
    fn refuse_unknown_tag(&mut self, inner: &str, at: usize, end: Option<&str>) -> Result<(), Box<Fault>> {
        let name = word(inner);
        let is_meant = end.is_some() || foreign_tag(name, end).is_some();
        if slip(name).is_some() || is_meant && !name.is_empty() && self.closes_tag(at) {
            return Err(unknown_tag(name, Span::new(at, at + name.len()), end));
        }
        Ok(())
    }

    /// Whether `%>` comes before another tag.
    fn closes_tag(&mut self, from: usize) -> bool {
        let close = self.tag_close.after(self.text, from);
        close.is_some_and(|close| !self.text[from..close].contains("<%"))
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
    on_line(rest, b">>").is_some()
}

fn on_line(rest: &str, close: &[u8; 2]) -> Option<usize> {
    // Far enough for what people write; a longer search at each mark would let a template of marks
    // alone take forever.
    let near = &rest.as_bytes()[..rest.len().min(256)];
    let line = near.split(|&byte| byte == b'\n').next().unwrap_or(near);
    line.windows(2).position(|pair| pair == close)
}

/// What may be a secret's name: a word, or words with `-` and `/` between them.
fn secret_name(inner: &str) -> &str {
    let length = inner.find(|c| !is_word_character(c) && !matches!(c, '-' | '/')).unwrap_or(inner.len());
    if word(inner).is_empty() { "" } else { inner[..length].trim_end_matches(['-', '/']) }
}

/// How a template names that secret.
fn named(name: &str) -> String {
    if word(name) == name { format!("secrets.{name}") } else { format!("secrets[\"{name}\"]") }
}

fn is_closing(rest: &str) -> bool {
    rest.strip_prefix('-').unwrap_or(rest).starts_with(">>")
}

fn refuse_unknown_path(inner: &str, inner_at: usize) -> Result<(), Box<Fault>> {
    let head = word(inner);
    let length = inner.find(|c: char| !is_word_character(c) && c != '.').unwrap_or(inner.len());
    let (path, rest) = inner.split_at(length);
    let near = nearest(head, NAMES).filter(|near| *near != head);
    let is_path = !head.is_empty() && path[head.len()..].starts_with('.') && !path.ends_with('.');
    let is_closed = is_closing(rest.trim_start());
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

/// The tag whose name was written with one letter wrong.
fn slip(name: &str) -> Option<&'static str> {
    let is_near =
        |tag: &&str| (tag.len() > 2 || name.starts_with(tag)) && strsim::damerau_levenshtein(name, tag) == 1;
    TAGS.into_iter().find(is_near)
}

/// What another language's tag is called here.
fn foreign_tag<'e>(name: &str, end: Option<&'e str>) -> Option<&'e str> {
    match name {
        "end" => Some(end.unwrap_or("endif")),
        _ => FOREIGN_TAGS.iter().find(|(foreign, _)| *foreign == name).map(|(_, ours)| *ours),
    }
}

/// `end` is what ends the innermost block.
pub(super) fn unknown_tag(name: &str, span: Span, end: Option<&str>) -> Box<Fault> {
    let fault = Fault::syntax(span, format!("there is no tag `{name}`"));
    match foreign_tag(name, end).or_else(|| slip(name)).or_else(|| nearest(name, TAGS)) {
        Some(near) => fault.did_you_mean(Some(near)),
        None => fault.hint("one of `if`, `elif`, `else`, `for` and `raw`, which keeps a text as it is"),
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
