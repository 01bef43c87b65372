//! `secretfs unmount`: takes mounts of ours away, dead ones too, and nothing else. Who keeps one busy
//! is named; readers lose it only if that is asked for.

use std::path::PathBuf;

use serde_json::json;

use super::report::Failure;
use super::{Common, exit};
use crate::fs::holders::{self, Holder};
use crate::fs::mounts::{self, Mount};
use crate::fs::unmount::{self, How, UnmountError};

#[derive(clap::Args)]
pub struct Args {
    /// The mount point
    #[arg(value_name = "MOUNTPOINT", required_unless_present = "all", conflicts_with = "all")]
    at: Option<PathBuf>,
    /// All mounts of secretfs that this user has made (root: all there are)
    #[arg(long)]
    all: bool,
    /// Out of sight at once; who has a file open keeps it, and the mount ends with the last of them
    #[arg(long, conflicts_with = "force")]
    lazy: bool,
    /// Ends it at once: who waits for a file or has one open gets an error
    #[arg(long)]
    force: bool,
}

/// The exit status is that of the first mount that stays.
pub fn run(args: &Args, common: &Common) -> Result<u8, Failure> {
    let how = match (args.lazy, args.force) {
        (true, _) => How::Lazily,
        (_, true) => How::ByForce,
        _ => How::Gently,
    };
    let mut first = Ok(exit::OK);
    for mount in wanted(args)? {
        match take_away(&mount, how, common.json) {
            Ok(()) => {}
            Err(failure) if first.is_ok() => first = Err(failure),
            Err(failure) => super::report::warn(failure.problem),
        }
    }
    first
}

fn wanted(args: &Args) -> Result<Vec<Mount>, Failure> {
    let Some(at) = &args.at else {
        let me = nix::unistd::geteuid();
        return Ok(mounts::ours()
            .into_iter()
            .filter(|it| me.is_root() || it.user == Some(me.as_raw()))
            .collect());
    };
    match mounts::topmost(at) {
        Some(mount) if mount.is_ours() => Ok(vec![mount]),
        Some(mount) => {
            let problem = format!("what is mounted at {} is not of secretfs ({})", at.display(), mount.kind);
            Err(Failure::new(exit::NO_INPUT, problem).hint(format!("umount {}", at.display())))
        }
        None => Err(Failure::new(exit::NO_INPUT, format!("nothing is mounted at {}", at.display()))
            .hint("findmnt -t fuse.secretfs lists what is mounted")),
    }
}

fn take_away(mount: &Mount, how: How, json: bool) -> Result<(), Failure> {
    let at = mount.at.display();
    match unmount::take_away(mount, how) {
        Ok(()) if json => println!("{}", json!({"unmounted": at.to_string()})),
        Ok(()) => println!("unmounted {at}"),
        Err(UnmountError::Busy) => return Err(busy(mount)),
        Err(UnmountError::Forbidden) => {
            return Err(Failure::new(exit::NO_PERMISSION, format!("{at} was mounted by another user"))
                .hint(format!("sudo secretfs unmount {at}")));
        }
        Err(error) => return Err(Failure::new(exit::OS, format!("{at} is still mounted: {error}"))),
    }
    Ok(())
}

fn busy(mount: &Mount) -> Failure {
    let at = mount.at.display();
    let holders = holders::holders(&mount.device);
    let named: String = holders.iter().map(|holder| format!("\n  {}", describe(holder))).collect();
    let nobody = match nix::unistd::geteuid().is_root() {
        true => "\n  nobody whom /proc shows: something may be mounted on it",
        false => "\n  by processes of other users, whom only root can see",
    };
    let named = if named.is_empty() { nobody } else { &named };
    Failure::new(exit::TEMPORARY, format!("{at} is in use:{named}"))
        .hint(format!("stop them, or secretfs unmount --lazy {at} (they keep what they have open)"))
}

/// `pid 7 (nginx.service, /usr/sbin/nginx): /run/app/cert.pem, /run/app/key.pem`
fn describe(holder: &Holder) -> String {
    let who: Vec<&str> = [&holder.unit, &holder.exe].into_iter().flatten().map(String::as_str).collect();
    let who = if who.is_empty() { String::new() } else { format!(" ({})", who.join(", ")) };
    let files: Vec<&str> = holder.files.iter().map(String::as_str).collect();
    format!("pid {}{who}: {}", holder.pid, files.join(", "))
}
