//! `secretfs doctor`: what works here, what does not, and what to do about it. May use every layer.

mod machine;
mod own;

use serde::Serialize;

use super::report::Failure;
use super::{Common, exit, output};

#[derive(clap::Args)]
pub struct Args {}

/// What a finding means for whoever wants files served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    /// It works, and something should be known or mended.
    Weak,
    /// Without it files cannot be served.
    Missing,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    found: String,
    hint: Option<String>,
}

impl Finding {
    fn ok(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, state: State::Ok, found: found.into(), hint: None }
    }

    fn weak(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what, state: State::Weak, found: found.into(), hint: Some(hint.into()) }
    }

    fn missing(what: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { state: State::Missing, ..Self::weak(what, found, hint) }
    }

    /// A failure as its command would tell it.
    fn of(what: &'static str, failure: Failure) -> Self {
        Self { what, state: State::Missing, found: failure.problem, hint: failure.hint }
    }
}

pub fn run(_: &Args, common: &Common) -> Result<u8, Failure> {
    let findings: Vec<_> = machine::look().into_iter().chain(own::look(common)).collect();
    let works = findings.iter().all(|finding| finding.state != State::Missing);
    match common.json {
        true => output::print_json(&serde_json::json!({"works": works, "findings": findings}))?,
        false => output::print(as_text(&findings, works))?,
    }
    Ok(if works { exit::OK } else { exit::UNAVAILABLE })
}

fn as_text(findings: &[Finding], works: bool) -> String {
    let is_colored = output::is_colored(&std::io::stdout());
    let mut text: String = findings.iter().map(|finding| lines(finding, is_colored)).collect();
    let weak = findings.iter().filter(|finding| finding.state == State::Weak).count();
    text += match (works, weak) {
        (false, _) => "\nfiles cannot be served here; see what is missing\n",
        (true, 0) => "\nall is well\n",
        (true, _) => "\nfiles can be served here; see what is weak\n",
    };
    text
}

/// The state, what it is about and what was found, and below it what to do.
fn lines(Finding { what, state, found, hint }: &Finding, is_colored: bool) -> String {
    let (word, color) = match state {
        State::Ok => ("ok     ", "32"),
        State::Weak => ("weak   ", "33"),
        State::Missing => ("missing", "31"),
    };
    let found = found.replace('\n', &format!("\n{:25}", ""));
    let hint = hint.iter().map(|hint| format!("{:25}try: {hint}\n", ""));
    format!("{}  {what:<14}  {found}\n{}", output::colored(word, color, is_colored), hint.collect::<String>())
}
