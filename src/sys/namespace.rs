//! A mount namespace of one's own: what is mounted in it, only this process and its children see.
//! An ordinary user gets one inside a user namespace that maps nobody else. Uses nix.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

use super::hardening;

/// Why there is no such namespace here.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    #[error("this system gives no user a view of files of his own: {SWITCH_MAX} is 0")]
    SwitchedOff,
    #[error("this system gives no ordinary user a view of files of his own: {SWITCH_DEBIAN} is 0")]
    OnlyRoot,
    #[error("AppArmor keeps this program from a view of files of its own: {SWITCH_APPARMOR} is 1")]
    AppArmor,
    #[error("this container or sandbox lets no program have a view of files of its own (unshare: {})", .0.desc())]
    Forbidden(Errno),
    #[error("{step}: {error}")]
    Step { step: &'static str, error: io::Error },
}

const SWITCH_MAX: &str = "user.max_user_namespaces";
const SWITCH_DEBIAN: &str = "kernel.unprivileged_userns_clone";
const SWITCH_APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";

/// The inode of the pid namespace that the machine has begun with (PROC_PID_INIT_INO).
const FIRST_PIDS: u64 = 0xEFFF_FFFC;

/// Whether every process of the machine can be known here.
pub fn is_first_of_pids() -> bool {
    fs::metadata("/proc/self/ns/pid").is_ok_and(|meta| meta.ino() == FIRST_PIDS)
}

impl NamespaceError {
    /// What to do.
    pub fn hint(&self) -> String {
        match self {
            Self::SwitchedOff => format!("sudo sysctl {SWITCH_MAX}=10000, or run this as root"),
            Self::OnlyRoot => format!("sudo sysctl {SWITCH_DEBIAN}=1, or run this as root"),
            Self::AppArmor => format!("sudo sysctl {SWITCH_APPARMOR}=0, or run this as root"),
            Self::Forbidden(_) => "a container needs --cap-add SYS_ADMIN --device /dev/fuse, and no \
                                   AppArmor or seccomp profile that forbids mounts"
                .to_owned(),
            Self::Step { .. } => "run this as root, or use variables alone: --env, --env-file".to_owned(),
        }
    }
}

/// Enters a mount namespace that passes nothing on to the others (mount_namespaces(7)), for a
/// user without privileges in a user namespace where he keeps his uid (user_namespaces(7)).
pub fn enter() -> Result<(), NamespaceError> {
    let (uid, gid) = (geteuid(), getegid());
    let refused = |errno| refusal(errno, uid.is_root(), setting);
    if uid.is_root() {
        unshare(CloneFlags::CLONE_NEWNS).map_err(refused)?;
    } else {
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(refused)?;
        let be_who_we_were = || {
            write("/proc/self/setgroups", "deny")?;
            write("/proc/self/uid_map", &format!("{uid} {uid} 1"))?;
            write("/proc/self/gid_map", &format!("{gid} {gid} 1"))
        };
        hardening::as_seen_by_our_user(be_who_we_were)
            .map_err(|error| NamespaceError::Step { step: "prctl", error })??;
    }
    // AppArmor lets the namespace be made, and then nothing be done in it.
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .map_err(refused)
}

/// Lets `source` appear at the place that `target` names, a file over a file.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)?)
}

/// Takes a mount out of sight. What was bound from it stays.
pub fn detach(at: &Path) -> io::Result<()> {
    Ok(umount2(at, MntFlags::MNT_DETACH)?)
}

/// Which of the system's switches the kernel's word means. `setting` answers what a sysctl holds.
fn refusal(errno: Errno, is_root: bool, setting: impl Fn(&str) -> Option<String>) -> NamespaceError {
    let is = |name, value: &str| setting(name).is_some_and(|held| held == value);
    match errno {
        Errno::ENOSPC if !is_root => NamespaceError::SwitchedOff,
        Errno::EPERM | Errno::EACCES if !is_root && is(SWITCH_DEBIAN, "0") => NamespaceError::OnlyRoot,
        Errno::EPERM | Errno::EACCES if !is_root && is(SWITCH_APPARMOR, "1") => NamespaceError::AppArmor,
        errno => NamespaceError::Forbidden(errno),
    }
}

fn setting(name: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
    Some(text.trim().to_owned())
}

fn write(path: &'static str, text: &str) -> Result<(), NamespaceError> {
    fs::write(path, text).map_err(|error| NamespaceError::Step { step: path, error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(errno: Errno, is_root: bool, settings: &[(&str, &str)]) -> String {
        let setting = |name: &str| settings.iter().find(|it| it.0 == name).map(|it| it.1.to_owned());
        refusal(errno, is_root, setting).hint()
    }

    #[test]
    fn the_switch_that_forbids_it_is_named() {
        assert!(told(Errno::ENOSPC, false, &[]).contains("sysctl user.max_user_namespaces=10000"));
        assert!(told(Errno::EPERM, false, &[(SWITCH_DEBIAN, "0")]).contains("userns_clone=1"));
        let ubuntu = [(SWITCH_DEBIAN, "1"), (SWITCH_APPARMOR, "1")];
        assert!(told(Errno::EACCES, false, &ubuntu).contains("unprivileged_userns=0"));
        assert!(told(Errno::EPERM, false, &[(SWITCH_APPARMOR, "0")]).contains("--cap-add SYS_ADMIN"));
        assert!(told(Errno::EPERM, true, &ubuntu).contains("--cap-add SYS_ADMIN"));
    }
}
