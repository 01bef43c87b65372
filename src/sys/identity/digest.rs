//! The SHA-256 of programs, computed once for each state of a file, one at a time: whoever starts
//! many large ones must not take all of our time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::{LazyLock, Mutex, MutexGuard};

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
    let sum = compute(file, stat).unwrap_or(None);
    let mut table = table();
    if table.len() >= MOST {
        table.clear();
    }
    table.insert(*stat, sum);
    sum
}

/// `None`: too large, changed meanwhile, or of somebody who may give another content each time.
fn compute(file: &OwnedFd, stat: &Stat) -> io::Result<Option<Sum>> {
    if stat.size > LARGEST || is_served(stat.dev) {
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

/// Whether a program serves the filesystem, or another machine, or it cannot be told.
fn is_served(dev: u64) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let number = format!("{}:{}", libc::major(dev), libc::minor(dev));
    let mut kinds = mounts.lines().filter(|line| line.split(' ').nth(2) == Some(&number));
    let kind = kinds.next().and_then(|line| line.split_once(" - ")?.1.split(' ').next());
    const SERVED: [&str; 7] = ["fuse", "fuseblk", "nfs", "nfs4", "cifs", "9p", "virtiofs"];
    kind.is_none_or(|kind| SERVED.contains(&kind) || kind.starts_with("fuse."))
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
        assert!(is_served(libc::makedev(4_095, 1)));
    }
}
