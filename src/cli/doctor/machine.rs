//! What the machine offers: the kernel, ways to mount, and what keeps values off the disks.
//! Uses `sys`, `fs` and nix.

use std::fs::{OpenOptions, read_to_string};
use std::io::ErrorKind;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{User, geteuid};

use super::Finding;
use crate::cli::output;
use crate::clock::{Clock, RELEASED, SystemClock};
use crate::fs::mountpoint::helper_is_there;
use crate::sys::hardening::can_lock_memory;
use crate::sys::probe;
use crate::sys::vault::{self, Keeping};

/// capabilities(7)
const CAP_SYS_ADMIN: u32 = 21;

/// The oldest kernel that we have seen it work on.
const OLDEST: (u32, u32) = (5, 4);
/// From here on requests in flight can be asked for again, by a daemon that takes over.
const RESENDS: (u32, u32) = (6, 9);

pub(super) fn look() -> Vec<Finding> {
    let has_namespaces = probe::user_namespace().map_err(|error| error.to_string());
    let device = device();
    let mount = mount(device.state == super::State::Ok, has_namespaces.is_ok());
    vec![
        kernel(&read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()),
        device,
        helper(),
        namespaces(has_namespaces),
        mount,
        memory(),
        keys(vault::keeping()),
        swap(&read_to_string("/proc/swaps").unwrap_or_default(), is_encrypted, can_lock_memory()),
        dumps(),
        clock(SystemClock.now()),
    ]
}

fn kernel(release: &str) -> Finding {
    let release = release.trim();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST {
        let hint = format!("a kernel from {}.{} on", OLDEST.0, OLDEST.1);
        return Finding::weak("kernel", format!("{release}: older than any that was tried"), hint);
    }
    let resends = if version >= RESENDS {
        "it can hand requests on to a daemon that takes over"
    } else {
        "it cannot hand requests on to a daemon that takes over (6.9)"
    };
    Finding::ok("kernel", format!("{release}: files of one folder do not wait for each other; {resends}"))
}

fn device() -> Finding {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/fuse");
    match opened.map_err(|error| error.kind()) {
        Ok(_) => Finding::ok("/dev/fuse", "is there and can be opened"),
        Err(ErrorKind::PermissionDenied) => Finding::missing(
            "/dev/fuse",
            "cannot be opened by this user",
            "chmod 0666 /dev/fuse (what udev does elsewhere), or run as root",
        ),
        Err(_) => Finding::missing(
            "/dev/fuse",
            "is not there: nothing can be mounted",
            "modprobe fuse; in a container: --device /dev/fuse",
        ),
    }
}

fn helper() -> Finding {
    match (helper_is_there(), geteuid().is_root()) {
        (true, _) => Finding::ok("fusermount3", "is there: users can mount"),
        (false, true) => Finding::ok("fusermount3", "is not there; root needs none"),
        (false, false) => Finding::weak(
            "fusermount3",
            "is not there: only a command of its own can see a mount",
            "install the package fuse3",
        ),
    }
}

fn namespaces(probed: Result<(), String>) -> Finding {
    let what = "namespaces";
    match probed {
        Ok(()) => Finding::ok(what, "users can have their own: `mount … -- COMMAND` needs no fusermount3"),
        Err(error) => Finding::weak(
            what,
            format!("user namespaces are not to be had ({error}): `mount … -- COMMAND` is for root alone"),
            "sysctl user.max_user_namespaces=15000, kernel.unprivileged_userns_clone=1 or \
             kernel.apparmor_restrict_unprivileged_userns=0, whichever this system has",
        ),
    }
}

/// All ways together: one is enough.
fn mount(has_device: bool, has_namespaces: bool) -> Finding {
    let is_root = geteuid().is_root();
    let what = "mounting";
    match () {
        () if !has_device => Finding::missing(
            what,
            "impossible without /dev/fuse",
            "see /dev/fuse above; `secretfs exec` works without",
        ),
        () if is_root && probe::has_capability(CAP_SYS_ADMIN) => {
            Finding::ok(what, "this user mounts by itself, for all users")
        }
        () if is_root => Finding::missing(
            what,
            "root without CAP_SYS_ADMIN cannot mount",
            "in a container: --cap-add SYS_ADMIN; `secretfs exec` works without",
        ),
        () if helper_is_there() && has_name() => {
            Finding::ok(what, "this user mounts by fusermount3, for itself alone")
        }
        () if has_namespaces => Finding::ok(what, "for one command at a time: secretfs mount … -- COMMAND"),
        () => Finding::missing(
            what,
            "neither fusermount3, which wants a user with a name, nor user namespaces",
            "install the package fuse3; `secretfs exec` works without",
        ),
    }
}

/// fusermount3 refuses who is not in the user database.
fn has_name() -> bool {
    matches!(User::from_uid(geteuid()), Ok(Some(_)))
}

fn memory() -> Finding {
    if can_lock_memory() {
        return Finding::ok("memory", "a mount locks its memory: values are not swapped out");
    }
    let (limit, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0));
    Finding::weak(
        "memory",
        format!("only {} KiB may be locked: a mount leaves its memory to the swap", limit / 1024),
        "ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
    )
}

fn keys(kept: Keeping) -> Finding {
    let what = "keys";
    match (kept, geteuid().is_root()) {
        (Keeping::Hidden, _) => {
            Finding::ok(what, "are kept in secret memory, which only this process can read")
        }
        (Keeping::Locked, false) => Finding::ok(
            what,
            "are kept in locked memory; secret memory would keep the machine from hibernating, so it is for root alone",
        ),
        (Keeping::Locked, true) => {
            Finding::ok(what, "are kept in locked memory: this kernel or sandbox has no memfd_secret")
        }
        (Keeping::Plain, _) => Finding::weak(
            what,
            "no memory may be locked: keys could be swapped out",
            "ulimit -l 64, or LimitMEMLOCK=64K in the unit",
        ),
    }
}

/// Each line of /proc/swaps after the first begins with a path.
fn swap(table: &str, is_encrypted: impl Fn(&str) -> bool, is_locked: bool) -> Finding {
    let areas = table.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    let plain: Vec<_> = areas.filter(|area| !area.starts_with("/dev/zram") && !is_encrypted(area)).collect();
    match (plain.is_empty(), is_locked) {
        (true, _) => Finding::ok("swap", "none that would write plaintext to a disk"),
        (false, true) => Finding::ok(
            "swap",
            format!(
                "{} is not encrypted; a mount is not swapped out, programs that read may be",
                plain.join(", ")
            ),
        ),
        (false, false) => Finding::weak(
            "swap",
            format!("{} is not encrypted: values can reach a disk", plain.join(", ")),
            "encrypt the swap, or let the memory be locked",
        ),
    }
}

/// Swap on a mapping of dm-crypt.
fn is_encrypted(area: &str) -> bool {
    let device = std::fs::canonicalize(area).unwrap_or_default();
    let name = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
    read_to_string(format!("/sys/block/{name}/dm/uuid")).is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}

fn dumps() -> Finding {
    let (limit, _) = getrlimit(Resource::RLIMIT_CORE).unwrap_or((0, 0));
    let pattern = read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    match limit == 0 && !pattern.starts_with('|') {
        true => Finding::ok("core dumps", "are off"),
        false => Finding::weak(
            "core dumps",
            format!("a mount makes none, but a program that crashes with a value does ({})", pattern.trim()),
            "ulimit -c 0 for programs with secrets, or LimitCORE=0 in their units",
        ),
    }
}

fn clock(now: Timestamp) -> Finding {
    let released = RELEASED.parse::<Date>().and_then(|date| date.to_zoned(TimeZone::UTC));
    match released.is_ok_and(|released| now >= released.timestamp()) {
        true => Finding::ok("clock", output::time(now)),
        false => Finding::weak(
            "clock",
            format!(
                "{} is before this version was made: what has expired would be served",
                output::time(now)
            ),
            "set the clock, or start a service that does",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn kernels() {
        for (release, state, says) in [
            ("6.9.0-1-amd64\n", State::Ok, "can hand"),
            ("6.8.12", State::Ok, "cannot hand"),
            ("5.3.0", State::Weak, "older than any"),
            ("", State::Weak, "older than any"),
        ] {
            let finding = kernel(release);
            assert!(finding.state == state && finding.found.contains(says), "{finding:?}");
        }
    }

    #[test]
    fn swap_that_writes_plaintext_is_weak_unless_memory_is_locked() {
        let head = "Filename\tType\tSize\tUsed\tPriority\n";
        let of = |areas: &str, is_locked| {
            swap(&format!("{head}{areas}"), |area| area == "/dev/dm-1", is_locked).state
        };
        assert_eq!(of("", false), State::Ok);
        assert_eq!(of("/dev/zram0 partition 1 0 100\n/dev/dm-1 partition 1 0 1\n", false), State::Ok);
        assert_eq!(of("/dev/dm-1 partition 1 0 1\n/swapfile file 1 0 1\n", false), State::Weak);
        assert_eq!(of("/swapfile file 1 0 1\n", true), State::Ok);
    }

    #[test]
    fn a_clock_before_this_version_is_weak() {
        assert_eq!(clock("1970-01-01T00:05:00Z".parse().unwrap()).state, State::Weak);
        assert_eq!(clock(SystemClock.now()).state, State::Ok);
    }
}
