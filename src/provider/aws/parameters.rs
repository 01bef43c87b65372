//! The parameters of AWS Systems Manager as a provider (`type: aws-ssm`). Uses `api`.
//!
//! | `aws:PATH` | |
//! |---|---|
//! | the parameter | the prefix of the config, and PATH: a name, or an ARN if the prefix begins one |
//! | `PATH:3`, `PATH@3`, `PATH:LABEL` | another version of it than the newest |
//! | field `value` | the text, decrypted |
//! | other fields | the members, if that is an object of JSON |
//! | version | its version |
//!
//! They are asked for by ten.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Api, Service};
use super::codes::Refusal;
use super::{another_name, time_of};
use crate::config::AwsSecrets;
use crate::net::{Json, Response};
use crate::provider::fields::with_members;
use crate::provider::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step};
use crate::secret::{Absent, Answer, SecretKey, SecretVersion};
use crate::sys::leftover;

pub(super) struct Parameters {
    api: Api,
    prefix: String,
    has_one_name: bool,
}

static SERVICE: Service = Service { name: "ssm", target: "AmazonSSM", rights: "ssm" };
const GET: &str = "GetParameters";
const LIST: &str = "GetParametersByPath";
/// As many names as one question takes, and as many as one page of a list has.
const LARGEST_BATCH: usize = 10;
const MOST_PAGES: usize = 10_000;
/// The most signs of a name, and the most parts.
const LONGEST: usize = 1011;
const DEEPEST: usize = 15;

/// A parameter as it is asked for: its name, and which version after that, from `:` on.
type Asked = (String, String);

impl Parameters {
    pub(super) fn new(settings: AwsSecrets, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let (prefix, has_one_name) = (settings.prefix.clone(), settings.has_one_name);
        Self { api: Api::new(&SERVICE, settings, timeout, store), prefix, has_one_name }
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        // Else a parameter would have two names, and a rule on one of them would not hold for the other.
        let takes_arns = self.prefix.starts_with("arn:");
        let asked = |key: &SecretKey| {
            let asked = asked_for(&format!("{}{}", self.prefix, key.path), key.version);
            asked.filter(|(name, _)| name.starts_with("arn:") == takes_arns)
        };
        if self.has_one_name {
            keys.iter().try_for_each(|key| is_only_name(&self.prefix, &key.path))?;
        }
        let asked: Vec<Option<Asked>> = keys.iter().map(asked).collect();
        let mut found: HashMap<&Asked, Answer> = HashMap::new();
        let mut left: Vec<&Asked> = asked.iter().flatten().collect();
        while !left.is_empty() {
            let some = take_some(&mut left);
            self.question(&some, &mut found).await?;
        }
        let answer = |it: &Option<Asked>| it.as_ref().map_or(Err(Absent::Missing), |it| found[it].clone());
        Ok(Batch { answers: asked.iter().map(answer).collect(), as_of: AsOf::moment(0) })
    }

    async fn question<'a>(
        &self,
        some: &[&'a Asked],
        found: &mut HashMap<&'a Asked, Answer>,
    ) -> Result<(), ProviderError> {
        let names: Vec<String> = some.iter().map(|(name, which)| format!("{name}{which}")).collect();
        let response = match self.api.ask(GET, &json!({ "Names": names, "WithDecryption": true })).await {
            Ok(response) => response,
            // Of several, each is asked for by itself.
            Err(Refusal::Missing) if some.len() == 1 => {
                found.insert(some[0], Err(Absent::Missing));
                return Ok(());
            }
            Err(refusal) => return Err(self.api.error(refusal, GET)),
        };
        leftover::wiped(|| self.of_answer(&response, some, found))
    }

    fn of_answer<'a>(
        &self,
        response: &Response,
        some: &[&'a Asked],
        found: &mut HashMap<&'a Asked, Answer>,
    ) -> Result<(), ProviderError> {
        let answer = response.json()?;
        // Those that are there in any order, and each name once.
        for parameter in answer.at(&["Parameters"])?.items()? {
            let name = parameter.at(&["Name"])?.text()?;
            let arn = parameter.get("ARN")?.map(Json::text).transpose()?;
            let asked = some.iter().find(|(it, _)| *it == name || Some(it) == arn.as_ref());
            if let Some(asked) = asked {
                self.api.judge_arn(arn.as_deref())?;
                let number = asked.1.strip_prefix(':').and_then(|which| which.parse::<u64>().ok());
                if number.is_some_and(|number| parameter.at(&["Version"]).and_then(Json::whole) != Ok(number))
                {
                    let why = format!("AWS answers with another version of `{name}` than it was asked for");
                    return Err(ProviderError::Invalid(why));
                }
                found.insert(asked, Ok(Arc::new(version_of(parameter)?)));
            }
        }
        let invalid = answer.get("InvalidParameters")?.map(Json::items).transpose()?.unwrap_or_default();
        for name in invalid {
            let name = name.text()?;
            let is_it = |(it, which): &&&Asked| name == *it || name == format!("{it}{which}");
            if let Some(asked) = some.iter().find(is_it) {
                found.entry(asked).or_insert(Err(Absent::Missing));
            }
        }
        match some.iter().find(|asked| !found.contains_key(**asked)) {
            Some((name, _)) => {
                Err(ProviderError::Invalid(format!("AWS says nothing of `{name}`, which it was asked for")))
            }
            None => Ok(()),
        }
    }

    /// What lies below the prefix, level by level.
    async fn list(&self) -> Result<Vec<String>, ProviderError> {
        let folder = self.prefix.rfind('/').map_or("/", |end| &self.prefix[..=end]);
        let path = if folder.len() > 1 { folder.trim_end_matches('/') } else { folder };
        let mut question = json!({ "Path": path, "Recursive": true, "MaxResults": LARGEST_BATCH });
        let mut names = Vec::new();
        for _ in 0..MOST_PAGES {
            let response = self.api.ask(LIST, &question).await;
            let response = response.map_err(|refusal| self.api.error(refusal, LIST))?;
            let answer = response.json()?;
            for parameter in answer.at(&["Parameters"])?.items()? {
                let name = parameter.at(&["Name"])?.text()?;
                names.extend(name.strip_prefix(&*self.prefix).filter(|it| !it.is_empty()).map(str::to_owned));
            }
            match answer.get("NextToken")?.map(Json::text).transpose()? {
                Some(token) => question["NextToken"] = Value::String(token),
                None => break,
            }
        }
        Ok(names)
    }

    /// Who may not list is answered, too.
    async fn is_well(&self) -> Result<(), ProviderError> {
        match self.api.ask(LIST, &json!({ "Path": "/", "MaxResults": 1 })).await {
            Ok(_) | Err(Refusal::NoRight(_)) => Ok(()),
            Err(refusal) => Err(self.api.error(refusal, LIST)),
        }
    }
}

/// Else a rule on one name of it would not hold for another.
fn is_only_name(prefix: &str, path: &str) -> Result<(), ProviderError> {
    let whole = format!("{prefix}{path}");
    if whole.to_ascii_lowercase().contains("/aws/reference/") {
        let why = "is a secret of another service, and the config has rules on secrets: name it there";
        return Err(ProviderError::Invalid(format!("`{path}` {why}")));
    }
    let (_, which) = asked_for(&whole, None).unwrap_or_default();
    match path.strip_suffix(&*which) {
        Some(name) if !which.is_empty() => Err(another_name(path, name)),
        _ => Ok(()),
    }
}

/// The next question: each name once, since the answer does not say which version was asked for by what.
fn take_some<'a>(left: &mut Vec<&'a Asked>) -> Vec<&'a Asked> {
    let mut some: Vec<&Asked> = Vec::new();
    left.retain(|asked| {
        let is_there = some.contains(asked);
        let fits = some.len() < LARGEST_BATCH && some.iter().all(|(name, _)| *name != asked.0);
        if fits {
            some.push(asked);
        }
        !is_there && !fits
    });
    some
}

/// `None`: no parameter can be called so.
fn asked_for(path: &str, number: Option<u64>) -> Option<Asked> {
    let (name, which) = match path.rsplit_once(':') {
        Some((name, _)) if name.starts_with("arn:") && !name.contains(":parameter") => (path, ""),
        Some((name, which)) => (name, which),
        None => (path, ""),
    };
    let which = match (which, number) {
        ("", None) if name.len() == path.len() => String::new(),
        ("", Some(number)) if name.len() == path.len() => format!(":{number}"),
        (which, None) if is_selector(which) => format!(":{which}"),
        _ => return None,
    };
    (name.starts_with("arn:") || is_name(name)).then(|| (name.to_owned(), which))
}

/// A number or a label.
fn is_selector(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && text.len() <= 100 && text.bytes().all(is_fit)
}

/// One of several levels begins with a slash.
fn is_name(name: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(is_fit);
    let inside = match name.strip_prefix('/') {
        Some(inside) => inside,
        None if name.contains('/') => return false,
        None => name,
    };
    name.len() <= LONGEST && inside.split('/').count() <= DEEPEST && inside.split('/').all(is_part)
}

fn version_of(parameter: Json<'_>) -> Result<SecretVersion, ProviderError> {
    let changed_at = time_of(parameter.at(&["LastModifiedDate"])?)?;
    let (kind, fields) = with_members(parameter.at(&["Value"])?.secret()?)?;
    Ok(SecretVersion {
        turned_out: None,
        kind,
        fields,
        version: parameter.at(&["Version"])?.whole()?,
        created_at: changed_at,
        updated_at: changed_at,
        expires_at: None,
        uses: None,
    })
}

impl Provider for Parameters {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    fn largest_batch(&self) -> usize {
        LARGEST_BATCH
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.list())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.is_well())
    }

    fn way(&self) -> BoxFuture<'_, Vec<Step>> {
        Box::pin(self.api.way())
    }

    fn sweep(&self) {
        self.api.sweep();
    }

    fn allow(&self, time: Duration) {
        self.api.allow(time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_which_version() {
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
            assert_eq!(asked_for(path, number), expected, "{path}");
        }
    }

    #[test]
    fn where_rules_are_a_parameter_has_one_name() {
        let arn = "arn:aws:ssm:eu-central-1:111122223333:parameter/";
        for (prefix, path) in [("/app/", "db"), ("", "/app/db"), (arn, "app/db"), ("", "/aws/service/x")] {
            assert!(is_only_name(prefix, path).is_ok(), "{prefix}{path}");
        }
        for (prefix, path) in [
            ("/app/", "db:3"),
            ("", "/app/db:live"),
            (arn, "app/db:3"),
            ("", "/aws/reference/secretsmanager/app/db"),
            ("/aws/", "reference/secretsmanager/app/db"),
            (arn, "aws/reference/secretsmanager/app/db"),
        ] {
            assert!(is_only_name(prefix, path).is_err(), "{prefix}{path}");
        }
    }

    #[test]
    fn a_question_has_ten_names_and_each_once() {
        let all: Vec<Asked> = (0..25).map(|at| (format!("n{}", at % 23), format!(":{at}"))).collect();
        let twice = all[0].clone();
        let mut left: Vec<&Asked> = all.iter().chain([&twice]).collect();
        let mut sizes = Vec::new();
        while !left.is_empty() {
            let some = take_some(&mut left);
            let names: std::collections::BTreeSet<_> = some.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), some.len());
            sizes.push(some.len());
        }
        assert_eq!(sizes, [10, 10, 5]);
    }
}
