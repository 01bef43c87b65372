//! `secretfs check`: judges templates without serving them: their syntax, their references against
//! the providers, and what a reader of them should know. May use every layer.

mod finding;
mod subject;

use std::path::PathBuf;

use super::report::Failure;
use super::{Common, assemble, session, source};
use crate::broker::{Broker, Environment};
use crate::config::Config;
use crate::policy::Door;
use crate::template::{Template, TemplateError};
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
    let config = super::config::load(common)?;
    let subjects = subject::find(&config, &args.paths)?;
    let mut report = Report::on(subjects.len());
    let compiled: Vec<_> = subjects.iter().filter_map(|subject| compile(subject, &mut report)).collect();
    for (subject, template) in &compiled {
        note(&config, subject, template, &mut report);
    }
    if !args.offline && compiled.iter().any(|(_, template)| !template.keys().is_empty()) {
        let broker = assemble::broker(common, &config, Environment::All)?;
        session::wait(look_up(&broker, &compiled, &mut report))?;
    }
    report.print(common.json)?;
    Ok(report.status())
}

fn compile<'a>(subject: &'a Subject, report: &mut Report) -> Option<(&'a Subject, Template)> {
    let name = subject.path.display().to_string();
    let text = match source::read(&subject.path) {
        Ok(text) => text,
        Err(failure) => {
            report.add(Finding::whole(&name, Kind::Template, failure.problem));
            return None;
        }
    };
    match Template::compile(&name, &text, subject.options) {
        Ok(template) => Some((subject, template)),
        Err(error) => {
            report.add(Finding::of(Kind::Template, &error));
            None
        }
    }
}

/// What is no fault, but has to be known: escapes that are off, and variables that are not allowed.
fn note(config: &Config, subject: &Subject, template: &Template, report: &mut Report) {
    let name = template.name();
    if subject.is_format_unknown {
        let message = "plain text: its name tells no format, so values are not escaped; set `format:`";
        report.add(Finding::whole(name, Kind::Note, message));
    }
    for raw in template.raws() {
        report.add(Finding::at(name, Kind::Note, (raw.line, raw.column), "`raw`: this value is not escaped"));
    }
    let forbidden = |name: &&String| subject.is_mounted && !config.env_allowed.contains(*name);
    for used in template.env_names().iter().filter(|used| forbidden(&&used.item)) {
        let message = format!("env.{} is not allowed; list it under `env:` in the config", used.item);
        report.add(Finding::at(name, Kind::Template, (used.line, used.column), message));
    }
}

async fn look_up(
    broker: &Broker,
    compiled: &[(&Subject, Template)],
    report: &mut Report,
) -> Result<(), Failure> {
    for (_, template) in compiled {
        let missing: Vec<TemplateError> = broker.missing(&session::caller(), Door::Command, template).await?;
        for error in &missing {
            report.add(Finding::of(Kind::Missing, error));
        }
    }
    Ok(())
}
