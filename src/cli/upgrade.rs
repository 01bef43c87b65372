//! `secretfs upgrade`: makes the daemon go on with the program that is now on the disk, without an
//! error for any reader. Uses the control socket.

use std::thread::sleep;
use std::time::{Duration, Instant};

use hyper::Method;

use super::client::{Client, Reach, Silence};
use super::report::Failure;
use super::{Common, exit, output};
use crate::control::wire::Status;

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    reach: Reach,
}

/// For the successor to answer.
const PATIENCE: Duration = Duration::from_secs(30);
const PERIOD: Duration = Duration::from_millis(20);

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let client = Client::new(&args.reach, common)?;
    let before: Status = client.get("/status")?;
    match client.ask::<()>(Method::POST, "/upgrade") {
        // The worker that was asked ends, perhaps before it has answered.
        Ok(()) | Err(Silence::Broken) => {}
        Err(silence) => return Err(client.failure(silence)),
    }
    let after = successor(&client, before.worker)?;
    if after.upgrades == before.upgrades {
        let problem = "the worker has ended before its successor was ready: nothing is upgraded";
        return Err(Failure::new(exit::TEMPORARY, problem).hint("see the daemon's log; then ask again"));
    }
    match common.json {
        true => output::print_json(&after)?,
        false => output::print(format!(
            "upgraded: {} (worker {}) to {} (worker {})\n",
            before.version, before.worker, after.version, after.worker
        ))?,
    }
    Ok(exit::OK)
}

fn successor(client: &Client, before: u32) -> Result<Status, Failure> {
    let patience = Instant::now() + PATIENCE;
    loop {
        match client.ask::<Status>(Method::GET, "/status") {
            Ok(status) if status.worker != before => return Ok(status),
            Err(silence) if Instant::now() > patience => return Err(client.failure(silence)),
            Ok(_) if Instant::now() > patience => {
                return Err(Failure::new(exit::TEMPORARY, "the worker of before still answers")
                    .hint("see the daemon's log for what the new one lacks"));
            }
            _ => sleep(PERIOD),
        }
    }
}
