//! What is wrong with a config, where, and what to do about it. Never echoes more of the file
//! than the one line that is wrong. Uses `place`, and the words for what may be a secret.

use std::fmt;
use std::path::{Path, PathBuf};

use super::place::{Place, place_of};
use super::provider::NO_PLACE_FOR_A_VALUE;
use crate::nearest::nearest;

/// A config that cannot be used. Displays as `file:line:column: what`, then the line with a caret.
#[derive(Debug)]
pub struct ConfigError {
    pub file: PathBuf,
    pub place: Option<Place>,
    pub problem: String,
    pub hint: Option<String>,
    excerpt: Option<String>,
}

impl ConfigError {
    pub fn new(file: &Path, text: &str, place: Option<Place>, problem: impl fmt::Display) -> Self {
        Self {
            file: file.to_owned(),
            place,
            problem: problem.to_string(),
            hint: None,
            excerpt: place.and_then(|place| place.excerpt(text)),
        }
    }

    pub fn hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    pub(super) fn from_yaml(file: &Path, text: &str, error: &serde_yaml::Error) -> Self {
        let place = place_of(error);
        // A secret that was written into the config stands in that line.
        let is_told = !error.to_string().contains(NO_PLACE_FOR_A_VALUE);
        let message = without_place(error.to_string(), place);
        let (problem, hint) = match unknown_key(&message) {
            Some((key, known)) => (format!("unknown key `{key}`"), Some(known_keys(key, &known))),
            None => (in_our_words(&message), tabs(text, place)),
        };
        let error = Self::new(file, text, place, problem).hint(hint);
        Self { excerpt: error.excerpt.filter(|_| is_told), ..error }
    }
}

impl ConfigError {
    /// Without the line, which may hold a value.
    pub fn in_brief(&self) -> String {
        let place = self.place.map(|place| format!(":{}:{}", place.line, place.column));
        format!("{}{}: {}", self.file.display(), place.unwrap_or_default(), self.problem)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.in_brief())?;
        match &self.excerpt {
            Some(excerpt) => write!(f, "\n{excerpt}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// The parser's message without the place, which is told in front.
fn without_place(message: String, place: Option<Place>) -> String {
    let Some(Place { line, column }) = place else { return message };
    message.replace(&format!(" at line {line} column {column}"), "")
}

/// What the parser calls a thing, and what its user calls it.
const WORDS: [(&str, &str); 3] =
    [("a sequence", "a list"), ("sequence", "a list"), ("unit value", "nothing")];

/// What the parser says of a tab, nobody understands.
fn tabs(text: &str, place: Option<Place>) -> Option<String> {
    let line = text.lines().nth(place?.line.checked_sub(1)?)?;
    let indent = line.len() - line.trim_start().len();
    line[..indent].contains('\t').then(|| "indent by spaces: YAML takes no tabs".to_owned())
}

/// The parser's words for a wrong kind of value, a key that is missing and one that is there twice.
fn in_our_words(message: &str) -> String {
    if let Some((place, rest)) = message.split_once("invalid type: ")
        && let Some((found, expected)) = rest.split_once(", expected ")
    {
        let kind = found.split_once([' ', '`', '"']).map_or(found, |(kind, _)| kind);
        let found = match kind {
            "map" => "a map",
            "string" => "text",
            "integer" | "floating" => "a number",
            "boolean" => "true or false",
            _ => ours(found),
        };
        return format!("{place}expected {}, found {found}", ours(expected));
    }
    for (theirs, end) in [("missing field ", " is missing"), ("duplicate field ", " is given twice")] {
        if let Some((place, name)) = message.split_once(theirs) {
            return format!("{place}{name}{end}");
        }
    }
    message.to_owned()
}

fn ours(word: &str) -> &str {
    WORDS.iter().find(|(theirs, _)| *theirs == word).map_or(word, |(_, ours)| ours)
}

/// serde's words for an unknown key: the key and those that are known.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let (_, rest) = message.split_once("unknown field `")?;
    let (key, rest) = rest.split_once('`')?;
    Some((key, rest.split('`').skip(1).step_by(2).collect()))
}

fn known_keys(key: &str, known: &[&str]) -> String {
    match nearest(key, known) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}
