//! `secretfs sync --now`: has the daemon ask its providers anew for all that it holds. Uses the control socket.

use super::client::{Client, Reach};
use super::report::{Failure, warn};
use super::{Common, exit, output};
use crate::control::wire::{Synced, SyncedProvider};
use crate::visible::visible;

#[derive(clap::Args)]
pub struct Args {
    /// The providers to ask (default: all)
    providers: Vec<String>,
    /// At once, however long answers are good still (by itself, each is asked for anew when its time is over)
    #[arg(long, required = true)]
    now: bool,
    #[command(flatten)]
    reach: Reach,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let is_name = |name: &&String| name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    if let Some(odd) = args.providers.iter().find(|name| !is_name(name)) {
        let problem = format!("`{}` is no provider's name", visible(odd));
        return Err(Failure::new(exit::USAGE, problem).hint("secretfs provider list"));
    }
    let target = format!("/sync?providers={}", args.providers.join(","));
    let synced: Synced = Client::new(&args.reach, common)?.post(&target)?;
    if common.json {
        output::print_json(&synced)?;
    } else {
        let row = |it: &SyncedProvider| {
            let counts = [it.asked, it.changed, it.failed].map(|count| count.to_string());
            [it.name.clone()].into_iter().chain(counts).collect()
        };
        output::print_table(&["PROVIDER", "ASKED", "CHANGED", "FAILED"], synced.providers.iter().map(row))?;
    }
    let failed = synced.providers.iter().filter_map(|it| Some((&it.name, it.problem.as_ref()?)));
    for (name, problem) in failed {
        warn(format!(
            "provider `{name}`: {problem}\n  what was known stays as it was; secretfs provider test {name} tells more"
        ));
    }
    let is_whole = synced.providers.iter().all(|it| it.failed == 0);
    Ok(if is_whole { exit::OK } else { exit::TEMPORARY })
}
