//! `secretfs reload`: makes the daemon take the config as it is now. Uses the control socket.

use super::client::{Client, Reach};
use super::report::Failure;
use super::{Common, exit, output};
use crate::control::wire::Reloaded;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    reach: Reach,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let reloaded: Reloaded = Client::new(&args.reach, common)?.post("/reload")?;
    if common.json {
        output::print_json(&reloaded)?;
        return Ok(exit::OK);
    }
    let changes = reloaded.changes.iter().map(|change| format!("  {change}\n"));
    output::print(format!("reloaded: generation {}\n{}", reloaded.generation, changes.collect::<String>()))?;
    Ok(exit::OK)
}
