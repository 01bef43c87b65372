//! What a command asks for, looked up and rendered before anything starts; all that is missing is
//! told at once. May use every layer.

use std::sync::Arc;

use super::{Injected, Request, Variable};
use crate::broker::{Broker, Class, Error, Found, Lack, Rendering};
use crate::cli::named::Readings;
use crate::cli::report::Failure;
use crate::cli::{exit, session};
use crate::document::dotenv;
use crate::policy::Door;
use crate::provider::Given;
use crate::secret::{SecretBytes, Uses};
use crate::template::{Template, TemplateError};

/// Everything that is missing, in the order in which it was asked for.
#[derive(Default)]
struct Missing(Vec<String>);

/// What the command's environment gets. Covered files are rendered too, so that they are known to
/// be complete. One runtime without threads: the store answers in this one.
pub(super) fn collect(broker: &Broker, request: &Request) -> Result<Injected, Failure> {
    session::wait(collect_now(broker, request))
}

/// The same by who becomes the command, and can write nothing down and give nothing back later.
pub(super) fn collect_and_leave(broker: &Broker, request: &Request) -> Result<Injected, Failure> {
    let collected = session::wait_and_leave(broker, Given::InUse, collect_now(broker, request));
    broker.flush();
    collected
}

pub(super) async fn collect_now(broker: &Broker, request: &Request) -> Result<Injected, Failure> {
    let (mut missing, mut uses) = (Missing::default(), Vec::new());
    let mut profile = look_up(broker, &request.variables, &mut missing, &mut uses).await?;
    let variables = profile.split_off(profile.len().min(request.of_profile));
    let mut rendered = Vec::new();
    for template in &request.templates {
        if let Some(rendering) = render(broker, template, &mut missing).await? {
            let read = dotenv::parse(rendering.bytes.expose());
            let read = read.map_err(|error| unreadable(template, &error))?;
            rendered.extend(read.into_iter().map(|it| (it.name, it.value)));
            uses.extend(rendering.uses);
        }
    }
    for cover in &request.covers {
        render(broker, &*cover.compile()?, &mut missing).await?;
    }
    missing.none()?;
    session::count(&Uses::distinct(uses.into_iter()));
    Ok(profile.into_iter().chain(rendered).chain(variables).collect())
}

/// The values in their order, all of one moment.
async fn look_up(
    broker: &Broker,
    variables: &[Variable],
    missing: &mut Missing,
    uses: &mut Vec<Arc<Uses>>,
) -> Result<Vec<(String, SecretBytes)>, Failure> {
    if variables.is_empty() {
        return Ok(Vec::new());
    }
    let texts: Vec<_> = variables.iter().map(|it| &*it.readings.references).collect();
    let mut values = broker.give(&session::caller(), Door::Exec, &texts).await?.into_iter();
    let mut found = Vec::with_capacity(variables.len());
    for Variable { name, readings } in variables {
        let outcomes = values.by_ref().take(readings.references.len()).collect();
        match readings.settle(outcomes)? {
            Ok(Found { value, uses: its, .. }) => {
                uses.extend(its);
                found.push((name.clone(), value));
            }
            Err(lacks) => missing.add_lack(name, readings, &most_telling(broker, lacks).await),
        }
    }
    Ok(found)
}

/// The one that says most, with what was perhaps meant.
pub async fn most_telling(broker: &Broker, lacks: Vec<Lack>) -> Lack {
    broker.explain_lack(Lack::most_telling(lacks)).await
}

/// `None`: something is missing, and is told later with all the rest.
async fn render(
    broker: &Broker,
    template: &Template,
    missing: &mut Missing,
) -> Result<Option<Rendering>, Failure> {
    match session::rendering(broker, template, Door::Exec).await {
        Ok(rendering) => Ok(Some(rendering)),
        Err(error @ Error::Template(_))
            if matches!(error.class(), Class::NoKey | Class::Expired | Class::Revoked) =>
        {
            missing.add_template(broker.explain(error).await);
            Ok(None)
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

fn unreadable(template: &Template, error: &dotenv::DotenvError) -> Failure {
    let problem = format!("{}, {error} (of the rendered file)", template.name());
    Failure::new(exit::DATA, problem)
        .hint("an env file has lines of NAME=value, NAME='value' or NAME=\"value\"")
}
