//! What `check` has found, and how it is told: a line each with its place, or JSON.

use std::io::Write;

use serde::Serialize;

use crate::cli::exit;
use crate::cli::report::Failure;
use crate::template::TemplateError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The template cannot be served.
    Template,
    /// A reference has no value.
    Missing,
    Note,
}

#[derive(Serialize)]
pub(super) struct Finding {
    kind: Kind,
    file: String,
    line: Option<u32>,
    column: Option<u32>,
    message: String,
    hint: Option<String>,
    #[serde(skip)]
    excerpt: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Report {
    templates: usize,
    findings: Vec<Finding>,
}

impl Finding {
    /// About a file as a whole.
    pub(super) fn whole(file: &str, kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, file: file.to_owned(), line: None, column: None, message, hint: None, excerpt: None }
    }

    pub(super) fn at(file: &str, kind: Kind, place: (u32, u32), message: impl Into<String>) -> Self {
        Self { line: Some(place.0), column: Some(place.1), ..Self::whole(file, kind, message) }
    }

    pub(super) fn of(kind: Kind, error: &TemplateError) -> Self {
        Self {
            hint: error.hint.as_ref().map(ToString::to_string),
            excerpt: Some(error.excerpt()),
            ..Self::at(&error.name, kind, (error.line, error.column), error.message.clone())
        }
    }

    fn place(&self) -> String {
        match (self.line, self.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", self.file),
            _ => self.file.clone(),
        }
    }

    fn told(&self) -> String {
        let hint = self.hint.iter().map(|hint| format!("; {hint}"));
        format!("{}{}", self.message, hint.collect::<String>())
    }
}

impl Report {
    pub(super) fn on(templates: usize) -> Self {
        Self { templates, findings: Vec::new() }
    }

    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    pub(super) fn status(&self) -> u8 {
        let has = |kind| self.findings.iter().any(|finding| finding.kind == kind);
        if has(Kind::Template) {
            exit::DATA
        } else if has(Kind::Missing) {
            exit::NO
        } else {
            exit::OK
        }
    }

    pub(super) fn print(&self, json: bool) -> Result<(), Failure> {
        let text = if json { self.as_json()? } else { self.as_text() };
        let mut out = std::io::stdout().lock();
        let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| Failure::new(exit::IO, format!("cannot write: {error}")))
    }

    fn as_json(&self) -> Result<String, Failure> {
        let json = serde_json::to_string_pretty(self).map_err(|error| Failure::new(exit::SOFTWARE, error))?;
        Ok(json + "\n")
    }

    fn as_text(&self) -> String {
        let mut text = String::new();
        for finding in self.of_kind(Kind::Template) {
            text += &format!("{}: {}\n", finding.place(), finding.told());
            text.extend(finding.excerpt.iter().flat_map(|excerpt| [excerpt.as_str(), "\n"]));
        }
        text += &self.table(Kind::Missing);
        text += &self.table(Kind::Note);
        text + &self.summary()
    }

    /// One finding a line, the places aligned.
    fn table(&self, kind: Kind) -> String {
        let width = self.of_kind(kind).map(|finding| finding.place().len()).max().unwrap_or(0);
        let line = |finding: &Finding| format!("{:width$}  {}\n", finding.place(), finding.told());
        self.of_kind(kind).map(line).collect()
    }

    fn summary(&self) -> String {
        let count = |kind| self.of_kind(kind).count();
        let templates = counted(self.templates, "template");
        let faults = counted(count(Kind::Template), "fault");
        let notes = counted(count(Kind::Note), "note");
        format!("{templates}: {faults}, {} missing, {notes}\n", count(Kind::Missing))
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |finding| finding.kind == kind)
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
