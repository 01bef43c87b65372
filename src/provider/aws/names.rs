//! What a path means there: which secret or parameter, and which version of it. What can be no name is not asked for;
//! where the config has rules on secrets, each has one name. Pure.

use super::ProviderError;

/// A secret of Secrets Manager.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Secret<'a> {
    pub(super) id: &'a str,
    pub(super) which: Which<'a>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Which<'a> {
    Current,
    /// By what AWS calls so.
    By(&'static str, &'a str),
    /// The one that has this number, if it is the current one or the one before.
    Number(u64),
}

/// A parameter: its name, and which version after that, from `:` on.
pub(super) type Parameter = (String, String);

pub(super) const STAGE: &str = "VersionStage";
pub(super) const VERSION: &str = "VersionId";
/// The most signs of a parameter's name, and the most parts.
const LONGEST: usize = 1011;
const DEEPEST: usize = 15;

impl<'a> Secret<'a> {
    /// `None`: no secret can be called so. By their ARNs where `takes_arns`, and only there: one name each.
    pub(super) fn of(path: &'a str, number: Option<u64>, takes_arns: bool) -> Option<Self> {
        let (id, which) = match path.split_once('?') {
            Some((id, which)) => (id, Some(which.split_once('=')?)),
            None => (path, None),
        };
        let which = match (which, number) {
            (None, None) => Which::Current,
            (None, Some(number)) => Which::Number(number),
            (Some(("stage", stage)), None) if is_stage(stage) => Which::By(STAGE, stage),
            (Some(("version", version)), None) if is_version(version) => Which::By(VERSION, version),
            _ => return None,
        };
        (is_id(id) && id.starts_with("arn:") == takes_arns).then_some(Self { id, which })
    }
}

/// `None`: no parameter can be called so. By their ARNs where `takes_arns`, and only there: one name each.
pub(super) fn parameter(path: &str, number: Option<u64>, takes_arns: bool) -> Option<Parameter> {
    let (name, which) = parted(path);
    let which = match (which, number) {
        (None, None) => String::new(),
        (None, Some(number)) => format!(":{number}"),
        (Some(which), None) if is_selector(which) => format!(":{which}"),
        _ => return None,
    };
    let is_arn = name.starts_with("arn:");
    (is_arn == takes_arns && (is_arn || is_name(name))).then(|| (name.to_owned(), which))
}

/// The name, and a version behind it.
fn parted(path: &str) -> (&str, Option<&str>) {
    match path.rsplit_once(':') {
        Some((name, _)) if name.starts_with("arn:") && !name.contains(":parameter") => (path, None),
        Some((name, which)) => (name, Some(which)),
        None => (path, None),
    }
}

/// Else a rule on one name of a secret would not hold for another.
pub(super) fn is_only_secret(path: &str) -> Result<(), ProviderError> {
    path.split_once('?').map_or(Ok(()), |(name, _)| Err(another_name(path, name)))
}

/// The same of a parameter.
pub(super) fn is_only_parameter(prefix: &str, path: &str) -> Result<(), ProviderError> {
    let whole = format!("{prefix}{path}");
    if whole.to_ascii_lowercase().contains("/aws/reference/") {
        let why = "is a secret of another service, and the config has rules on secrets: name it there";
        return Err(ProviderError::Invalid(format!("`{path}` {why}")));
    }
    let which = parted(&whole).1.filter(|it| is_selector(it));
    match which.and_then(|which| path.strip_suffix(which)?.strip_suffix(':')) {
        Some(name) => Err(another_name(path, name)),
        None => Ok(()),
    }
}

fn another_name(path: &str, name: &str) -> ProviderError {
    let why = "the config has rules on secrets, and one on";
    ProviderError::Invalid(format!(
        "{why} `{name}` would not hold for `{path}`: name `{name}`, or `{name}@N`"
    ))
}

/// What a secret may be called there, and its ARN.
fn is_id(id: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@!-".contains(&byte);
    let is_arn = id.starts_with("arn:");
    let longest = if is_arn { 2048 } else { 512 };
    !id.is_empty() && id.len() <= longest && id.bytes().all(|byte| is_fit(byte) || (is_arn && byte == b':'))
}

fn is_stage(stage: &str) -> bool {
    !stage.is_empty() && stage.len() <= 256 && stage.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_version(version: &str) -> bool {
    (32..=64).contains(&version.len())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// A number or a label.
fn is_selector(text: &str) -> bool {
    text.len() <= 100 && is_part(text)
}

/// One of several levels begins with a slash.
fn is_name(name: &str) -> bool {
    let inside = name.strip_prefix('/');
    let is_whole = inside.is_some() || !name.contains('/');
    let mut parts = inside.unwrap_or(name).split('/');
    is_whole && name.len() <= LONGEST && parts.clone().count() <= DEEPEST && parts.all(is_part)
}

fn is_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_which_version_of_a_secret() {
        let id = "EXAMPLE1-90ab-cdef-fedc-ba987SECRET1";
        let arn = "arn:aws:secretsmanager:x:1:secret:a-b";
        for (path, number, expected) in [
            ("app/db", None, Some(("app/db", Which::Current))),
            ("app/db", Some(3), Some(("app/db", Which::Number(3)))),
            ("app/db?stage=AWSPREVIOUS", None, Some(("app/db", Which::By(STAGE, "AWSPREVIOUS")))),
            (&*format!("app/db?version={id}"), None, Some(("app/db", Which::By(VERSION, id)))),
            (arn, None, Some((arn, Which::Current))),
            ("..", None, Some(("..", Which::Current))),
            ("app/db?stage=AWSPREVIOUS", Some(3), None),
            ("app/db?version=1", None, None),
            ("app/db?x=y", None, None),
            ("app/db?", None, None),
            ("a b", None, None),
            ("a:b", None, None),
            ("é", None, None),
            ("", None, None),
        ] {
            let expected = expected.map(|(id, which)| Secret { id, which });
            let is_arn = path.starts_with("arn:");
            assert_eq!(Secret::of(path, number, is_arn), expected, "{path}");
            assert_eq!(Secret::of(path, number, !is_arn), None, "{path}");
        }
    }

    #[test]
    fn a_path_says_which_version_of_a_parameter() {
        let arn = "arn:aws:ssm:eu-central-1:111122223333:parameter/app/db";
        for (path, number, expected) in [
            ("/app/db", None, Some(("/app/db", ""))),
            ("db", None, Some(("db", ""))),
            ("/app/db", Some(3), Some(("/app/db", ":3"))),
            ("/app/db:3", None, Some(("/app/db", ":3"))),
            ("/app/db:live", None, Some(("/app/db", ":live"))),
            (arn, None, Some((arn, ""))),
            (&*format!("{arn}:3"), None, Some((arn, ":3"))),
            ("/app/..", None, Some(("/app/..", ""))),
            ("/app/db:3", Some(3), None),
            ("/app/db:", None, None),
            ("app/db", None, None),
            ("/app//db", None, None),
            ("/app/", None, None),
            ("/a b", None, None),
            ("/é", None, None),
            ("", None, None),
        ] {
            let expected = expected.map(|(name, which)| (name.to_owned(), which.to_owned()));
            let is_arn = path.starts_with("arn:");
            assert_eq!(parameter(path, number, is_arn), expected, "{path}");
            assert_eq!(parameter(path, number, !is_arn), None, "{path}");
        }
    }

    #[test]
    fn where_rules_are_each_has_one_name() {
        let arn = "arn:aws:ssm:eu-central-1:111122223333:parameter/";
        for (prefix, path) in [("/app/", "db"), ("", "/app/db"), (arn, "app/db"), ("", "/aws/service/x")] {
            assert!(is_only_parameter(prefix, path).is_ok(), "{prefix}{path}");
        }
        for (prefix, path) in [
            ("/app/", "db:3"),
            ("", "/app/db:live"),
            (arn, "app/db:3"),
            ("", "/aws/reference/secretsmanager/app/db"),
            ("/aws/", "reference/secretsmanager/app/db"),
            (arn, "aws/reference/secretsmanager/app/db"),
        ] {
            assert!(is_only_parameter(prefix, path).is_err(), "{prefix}{path}");
        }
        assert!(is_only_secret("app/db").is_ok(), "the control");
        let why = is_only_secret("app/db?stage=AWSCURRENT").unwrap_err().to_string();
        assert!(why.contains("name `app/db`, or `app/db@N`"), "{why}");
    }
}
