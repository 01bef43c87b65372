//! What is said when a command line cannot be read: clap's judgement in our form, with what was
//! probably meant. Uses clap.

use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::report::Failure;
use super::{Cli, exit};

/// The failure behind clap's error.
pub fn failure(error: &clap::Error, line: &[OsString]) -> Failure {
    use ErrorKind::{DisplayHelpOnMissingArgumentOrSubcommand, MissingSubcommand};
    if matches!(error.kind(), DisplayHelpOnMissingArgumentOrSubcommand | MissingSubcommand) {
        return Failure::new(exit::USAGE, "no command is given").hint("secretfs --help");
    }
    let text = error.render().to_string();
    let problem = text.split("\n\n").next().unwrap_or_default();
    let problem: Vec<_> = problem.trim_start_matches("error: ").lines().map(str::trim).collect();
    let hint = meant(error).or_else(|| without_dashes(error, line)).or_else(|| usage(error));
    Failure::new(exit::USAGE, problem.join(" ")).hint(hint.unwrap_or_else(|| help(line)))
}

/// Whether the line asks for JSON, as far as can be told from one that cannot be read.
pub fn wants_json(line: &[OsString]) -> bool {
    line.iter().take_while(|word| *word != "--").any(|word| word == "--json")
}

/// A near name: of a command, an option or a value.
fn meant(error: &clap::Error) -> Option<String> {
    let kinds = [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue];
    let near = kinds.into_iter().find_map(|kind| match error.get(kind)? {
        ContextValue::String(name) => Some(name.clone()),
        ContextValue::Strings(names) => names.first().cloned(),
        _ => None,
    })?;
    // By its name, if an alias was nearer.
    let name = Cli::command().find_subcommand(&near).map_or(near, |command| command.get_name().to_owned());
    Some(format!("did you mean `{name}`?"))
}

/// `secretfs exec node server.js` lacks the `--`.
fn without_dashes(error: &clap::Error, line: &[OsString]) -> Option<String> {
    let ContextValue::String(found) = error.get(ContextKind::InvalidArg)? else { return None };
    let words: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
    let is_exec = words.iter().any(|word| matches!(&**word, "exec" | "run"));
    let at = words.iter().position(|word| word == found)?;
    let is_command = error.kind() == ErrorKind::UnknownArgument && is_exec && !found.starts_with('-');
    is_command.then(|| format!("secretfs {} -- {}", words[1..at].join(" "), words[at..].join(" ")))
}

/// The help of the command that was meant.
fn help(line: &[OsString]) -> String {
    let commands = Cli::command();
    let known = line.iter().skip(1).find_map(|word| commands.find_subcommand(word));
    known.map_or("secretfs --help".to_owned(), |command| format!("secretfs {} --help", command.get_name()))
}

fn usage(error: &clap::Error) -> Option<String> {
    let usage = error.get(ContextKind::Usage)?.to_string();
    let line = usage.lines().next()?.trim_start_matches("Usage: ").trim();
    Some(line.to_owned())
}
