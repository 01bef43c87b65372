//! The mounts that a process sees (proc_pid_mountinfo(5)). Asks no filesystem: what is mounted may
//! be dead, or hang. Uses std only.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::mountpoint::FS_TYPE;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// No other mount of this machine has it at the same time.
    pub id: u64,
    /// The number of what is mounted, as `MAJOR:MINOR`.
    pub device: String,
    pub at: PathBuf,
    pub kind: String,
    /// Who has made it, if it is a mount of FUSE.
    pub user: Option<u32>,
}

impl Mount {
    pub fn is_ours(&self) -> bool {
        self.kind == FS_TYPE
    }

    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        let (id, device) = (left.next()?.parse().ok()?, left.nth(1)?.to_owned());
        let at = std::ffi::OsString::from_vec(unescaped(left.nth(1)?)).into();
        let mut right = right.split(' ');
        let kind = right.next()?.to_owned();
        let options = right.nth(1).unwrap_or_default().split(',');
        let user = options.filter_map(|it| it.strip_prefix("user_id=")).find_map(|uid| uid.parse().ok());
        Some(Self { id, device, at, kind, user })
    }
}

/// The mounts that this process sees, each over those before it. Nothing if it cannot be asked.
pub fn of(process: &str) -> Vec<Mount> {
    let table = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap_or_default();
    table.lines().filter_map(Mount::parse).collect()
}

/// What is on top of all at this place.
pub fn topmost(at: &Path) -> Option<Mount> {
    all_at(at).pop()
}

/// What is mounted at this place, the topmost last.
pub fn all_at(at: &Path) -> Vec<Mount> {
    let at = canonical(at);
    of("self").into_iter().filter(|mount| mount.at == at).collect()
}

/// All of ours that nothing is mounted over, the last one first.
pub fn ours() -> Vec<Mount> {
    let mut all = of("self");
    let mut ours = Vec::new();
    while let Some(mount) = all.pop() {
        all.retain(|below| below.at != mount.at);
        ours.extend(Some(mount).filter(Mount::is_ours));
    }
    ours
}

/// The path as the kernel lists it. The last part is not looked at: what is mounted there may be
/// dead, or ours.
pub fn canonical(at: &Path) -> PathBuf {
    let at = std::path::absolute(at).unwrap_or_else(|_| at.to_owned());
    let parent = at.parent().and_then(|parent| parent.canonicalize().ok());
    match (parent, at.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => at,
    }
}

/// Blanks, tabs, newlines and backslashes are listed as three octal digits.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_its_blanks_and_its_user() {
        let line =
            "37 24 0:33 / /run/a\\040b ro,nosuid shared:9 - fuse.secretfs secretfs rw,user_id=7,group_id=7";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.id, &*mount.device, mount.user), (37, "0:33", Some(7)));
        assert_eq!((&*mount.at, mount.is_ours()), (Path::new("/run/a b"), true));
        let line = "24 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw,errors=remount-ro";
        let mount = Mount::parse(line).unwrap();
        assert_eq!((mount.is_ours(), mount.user, &*mount.at), (false, None, Path::new("/")));
        assert_eq!(Mount::parse("garbage"), None);
    }

    #[test]
    fn the_root_is_a_mount() {
        assert!(topmost(Path::new("/")).is_some());
        assert_eq!(topmost(Path::new("/nowhere/at/all")), None);
    }
}
