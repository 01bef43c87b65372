//! The output formats and the syntaxes by name. A new format is a line in each table here, a line in
//! `escape::encoder` and a file beside it. Uses `nearest`.

use crate::nearest::nearest;

/// What the rendered file is, which decides how a value is written into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// No escaping: PEM and plain files.
    Text,
    Json,
    Yaml,
    Env(Dialect),
    /// libpq's password file.
    Pgpass,
    /// Logins by host, for curl and others.
    Netrc,
}

/// Who reads an env file. No two families of readers quote alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// What the dotenv libraries agree on.
    Dotenv,
    /// systemd's `EnvironmentFile=`.
    Systemd,
    /// `. FILE` in a POSIX shell.
    Shell,
    /// `docker run --env-file`, which knows no quotes.
    Docker,
    /// Docker Compose's `.env` and `env_file:`.
    Compose,
    /// Our own reader, behind `exec --env-file`, which takes any text. Nobody names it: no file is
    /// served like this.
    Exec,
}

/// How a template marks what is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// `<< >>`, `<% %>`, `<# #>`; everything else is text.
    Angle,
    /// `{{ }}`, `{% %}`, `{# #}`.
    Jinja,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no {what} `{name}`{}", .nearest.map(|n| format!("; did you mean `{n}`?")).unwrap_or_else(|| format!(" (there are: {})", .known.join(", "))))]
pub struct UnknownName {
    pub what: &'static str,
    pub name: String,
    pub nearest: Option<&'static str>,
    pub known: Vec<&'static str>,
}

const FORMATS: [(&str, Format); 6] = [
    ("text", Format::Text),
    ("json", Format::Json),
    ("yaml", Format::Yaml),
    ("env", Format::Env(Dialect::Dotenv)),
    ("pgpass", Format::Pgpass),
    ("netrc", Format::Netrc),
];
const DIALECTS: [(&str, Dialect); 5] = [
    ("dotenv", Dialect::Dotenv),
    ("systemd", Dialect::Systemd),
    ("shell", Dialect::Shell),
    ("docker", Dialect::Docker),
    ("compose", Dialect::Compose),
];
const SYNTAXES: [(&str, Syntax); 2] = [("angle", Syntax::Angle), ("jinja", Syntax::Jinja)];

impl Format {
    /// The format that a file's name tells; `None` if it tells none.
    pub fn from_file_name(name: &str) -> Option<Self> {
        let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        if name == ".env" || name.starts_with(".env.") || name.ends_with(".env") {
            return Some(Self::Env(Dialect::Dotenv));
        }
        match name.rsplit('.').next() {
            Some("pgpass") => return Some(Self::Pgpass),
            Some("netrc") => return Some(Self::Netrc),
            _ => {}
        }
        match name.rsplit_once('.')?.1 {
            "json" => Some(Self::Json),
            "yaml" | "yml" => Some(Self::Yaml),
            _ => None,
        }
    }

    /// The format of a file: what is wanted, else what its name tells, else text. A dialect says
    /// who reads the env files, and nothing about other files.
    pub fn chosen(wanted: Option<Self>, dialect: Option<Dialect>, name: &str) -> Self {
        match (wanted.or_else(|| Self::from_file_name(name)).unwrap_or(Self::Text), dialect) {
            (Self::Env(_), Some(dialect)) => Self::Env(dialect),
            (format, _) => format,
        }
    }

    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        find("format", name, &FORMATS)
    }

    /// Every name that `parse` knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().map(|(name, _)| *name)
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Yaml => "yaml",
            Self::Env(_) => "env",
            Self::Pgpass => "pgpass",
            Self::Netrc => "netrc",
        }
    }
}

impl Dialect {
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        find("dialect", name, &DIALECTS)
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        DIALECTS.iter().map(|(name, _)| *name)
    }
}

impl Syntax {
    pub fn parse(name: &str) -> Result<Self, UnknownName> {
        find("syntax", name, &SYNTAXES)
    }

    pub fn names() -> impl Iterator<Item = &'static str> {
        SYNTAXES.iter().map(|(name, _)| *name)
    }
}

fn find<T: Copy>(what: &'static str, name: &str, table: &[(&'static str, T)]) -> Result<T, UnknownName> {
    let known = || table.iter().map(|(known, _)| *known);
    table.iter().find(|(known, _)| *known == name).map(|(_, item)| *item).ok_or_else(|| UnknownName {
        what,
        name: name.to_owned(),
        nearest: nearest(name, known()),
        known: known().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_format() {
        let dotenv = Some(Format::Env(Dialect::Dotenv));
        for name in [".env", "app.env", ".env.production", "a/b/.ENV"] {
            assert_eq!(Format::from_file_name(name), dotenv, "{name}");
        }
        assert_eq!(Format::from_file_name("config.json"), Some(Format::Json));
        assert_eq!(Format::from_file_name("a.d/values.YAML"), Some(Format::Yaml));
        assert_eq!(Format::from_file_name("compose.yml"), Some(Format::Yaml));
        for name in [".pgpass", "pgpass", "app.pgpass"] {
            assert_eq!(Format::from_file_name(name), Some(Format::Pgpass), "{name}");
        }
        for name in [".netrc", "netrc", "app.netrc"] {
            assert_eq!(Format::from_file_name(name), Some(Format::Netrc), "{name}");
        }
        for name in ["environment", "pgpass.pem", "key.pem", "json", "env"] {
            assert_eq!(Format::from_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_dialect_is_for_env_files() {
        let (env, json) = (Format::Env(Dialect::Dotenv), Format::Json);
        let systemd = Some(Dialect::Systemd);
        assert_eq!(Format::chosen(None, systemd, "a.env"), Format::Env(Dialect::Systemd));
        assert_eq!(Format::chosen(Some(env), systemd, "a.json"), Format::Env(Dialect::Systemd));
        assert_eq!(Format::chosen(None, systemd, "a.json"), json);
        assert_eq!(Format::chosen(Some(json), None, "a.env"), json);
        assert_eq!(Format::chosen(None, None, "a"), Format::Text);
    }

    #[test]
    fn every_name_is_parsed() {
        assert!(Format::names().all(|name| Format::parse(name).is_ok_and(|format| format.name() == name)));
        assert!(Dialect::names().all(|name| Dialect::parse(name).is_ok()));
        assert!(Syntax::names().all(|name| Syntax::parse(name).is_ok()));
    }

    #[test]
    fn unknown_names_are_told() {
        assert_eq!(
            Format::parse("jsn").unwrap_err().to_string(),
            "there is no format `jsn`; did you mean `json`?"
        );
        assert_eq!(
            Dialect::parse("x").unwrap_err().to_string(),
            "there is no dialect `x` (there are: dotenv, systemd, shell, docker, compose)"
        );
    }
}
