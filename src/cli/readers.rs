//! `secretfs readers`: which processes hold which version of which file. Uses the control socket.

use super::client::{Client, Reach};
use super::report::{Failure, note};
use super::{Common, exit, output};
use crate::control::wire::{Held, Reacted, Reader};

#[derive(clap::Args)]
pub struct Args {
    /// Only those whose file has changed since they read it
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    reach: Reach,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let target = if args.stale { "/readers?stale=true" } else { "/readers" };
    let readers: Vec<Reader> = Client::new(&args.reach, common)?.get(target)?;
    match common.json {
        true => output::print_json(&readers)?,
        false if readers.is_empty() => note("nobody who still runs has read anything that fits"),
        false => output::print_table(
            &["PID", "UNIT", "EXE", "FILE", "REFERENCE", "HELD", "NOW", "STATE"],
            readers.iter().flat_map(rows),
        )?,
    }
    Ok(exit::OK)
}

/// A row for each reference; what is the same for all of them is said once.
fn rows(reader: &Reader) -> Vec<Vec<String>> {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let who = [
        reader.pid.to_string(),
        or_dash(&reader.unit),
        or_dash(&reader.exe),
        reader.file.display().to_string(),
    ];
    let blank = [const { String::new() }; 4];
    let none = vec![["-", "-", "-"].map(str::to_owned)];
    let held = reader.references.iter().map(of_reference).collect::<Vec<_>>();
    let held = if held.is_empty() { none } else { held };
    let parts = held.into_iter().enumerate();
    parts
        .map(|(index, of_reference)| {
            let who = if index == 0 { who.clone() } else { blank.clone() };
            let state = if index == 0 { state(reader) } else { String::new() };
            who.into_iter().chain(of_reference).chain([state]).collect()
        })
        .collect()
}

fn of_reference(held: &Held) -> [String; 3] {
    let version = |version: Option<u64>| version.map_or_else(|| "-".to_owned(), |it| it.to_string());
    [held.reference.clone(), version(held.held), version(held.current)]
}

fn state(reader: &Reader) -> String {
    let state = match reader.stale {
        Some(true) => "stale",
        Some(false) => "current",
        None => "unknown",
    };
    match &reader.reaction {
        Some(Reacted { action, outcome, .. }) => format!("{state} ({action}: {outcome})"),
        None => state.to_owned(),
    }
}
