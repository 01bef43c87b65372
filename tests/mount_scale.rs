//! What many files must not change: listings are whole, a change is noticed, a template that comes
//! or goes delays nobody, and where inotify ends edits are seen all the same.

mod common;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Mounted, TestMount, stdout_of};
use nix::dir::Dir;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

/// More than a page of a listing and than the janitor looks at in a second.
const MANY: usize = 1_500;

fn many() -> Mounted {
    let mount = TestMount::new().secret("k", "value");
    let folder = mount.folder().join("templates/many");
    fs::create_dir(&folder).unwrap();
    for number in 0..MANY {
        fs::write(folder.join(format!("f{number}.tpl")), format!("{number} << secrets.k >>\n")).unwrap();
    }
    mount.start()
}

fn shell(script: &str, mounted: &Mounted) -> String {
    stdout_of(&Command::new("sh").args(["-c", script]).current_dir(mounted.point()).output().unwrap())
}

#[test]
fn each_file_is_listed_once_with_its_size() {
    let mounted = many();
    let expected: BTreeSet<String> =
        (0..MANY).map(|n| format!("f{n} {}", format!("{n} value\n").len())).collect();
    for script in [
        "find . -type f -printf '%f %s\\n'",
        "ls -lR . | awk '/^-/ {print $9, $5}'",
        "stat -c '%n %s' f* 2>/dev/null || (cd many && stat -c '%n %s' f*)",
    ] {
        let text = shell(script, &mounted);
        let listed: BTreeSet<String> = text.lines().map(str::to_owned).collect();
        assert!(
            text.lines().count() == MANY && listed == expected,
            "{script}: {} lines",
            text.lines().count()
        );
    }
}

/// Between two pages files come and go: those that stay are listed once, and a rewind shows the rest.
#[test]
fn a_listing_is_of_one_moment() {
    let mounted = many();
    let mut dir = Dir::open(&mounted.path("many"), OFlag::O_RDONLY, Mode::empty()).unwrap();
    let name = |entry: nix::Result<nix::dir::Entry>| {
        String::from_utf8(entry.unwrap().file_name().to_bytes().to_vec()).unwrap()
    };
    let mut entries = dir.iter();
    let mut seen: Vec<String> = entries.by_ref().take(40).map(name).collect();
    mounted.template("many/a-first.tpl", "new");
    fs::remove_file(mounted.store().folder().join("templates/many/f0.tpl")).unwrap();
    assert_eq!(mounted.read("many/a-first"), "new");
    seen.extend(entries.map(name));
    // `iter` rewinds when it is dropped.
    let again: BTreeSet<String> = dir.iter().map(name).collect();
    seen.retain(|name| name.starts_with('f'));
    let distinct: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), distinct.len()), (MANY, MANY));
    assert!(again.contains("a-first") && !again.contains("f0"), "the rewound folder is as it was");
}

/// One bound file among more than are looked at in turn sees a change, and only its own.
#[test]
fn a_change_is_told_however_many_files_are_ready() {
    let mounted = many();
    mounted.store().set("other", "x");
    mounted.template("bound.tpl", "<< secrets.other >>");
    shell("ls -lR . >/dev/null", &mounted);
    let bound = mounted.store().folder().join("bound");
    File::create(&bound).unwrap();
    mount(Some(&mounted.path("bound")), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    mounted.store().set("other", "longer");
    let patience = Instant::now() + Duration::from_secs(8);
    let mut size = fs::metadata(&bound).unwrap().len();
    while size != 6 && Instant::now() < patience {
        thread::sleep(Duration::from_millis(50));
        size = fs::metadata(&bound).unwrap().len();
    }
    umount2(&bound, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(size, 6, "its stat never shows the change");
}

/// Templates come and go without pause: who reads another file neither fails nor waits.
#[test]
fn rescans_go_on_beside_readers() {
    let mounted = many();
    let done = AtomicBool::new(false);
    let longest = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..60 {
                mounted.template(&format!("many/new{number}.tpl"), "x");
                assert_eq!(mounted.read(&format!("many/new{number}")), "x");
                fs::remove_file(mounted.store().folder().join(format!("templates/many/new{number}.tpl")))
                    .unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut longest = Duration::ZERO;
        while !done.load(Ordering::Acquire) {
            let start = Instant::now();
            assert_eq!(mounted.read("many/f7"), "7 value\n");
            longest = longest.max(start.elapsed());
        }
        longest
    });
    assert!(longest < Duration::from_secs(1), "a reader waited {longest:?}");
    assert!(fs::metadata(mounted.path("many/new0")).is_err(), "what went is still there");
}

/// A template that is taken away and comes back (a checkout) is the same file to who has it bound.
#[test]
fn a_bound_file_outlives_the_absence_of_its_template() {
    let mounted = TestMount::new().template("f.tpl", "one").start();
    let bound = mounted.store().folder().join("bound");
    File::create(&bound).unwrap();
    mount(Some(&mounted.path("f")), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    fs::remove_file(mounted.store().folder().join("templates/f.tpl")).unwrap();
    assert!(fs::metadata(mounted.path("f")).is_err());
    mounted.template("other.tpl", "x");
    assert_eq!(mounted.read("other"), "x");
    mounted.template("f.tpl", "two!");
    let read = (0..40).find_map(|_| {
        thread::sleep(Duration::from_millis(100));
        fs::read_to_string(&bound).ok().filter(|text| text == "two!")
    });
    umount2(&bound, MntFlags::MNT_DETACH).unwrap();
    assert_eq!(read.as_deref(), Some("two!"));
}

/// In a user namespace that may have one inotify watch, or none: the log says so, and edits, new
/// files and new folders are seen within a second or so.
#[test]
fn without_watches_edits_are_seen_within_a_second() {
    for limit in ["user/max_inotify_watches", "user/max_inotify_instances"] {
        let mount = TestMount::new().secret("k", "v").template("a.tpl", "one").template("sub/b.tpl", "one");
        let inside = "cat mnt/a mnt/sub/b; printf two > templates/a.tpl; printf two > templates/sub/b.tpl; \
            mkdir templates/late; printf two > templates/late/c.tpl; sleep 2.5; cat mnt/a mnt/sub/b mnt/late/c";
        let serve = mount.command_of(&["mount", "templates", "mnt", "--", "sh", "-c", inside]);
        let limited = format!("echo 0 > /proc/sys/{limit} && exec \"$@\"");
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", &limited, "sh"]);
        command.arg(serve.get_program()).args(serve.get_args()).current_dir(mount.folder());
        let output = command.stdin(Stdio::null()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(stdout_of(&output), "oneonetwotwotwo", "{limit}: {stderr}");
        assert!(stderr.contains("edits are seen within a second"), "{limit}: {stderr}");
    }
}

/// The names of files are bytes, in the order of bytes.
#[test]
fn names_of_any_kind_are_found() {
    let names = ["Ünï", "a b", "a", "a.b", "aa", "-", "~"];
    let mount =
        names.iter().fold(TestMount::new(), |mount, name| mount.template(&format!("{name}.tpl"), *name));
    let mounted = mount.start();
    let listed: BTreeSet<Vec<u8>> = fs::read_dir(mounted.point())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().as_bytes().into())
        .collect();
    assert_eq!(listed, names.iter().map(|name| name.as_bytes().to_vec()).collect());
    names.iter().for_each(|name| assert_eq!(mounted.read(name), *name));
}
