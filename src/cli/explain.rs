//! `secretfs explain FILE`: where a file of a mount comes from, and why it can or cannot be read.
//! Never a value. Uses the control socket.

use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::client::{Client, Reach};
use super::report::Failure;
use super::{Common, exit, output};
use crate::control::wire::{Explained, Outcome, Reference, View};

#[derive(clap::Args)]
pub struct Args {
    /// A file below a mount point
    file: PathBuf,
    #[command(flatten)]
    reach: Reach,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let file = std::path::absolute(&args.file).map_err(|error| Failure::new(exit::USAGE, error))?;
    let Some(file) = file.to_str() else {
        return Err(Failure::new(exit::USAGE, "the path is not UTF-8"));
    };
    let target = format!("/explain?file={}", utf8_percent_encode(file, NON_ALPHANUMERIC));
    let explained: Explained = Client::new(&args.reach, common)?.get(&target)?;
    match common.json {
        true => output::print_json(&explained)?,
        false => output::print(text(&explained))?,
    }
    Ok(if explained.outcome.errno.is_none() { exit::OK } else { exit::NO })
}

fn text(of: &Explained) -> String {
    let path = |path: &Path| output::in_line(&path.to_string_lossy());
    let mut lines = vec![
        format!("file      {}", path(&of.file)),
        format!("now       {}", outcome(&of.outcome)),
        format!("template  {} (as {})", path(&of.template), of.format),
        may_read(of),
        format!("readers   {} ({} of an older version)", of.readers, of.stale_readers),
    ];
    lines.extend(of.set.iter().map(|set| format!("set       {set}")));
    lines.extend(of.on_change.iter().map(|action| format!("on change {action}")));
    lines.extend(of.reaction.iter().map(|last| {
        let problem = last.problem.iter().map(|problem| format!(": {problem}")).collect::<String>();
        format!("last      {} at {}, {}{problem}", last.action, output::time(last.at), last.outcome)
    }));
    let tables = [
        output::table(&["REFERENCE", "PROVIDER", "VERSION"], of.references.iter().map(reference)),
        output::table(&["VIEW", "HANDLES", "LAST OUTCOME"], of.views.iter().map(view)),
    ];
    let tables = tables.into_iter().flatten().map(|table| format!("\n{table}"));
    let lines = lines.iter().map(|line| output::visible(line) + "\n").collect::<String>();
    lines + &tables.collect::<String>()
}

fn may_read(of: &Explained) -> String {
    let by_mode = format!("uid {}, gid {}, mode {}", of.uid, of.gid, of.mode);
    match of.has_rules {
        true => format!("may read  by rules, see: secretfs policy explain {} ({by_mode})", of.file.display()),
        false => format!("may read  {by_mode}"),
    }
}

fn outcome(outcome: &Outcome) -> String {
    match (outcome, outcome.size) {
        (Outcome { errno: Some(errno), reason, .. }, _) => {
            format!("{errno}: {}", reason.as_deref().unwrap_or("no reason is known"))
        }
        (_, Some(size)) => format!("can be read, {size} bytes"),
        (_, None) => "can be read".to_owned(),
    }
}

fn reference(of: &Reference) -> Vec<String> {
    let version = of.version.map_or_else(|| "-".to_owned(), |version| version.to_string());
    vec![of.reference.clone(), of.provider.clone(), version]
}

fn view(view: &View) -> Vec<String> {
    vec![view.view.clone(), view.handles.to_string(), outcome(&view.outcome)]
}
