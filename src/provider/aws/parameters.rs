//! The parameters of AWS Systems Manager as a provider (`type: aws-ssm`). Uses `api` and `names`.
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
use super::names::{Parameter, is_only_parameter, parameter};
use super::time_of;
use crate::config::AwsSecrets;
use crate::net::{Json, Response};
use crate::provider::fields::with_members;
use crate::provider::versions::told;
use crate::provider::{AsOf, Batch, BoxFuture, Provider, ProviderError, Step};
use crate::secret::{Absent, Answer, SecretKey, SecretVersion};
use crate::sys::leftover;

pub(super) struct Parameters {
    api: Api,
}

static SERVICE: Service = Service {
    name: "ssm",
    target: "AmazonSSM",
    rights: "ssm",
    list: "GetParametersByPath",
    listed: "Parameters",
};
const GET: &str = "GetParameters";
/// As many names as one question takes, and as many as one page of a list has.
const LARGEST_BATCH: usize = 10;

impl Parameters {
    /// `store` is where its own secrets may be.
    pub(super) fn new(settings: AwsSecrets, timeout: Duration, store: Option<Arc<dyn Provider>>) -> Self {
        Self { api: Api::new(&SERVICE, settings, timeout, store) }
    }

    async fn read(&self, keys: &[SecretKey]) -> Result<Batch, ProviderError> {
        if self.api.has_one_name() {
            keys.iter().try_for_each(|key| is_only_parameter(self.api.prefix(), &key.path))?;
        }
        let asked =
            keys.iter().map(|key| parameter(&self.api.whole(&key.path), key.version, self.api.takes_arns()));
        let asked: Vec<Option<Parameter>> = asked.collect();
        let mut found: HashMap<&Parameter, Answer> = HashMap::new();
        let mut left: Vec<&Parameter> = asked.iter().flatten().collect();
        while !left.is_empty() {
            let some = take_some(&mut left);
            self.question(&some, &mut found).await?;
        }
        let answer =
            |it: &Option<Parameter>| it.as_ref().map_or(Err(Absent::Missing), |it| found[it].clone());
        Ok(Batch { answers: asked.iter().map(answer).collect(), as_of: AsOf::moment(0) })
    }

    async fn question<'a>(
        &self,
        some: &[&'a Parameter],
        found: &mut HashMap<&'a Parameter, Answer>,
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
        some: &[&'a Parameter],
        found: &mut HashMap<&'a Parameter, Answer>,
    ) -> Result<(), ProviderError> {
        let answer = response.json()?;
        // Those that are there in any order, and each name once.
        for json in answer.at(&["Parameters"])?.items()? {
            let name = json.at(&["Name"])?.text()?;
            let arn = json.maybe("ARN", Json::text)?;
            let asked = some.iter().find(|(it, _)| *it == name || Some(it) == arn.as_ref());
            if let Some(asked) = asked {
                self.api.judge_arn(arn.as_deref())?;
                found.insert(asked, Ok(Arc::new(version_of(json, asked)?)));
            }
        }
        for name in answer.maybe("InvalidParameters", Json::items)?.unwrap_or_default() {
            let name = name.text()?;
            let is_it = |(it, which): &&&Parameter| name == *it || name == format!("{it}{which}");
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

    /// The first page of what lies below the prefix, on all its levels.
    fn page(&self) -> Value {
        let folder = self.api.prefix().rfind('/').map_or("/", |end| &self.api.prefix()[..=end]);
        let path = if folder.len() > 1 { folder.trim_end_matches('/') } else { folder };
        json!({ "Path": path, "Recursive": true, "MaxResults": LARGEST_BATCH })
    }
}

/// The next question: each name once, since the answer does not say which version was asked for by what.
fn take_some<'a>(left: &mut Vec<&'a Parameter>) -> Vec<&'a Parameter> {
    let mut some: Vec<&Parameter> = Vec::new();
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

/// Of which no other version was asked for.
fn version_of(json: Json<'_>, (name, which): &Parameter) -> Result<SecretVersion, ProviderError> {
    let version = json.at(&["Version"])?.whole()?;
    let wanted = which.strip_prefix(':').and_then(|which| which.parse::<u64>().ok());
    if wanted.is_some_and(|wanted| wanted != version) {
        let why = format!("AWS answers with another version of `{name}` than it was asked for");
        return Err(ProviderError::Invalid(why));
    }
    let fields = with_members(json.at(&["Value"])?.secret()?)?;
    Ok(told(fields, version, time_of(json.at(&["LastModifiedDate"])?)?))
}

impl Provider for Parameters {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(self.read(keys))
    }

    fn largest_batch(&self) -> usize {
        LARGEST_BATCH
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(self.api.names(self.page()))
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(self.api.is_well(json!({ "Path": "/", "MaxResults": 1 })))
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
    fn a_question_has_ten_names_and_each_once() {
        let all: Vec<Parameter> = (0..25).map(|at| (format!("n{}", at % 23), format!(":{at}"))).collect();
        let twice = all[0].clone();
        let mut left: Vec<&Parameter> = all.iter().chain([&twice]).collect();
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
