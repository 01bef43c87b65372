//! `secretfs status`: what the daemon does, and whether it is well. Uses the control socket.

use super::client::{Client, Reach};
use super::report::Failure;
use super::{Common, exit, output};
use crate::control::wire::{Audit, Identity, Mount, Provider, Status};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    reach: Reach,
}

pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let status: Status = Client::new(&args.reach, common)?.get("/status")?;
    match common.json {
        true => output::print_json(&status)?,
        false => output::print(text(&status))?,
    }
    Ok(if status.readiness.ready { exit::OK } else { exit::NO })
}

fn text(status: &Status) -> String {
    let mut lines = vec![format!("secretfs {}, {}", status.version, readiness(status))];
    if let Some(config) = &status.config {
        lines.push(format!("config    {} (generation {})", config.display(), status.generation));
    }
    if let Some(problem) = status.last_reload.as_ref().and_then(|reload| reload.problem.as_ref()) {
        lines.push(format!("reload    failed, the old config stays: {problem}"));
    }
    let since = output::time(status.started_at);
    let worker_since = output::time(status.worker_started_at);
    if let Some(holder) = status.holder {
        lines.push(format!("holder    pid {holder}, since {since}"));
    }
    lines.push(format!(
        "worker    pid {}, since {worker_since}, number {}",
        status.worker, status.worker_starts
    ));
    lines.push(format!("memory    {}", if status.memory_is_locked { LOCKED } else { NOT_LOCKED }));
    lines.push(format!("keys      {}", keys(&status.keys)));
    lines.push(format!("identity  {}", identity(&status.identity)));
    lines.push(format!("audit     {}", audit(&status.audit)));
    lines.push(format!("take-over {}", if status.can_resume { RESUMES } else { REMOUNTS }));
    let mounts = ["MOUNT", "FILES", "NODES", "HANDLES", "READERS", "STALE"];
    let providers = ["PROVIDER", "STATE", "BREAKER"];
    let tables = [
        output::table(&mounts, status.mounts.iter().map(mount)),
        output::table(&providers, status.providers.iter().map(provider)),
    ];
    let tables = tables.into_iter().flatten().map(|table| format!("\n{table}"));
    let lines: String = lines.iter().map(|line| output::visible(line) + "\n").collect();
    lines + &tables.collect::<String>()
}

const LOCKED: &str = "locked: no value can be swapped out";
const NOT_LOCKED: &str = "not locked: values could be swapped out";

fn keys(kept: &str) -> &'static str {
    match kept {
        "hidden" => "in secret memory: neither a core dump nor a debugger of root's shows them",
        "locked" => "locked: no key can be swapped out",
        "plain" => "not locked: keys could be swapped out",
        _ => "not known: a daemon of an older version",
    }
}

const RESUMES: &str = "a new worker goes on where the last one was";
const REMOUNTS: &str = "a new worker mounts anew: this kernel does not send requests again";

fn identity(identity: &Identity) -> String {
    match &identity.hidden {
        None => format!("level {}", identity.level),
        Some(hidden) => format!("level {}, but {hidden}", identity.level),
    }
}

fn audit(audit: &Audit) -> String {
    let file = audit.file.as_ref().map(|file| file.display().to_string());
    let places: Vec<_> = file.into_iter().chain(audit.journald.then(|| "journald".to_owned())).collect();
    match &audit.problem {
        None if places.is_empty() => "off: nobody writes down who gets what".to_owned(),
        None => places.join(" and "),
        Some(problem) if audit.required => format!("blocked, nobody gets anything: {problem}"),
        Some(problem) => format!("not written, which is not required: {problem}"),
    }
}

fn readiness(status: &Status) -> String {
    match status.readiness.ready {
        true => "ready".to_owned(),
        false => format!("not ready: {}", status.readiness.lacks.join("; ")),
    }
}

fn mount(mount: &Mount) -> Vec<String> {
    let Mount { at, files, nodes, handles, readers, stale_readers } = mount;
    let counts = [files, nodes, handles, readers, stale_readers].map(usize::to_string);
    [at.display().to_string()].into_iter().chain(counts).collect()
}

fn provider(provider: &Provider) -> Vec<String> {
    let stale = provider.stale_seconds.map(|age| format!("served from memory or the store, {age} s old"));
    let state: Vec<_> = provider.problem.iter().cloned().chain(stale).collect();
    let state = if state.is_empty() { "well".to_owned() } else { state.join("; ") };
    vec![provider.name.clone(), state, provider.breaker.as_deref().unwrap_or("-").to_owned()]
}
