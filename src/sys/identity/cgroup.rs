//! Units and containers, by the path of a control group: whoever may make groups below its own can
//! name them as it likes, so only the outermost parts count. And the paths of groups that are known.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard};

use crate::caller::{Fact, UserUnit};
use crate::poison::EvenPoisoned;

/// By the kernel's number, which no other group ever has; those of the unified hierarchy are never
/// renamed (cgroups(7)).
static KNOWN: LazyLock<Mutex<HashMap<u64, String>>> = LazyLock::new(Mutex::default);
const MOST: usize = 4_096;

pub(super) fn recall(number: u64) -> Option<String> {
    known_paths().get(&number).cloned()
}

/// Of a group of the unified hierarchy.
pub(super) fn keep(number: u64, path: &str) {
    let mut known = known_paths();
    if known.len() >= MOST {
        known.clear();
    }
    known.insert(number, path.to_owned());
}

fn known_paths() -> MutexGuard<'static, HashMap<u64, String>> {
    KNOWN.lock().even_poisoned()
}

/// The line of the unified hierarchy, or systemd's own where that one is not in use.
pub(super) fn path(groups: &str) -> Option<&str> {
    let unified = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let named = || groups.lines().find_map(|line| line.split_once(":name=systemd:").map(|(_, path)| path));
    match unified {
        None | Some("/") => named().or(unified),
        used => used,
    }
    .filter(|path| is_whole(path))
}

/// Not of a group that was removed, nor one beyond the root that we see.
fn is_whole(path: &str) -> bool {
    path.starts_with('/') && !path.ends_with(" (deleted)") && !path.split('/').any(|part| part == "..")
}

pub(super) fn unit(path: &str) -> Fact<String> {
    outermost(&mut parts(path)).map_or(Fact::Absent, |unit| Fact::Is(unit.to_owned()))
}

/// The unit of a user's manager, which is itself a system unit.
pub(super) fn user_unit(path: &str) -> Fact<UserUnit> {
    let mut parts = parts(path);
    let manager = outermost(&mut parts);
    let uid = manager.and_then(|name| name.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok());
    match (uid, outermost(&mut parts)) {
        (Some(uid), Some(name)) => Fact::Is(UserUnit { uid, name: name.to_owned() }),
        _ => Fact::Absent,
    }
}

/// The first part below the slices, if it is a unit that runs processes.
fn outermost<'a>(parts: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let first = parts.find(|part| !part.ends_with(".slice"))?;
    let is_unit = first.ends_with(".service") || first.ends_with(".scope");
    is_unit.then(|| first.strip_prefix('_').unwrap_or(first))
}

fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty())
}

/// How runtimes call the scope of a container, before its id or name.
const SCOPES: [&str; 5] = ["docker-", "libpod-", "cri-containerd-", "crio-", "machine-"];
/// Folders that runtimes keep containers in, where they do without systemd.
const FOLDERS: [&str; 3] = ["docker", "libpod_parent", "lxc"];
const LXC: &str = "lxc.payload.";
const NSPAWN: &str = "systemd-nspawn@";

pub(super) fn container(path: &str) -> Fact<String> {
    let mut parts = parts(path).filter(|part| !part.ends_with(".slice"));
    let name = parts.next().and_then(|first| named(first).or_else(|| kept(first, &mut parts)));
    name.map_or(Fact::Absent, |name| Fact::Is(name.to_owned()))
}

/// By the name of one part alone.
fn named(part: &str) -> Option<&str> {
    let scope = part.strip_suffix(".scope");
    let scoped = || scope.and_then(|scope| SCOPES.iter().find_map(|prefix| scope.strip_prefix(prefix)));
    let spawned = || part.strip_prefix(NSPAWN)?.strip_suffix(".service");
    scoped().or_else(spawned).or_else(|| part.strip_prefix(LXC)).filter(|name| !name.is_empty())
}

/// By the folder that it is in.
fn kept<'a>(folder: &str, parts: &mut impl Iterator<Item = &'a str>) -> Option<&'a str> {
    match folder {
        _ if FOLDERS.contains(&folder) => {
            let part = parts.next()?;
            Some(part.strip_prefix("libpod-").unwrap_or(part))
        }
        // kubepods[/class]/podUID/ID
        "kubepods" => parts.skip_while(|part| !part.starts_with("pod")).nth(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(name: &str) -> Fact<String> {
        Fact::Is(name.to_owned())
    }

    #[test]
    fn the_first_unit_below_the_slices_counts() {
        assert_eq!(unit("/system.slice/nginx.service"), is("nginx.service"));
        assert_eq!(unit("/system.slice/a.service/sshd.service"), is("a.service"));
        assert_eq!(unit("/system.slice/system-getty.slice/getty@tty1.service"), is("getty@tty1.service"));
        assert_eq!(unit("/user.slice/user-1000.slice/session-2.scope"), is("session-2.scope"));
        assert_eq!(unit("/system.slice/_cpu.service"), is("cpu.service"));
        for none in ["/", "/system.slice", "/docker/0123", "/a/sshd.service"] {
            assert_eq!(unit(none), Fact::Absent, "{none}");
        }
    }

    #[test]
    fn a_user_s_unit_belongs_to_the_user_of_its_manager() {
        let manager = "/user.slice/user-1000.slice/user@1000.service";
        let of = |below: &str| user_unit(&format!("{manager}{below}"));
        let expected = Fact::Is(UserUnit { uid: 1000, name: "app.service".to_owned() });
        assert_eq!(of("/app.slice/app.service"), expected);
        assert_eq!(of("/app.slice/app-x.slice/app.service/other.service"), expected);
        assert_eq!(of("/app.service"), expected);
        assert_eq!(of(""), Fact::Absent);
        assert_eq!(of("/app.slice/plain/app.service"), Fact::Absent);
        assert_eq!(unit(&format!("{manager}/app.slice/sshd.service")), is("user@1000.service"));
        for posing in
            ["/system.slice/a.service/user@0.service/x.service", "/system.slice/user@x.service/a.service"]
        {
            assert_eq!(user_unit(posing), Fact::Absent, "{posing}");
        }
    }

    #[test]
    fn a_container_is_named_as_its_runtime_named_it() {
        assert_eq!(container("/system.slice/docker-0a1b.scope"), is("0a1b"));
        assert_eq!(container("/system.slice/docker-0a1b.scope/docker-9.scope"), is("0a1b"));
        assert_eq!(container("/docker/0a1b"), is("0a1b"));
        assert_eq!(container("/docker/0a1b/inner"), is("0a1b"));
        assert_eq!(container("/machine.slice/libpod-0a1b.scope/container"), is("0a1b"));
        assert_eq!(container("/libpod_parent/libpod-0a1b"), is("0a1b"));
        let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podf.slice/cri-containerd-0a1b.scope";
        assert_eq!(container(pod), is("0a1b"));
        assert_eq!(container("/kubepods/burstable/pod12-34/0a1b"), is("0a1b"));
        assert_eq!(container("/machine.slice/machine-web.scope/payload"), is("web"));
        assert_eq!(container("/machine.slice/systemd-nspawn@web.service/payload"), is("web"));
        assert_eq!(container("/lxc.payload.web/system.slice/a.service"), is("web"));
    }

    #[test]
    fn a_user_or_a_unit_cannot_make_itself_a_container() {
        for own in [
            "/",
            "/system.slice/a.service/docker-0a1b.scope",
            "/system.slice/a.service/docker/0a1b",
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-0a1b.scope",
            "/docker",
            "/kubepods/burstable",
            "/system.slice/docker-.scope",
        ] {
            assert_eq!(container(own), Fact::Absent, "{own}");
        }
    }

    #[test]
    fn only_a_whole_path_says_something() {
        assert_eq!(path("0::/a.service\n"), Some("/a.service"));
        assert_eq!(path("3:cpu:/b\n1:name=systemd:/s.slice/a.service\n0::/\n"), Some("/s.slice/a.service"));
        assert_eq!(path("1:name=systemd:/b.service\n0::/a.service\n"), Some("/a.service"));
        assert_eq!(path("3:cpu:/b\n1:name=systemd:/a.service\n"), Some("/a.service"));
        assert_eq!(path("0::/\n"), Some("/"));
        for broken in ["", "3:cpu:/a.service\n", "0::/a.service (deleted)\n", "0::/../a.service\n"] {
            assert_eq!(path(broken), None, "{broken}");
        }
    }
}
