//! `secretfs rm`: removes secrets with all their versions, in one transaction.

use std::io::{BufRead, IsTerminal, Write};

use super::report::Failure;
use super::{Common, exit, named, open, output};
use crate::clock::{Clock, SystemClock};
use crate::secret::SecretName;
use crate::store::{Access, Stamp};

#[derive(clap::Args)]
pub struct Args {
    /// The secrets
    #[arg(value_name = "NAME", required = true, add = super::completions::secrets())]
    names: Vec<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let names: Vec<_> = args.names.iter().map(|name| named::whole(name)).collect::<Result<_, _>>()?;
    let (store, namespace) = open::here(common, Access::Write)?;
    for name in &names {
        if store.describe(&namespace, name)?.is_none() {
            return Err(named::missing(&store, &namespace, name.as_str()));
        }
    }
    if !args.yes {
        ask(&names)?;
    }
    let stamp = Stamp { now: SystemClock.now(), by: format!("uid:{}", nix::unistd::getuid()) };
    store.change(&namespace, stamp, |change| names.iter().try_for_each(|name| change.remove(name)))?;
    if common.json {
        output::print_json(&serde_json::json!({"removed": args.names}))?;
    } else {
        output::print(names.iter().map(|name| format!("{name}: removed\n")).collect::<String>())?;
    }
    Ok(exit::OK)
}

fn ask(names: &[SecretName]) -> Result<(), Failure> {
    let list = names.iter().map(SecretName::as_str).collect::<Vec<_>>().join(", ");
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(exit::USAGE, format!("{list} would be removed for good"))
            .hint("--yes if that is meant"));
    }
    // A question that cannot be shown is answered with no.
    let _ = write!(std::io::stderr(), "remove {list} with all versions, for good? [y/N] ");
    let mut answer = String::new();
    let _ = stdin.lock().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::new(exit::NO, "nothing was removed")),
    }
}
