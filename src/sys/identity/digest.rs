//! The SHA-256 of programs, computed once for each state of a file, one at a time: whoever starts
//! many large ones must not take all of our time.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{LazyLock, Mutex, MutexGuard};

use nix::sys::statfs::fstatfs;
use sha2::{Digest, Sha256};

use super::stat::Stat;

pub(super) type Sum = [u8; 32];

/// A larger one has none.
const LARGEST: u64 = 512 << 20;
/// States of files that are remembered.
const MOST: usize = 4_096;

static KNOWN: LazyLock<Mutex<HashMap<Stat, Option<Sum>>>> = LazyLock::new(Mutex::default);
static COMPUTING: Mutex<()> = Mutex::new(());

/// If it was computed before.
pub(super) fn known(stat: &Stat) -> Option<Option<Sum>> {
    table().get(stat).copied()
}

/// May take as long as reading the program. `None`: it cannot be told.
pub(super) fn of(file: &OwnedFd, stat: &Stat) -> Option<Sum> {
    let _turn = COMPUTING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some(sum) = known(stat) {
        return sum;
    }
    // What the machine could not do now is tried again.
    let sum = compute(file, stat).ok()?;
    let mut table = table();
    if table.len() >= MOST {
        table.clear();
    }
    table.insert(*stat, sum);
    sum
}

/// `None`: too large, changed meanwhile, or of somebody who may give another content each time.
fn compute(file: &OwnedFd, stat: &Stat) -> io::Result<Option<Sum>> {
    if stat.size > LARGEST || is_served(file.as_fd()) {
        return Ok(None);
    }
    let mut readable = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut left = LARGEST;
    loop {
        let count = readable.read(&mut buffer)?;
        left = left.saturating_sub(count as u64);
        if count == 0 || left == 0 {
            break;
        }
        digest.update(&buffer[..count]);
    }
    let is_same = Stat::of(readable.as_fd())? == *stat;
    Ok(is_same.then(|| digest.finalize().into()))
}

/// Filesystems of the kernel's own, by their numbers in statfs(2): nobody else has a say in what is
/// read from them. bcachefs, btrfs, erofs, ext2 to ext4, f2fs, overlayfs, ramfs, squashfs, tmpfs, xfs, zfs.
const TRUSTED: [i64; 11] = [
    0xca45_1a4e,
    0x9123_683e,
    0xe0f5_e1e2,
    0xef53,
    0xf2f5_2010,
    0x794c_7630,
    0x8584_58f6,
    0x7371_7368,
    0x0102_1994,
    0x5846_5342,
    0x2fc1_2fc1,
];

/// Whether a program serves the filesystem, or another machine, or it cannot be told. By the file:
/// its device says nothing of it where filesystems have parts (btrfs, overlayfs).
fn is_served(file: BorrowedFd<'_>) -> bool {
    fstatfs(file).map_or(true, |it| !TRUSTED.contains(&it.filesystem_type().0))
}

fn table() -> MutexGuard<'static, HashMap<Stat, Option<Sum>>> {
    KNOWN.lock().expect("nothing panics while it holds this")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn another_content_has_another_digest() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let sum = |path: &std::path::Path| {
            let open: OwnedFd = File::open(path).unwrap().into();
            let stat = Stat::of(open.as_fd()).unwrap();
            let sum = of(&open, &stat);
            assert_eq!(known(&stat), Some(sum));
            sum
        };
        let empty = sum(file.path()).unwrap();
        assert_eq!(empty[..4], [0xe3, 0xb0, 0xc4, 0x42]);
        file.write_all(b"abc").unwrap();
        assert_eq!(sum(file.path()).unwrap()[..4], [0xba, 0x78, 0x16, 0xbf]);
    }

    #[test]
    fn what_cannot_be_placed_is_not_believed() {
        let served = |path: &str| is_served(File::open(path).unwrap().as_fd());
        assert!(served("/proc/version") && !served("/"));
    }
}
