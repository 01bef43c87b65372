//! A disk of its own, which can be searched whole: what is free on it, too. Uses losetup and ext4.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use crate::common::{stdout_of, tool};

pub(crate) struct Disk {
    folder: TempDir,
}

const SIZE: u64 = 48 << 20;

impl Disk {
    pub(crate) fn new() -> Self {
        let disk = Self { folder: TempDir::with_prefix("secretfs-disk-").unwrap() };
        fs::create_dir(disk.at()).unwrap();
        fs::File::create(disk.image()).unwrap().set_len(SIZE).unwrap();
        let run = |command: &mut Command| stdout_of(&command.output().unwrap());
        run(Command::new(tool("mkfs.ext4")).args(["-q", "-F"]).arg(disk.image()));
        run(Command::new(tool("mount")).args(["-o", "loop"]).arg(disk.image()).arg(disk.at()));
        disk
    }

    /// Where it is mounted.
    pub(crate) fn at(&self) -> PathBuf {
        self.folder.path().join("at")
    }

    /// All of its bytes, as they are once everything is written out.
    pub(crate) fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    pub(crate) fn sync(&self) {
        stdout_of(&Command::new(tool("sync")).arg("-f").arg(self.at()).output().unwrap());
    }

    pub(crate) fn holds(&self, path: &Path) -> bool {
        path.starts_with(self.at())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.at(), MntFlags::MNT_DETACH);
    }
}
