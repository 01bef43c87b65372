//! `secretfs exec`: collects what the command needs, and becomes the command; or its parent, if
//! files are to be covered for it. Nothing starts when anything is missing.

mod collect;
mod cover;
mod keep;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::inside::{self, Command, Watch};
use super::named::Readings;
use super::report::{self, Failure};
use super::{Common, exit, log, source};
use crate::broker::{Broker, Environment as TemplateEnvironment, Listener};
use crate::config::{self, Config, Profile, Response};
use crate::daemon::assemble::{self, Choice};
use crate::exec::mask::{self, Masks};
use crate::exec::{self, Environment, EnvironmentError, Rules};
use crate::fs::SecretFs;
use crate::nearest::nearest;
use crate::provider::Given;
use crate::secret::{Namespace, Reference, SecretBytes};
use crate::sys::signal::{self, Inherited};
use crate::template::{Dialect, Format, Options, Template};
pub use collect::most_telling;
use collect::{collect, collect_and_leave};
use cover::{Cover, PLACE, layout, put_in_place};
pub use keep::keep_if_asked;
use watch::Watcher;

#[derive(clap::Args)]
pub struct Args {
    /// Set a variable: NAME=SECRET, NAME=SECRET.FIELD or NAME=provider:path#field@version
    #[arg(long, value_name = "NAME=REFERENCE", value_parser = parse_assignment)]
    env: Vec<(String, String)>,
    /// Set the variables of an env file that is a template
    #[arg(long, value_name = "TEMPLATE")]
    env_file: Vec<PathBuf>,
    /// Let the command alone find a template's rendering at a path, as a plain file
    #[arg(long, value_name = "PATH=TEMPLATE", value_parser = parse_cover)]
    file: Vec<(PathBuf, PathBuf)>,
    /// Set what a profile of the config says
    #[arg(long, value_name = "NAME", add = super::completions::profiles())]
    profile: Option<String>,
    /// Inherit nothing but PATH, HOME, TERM, the locale and their like
    #[arg(long)]
    pristine: bool,
    /// Set this variable although it changes which code a program runs (PATH, LD_PRELOAD, …), or hand it on although a
    /// provider is asked with it (VAULT_TOKEN, AWS_SECRET_ACCESS_KEY, …)
    #[arg(long, value_name = "NAME")]
    force_env: Vec<String>,
    /// Put *** in place of the values, and of their Base64, hex, URL and JSON forms, in what the command prints
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = parse_bool)]
    mask: Option<bool>,
    /// When a value changes, end the command and start it with the new ones, or send it a signal (reload: SIGHUP)
    #[arg(long, value_name = "restart|reload|signal:NAME|off", num_args = 0..=1, require_equals = true, default_missing_value = "restart", value_parser = config::Watch::parse)]
    watch: Option<config::Watch>,
    /// Allow deploy-time secrets: the namespace `deploy` and .env.deploy files
    #[arg(long)]
    deploy: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Args {
    fn rules(&self, config: &Config) -> Rules {
        let forced = self.force_env.iter().cloned().collect();
        Rules { pristine: self.pristine, forced, own: config.own_variables() }
    }
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let config = super::config::load(common)?;
    let request = Request::new(&config, args)?;
    refuse_deploy(common, &request, args)?;
    if !request.covers.is_empty() || request.masks || request.watch.is_some() {
        return run_beside(args, common, &config, request);
    }
    log::start();
    if request.is_empty() {
        return become_command(args, &config, Injected::new());
    }
    let broker = broker(args, common, &config)?;
    let injected = collect_and_leave(&broker, &request)?;
    become_command(args, &config, injected).inspect_err(|_| broker.give_back_now(Given::Over))
}

/// Comes back only if it fails.
fn become_command(args: &Args, config: &Config, injected: Injected) -> Result<u8, Failure> {
    let environment = environment(injected, &args.rules(config))?;
    signal::restore_pipe();
    let error = exec::replace(&args.command, &environment);
    Err(Failure::new(error.status(), error))
}

/// As the command's parent: through it goes what is masked, it watches the values, and it serves
/// the covered files from outside.
fn run_beside(args: &Args, common: &Common, config: &Config, request: Request) -> Result<u8, Failure> {
    let request = Arc::new(request);
    match request.covers.is_empty() {
        true => drop(exec::find(&args.command).map_err(|error| Failure::new(error.status(), error))?),
        false => inside::check(&args.command)?,
    }
    let signals = Inherited::take().map_err(system)?;
    let masks = request.masks.then(Arc::<Masks>::default);
    let broker = broker(args, common, config)?;
    let broker = Arc::new(match &masks {
        Some(masks) => broker.heard_by(listener(masks)),
        None => broker,
    });
    // Before the values are collected, so that no change falls between.
    let watch = watch(args.rules(config), &broker, &request, &masks);
    let _lent = Lent(broker.clone());
    let environment = environment(collect(&broker, &request)?, &args.rules(config))?;
    masks.iter().for_each(|masks| tell_too_short(masks));
    // From here on we end only as the command does, so that what stands in is taken away.
    exec::hold_signals().map_err(system)?;
    let _places = request.covers.iter().map(Cover::hold_place).collect::<Result<Vec<_>, _>>()?;
    let prepare = || put_in_place(&request.covers);
    let command =
        Command { words: &args.command, environment, signals, prepare: &prepare, masks, watch: watch? };
    if request.covers.is_empty() {
        log::start();
        return inside::run_beside(command);
    }
    let filesystem =
        || SecretFs::new(broker, layout(&request.covers)).map_err(|error| Failure::new(exit::OS, error));
    inside::run(&[PLACE.as_ref()], || Ok(vec![filesystem()?]), command)
}

/// What was lent for the command is given back when it has ended, or is not to begin; what only we know is written
/// down then, too, and not while there has to be one thread.
struct Lent(Arc<Broker>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.give_back_now(Given::Over);
        self.0.flush();
    }
}

fn watch(
    rules: Rules,
    broker: &Arc<Broker>,
    request: &Arc<Request>,
    masks: &Option<Arc<Masks>>,
) -> Result<Option<Watch<'static>>, Failure> {
    let Some(response) = request.watch else { return Ok(None) };
    let watcher = Watcher::new(broker.clone(), request.clone(), rules, masks.clone(), response)?;
    let restarts = response == Response::Restart;
    Ok(Some(Watch { start: Box::new(|teller| watcher.start(teller)), restarts }))
}

/// Has the masks know each value that the command is given, now and later.
fn listener(masks: &Arc<Masks>) -> Listener {
    let masks = masks.clone();
    Arc::new(move |reference, value| masks.add(&reference.key.to_string(), value))
}

fn tell_too_short(masks: &Masks) {
    for name in masks.take_too_short() {
        report::warn(format!("`{name}` is too short to be masked: less than {} bytes", mask::LEAST));
    }
}

fn system(error: io::Error) -> Failure {
    Failure::new(exit::OS, error)
}

fn broker(args: &Args, common: &Common, config: &Config) -> Result<Broker, Failure> {
    let choice = Choice { deploys: args.deploy, ..common.choice() };
    let broker = assemble::broker(&choice, config, TemplateEnvironment::All)?;
    Ok(if config.audit.is_on() { broker.running(program(&args.command)) } else { broker })
}

/// As the log names it; what is not there is named as it was asked for.
fn program(command: &[OsString]) -> String {
    let found = exec::find(command).ok().and_then(|path| std::path::absolute(path).ok());
    found
        .unwrap_or_else(|| command.first().map(PathBuf::from).unwrap_or_default())
        .to_string_lossy()
        .into_owned()
}

fn environment(injected: Injected, rules: &Rules) -> Result<Environment, Failure> {
    Environment::build(std::env::vars_os(), &injected, rules).map_err(cannot_inject)
}

fn refuse_deploy(common: &Common, request: &Request, args: &Args) -> Result<(), Failure> {
    let is_deploy_file = |path: &&Path| {
        let name = path.file_name().unwrap_or_default();
        name.as_encoded_bytes().starts_with(Namespace::DEPLOY_FILES.as_bytes())
    };
    let env_files = request.templates.iter().map(|template| Path::new(template.name()));
    let covers = request.covers.iter().flat_map(|cover| [&*cover.target, &*cover.template]);
    let what = match common.namespace.as_deref() {
        Some(Namespace::DEPLOY) => Some("the namespace `deploy`".to_owned()),
        _ => env_files.chain(covers).find(is_deploy_file).map(|path| path.display().to_string()),
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
    /// The profile's, and those of `--file`, which win over them.
    covers: Vec<Cover>,
    /// What the command line says; else the profile.
    masks: bool,
    watch: Option<Response>,
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
            covers: covers(profile, args)?,
            masks: args.mask.or(profile.mask).unwrap_or(false),
            watch: args.watch.or(profile.watch).and_then(|it| it.0),
        })
    }

    /// All that is read, in files too. A dot may be read in two ways.
    fn references(&self) -> Vec<Reference> {
        let variables = self.variables.iter().flat_map(|it| it.readings.references.iter().cloned());
        let of =
            |template: &Template| template.references().iter().map(|it| it.item.clone()).collect::<Vec<_>>();
        let covered = self.covers.iter().filter_map(|cover| cover.compile().ok()).flat_map(|it| of(&it));
        variables.chain(self.templates.iter().flat_map(of)).chain(covered).collect()
    }

    /// Nothing is to be looked up.
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

fn covers(profile: &Profile, args: &Args) -> Result<Vec<Cover>, Failure> {
    let mut covers = BTreeMap::new();
    let mut given = BTreeSet::new();
    for (path, template) in &profile.files {
        let cover = Cover::new(path, template)?;
        covers.insert(cover.target.clone(), cover);
    }
    for (path, template) in &args.file {
        let cover = Cover::new(path, template)?;
        if !given.insert(cover.target.clone()) {
            return Err(Failure::new(exit::USAGE, format!("--file {} is given twice", path.display())));
        }
        covers.insert(cover.target.clone(), cover);
    }
    Ok(covers.into_values().collect())
}

fn compile(path: &Path) -> Result<Template, Failure> {
    source::compile(path, Options { format: Format::Env(Dialect::Exec), ..Options::default() })
}

fn cannot_inject(error: EnvironmentError) -> Failure {
    let failure = Failure::new(exit::DATA, &error);
    match &error {
        EnvironmentError::Dangerous(name) => failure.hint(format!("--force-env {name} if you mean it")),
        EnvironmentError::Nul(_) | EnvironmentError::TooLong { .. } => {
            failure.hint("let the program read it from a file: --file PATH=TEMPLATE")
        }
        EnvironmentError::Name(_) | EnvironmentError::Own(_) => failure,
    }
}

fn parse_bool(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "it is true or false".to_owned())
}

fn parse_assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, reference)) if !name.is_empty() => Ok((name.to_owned(), reference.to_owned())),
        _ => Err("it has the form NAME=REFERENCE".to_owned()),
    }
}

fn parse_cover(text: &str) -> Result<(PathBuf, PathBuf), String> {
    match text.split_once('=') {
        Some((path, template)) if !path.is_empty() && !template.is_empty() => {
            Ok((path.into(), template.into()))
        }
        _ => Err("it has the form PATH=TEMPLATE".to_owned()),
    }
}
