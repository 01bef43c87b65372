//! Defects that were found by attacking a real mount, each with the test that failed while it was there.

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{TestMount, USER, stdout_of};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than the check once a second.
const HEALED: Duration = Duration::from_millis(2500);

#[test]
fn an_expired_secret_is_not_served_from_a_snapshot() {
    let mounted = TestMount::new().template("f.tpl", "<< secrets.k >>").start();
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3);
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    stdout_of(&mounted.store().run_with(&["set", "k", "--expires", &end], "v"));
    assert_eq!(mounted.read("f"), "v");
    thread::sleep(Duration::from_secs(4));
    assert_eq!(fs::read(mounted.path("f")).map_err(|e| e.raw_os_error()), Err(Some(libc::EKEYEXPIRED)));
}

/// Three readers of each uid open a bound file at once: what one gets is never the other's.
#[test]
fn a_bound_file_with_a_view_per_reader_gives_no_foreign_byte() {
    let mounted = TestMount::new()
        .config("store: store\nmounts:\n  - {at: mnt, templates: templates, mode: \"0444\"}\n")
        .secret("k", "v")
        .template("f.tpl", "u<< reader.uid >>;<< secrets.k >>")
        .start();
    mounted.read("f");
    let bound = mounted.store().folder().join("bound");
    File::create(&bound).unwrap();
    mount(Some(&mounted.path("f")), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    let script = "end=$(($(date +%s)+6)); while [ $(date +%s) -lt $end ]; do \
        for i in 1 2 3 4 5 6 7 8 9; do busybox cat \"$0\" 2>/dev/null; echo; done; done | grep -v '^$' | grep -vc \"^u$1;v\\$\"";
    let readers: Vec<_> = [1, 1, 1, 1_234_567, 1_234_567, 1_234_567]
        .map(|uid: u32| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).arg(&bound).arg(uid.to_string()).uid(uid).stdout(Stdio::piped());
            command.spawn().unwrap()
        })
        .into();
    let foreign: Vec<_> = readers
        .into_iter()
        .map(|reader| String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap())
        .collect();
    umount2(&bound, MntFlags::MNT_DETACH).unwrap();
    assert!(foreign.iter().all(|count| count.trim() == "0"), "lines that are not the reader's: {foreign:?}");
}

#[test]
fn a_path_descriptor_opened_just_before_a_set_gives_the_new_value() {
    let mounted = TestMount::new().secret("k", "old").template("f.tpl", "<< secrets.k >>").start();
    let path = File::options().read(true).custom_flags(libc::O_PATH).open(mounted.path("f")).unwrap();
    mounted.store().set("k", "new");
    let again = fs::read_to_string(format!("/proc/self/fd/{}", path.as_raw_fd())).unwrap();
    assert_eq!(again, "new");
}

#[test]
fn a_mount_point_below_its_templates_is_refused() {
    let store = common::TestStore::new();
    fs::create_dir(store.folder().join("mnt")).unwrap();
    fs::write(store.folder().join("f.tpl"), "x").unwrap();
    let mut child = store.command(&["mount", ".", "mnt"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    // Nothing below the mount is touched here: with the defect, the next edit hangs the daemon.
    let _ = child.kill();
    let _ = child.wait();
    let _ = umount2(&store.folder().join("mnt"), MntFlags::MNT_DETACH);
    assert_eq!(line, "", "it serves, and will read its own mount at the next rescan");
}

#[test]
fn a_folder_and_a_file_of_one_name_are_told() {
    let store = common::TestStore::new();
    for folder in ["mnt", "templates", "templates/a"] {
        fs::create_dir(store.folder().join(folder)).unwrap();
    }
    fs::write(store.folder().join("templates/a.tpl"), "file").unwrap();
    fs::write(store.folder().join("templates/a/b.tpl"), "x").unwrap();
    let mut child = store.command(&["mount", "templates", "mnt"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _ = child.kill();
    let _ = child.wait();
    let _ = umount2(&store.folder().join("mnt"), MntFlags::MNT_DETACH);
    assert_eq!(line, "", "it serves, and `a` is silently gone");
}

#[test]
fn a_folder_of_templates_that_was_replaced_is_served() {
    let mounted = TestMount::new().template("a.tpl", "one").start();
    assert_eq!(mounted.read("a"), "one");
    let folder = mounted.store().folder().join("templates");
    fs::rename(&folder, mounted.store().folder().join("old")).unwrap();
    thread::sleep(HEALED);
    mounted.template("a.tpl", "two");
    mounted.template("b.tpl", "two");
    thread::sleep(HEALED);
    let read = |name| fs::read_to_string(mounted.path(name)).map_err(|e| e.raw_os_error());
    assert_eq!((read("a"), read("b")), (Ok("two".into()), Ok("two".into())));
}

#[test]
fn a_folder_of_templates_behind_a_link_follows_the_link() {
    let store = common::TestStore::new();
    for release in ["1", "2"] {
        fs::create_dir(store.folder().join(release)).unwrap();
        fs::write(store.folder().join(release).join("a.tpl"), release).unwrap();
    }
    fs::write(store.folder().join("2/b.tpl"), "2").unwrap();
    let mounted = TestMount::on(store).start();
    // Swaps the empty folder for a link, then the link's target, as a deployment does.
    let templates = mounted.store().folder().join("templates");
    fs::remove_dir(&templates).unwrap();
    symlink("1", &templates).unwrap();
    thread::sleep(HEALED);
    assert_eq!(mounted.read("a"), "1");
    let next = mounted.store().folder().join("next");
    symlink("2", &next).unwrap();
    fs::rename(&next, &templates).unwrap();
    thread::sleep(HEALED);
    assert_eq!(fs::read_to_string(mounted.path("b")).map_err(|e| e.raw_os_error()), Ok("2".to_owned()));
}

#[test]
fn templates_in_a_folder_that_everybody_may_write_to_are_refused() {
    let mounted = TestMount::new()
        .config(
            "store: store\nmounts:\n  - {at: mnt, templates: templates, files: {pub: {mode: \"0444\"}}}\n",
        )
        .secret("k", "stolen")
        .template("s.tpl", "<< secrets.k >>")
        .template("pub.tpl", "hello")
        .start();
    let folder = mounted.store().folder().join("templates");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
    let swap = Command::new("sh")
        .args(["-c", "mv s.tpl x && mv pub.tpl s.tpl && mv x pub.tpl"])
        .current_dir(&folder)
        .uid(USER)
        .status()
        .unwrap();
    assert!(swap.success());
    let read = Command::new("cat").arg(mounted.path("pub")).uid(USER).output().unwrap();
    assert_ne!(String::from_utf8_lossy(&read.stdout), "stolen");
}

#[test]
fn a_foreign_mount_over_ours_survives_our_end() {
    let mut mounted = TestMount::new().template("f.tpl", "x").start();
    let at = mounted.point();
    mount(Some("foreign"), &at, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    fs::write(at.join("precious"), "x").unwrap();
    mounted.stop();
    let is_there = at.join("precious").exists();
    let _ = umount2(&at, MntFlags::MNT_DETACH);
    let _ = umount2(&at, MntFlags::MNT_DETACH);
    assert!(is_there, "the foreign mount was taken away");
}

#[test]
fn a_numeric_owner_brings_its_own_group() {
    let name = Command::new("id").args(["-g", "games"]).output().unwrap();
    let group: u32 = stdout_of(&name).trim().parse().expect("a user `games` whose gid is not its uid");
    let uid: u32 =
        stdout_of(&Command::new("id").args(["-u", "games"]).output().unwrap()).trim().parse().unwrap();
    let config = format!(
        "store: store\nmounts:\n  - {{at: mnt, templates: templates, owner: {uid}, mode: \"0440\"}}\n"
    );
    let mounted = TestMount::new().config(&config).template("f.tpl", "x").start();
    assert_eq!(fs::metadata(mounted.path("f")).unwrap().gid(), group);
}

/// An env file that was read once, then a store that does not answer: the deadline counts.
#[test]
fn a_store_that_hangs_is_answered_at_the_deadline() {
    let mounted = TestMount::new()
        .config("store: store\nmounts:\n  - {at: mnt, templates: templates, deadline: 300ms}\n")
        .secret("k", "v")
        .template("f.tpl", "<< secrets.k >>")
        .start();
    assert_eq!(mounted.read("f"), "v");
    let store = mounted.store().path();
    let _lock = locked(&store.join("store.db-shm"));
    File::options().write(true).open(store.join("sequence")).unwrap().set_len(0).unwrap();
    let start = Instant::now();
    let mut text = String::new();
    let _ = File::open(mounted.path("f")).and_then(|mut file| file.read_to_string(&mut text));
    assert!(start.elapsed() < Duration::from_millis(1500), "answered after {:?}", start.elapsed());
}

/// More files wait for a store that does not answer than there are threads to wait in.
#[test]
fn files_without_a_secret_do_not_wait_for_the_store() {
    const SLOW: usize = 600;
    let mut mount = TestMount::new().secret("k", "v").template("plain.tpl", "plain");
    for number in 0..SLOW {
        mount = mount.template(&format!("f{number}.tpl"), "<< secrets.k >>");
    }
    let mounted = mount.start();
    let lock = locked(&mounted.store().path().join("store.db-shm"));
    thread::scope(|scope| {
        for number in 0..SLOW {
            let path = mounted.path(&format!("f{number}"));
            scope.spawn(move || drop(File::open(path)));
        }
        thread::sleep(Duration::from_secs(1));
        let start = Instant::now();
        assert_eq!(mounted.read("plain"), "plain");
        assert!(start.elapsed() < Duration::from_secs(2), "took {:?}", start.elapsed());
        drop(lock);
    });
}

/// Holds SQLite's locks on the index of the WAL, as a process that was stopped while it recovers.
fn locked(shm: &Path) -> File {
    let file = File::options().read(true).write(true).open(shm).unwrap();
    let lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 120,
        l_len: 8,
        l_pid: 0,
    };
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETLK(&lock)).unwrap();
    file
}

/// A template lies on a filesystem that answers no more, and another template comes: the folder has
/// to be read again, which cannot end. Known files are served, and who waits is told in time.
#[test]
fn a_folder_that_cannot_be_read_again_hangs_nobody() {
    let asleep = TestMount::new().secret("k", "v").template("g.tpl.tpl", "g").start();
    let yaml = format!(
        "store: store\nmounts:\n  - {{at: mnt, templates: templates, deadline: 1s, files: {{g: {{template: {}}}}}}}\n",
        asleep.path("g.tpl").display()
    );
    let mounted = TestMount::new().config(&yaml).template("sub/f.tpl", "f").start();
    assert_eq!((mounted.read("g"), mounted.read("sub/f")), ("g".to_owned(), "f".to_owned()));
    let signal = |signal| kill(Pid::from_raw(asleep.pid() as i32), signal).unwrap();
    signal(Signal::SIGSTOP);
    mounted.template("new.tpl", "new");
    let start = Instant::now();
    let script = "cat sub/f; ls; cat new 2>&1; cat sub/f";
    let mut reader = Command::new("sh")
        .args(["-c", script])
        .current_dir(mounted.point())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while reader.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(15) {
        thread::sleep(Duration::from_millis(20));
    }
    let took = start.elapsed();
    signal(Signal::SIGCONT);
    let seen = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
    assert!(took < Duration::from_secs(10), "readers hung for {took:?}");
    assert_eq!(seen, "fg\nsub\ncat: new: Connection timed out\nf");
    assert_eq!(mounted.read("new"), "new");
}
