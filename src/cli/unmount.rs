//! `secretfs unmount`, which people try and which is no command: says how a mount ends.

use std::path::PathBuf;

use super::exit;
use super::report::Failure;

#[derive(clap::Args)]
pub struct Args {
    /// The mount point
    at: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<u8, Failure> {
    let at = args.at.as_ref().map_or("MOUNTPOINT".to_owned(), |at| at.display().to_string());
    let program = if nix::unistd::geteuid().is_root() {
        format!("umount {at}")
    } else {
        format!("fusermount3 -u {at}")
    };
    Err(Failure::new(exit::USAGE, "a mount ends with its process: there is no command for it")
        .hint(format!("{program}, or Ctrl-C where `secretfs mount` runs")))
}
