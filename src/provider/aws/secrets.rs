//! AWS Secrets Manager as a provider (`type: aws-sm`). Uses `api` and `names`.
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

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::api::{Api, Service};
use super::codes::{Refusal, of_code};
use super::names::{STAGE, Secret, VERSION, Which, is_only_secret};
use super::time_of;
use crate::config::AwsSecrets;
use crate::net::{Json, JsonError, Response};
use crate::provider::fields::with_members;
use crate::provider::versions::{number_of, told};
use crate::provider::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step};
use crate::secret::{Absent, Answer, SecretKey, SecretVersion};
use crate::sys::leftover;

pub(super) struct SecretsManager {
    api: Api,
    /// We may not ask for several at once: then each is a question.
    is_single: AtomicBool,
}

static SERVICE: Service = Service {
    name: "secretsmanager",
    target: "secretsmanager",
    rights: "secretsmanager",
    list: "ListSecrets",
    listed: "SecretList",
};
const BATCH: &str = "BatchGetSecretValue";
const GET: &str = "GetSecretValue";
/// As many ids as one question takes.
const LARGEST_BATCH: usize = 20;
const PAGE: usize = 100;
const CURRENT: &str = "AWSCURRENT";
const PREVIOUS: &str = "AWSPREVIOUS";

impl SecretsManager {
    /// `store` is where its own secrets may be.
    pub(super) fn new(settings: AwsSecrets, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        Self { api: Api::new(&SERVICE, settings, timeout, store), is_single: AtomicBool::new(false) }
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        if self.api.has_one_name() {
            keys.iter().try_for_each(|key| is_only_secret(&key.path))?;
        }
        let paths = Vec::from_iter(keys.iter().map(|key| self.api.whole(&key.path)));
        let wanted = keys.iter().zip(&paths);
        let wanted = wanted.map(|(key, path)| Secret::of(path, key.version, self.api.takes_arns()));
        let wanted = Vec::from_iter(wanted);
        let is_current = |it: &&Secret<'_>| it.which == Which::Current;
        let current: BTreeSet<_> = wanted.iter().flatten().filter(is_current).map(|it| it.id).collect();
        let found = self.current(&Vec::from_iter(current)).await?;
        let mut answers = Vec::with_capacity(keys.len());
        for it in &wanted {
            answers.push(match it {
                Some(Secret { id, which: Which::Current }) => found[*id].clone(),
                Some(Secret { id, which: Which::By(by, which) }) => self.one(id, by, which).await?,
                Some(Secret { id, which: Which::Number(number) }) => self.numbered(id, *number).await?,
                None => Err(Absent::Missing),
            });
        }
        Ok(Batch { answers, as_of: AsOf::moment(0) })
    }

    async fn current(&self, ids: &[&str]) -> Result<HashMap<String, Answer>, ProviderError> {
        let mut found = HashMap::new();
        for some in ids.chunks(LARGEST_BATCH) {
            if some.len() > 1 && !self.is_single.load(Ordering::Relaxed) {
                self.batch(some, &mut found).await?;
            }
            // What no batch has said anything of may be there nevertheless.
            for id in some.iter().filter(|id| !found.contains_key(**id)).collect::<Vec<_>>() {
                found.insert((*id).to_owned(), self.one(id, STAGE, CURRENT).await?);
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
        for value in answer.maybe("SecretValues", Json::items)?.unwrap_or_default() {
            // A batch is asked for no stage.
            let is_current = is_version_of(value, STAGE, CURRENT)?;
            if let Some(id) = called(value, ids)?.filter(|_| is_current) {
                self.api.judge_arn(Some(&value.at(&["ARN"])?.text()?))?;
                found.insert(id.to_owned(), Ok(Arc::new(version_of(value)?)));
            }
        }
        for error in answer.maybe("Errors", Json::items)?.unwrap_or_default() {
            let text = |name: &str| -> Result<String, JsonError> {
                Ok(error.maybe(name, Json::text)?.unwrap_or_default())
            };
            let id = text("SecretId")?;
            match of_code("AWS", &text("ErrorCode")?, &text("Message")?) {
                Refusal::Missing => found.insert(id, Err(Absent::Missing)),
                Refusal::Deleted => found.insert(id, Err(Absent::Revoked)),
                refusal => return Err(self.api.error(refusal, GET)),
            };
        }
        Ok(answer.maybe("NextToken", Json::text)?)
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
            let answer = self.one(id, STAGE, stage).await?;
            if answer.as_ref().map_or(true, |version| version.version == number) {
                return Ok(answer);
            }
        }
        Ok(Err(Absent::Missing))
    }

    /// The first page of names.
    fn page(&self) -> Value {
        let filter = json!([{ "Key": "name", "Values": [self.api.prefix()] }]);
        match self.api.prefix() {
            "" => json!({ "MaxResults": PAGE }),
            _ => json!({ "MaxResults": PAGE, "Filters": filter }),
        }
    }
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
    if by == VERSION {
        return Ok(value.at(&[VERSION])?.text()? == which);
    }
    let stages = value.maybe("VersionStages", Json::items)?;
    Ok(stages.is_none_or(|all| all.iter().any(|it| it.text().is_ok_and(|it| it == which))))
}

fn version_of(value: Json<'_>) -> Result<SecretVersion, ProviderError> {
    let bytes = match (value.get("SecretString")?, value.get("SecretBinary")?) {
        (Some(text), _) => text.secret()?,
        (None, Some(binary)) => binary.base64()?,
        (None, None) => {
            return Err(ProviderError::Invalid("AWS answers with a secret without a value".to_owned()));
        }
    };
    let id = value.at(&[VERSION])?.text()?;
    let number = number_of(&Sha256::digest(id.as_bytes()));
    Ok(told(with_members(bytes)?, number, time_of(value.at(&["CreatedDate"])?)?))
}

impl Provider for SecretsManager {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    fn largest_batch(&self) -> usize {
        if self.is_single.load(Ordering::Relaxed) { 1 } else { LARGEST_BATCH }
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.api.names(self.page()))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.api.is_well(json!({ "MaxResults": 1 })))
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
