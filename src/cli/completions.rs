//! `secretfs completions SHELL`, and the answers to a shell that completes a line: clap's, with
//! the names that the store and the config have. May use every layer.

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};
use clap_complete::env::Shells;
use clap_complete::{ArgValueCandidates, CompleteEnv, CompletionCandidate};

use super::report::Failure;
use super::{Cli, Common, config, exit, open, output};
use crate::secret::SecretType;
use crate::store::{Access, EnvKey, SecretInfo, Store};

/// Set by the shell's function when it asks; never in a user's environment.
const VARIABLE: &str = "SECRETFS_COMPLETE";

#[derive(clap::Args)]
pub struct Args {
    /// bash, zsh, fish, elvish or powershell
    #[arg(add = ArgValueCandidates::new(|| Shells::builtins().names().map(CompletionCandidate::new).collect()))]
    shell: String,
}

/// Prints what the shell has to load.
pub fn run(args: &Args) -> Result<u8, Failure> {
    let shells = Shells::builtins();
    let shell = shells.completer(&args.shell).ok_or_else(|| {
        let known: Vec<_> = shells.names().collect();
        Failure::new(exit::USAGE, format!("there are no completions for the shell `{}`", args.shell))
            .hint(format!("secretfs completions with one of {}", known.join(", ")))
    })?;
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "secretfs", "secretfs", "secretfs", &mut script)
        .map_err(|error| Failure::new(exit::SOFTWARE, error))?;
    output::print(script)?;
    Ok(exit::OK)
}

/// Answers a shell that asks, and ends the process; does nothing else.
pub fn answer() {
    if std::env::var_os(VARIABLE).is_some() {
        CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
    }
}

/// The secrets of the store.
pub fn secrets() -> ArgValueCandidates {
    ArgValueCandidates::new(|| known_secrets().iter().map(candidate).collect())
}

/// The secrets of the store, and the fields of those that have several.
pub fn fields() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let fields = |secret: &SecretInfo| {
            let several = secret.fields.iter().filter(|_| secret.fields.len() > 1);
            let names = several.map(|field| CompletionCandidate::new(format!("{}.{field}", secret.name)));
            std::iter::once(candidate(secret)).chain(names).collect::<Vec<_>>()
        };
        known_secrets().iter().flat_map(fields).collect()
    })
}

/// Services that many have secrets of, offered beside the labels of the store. A label is free text.
const KNOWN_LABELS: [&str; 24] = [
    "anthropic",
    "aws",
    "azure",
    "cloudflare",
    "datadog",
    "digitalocean",
    "docker",
    "gcp",
    "github",
    "gitlab",
    "grafana",
    "huggingface",
    "mailgun",
    "mongodb",
    "npm",
    "openai",
    "pagerduty",
    "postgres",
    "pypi",
    "redis",
    "sendgrid",
    "slack",
    "stripe",
    "twilio",
];

/// The labels of the store, and those that are known anyway.
pub fn labels() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let known = KNOWN_LABELS.map(str::to_owned);
        each(known_secrets().into_iter().filter_map(|secret| secret.label).chain(known))
    })
}

/// The tags of the store.
pub fn tags() -> ArgValueCandidates {
    ArgValueCandidates::new(|| each(known_secrets().into_iter().flat_map(|secret| secret.tags)))
}

/// The types of secrets.
pub fn types() -> ArgValueCandidates {
    ArgValueCandidates::new(|| each(SecretType::ALL.map(|kind| kind.as_str().to_owned())))
}

fn each(words: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    words.into_iter().collect::<BTreeSet<_>>().into_iter().map(CompletionCandidate::new).collect()
}

/// The profiles of the config.
pub fn profiles() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let config = config::load(&typed()).ok();
        config.iter().flat_map(|config| config.profiles.keys()).map(CompletionCandidate::new).collect()
    })
}

fn candidate(secret: &SecretInfo) -> CompletionCandidate {
    CompletionCandidate::new(&secret.name).help(secret.description.clone().map(Into::into))
}

/// The namespaces of the store.
pub fn namespaces() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let known = opened(&common()).and_then(|store| store.namespaces().ok()).unwrap_or_default();
        known.iter().map(|name| CompletionCandidate::new(name.as_str())).collect()
    })
}

/// None if the store cannot be opened: a shell that completes has no place for errors.
fn known_secrets() -> Vec<SecretInfo> {
    let common = common();
    let listed = || opened(&common)?.list(&open::namespace(&common).ok()?).ok();
    listed().unwrap_or_default()
}

fn opened(common: &Common) -> Option<Store> {
    open::open_store(common, &config::load(common).ok()?.store, Access::Read).ok()
}

fn common() -> Common {
    Common { env_key: EnvKey::take(), ..typed() }
}

/// The global options on the line so far, which is not a whole one.
fn typed() -> Common {
    let words: Vec<OsString> = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).ok();
    let of = |matches: &clap::ArgMatches| Common::from_arg_matches(matches).ok();
    let deep = matches.as_ref().and_then(|matches| of(matches.subcommand()?.1));
    deep.or(matches.as_ref().and_then(of)).unwrap_or_default()
}
