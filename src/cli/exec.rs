//! `secretfs exec`: collects what the child's environment needs, and becomes the child. Nothing
//! starts when anything is missing, and all that is missing is told at once.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::named::Readings;
use super::report::Failure;
use super::{Common, assemble, exit, session, source};
use crate::broker::{Broker, Class, Environment as TemplateEnvironment, Error, Lack};
use crate::config::{Config, Profile};
use crate::exec::{self, Environment, EnvironmentError, Rules};
use crate::nearest::nearest;
use crate::policy::Door;
use crate::secret::{Namespace, SecretBytes};
use crate::template::{Dialect, Format, Options, Template, TemplateError};

#[derive(clap::Args)]
pub struct Args {
    /// Set a variable: NAME=SECRET, NAME=SECRET.FIELD or NAME=provider:path#field@version
    #[arg(long, value_name = "NAME=REFERENCE", value_parser = parse_assignment)]
    env: Vec<(String, String)>,
    /// Set the variables of an env file that is a template
    #[arg(long, value_name = "TEMPLATE")]
    env_file: Vec<PathBuf>,
    /// Set what a profile of the config says
    #[arg(long, value_name = "NAME", add = super::completions::profiles())]
    profile: Option<String>,
    /// Inherit nothing but PATH, HOME, TERM, the locale and their like
    #[arg(long)]
    pristine: bool,
    /// Set this variable although it changes which code a program runs (PATH, LD_PRELOAD, …)
    #[arg(long, value_name = "NAME")]
    force_env: Vec<String>,
    /// Allow deploy-time secrets: the namespace `deploy` and .env.deploy files
    #[arg(long)]
    deploy: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let config = super::config::load(common)?;
    let request = Request::new(&config, args)?;
    refuse_deploy(common, &request, args)?;
    let injected = match request.is_empty() {
        true => Injected::new(),
        false => collect(common, &config, &request)?,
    };
    let rules = Rules { pristine: args.pristine, forced: args.force_env.iter().cloned().collect() };
    let environment = Environment::build(std::env::vars_os(), &injected, &rules).map_err(cannot_inject)?;
    drop(injected);
    let error = exec::replace(&args.command, &environment);
    Err(Failure::new(error.status(), error))
}

fn refuse_deploy(common: &Common, request: &Request, args: &Args) -> Result<(), Failure> {
    let is_deploy_file = |template: &&Template| {
        let name = Path::new(template.name()).file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(Namespace::DEPLOY_FILES.as_bytes())
    };
    let what = match common.namespace.as_deref() {
        Some(Namespace::DEPLOY) => Some("the namespace `deploy`"),
        _ => request.templates.iter().find(is_deploy_file).map(Template::name),
    };
    match what {
        Some(what) if !args.deploy => {
            Err(Failure::new(exit::NO_PERMISSION, format!("{what} is for deployments; no workload gets it"))
                .hint("--deploy if this command deploys"))
        }
        _ => Ok(()),
    }
}

type Injected = BTreeMap<String, SecretBytes>;

/// All that is asked for.
struct Request {
    /// The profile's, then those of `--env`, which win over everything.
    variables: Vec<Variable>,
    /// How many of them are the profile's: over these, env files win.
    of_profile: usize,
    templates: Vec<Template>,
}

/// A variable, and what it is to hold.
struct Variable {
    name: String,
    readings: Readings,
}

impl Request {
    fn new(config: &Config, args: &Args) -> Result<Self, Failure> {
        let none = Profile::default();
        let profile = args.profile.as_ref().map_or(Ok(&none), |name| find_profile(config, name))?;
        let files = profile.env_files.iter().chain(&args.env_file);
        let mut names = BTreeSet::new();
        if let Some((name, _)) = args.env.iter().find(|(name, _)| !names.insert(name)) {
            return Err(Failure::new(exit::USAGE, format!("--env {name} is given twice")));
        }
        let given = args.env.iter().map(|(name, text)| (name, text));
        let variables = profile.env.iter().chain(given).map(|(name, text)| Variable::new(name, text));
        Ok(Self {
            variables: variables.collect::<Result<_, _>>()?,
            of_profile: profile.env.len(),
            templates: files.map(|path| compile(path)).collect::<Result<_, _>>()?,
        })
    }

    fn is_empty(&self) -> bool {
        self.templates.is_empty() && self.variables.is_empty()
    }
}

impl Variable {
    fn new(name: &str, text: &str) -> Result<Self, Failure> {
        Ok(Self { name: name.to_owned(), readings: Readings::of(text)? })
    }
}

fn find_profile<'a>(config: &'a Config, name: &str) -> Result<&'a Profile, Failure> {
    config.profiles.get(name).ok_or_else(|| {
        let failure = Failure::new(exit::CONFIG, format!("the config has no profile `{name}`"));
        let known: Vec<_> = config.profiles.keys().map(String::as_str).collect();
        match nearest(name, &known) {
            Some(near) => failure.hint(format!("--profile {near}")),
            None if known.is_empty() => failure.hint("add it under `profiles:`"),
            None => failure.hint(format!("--profile with one of {}", known.join(", "))),
        }
    })
}

fn compile(path: &Path) -> Result<Template, Failure> {
    source::compile(path, Options { format: Format::Env(Dialect::Exec), ..Options::default() })
}

/// Everything that is missing, in the order in which it was asked for.
#[derive(Default)]
struct Missing(Vec<String>);

/// One runtime without threads: the store answers in this one.
fn collect(common: &Common, config: &Config, request: &Request) -> Result<Injected, Failure> {
    let broker = assemble::broker(common, config, TemplateEnvironment::All)?;
    session::wait(async {
        let mut missing = Missing::default();
        let mut profile = look_up(&broker, &request.variables, &mut missing).await?;
        let variables = profile.split_off(profile.len().min(request.of_profile));
        let mut rendered = Vec::new();
        for template in &request.templates {
            rendered.extend(render(&broker, template, &mut missing).await?);
        }
        missing.none()?;
        Ok(profile.into_iter().chain(rendered).chain(variables).collect())
    })
}

/// The values in their order, all of one moment.
async fn look_up(
    broker: &Broker,
    variables: &[Variable],
    missing: &mut Missing,
) -> Result<Vec<(String, SecretBytes)>, Failure> {
    if variables.is_empty() {
        return Ok(Vec::new());
    }
    let references: Vec<_> = variables.iter().flat_map(|it| it.readings.references.clone()).collect();
    let mut values = broker.values(&session::caller(), Door::Exec, &references).await?.into_iter();
    let mut found = Vec::with_capacity(variables.len());
    for Variable { name, readings } in variables {
        let outcomes = values.by_ref().take(readings.references.len()).collect();
        match readings.settle(outcomes)? {
            Ok(value) => found.push((name.clone(), value)),
            Err(lacks) => missing.add_lack(name, readings, &most_telling(broker, lacks).await),
        }
    }
    Ok(found)
}

/// Of two readings that miss: the secret that lacks the field, else the name.
pub async fn most_telling(broker: &Broker, mut lacks: Vec<Lack>) -> Lack {
    let known = lacks.iter().position(|lack| !lack.is_of_name());
    let lack = lacks.swap_remove(known.unwrap_or(lacks.len() - 1));
    broker.explain_lack(lack).await
}

async fn render(
    broker: &Broker,
    template: &Template,
    missing: &mut Missing,
) -> Result<Vec<(String, SecretBytes)>, Failure> {
    match session::rendering(broker, template, Door::Exec).await {
        Ok(bytes) => exec::parse_dotenv(bytes.expose()).map_err(|error| unreadable(template, &error)),
        Err(error @ Error::Template(_))
            if matches!(error.class(), Class::NoKey | Class::Expired | Class::Revoked) =>
        {
            missing.add_template(broker.explain(error).await);
            Ok(Vec::new())
        }
        Err(error) => Err(error.into()),
    }
}

impl Missing {
    fn add_lack(&mut self, name: &str, readings: &Readings, lack: &Lack) {
        let hint = lack.hint.iter().map(|hint| format!("; {hint}"));
        self.0.push(format!("{name}={}: {}{}", readings.text, lack.problem, hint.collect::<String>()));
    }

    fn add_template(&mut self, error: Error) {
        let Error::Template(error) = error else { return };
        self.0.extend(std::iter::once(&error).chain(&error.also).map(line));
    }

    fn none(self) -> Result<(), Failure> {
        if self.0.is_empty() {
            return Ok(());
        }
        let lines = self.0.join("\n  ");
        Err(Failure::new(exit::NO_INPUT, format!("nothing was started, because this is missing:\n  {lines}"))
            .hint("secretfs list"))
    }
}

fn line(error: &TemplateError) -> String {
    let hint = error.hint.iter().map(|hint| format!("; {hint}"));
    format!("{error}{}", hint.collect::<String>())
}

fn unreadable(template: &Template, error: &exec::DotenvError) -> Failure {
    let problem = format!("{}, {error} (of the rendered file)", template.name());
    Failure::new(exit::DATA, problem)
        .hint("an env file has lines of NAME=value, NAME='value' or NAME=\"value\"")
}

fn cannot_inject(error: EnvironmentError) -> Failure {
    let failure = Failure::new(exit::DATA, &error);
    match &error {
        EnvironmentError::Dangerous(name) => failure.hint(format!("--force-env {name} if you mean it")),
        EnvironmentError::Nul(_) | EnvironmentError::TooLong { .. } => {
            failure.hint("let the program read it from a file: secretfs mount")
        }
        EnvironmentError::Name(_) | EnvironmentError::Own(_) => failure,
    }
}

fn parse_assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, reference)) if !name.is_empty() => Ok((name.to_owned(), reference.to_owned())),
        _ => Err("it has the form NAME=REFERENCE".to_owned()),
    }
}
