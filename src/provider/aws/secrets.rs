//! AWS Secrets Manager as a provider (`type: aws-sm`). Uses `api`.
//!
//! | `aws:PATH` | |
//! |---|---|
//! | the secret | the prefix of the config, and PATH: a name, or an ARN if the prefix begins one |
//! | `PATH?stage=AWSPREVIOUS`, `PATH?version=ID` | another version of it than the current one |
//! | field `value` | the text, or the bytes |
//! | other fields | the members, if that is an object of JSON |
//! | version | a number made of the version's id |
//!
//! Current versions are asked for by twenty.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::api::{Api, Service};
use super::codes::{Refusal, of_code};
use super::{another_name, time_of};
use crate::config::AwsSecrets;
use crate::net::{Json, JsonError, Response};
use crate::provider::fields::with_members;
use crate::provider::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step};
use crate::secret::{Absent, Answer, SecretBytes, SecretKey, SecretVersion};
use crate::sys::leftover;

pub(super) struct SecretsManager {
    api: Api,
    prefix: String,
    has_one_name: bool,
    /// We may not ask for several at once: then each is a question.
    is_single: AtomicBool,
}

static SERVICE: Service =
    Service { name: "secretsmanager", target: "secretsmanager", rights: "secretsmanager" };
const BATCH: &str = "BatchGetSecretValue";
const GET: &str = "GetSecretValue";
const LIST: &str = "ListSecrets";
/// As many ids as one question takes.
const LARGEST_BATCH: usize = 20;
const PAGE: usize = 100;
const MOST_PAGES: usize = 1_000;
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

/// Which version of which secret.
#[derive(Debug, PartialEq, Eq)]
enum Wanted<'a> {
    Current(&'a str),
    Stage(&'a str, &'a str),
    Version(&'a str, &'a str),
    /// The one that has this number, if it is the current one or the one before.
    Number(&'a str, u64),
    /// No secret can be called so.
    Nothing,
}

impl SecretsManager {
    /// `store` is where its own secrets may be.
    pub(super) fn new(settings: AwsSecrets, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        let (prefix, has_one_name) = (settings.prefix.clone(), settings.has_one_name);
        let api = Api::new(&SERVICE, settings, timeout, store);
        Self { api, prefix, has_one_name, is_single: AtomicBool::new(false) }
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        if let Some(key) = keys.iter().find(|key| self.has_one_name && key.path.contains('?')) {
            return Err(another_name(&key.path, key.path.split('?').next().unwrap_or_default()));
        }
        let paths: Vec<String> = keys.iter().map(|key| format!("{}{}", self.prefix, key.path)).collect();
        let wanted = keys.iter().zip(&paths).map(|(key, path)| wanted(path, key.version, self.takes_arns()));
        let wanted = Vec::from_iter(wanted);
        let current = wanted.iter().filter_map(|it| match it {
            Wanted::Current(id) => Some(*id),
            _ => None,
        });
        let current = Vec::from_iter(current.collect::<BTreeSet<_>>());
        let found = self.current(&current).await?;
        let mut answers = Vec::with_capacity(keys.len());
        for it in &wanted {
            answers.push(match *it {
                Wanted::Current(id) => found.get(id).cloned().unwrap_or(Err(Absent::Missing)),
                Wanted::Stage(id, stage) => self.one(id, "VersionStage", stage).await?,
                Wanted::Version(id, version) => self.one(id, "VersionId", version).await?,
                Wanted::Number(id, number) => self.numbered(id, number).await?,
                Wanted::Nothing => Err(Absent::Missing),
            });
        }
        Ok(Batch { answers, as_of: AsOf::moment(0) })
    }

    /// Else a secret would have two names, and a rule on one of them would not hold for the other.
    fn takes_arns(&self) -> bool {
        self.prefix.starts_with("arn:")
    }

    async fn current(&self, ids: &[&str]) -> Result<HashMap<String, Answer>, ProviderError> {
        let mut found = HashMap::new();
        for some in ids.chunks(LARGEST_BATCH) {
            if some.len() > 1 && !self.is_single.load(Ordering::Relaxed) {
                self.batch(some, &mut found).await?;
            }
            // What no batch has said anything of may be there nevertheless.
            for id in some.iter().filter(|id| !found.contains_key(**id)).collect::<Vec<_>>() {
                found.insert((*id).to_owned(), self.one(id, "VersionStage", CURRENT).await?);
            }
        }
        Ok(found)
    }

    async fn batch(&self, ids: &[&str], found: &mut HashMap<String, Answer>) -> Result<(), ProviderError> {
        let mut question = json!({ "SecretIdList": ids });
        // Each page has one secret at least.
        for _ in ids {
            let response = match self.api.ask(BATCH, &question).await {
                Ok(response) => response,
                Err(Refusal::NoRight(_)) => {
                    tracing::info!(
                        "aws-sm: without the right to {BATCH} each secret is a question of its own"
                    );
                    self.is_single.store(true, Ordering::Relaxed);
                    return Ok(());
                }
                Err(refusal) => return Err(self.api.error(refusal, BATCH)),
            };
            match leftover::wiped(|| self.of_page(&response, ids, found))? {
                Some(token) => question["NextToken"] = Value::String(token),
                None => break,
            }
        }
        Ok(())
    }

    fn of_page(
        &self,
        response: &Response,
        ids: &[&str],
        found: &mut HashMap<String, Answer>,
    ) -> Result<Option<String>, ProviderError> {
        let answer = response.json()?;
        for value in answer.get("SecretValues")?.map(Json::items).transpose()?.unwrap_or_default() {
            // A batch is asked for no stage.
            let is_current = is_version_of(value, "VersionStage", CURRENT)?;
            if let Some(id) = called(value, ids)?.filter(|_| is_current) {
                self.api.judge_arn(Some(&value.at(&["ARN"])?.text()?))?;
                found.insert(id.to_owned(), Ok(Arc::new(version_of(value)?)));
            }
        }
        for error in answer.get("Errors")?.map(Json::items).transpose()?.unwrap_or_default() {
            let text = |name: &str| -> Result<String, JsonError> {
                Ok(error.get(name)?.map(Json::text).transpose()?.unwrap_or_default())
            };
            let id = text("SecretId")?;
            match of_code("AWS", &text("ErrorCode")?, &text("Message")?) {
                Refusal::Missing => found.insert(id, Err(Absent::Missing)),
                Refusal::Deleted => found.insert(id, Err(Absent::Revoked)),
                refusal => return Err(self.api.error(refusal, GET)),
            };
        }
        Ok(answer.get("NextToken")?.map(Json::text).transpose()?)
    }

    async fn one(&self, id: &str, by: &str, which: &str) -> Result<Answer, ProviderError> {
        let response = match self.api.ask(GET, &json!({ "SecretId": id, by: which })).await {
            Ok(response) => response,
            Err(Refusal::Missing) => return Ok(Err(Absent::Missing)),
            Err(Refusal::Deleted) => return Ok(Err(Absent::Revoked)),
            Err(refusal) => return Err(self.api.error(refusal, GET)),
        };
        leftover::wiped(|| {
            let value = response.json()?;
            let arn = value.at(&["ARN"])?.text()?;
            if called(value, &[id])?.is_none() {
                // A part of an ARN is answered, too: then one secret would have two names.
                return if is_part(id, &arn) { Ok(Err(Absent::Missing)) } else { Err(of_another(id)) };
            }
            self.api.judge_arn(Some(&arn))?;
            if !is_version_of(value, by, which)? {
                return Err(of_another(id));
            }
            Ok(Ok(Arc::new(version_of(value)?)))
        })
    }

    async fn numbered(&self, id: &str, number: u64) -> Result<Answer, ProviderError> {
        for stage in [CURRENT, PREVIOUS] {
            let answer = self.one(id, "VersionStage", stage).await?;
            if answer.as_ref().map_or(true, |version| version.version == number) {
                return Ok(answer);
            }
        }
        Ok(Err(Absent::Missing))
    }

    async fn list(&self) -> Result<Vec<String>, ProviderError> {
        let mut names = Vec::new();
        let mut question = json!({ "MaxResults": PAGE });
        if !self.prefix.is_empty() {
            question["Filters"] = json!([{ "Key": "name", "Values": [self.prefix] }]);
        }
        for _ in 0..MOST_PAGES {
            let response = self.api.ask(LIST, &question).await;
            let response = response.map_err(|refusal| self.api.error(refusal, LIST))?;
            let answer = response.json()?;
            for secret in answer.at(&["SecretList"])?.items()? {
                let name = secret.at(&["Name"])?.text()?;
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
        match self.api.ask(LIST, &json!({ "MaxResults": 1 })).await {
            Ok(_) | Err(Refusal::NoRight(_)) => Ok(()),
            Err(refusal) => Err(self.api.error(refusal, LIST)),
        }
    }
}

/// What a path asks for.
fn wanted(path: &str, number: Option<u64>, takes_arns: bool) -> Wanted<'_> {
    let (id, which) = match path.split_once('?') {
        Some((id, which)) => (id, Some(which)),
        None => (path, None),
    };
    if !is_id(id) || id.starts_with("arn:") != takes_arns {
        return Wanted::Nothing;
    }
    match (which.map(|it| it.split_once('=')), number) {
        (None, None) => Wanted::Current(id),
        (None, Some(number)) => Wanted::Number(id, number),
        (Some(Some(("stage", stage))), None) if is_stage(stage) => Wanted::Stage(id, stage),
        (Some(Some(("version", version))), None) if is_version(version) => Wanted::Version(id, version),
        _ => Wanted::Nothing,
    }
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

/// Which of these it was asked for by: its name, or its whole ARN.
fn called<'a>(value: Json<'_>, ids: &[&'a str]) -> Result<Option<&'a str>, JsonError> {
    let (name, arn) = (value.at(&["Name"])?.text()?, value.at(&["ARN"])?.text()?);
    Ok(ids.iter().find(|id| **id == name || **id == arn).copied())
}

/// An ARN without the letters that AWS puts behind each name.
fn is_part(id: &str, arn: &str) -> bool {
    arn.strip_prefix(id).is_some_and(|rest| rest.len() == 7 && rest.starts_with('-'))
}

fn of_another(id: &str) -> ProviderError {
    ProviderError::Invalid(format!(
        "AWS answers with another secret or version than `{id}` that it was asked for"
    ))
}

/// Whether it is the one that was asked for.
fn is_version_of(value: Json<'_>, by: &str, which: &str) -> Result<bool, JsonError> {
    if by == "VersionId" {
        return Ok(value.at(&["VersionId"])?.text()? == which);
    }
    let stages = value.get("VersionStages")?.map(Json::items).transpose()?;
    Ok(stages.is_none_or(|all| all.iter().any(|it| it.text().is_ok_and(|it| it == which))))
}

fn version_of(value: Json<'_>) -> Result<SecretVersion, ProviderError> {
    let bytes = match (value.get("SecretString")?, value.get("SecretBinary")?) {
        (Some(text), _) => text.secret()?,
        (None, Some(binary)) => decoded(&binary.secret()?)?,
        (None, None) => {
            return Err(ProviderError::Invalid("AWS answers with a secret without a value".to_owned()));
        }
    };
    let id = value.at(&["VersionId"])?.text()?;
    let created_at = time_of(value.at(&["CreatedDate"])?)?;
    let (kind, fields) = with_members(bytes)?;
    Ok(SecretVersion {
        turned_out: None,
        kind,
        fields,
        version: number_of(&id),
        created_at,
        updated_at: created_at,
        expires_at: None,
        uses: None,
    })
}

fn decoded(text: &SecretBytes) -> Result<SecretBytes, ProviderError> {
    let bytes = STANDARD.decode(text.expose());
    bytes
        .map(SecretBytes::new)
        .map_err(|_| ProviderError::Invalid("AWS answers with what is no base64".to_owned()))
}

/// The same for everybody who sees this id.
fn number_of(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    1 + digest[..6].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Provider for SecretsManager {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    fn largest_batch(&self) -> usize {
        if self.is_single.load(Ordering::Relaxed) { 1 } else { LARGEST_BATCH }
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
        let id = "EXAMPLE1-90ab-cdef-fedc-ba987SECRET1";
        for (path, number, expected) in [
            ("app/db", None, Wanted::Current("app/db")),
            ("app/db", Some(3), Wanted::Number("app/db", 3)),
            ("app/db?stage=AWSPREVIOUS", None, Wanted::Stage("app/db", "AWSPREVIOUS")),
            (&*format!("app/db?version={id}"), None, Wanted::Version("app/db", id)),
            (
                "arn:aws:secretsmanager:x:1:secret:a-b",
                None,
                Wanted::Current("arn:aws:secretsmanager:x:1:secret:a-b"),
            ),
            ("..", None, Wanted::Current("..")),
            ("app/db?stage=AWSPREVIOUS", Some(3), Wanted::Nothing),
            ("app/db?version=1", None, Wanted::Nothing),
            ("app/db?x=y", None, Wanted::Nothing),
            ("app/db?", None, Wanted::Nothing),
            ("a b", None, Wanted::Nothing),
            ("a:b", None, Wanted::Nothing),
            ("é", None, Wanted::Nothing),
            ("", None, Wanted::Nothing),
        ] {
            assert_eq!(wanted(path, number, path.starts_with("arn:")), expected, "{path}");
            assert_eq!(wanted(path, number, !path.starts_with("arn:")), Wanted::Nothing, "{path}");
        }
    }
}
