//! Who keeps a mount busy: open files, mappings, working and root folders, by `/proc` (proc(5)).
//! Never touches the mount, which may be dead or hang. Uses `mounts` and `sys`.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::mounts;
use crate::caller::Caller;
use crate::sys::peer;

/// A process with something of a mount.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Holder {
    pub pid: u32,
    pub unit: Option<String>,
    pub exe: Option<String>,
    /// As the process sees their paths.
    pub files: BTreeSet<String>,
}

const PATIENCE: Duration = Duration::from_secs(1);

/// All whom this user can see, by pid. `device` is the mount's.
pub fn holders(device: &str) -> Vec<Holder> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids.filter(|pid| *pid != std::process::id()).collect();
    pids.sort_unstable();
    pids.into_iter().filter_map(|pid| holder_in_time(pid, device)).collect()
}

/// What `/proc` tells of a process that hangs in a file of ours can hang as well.
fn holder_in_time(pid: u32, device: &str) -> Option<Holder> {
    let (tell, told) = mpsc::channel();
    let device = device.to_owned();
    thread::spawn(move || tell.send(holder(pid, &device)));
    told.recv_timeout(PATIENCE).ok().flatten()
}

fn holder(pid: u32, device: &str) -> Option<Holder> {
    let mounts = mounts::of(&pid.to_string()).into_iter().filter(|mount| mount.device == device);
    let ids: HashSet<u64> = mounts.map(|mount| mount.id).collect();
    if ids.is_empty() {
        return None;
    }
    let mut files = opened(pid, &ids);
    files.extend(mapped(pid, device));
    files.extend(["cwd", "root"].into_iter().filter_map(|link| place(pid, link, &ids)));
    // Of the id, no more than the number is needed here.
    let caller = Caller { uid: 0, gid: 0, pid };
    (!files.is_empty()).then(|| Holder { pid, unit: peer::unit(&caller), exe: peer::exe(&caller), files })
}

fn opened(pid: u32, mounts: &HashSet<u64>) -> BTreeSet<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let held = entries.filter_map(|entry| {
        let is_held = mounts.contains(&mount_of(&fs::read_to_string(entry.path()).ok()?)?);
        let name = entry.file_name();
        is_held.then(|| path(&format!("/proc/{pid}/fd/{}", name.to_str()?))).flatten()
    });
    held.collect()
}

fn mapped(pid: u32, device: &str) -> BTreeSet<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let held = maps.lines().filter_map(|line| {
        // Range, bits, offset, device, inode, and the path after many blanks.
        let mut words = line.splitn(6, ' ');
        let (device_there, path) = (words.nth(3)?, words.nth(1)?);
        is_device(device_there, device).then(|| path.trim_start().to_owned())
    });
    held.collect()
}

/// A folder that the process is in. Opened as a place only, which asks no filesystem.
fn place(pid: u32, link: &str, mounts: &HashSet<u64>) -> Option<String> {
    let link = format!("/proc/{pid}/{link}");
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    let there = File::options().read(true).custom_flags(flags).open(&link).ok()?;
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", there.as_raw_fd())).ok()?;
    mounts.contains(&mount_of(&info)?).then(|| path(&link)).flatten()
}

fn path(link: &str) -> Option<String> {
    let path = fs::read_link(link).ok()?;
    // Others have named it: nothing that a terminal would act on.
    Some(path.to_string_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect())
}

/// What fdinfo says of the mount that an open file is on.
fn mount_of(fdinfo: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// `maps` writes a device in hexadecimal digits, `mountinfo` in decimal ones.
fn is_device(hex: &str, decimal: &str) -> bool {
    let parsed = |text: &str, radix| {
        let (major, minor) = text.split_once(':')?;
        Some((u32::from_str_radix(major, radix).ok()?, u32::from_str_radix(minor, radix).ok()?))
    };
    parsed(hex, 16).is_some_and(|device| Some(device) == parsed(decimal, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_mounts_are_found_as_proc_writes_them() {
        assert!(is_device("00:2f", "0:47") && !is_device("00:47", "0:47") && !is_device("x", "0:47"));
        assert_eq!(mount_of("pos:\t0\nflags:\t0100000\nmnt_id:\t31\nino:\t7\n"), Some(31));
        assert_eq!(mount_of("pos:\t0\n"), None);
    }
}
