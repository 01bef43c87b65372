//! `secretfs check`: judges templates without serving them: their syntax, their references against
//! the providers, and what a reader of them should know. May use every layer.

mod finding;
mod subject;

use std::path::PathBuf;
use std::sync::Arc;

use super::progress::Progress;
use super::report::Failure;
use super::{Common, assemble, session};
use crate::broker::{Environment, Error};
use crate::config::Config;
use crate::policy::Door;
use crate::resolver::ResolveError;
use crate::sys::lease;
use crate::template::Template;
use finding::{Finding, Kind, Report};
use subject::Subject;

#[derive(clap::Args)]
pub struct Args {
    /// Templates, or folders of them (default: all that the config names)
    paths: Vec<PathBuf>,
    /// Do not look up the references
    #[arg(long)]
    offline: bool,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    lease::ignore_lease_breaks();
    let config = super::config::load(common)?;
    let subjects = subject::find(&config, &args.paths)?;
    let mut report = Report::on(subjects.len());
    let progress = Progress::of(subjects.len(), "checking", common);
    let compiled = subjects.iter().inspect(|_| progress.step()).filter_map(|it| compile(it, &mut report));
    let compiled: Vec<_> = compiled.collect();
    for (subject, template) in &compiled {
        note(&config, subject, template, &mut report);
    }
    if !args.offline {
        let (mounted, own): (Vec<_>, Vec<_>) = compiled.iter().partition(|(subject, _)| subject.is_mounted);
        look_up(common, &config, Environment::Only(config.env_allowed.clone()), &mounted, &mut report)?;
        look_up(common, &config, Environment::All, &own, &mut report)?;
    }
    report.print(common.json)?;
    Ok(report.status())
}

fn compile<'a>(subject: &'a Subject, report: &mut Report) -> Option<(&'a Subject, Arc<Template>)> {
    match subject.template() {
        Ok(template) => return Some((subject, template)),
        Err(Error::Template(error)) => report.add(Finding::of(Kind::Template, &error)),
        Err(error) => {
            report.add(Finding::whole(
                &subject.path.display().to_string(),
                Kind::Template,
                error.to_string(),
            ));
        }
    }
    None
}

/// What is no fault, but has to be known: escapes that are off, text that may be meant otherwise, and variables
/// that are not allowed.
fn note(config: &Config, subject: &Subject, template: &Template, report: &mut Report) {
    let name = template.name();
    if subject.is_format_unknown {
        let message = "plain text: its name tells no format, so values are not escaped; set `format:`";
        report.add(Finding::whole(name, Kind::Note, message));
    }
    for raw in template.raws() {
        report.add(Finding::at(name, Kind::Note, (raw.line, raw.column), "`raw`: this value is not escaped"));
    }
    for left in template.left_as_text() {
        let message = format!("left as text; did you mean `{}`?", left.item);
        report.add(Finding::at(name, Kind::Note, (left.line, left.column), message));
    }
    let forbidden = |name: &&String| subject.is_mounted && !config.env_allowed.contains(*name);
    for used in template.env_names().iter().filter(|used| forbidden(&&used.item)) {
        let message = format!("env.{} is not allowed; list it under `env:` in the config", used.item);
        report.add(Finding::at(name, Kind::Template, (used.line, used.column), message));
    }
}

/// Looks up what the templates name, as the mount would (`Only`) or as a command (`All`).
fn look_up(
    common: &Common,
    config: &Config,
    environment: Environment,
    templates: &[&(&Subject, Arc<Template>)],
    report: &mut Report,
) -> Result<(), Failure> {
    if templates.iter().all(|(_, template)| template.keys().is_empty()) {
        return Ok(());
    }
    let broker = assemble::broker(common, config, environment)?;
    session::wait(async {
        for (_, template) in templates {
            match broker.missing(&session::caller(), Door::Command, template).await {
                Ok(missing) => missing.iter().for_each(|error| report.add(Finding::of(Kind::Missing, error))),
                Err(Error::Resolve(error @ ResolveError::NoProvider { .. })) => {
                    report.add(Finding::whole(template.name(), Kind::Template, error.to_string()));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })
}
