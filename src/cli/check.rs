//! `secretfs check`: judges templates and the config that names them without serving anything: syntax,
//! references against the providers, and what a reader should know. May use every layer.

mod access;
mod audit;
mod finding;
mod pins;
mod references;
mod report;
mod rules;
mod settings;
mod subject;
mod used;

use std::path::PathBuf;
use std::sync::Arc;

use super::Common;
use super::policy::asked::Caller;
use super::progress::Progress;
use super::report::Failure;
use crate::broker::Error;
use crate::config::Config;
use crate::policy::Door;
use crate::sys::lease;
use crate::template::Template;
use finding::{Finding, Kind};
pub use pins::Pins;
use report::Report;
use subject::Subject;

#[derive(clap::Args)]
pub struct Args {
    /// Templates, or folders of them (default: all that the config names, and the config itself)
    paths: Vec<PathBuf>,
    /// Do not look up the references
    #[arg(long)]
    offline: bool,
    /// Say what this caller would get of each file: user=NAME,unit=NAME,exe=PATH,door=NAME,…
    #[arg(long = "as", value_name = "CALLER", conflicts_with = "paths", value_parser = Caller::parse)]
    caller: Option<(Caller, Option<Door>)>,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    lease::ignore_lease_breaks();
    let config = super::config::load(common)?;
    let mut report = Report::default();
    let is_whole = args.paths.is_empty();
    let subjects = match is_whole {
        true => subject::of_config(&config, &mut report)?,
        false => subject::given(&args.paths)?,
    };
    report.count_templates(subjects.iter().map(|subject| &subject.path));
    if is_whole {
        settings::judge(&common.choice(), &config, &mut report);
        rules::judge(&config, &mut report);
        audit::judge(&config, &mut report);
    }
    let progress = Progress::of(subjects.len(), "checking", common);
    let compiled = subjects.iter().inspect(|_| progress.step()).filter_map(|it| compile(it, &mut report));
    let compiled: Vec<_> = compiled.collect();
    compiled.iter().for_each(|(subject, template)| note(&config, subject, template, &mut report));
    pins::judge(&config, compiled.iter().map(|(_, template)| &**template), is_whole, &mut report)?;
    if is_whole && rules::are_known(&config) {
        rules::judge_names(
            &config,
            &references::used(common, &config, &compiled, args.offline)?,
            &mut report,
        );
    }
    if !args.offline && rules::are_known(&config) {
        references::look_up(common, &config, &compiled, is_whole, &mut report)?;
    }
    if let Some((caller, door)) = args.caller.as_ref().filter(|_| rules::are_known(&config)) {
        report.see(access::of(&config, caller, *door)?);
    }
    drop(progress);
    report.print(common.json)?;
    Ok(report.status())
}

fn compile<'a>(subject: &'a Subject, report: &mut Report) -> Option<(&'a Subject, Arc<Template>)> {
    let fault = match subject.template() {
        Ok(template) => return Some((subject, template)),
        Err(Error::Template(error)) => Finding::of(Kind::Template, &error),
        Err(error) => Finding::whole(&subject.path.display().to_string(), Kind::Template, error.to_string()),
    };
    report.add(fault);
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
