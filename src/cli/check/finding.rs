//! One thing that `check` has found: what, where, and what to do. Uses the errors of config and
//! templates.

use serde::Serialize;

use crate::config::ConfigError;
use crate::template::TemplateError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// The config asks for what cannot be.
    Config,
    /// The template cannot be served.
    Template,
    Note,
}

/// Of the same kind they are told in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    #[serde(flatten)]
    pub(super) place: Place,
    message: String,
    hint: Option<String>,
    #[serde(skip)]
    excerpt: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: Option<u32>,
    pub(super) column: Option<u32>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "{}:{line}:{column}", self.file),
            _ => f.write_str(&self.file),
        }
    }
}

impl Finding {
    pub(super) fn on(place: Place, kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, place, message: message.into(), hint: None, excerpt: None }
    }

    /// About a file as a whole.
    pub(super) fn whole(file: &str, kind: Kind, message: impl Into<String>) -> Self {
        Self::on(Place { file: file.to_owned(), line: None, column: None }, kind, message)
    }

    pub(super) fn at(file: &str, kind: Kind, place: (u32, u32), message: impl Into<String>) -> Self {
        Self::on(Place::at(file, place.0, place.1), kind, message)
    }

    pub(super) fn of(kind: Kind, error: &TemplateError) -> Self {
        Self {
            hint: error.hint.as_ref().map(ToString::to_string),
            excerpt: Some(error.excerpt()),
            ..Self::at(&error.name, kind, (error.line, error.column), error.message.clone())
        }
    }

    pub(super) fn hint(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// What is wrong, what to do about it, and the line that it is about.
    pub(super) fn told(&self) -> String {
        let hint = self.hint.iter().map(|hint| format!("; {hint}"));
        let excerpt = self.excerpt.iter().map(|excerpt| format!("\n{excerpt}"));
        format!("{}{}{}", self.message, hint.collect::<String>(), excerpt.collect::<String>())
    }
}

impl Place {
    pub(super) fn at(file: &str, line: u32, column: u32) -> Self {
        Self { file: file.to_owned(), line: Some(line), column: Some(column) }
    }
}

impl From<&ConfigError> for Place {
    fn from(error: &ConfigError) -> Self {
        Self {
            file: error.file.display().to_string(),
            line: error.place.map(|place| place.line as u32),
            column: error.place.map(|place| place.column as u32),
        }
    }
}

impl From<ConfigError> for Finding {
    fn from(error: ConfigError) -> Self {
        Self {
            kind: Kind::Config,
            place: Place::from(&error),
            message: error.problem,
            hint: error.hint,
            excerpt: None,
        }
    }
}
