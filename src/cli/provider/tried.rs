//! `secretfs provider test`: each step on the way to a secret, as far as it works, and what to do about
//! the one that does not. Asks the providers as the daemon would. Never a value.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::known;
use crate::broker::Environment;
use crate::cli::report::Failure;
use crate::cli::{Common, exit, output, session};
use crate::config::{Config, ProviderConfig};
use crate::daemon::assemble::{self, Choice};
use crate::provider::{Given, Provider, ProviderError, Step};
use crate::secret::{Reference, SecretKey};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Only these (default: all that the config names)
    names: Vec<String>,
    /// Also read this secret of the one that is named: its path there
    #[arg(long, value_name = "PATH", requires = "names")]
    read: Option<String>,
}

/// For all steps of one provider.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Tried<'a> {
    provider: &'a str,
    works: bool,
    steps: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    step: &'static str,
    milliseconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

pub(super) fn run(args: &Args, config: &Config, common: &Common) -> Result<u8, Failure> {
    let names = chosen(args, config)?;
    let choice = Choice { deploys: true, ..common.choice() };
    let broker = assemble::broker(&choice, config, Environment::All)?;
    let tried = session::wait_and_leave(&broker, Given::Over, async {
        let mut tried = Vec::new();
        for name in names {
            let Some(provider) = broker.provider(name) else { continue };
            let steps = steps(provider, args.read.as_deref()).await;
            tried.push(Tried { provider: name, works: steps.iter().all(|it| it.problem.is_none()), steps });
        }
        Ok::<_, Failure>(tried)
    })?;
    tell(&tried, common)
}

/// Those that are named, or all; of several as one, those that it is made of.
fn chosen<'a>(args: &Args, config: &'a Config) -> Result<Vec<&'a str>, Failure> {
    let mut names = Vec::new();
    let all = || config.providers.keys().map(|name| Ok(name.as_str())).collect::<Vec<_>>();
    let named = || args.names.iter().map(|name| known(config, name).map(|(name, _)| name)).collect();
    let asked: Vec<Result<&str, Failure>> = if args.names.is_empty() { all() } else { named() };
    for name in asked {
        let name = name?;
        match &config.providers[name] {
            ProviderConfig::Several(several) => names.extend(several.of.iter().map(String::as_str)),
            _ => names.push(name),
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    names.retain(|name| seen.insert(*name));
    Ok(names)
}

async fn steps(provider: Arc<dyn Provider>, read: Option<&str>) -> Vec<Line> {
    let late = |_| {
        let error = ProviderError::Timeout(format!("no answer within {PATIENCE:?}"));
        vec![Step { name: "answers", took: PATIENCE, outcome: Err(error) }]
    };
    let mut steps = tokio::time::timeout(PATIENCE, provider.steps()).await.unwrap_or_else(late);
    if let Some(path) = read
        && steps.iter().all(Step::is_fine)
    {
        let start = Instant::now();
        steps.push(Step::of("read", start, one_read(&*provider, path).await));
    }
    steps.into_iter().map(Line::of).collect()
}

/// What is there, but for its values.
async fn one_read(provider: &dyn Provider, path: &str) -> Result<String, ProviderError> {
    let unfit = |error: crate::secret::ReferenceError| ProviderError::Invalid(error.to_string());
    let Reference { key, field } = Reference::parse(&format!("x:{path}")).map_err(unfit)?;
    let key = SecretKey { provider: None, ..key };
    let batch = provider.fetch(std::slice::from_ref(&key)).await?;
    let answer = batch.answers.into_iter().next();
    let version = match answer {
        Some(Ok(version)) => version,
        Some(Err(absent)) => return Err(ProviderError::Invalid(format!("`{path}`: {absent}"))),
        None => return Err(ProviderError::Invalid("there is no answer".to_owned())),
    };
    if let Some(field) = field.filter(|field| !version.fields.contains_key(field)) {
        return Err(ProviderError::Invalid(format!("`{path}`: it has no field `{field}`")));
    }
    let fields: Vec<_> = version.fields.keys().map(ToString::to_string).collect();
    Ok(format!("version {}, {}", version.version, fields.join(", ")))
}

impl Line {
    fn of(step: Step) -> Self {
        let (seen, problem) = match step.outcome {
            Ok(seen) => (Some(seen), None),
            Err(error) => (None, Some(error.to_string())),
        };
        let took = step.took.as_micros() as f64 / 1e3;
        Self { step: step.name, milliseconds: took, seen, problem }
    }
}

fn tell(tried: &[Tried<'_>], common: &Common) -> Result<u8, Failure> {
    let broken: Vec<_> = tried.iter().filter(|it| !it.works).map(|it| it.provider).collect();
    if common.json {
        output::print_json(&tried)?;
        return Ok(if broken.is_empty() { exit::OK } else { exit::NO });
    }
    let mut text = String::new();
    for Tried { provider, works, steps } in tried {
        text += &format!("{provider}: {}\n", if *works { "works" } else { "does not work" });
        let width = steps.iter().map(|it| it.step.len()).max().unwrap_or(0);
        for Line { step, seen, problem, .. } in steps {
            let told = seen.as_deref().or(problem.as_deref()).unwrap_or_default();
            let mark = if problem.is_some() { "  <- here" } else { "" };
            text += &format!("  {step:width$}  {}{mark}\n", output::in_line(told));
        }
    }
    output::print(text)?;
    match broken.is_empty() {
        true => Ok(exit::OK),
        false => Err(Failure::new(
            exit::NO,
            format!("{} of {} do not work: {}", broken.len(), tried.len(), broken.join(", ")),
        )),
    }
}
