//! What is wrong with a template or its rendering, and where. Says names and places, never a value.
//! Uses the words of `secret` only.

use std::fmt;
use std::sync::Arc;

use crate::secret::Reference;

/// A piece of the template's text, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        // Templates are at most 256 KiB.
        Self { start: start as u32, end: end as u32 }
    }

    pub(super) fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }

    pub(super) fn of(self, text: &str) -> &str {
        &text[self.start as usize..self.end as usize]
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The template is not well formed.
    Syntax,
    /// Well formed, but not something that a template may do.
    Refused,
    /// No such secret, version or field.
    Missing(Box<Reference>),
    Expired(Box<Reference>),
    Revoked(Box<Reference>),
    /// Several secrets are what one is asked for.
    Ambiguous(Box<Reference>),
    /// An environment variable, a part of a JSON value or the like that is not there.
    Undefined,
    /// The place in the output cannot carry the value.
    Unencodable,
    /// A filter or an operator cannot work with the value.
    Filter,
    /// Too much work for one rendering.
    Limit,
    /// The output is larger than its cap.
    TooLarge,
    /// The output as a whole is not valid in its format.
    Verify,
}

/// A fault with its place in the template.
#[derive(Clone, Debug)]
pub struct TemplateError {
    pub kind: Kind,
    pub message: Box<str>,
    /// What to do, as it reads after "try: ".
    pub hint: Option<Box<str>>,
    /// The template's name, as given to `compile`.
    pub name: Arc<str>,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// How many characters of the line are meant; at least 1.
    pub width: u32,
    /// As much of it as is shown.
    pub source_line: Box<str>,
    /// Further references that are missing too.
    pub also: Vec<TemplateError>,
}

/// A fault on its way up, before the template's name and text are at hand.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: Option<Box<str>>,
}

impl Fault {
    pub(super) fn new(kind: Kind, span: Span, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { kind, span, message: message.into(), hint: None })
    }

    pub(super) fn syntax(span: Span, message: impl Into<String>) -> Box<Self> {
        Self::new(Kind::Syntax, span, message)
    }

    pub(super) fn refused(span: Span, message: impl Into<String>) -> Box<Self> {
        Self::new(Kind::Refused, span, message)
    }

    pub(super) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into().into());
        self
    }

    pub(super) fn did_you_mean(mut self: Box<Self>, name: Option<impl fmt::Display>) -> Box<Self> {
        if let Some(name) = name {
            self.message.push_str(&format!("; did you mean `{name}`?"));
        }
        self
    }
}

impl TemplateError {
    pub(super) fn locate(fault: Fault, name: &Arc<str>, text: &str) -> Self {
        let start = fault.span.start as usize;
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = (fault.span.end as usize).clamp(start, line_end);
        Self {
            kind: fault.kind,
            message: fault.message.into(),
            hint: fault.hint,
            name: name.clone(),
            line: text[..start].matches('\n').count() as u32 + 1,
            column: text[line_start..start].chars().count() as u32 + 1,
            width: text[start..end].chars().count().max(1) as u32,
            source_line: surroundings(&text[line_start..line_end], &text[line_start..start]),
            also: Vec::new(),
        }
    }

    /// The line of the template with a caret under the place that is meant.
    pub fn excerpt(&self) -> String {
        let before = (self.column as usize - 1).min(BEFORE);
        let shown = |c: char| if c == '\t' || !c.is_control() { c } else { '\u{fffd}' };
        let line: String = self.source_line.chars().map(shown).collect();
        let blank: String = line.chars().take(before).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let carets = "^".repeat((self.width as usize).min(SHOWN - before));
        format!("{number} | {line}\n{margin} | {blank}{carets}")
    }
}

/// What is shown of an endless line, in characters, and how much of that lies before the place.
const SHOWN: usize = 120;
const BEFORE: usize = 60;

/// A hundred errors in one line would keep it a hundred times.
fn surroundings(line: &str, before: &str) -> Box<str> {
    let skip = before.chars().count().saturating_sub(BEFORE);
    line.trim_end_matches('\r').chars().skip(skip).take(SHOWN).collect()
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.name, self.line, self.column, self.message)
    }
}

impl std::error::Error for TemplateError {}
