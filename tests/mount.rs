//! The mount as programs see it: reads of every kind, freshness, permissions, refusals.
//! Each test has its own store and its own `secretfs mount`.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use common::{Map, STRANGER, TestMount, USER, stdout_of, tool};

fn cat(path: &Path) -> Command {
    let mut command = Command::new("cat");
    command.arg(path);
    command
}

fn errno(result: std::io::Result<impl Sized>) -> i32 {
    result.err().expect("it should fail").raw_os_error().expect("an errno")
}

#[test]
fn a_file_is_rendered_when_it_is_opened() {
    let mount = TestMount::new()
        .secret("db.password", "hunter2")
        .template("app.conf.tpl", "pw=<< secrets[\"db.password\"] >>\n")
        .start();
    assert_eq!(mount.read("app.conf"), "pw=hunter2\n");
    let meta = fs::metadata(mount.path("app.conf")).unwrap();
    assert_eq!(meta.len(), 11);
    assert_eq!(meta.mode() & 0o7777, 0o400);
    assert!(meta.modified().unwrap() > SystemTime::UNIX_EPOCH);
}

#[test]
fn folders_are_mirrored_and_other_files_are_not_served() {
    let mount = TestMount::new().template("a/b/c.txt.tpl", "deep").template("a/notes.txt", "private").start();
    assert_eq!(mount.read("a/b/c.txt"), "deep");
    let names: Vec<_> =
        fs::read_dir(mount.path("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["b"]);
    assert_eq!(errno(fs::metadata(mount.path("a/notes.txt"))), libc::ENOENT);
}

#[test]
fn a_set_is_seen_by_the_next_open_and_an_open_handle_keeps_its_bytes() {
    let mount = TestMount::new().secret("key", "first").template("f.tpl", "<< secrets.key >>").start();
    let mut open = File::open(mount.path("f")).unwrap();
    mount.store().set("key", "the second one");
    assert_eq!(mount.read("f"), "the second one");
    assert_eq!(fs::metadata(mount.path("f")).unwrap().len(), 14);
    assert_eq!(open.metadata().unwrap().len(), 5, "the handle's own size");
    let mut kept = String::new();
    open.read_to_string(&mut kept).unwrap();
    assert_eq!(kept, "first");
}

#[test]
fn an_edited_template_is_seen_by_the_next_open() {
    let mount = TestMount::new().secret("key", "v").template("f.tpl", "one << secrets.key >>").start();
    for (round, text) in ["two", "three", "four"].into_iter().enumerate() {
        mount.template("f.tpl", format!("{text} << secrets.key >>"));
        assert_eq!(mount.read("f"), format!("{text} v"), "round {round}");
    }
    mount.template("new/g.tpl", "a new one");
    assert_eq!(mount.read("new/g"), "a new one");
    fs::remove_file(mount.store().folder().join("templates/f.tpl")).unwrap();
    assert_eq!(errno(fs::read(mount.path("f"))), libc::ENOENT);
}

#[test]
fn a_template_replaced_by_rename_is_seen_whole() {
    let mount = TestMount::new().template("f.tpl", "a".repeat(10_000)).start();
    let templates = mount.store().folder().join("templates");
    let stop = Instant::now() + Duration::from_secs(2);
    let writer = std::thread::spawn(move || {
        for round in 0.. {
            if Instant::now() > stop {
                return;
            }
            let letter = if round % 2 == 0 { "b" } else { "a" };
            fs::write(templates.join("next"), letter.repeat(10_000 + round % 2 * 500)).unwrap();
            fs::rename(templates.join("next"), templates.join("f.tpl")).unwrap();
        }
    });
    while Instant::now() < stop {
        let text = mount.read("f");
        assert!(text.bytes().all(|byte| byte == text.as_bytes()[0]), "mixed from two templates");
        assert!([10_000, 10_500].contains(&text.len()), "{}", text.len());
    }
    writer.join().unwrap();
}

#[test]
fn mtime_changes_exactly_with_the_content() {
    let mount = TestMount::new().secret("key", "1").template("f.tpl", "<< secrets.key >>").start();
    let mtime = || fs::metadata(mount.path("f")).unwrap().modified().unwrap();
    let first = mtime();
    mount.store().set("other", "x");
    assert_eq!(mtime(), first, "another secret has changed");
    mount.read("f");
    assert_eq!(mtime(), first, "it was only read");
    mount.store().set("key", "2");
    assert!(mtime() > first);
}

#[test]
fn writes_of_every_kind_are_refused_with_erofs() {
    let mount = TestMount::new().template("f.tpl", "text").start();
    let (file, new) = (mount.path("f"), mount.path("new"));
    let write = |options: &mut OpenOptions, path: &Path| errno(options.open(path));
    let refusals = [
        ("open for writing", write(OpenOptions::new().write(true), &file)),
        ("append", write(OpenOptions::new().append(true), &file)),
        ("truncate", write(OpenOptions::new().write(true).truncate(true), &file)),
        ("create", write(OpenOptions::new().write(true).create(true), &new)),
        ("mkdir", errno(fs::create_dir(&new))),
        ("unlink", errno(fs::remove_file(&file))),
        ("rename", errno(fs::rename(&file, &new))),
        ("link", errno(fs::hard_link(&file, &new))),
        ("symlink", errno(std::os::unix::fs::symlink("x", &new))),
        ("chmod", errno(fs::set_permissions(&file, fs::Permissions::from_mode(0o777)))),
        ("chown", errno(std::os::unix::fs::chown(&file, Some(1), Some(1)))),
        ("utimens", errno(File::open(&file).unwrap().set_modified(SystemTime::now()))),
    ];
    for (what, errno) in refusals {
        assert_eq!(errno, libc::EROFS, "{what}");
    }
    let output =
        Command::new(tool("setfattr")).args(["-n", "user.x", "-v", "1"]).arg(&file).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("Read-only file system"), "{output:?}");
}

#[test]
fn a_listing_survives_a_file_that_fails() {
    let mount =
        TestMount::new().template("bad.tpl", "<< secrets.nowhere >>").template("good.tpl", "fine").start();
    let listing = stdout_of(&Command::new("ls").arg("-l").arg(mount.point()).output().unwrap());
    assert!(listing.contains("bad") && listing.contains("good"), "{listing}");
    let found = stdout_of(&Command::new("find").arg(mount.point()).arg("-type").arg("f").output().unwrap());
    assert_eq!(found.lines().count(), 2);
    assert_eq!(fs::metadata(mount.path("bad")).unwrap().len(), 0);
    assert_eq!(mount.errno("bad"), libc::ENOKEY);
    assert_eq!(mount.read("good"), "fine");
}

#[test]
fn the_reason_for_an_errno_can_be_found() {
    let mount = TestMount::new()
        .template("bad.tpl", "x\n  << secrets.nowhere >>")
        .template("good.tpl", "fine")
        .start();
    assert_eq!(mount.errno("bad"), libc::ENOKEY);
    let ask = |name: &str| {
        Command::new(tool("getfattr"))
            .args(["--only-values", "-n", "user.secretfs.error"])
            .arg(mount.path(name))
            .output()
            .unwrap()
    };
    let reason = stdout_of(&ask("bad"));
    assert!(reason.contains("bad.tpl:2:6") && reason.contains("nowhere"), "{reason}");
    assert!(!ask("good").status.success(), "a file that can be read has no reason");
}

#[test]
fn a_failure_heals_with_its_cause() {
    let mount = TestMount::new().template("f.tpl", "<< secrets.late >>").start();
    assert_eq!(mount.errno("f"), libc::ENOKEY);
    mount.store().set("late", "here");
    assert_eq!(mount.read("f"), "here");
    stdout_of(&mount.store().run(&["rm", "--yes", "late"]));
    assert_eq!(mount.errno("f"), libc::ENOKEY);
}

#[test]
fn a_slow_rendering_is_answered_at_its_deadline() {
    let config = "mounts:\n  - {at: mnt, templates: templates, deadline: 50ms}\n";
    let slow = "<< secrets.key | bcrypt(12) >>";
    let mount = TestMount::new()
        .secret("key", "v")
        .template("slow.tpl", slow)
        .template("quick.tpl", "fine")
        .config(config)
        .start();
    let start = Instant::now();
    assert_eq!(mount.errno("slow"), libc::ETIMEDOUT);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(mount.read("quick"), "fine");
}

#[test]
fn files_are_read_by_owner_group_and_mode() {
    let config = format!(
        "mounts:\n  - at: mnt\n    templates: templates\n    owner: {USER}\n    files:\n      \
         group.txt: {{owner: 0, group: {USER}, mode: \"0440\"}}\n      open.txt: {{owner: 0, mode: \"0444\"}}\n"
    );
    let mount = TestMount::new()
        .secret("key", "value")
        .template("own.txt.tpl", "<< secrets.key >>")
        .template("group.txt.tpl", "<< secrets.key >>")
        .template("open.txt.tpl", "<< secrets.key >>")
        .config(&config)
        .start();
    let as_uid = |uid: u32, name: &str| cat(&mount.path(name)).uid(uid).gid(uid).output().unwrap();
    for name in ["own.txt", "group.txt", "open.txt"] {
        assert_eq!(stdout_of(&as_uid(USER, name)), "value", "{name}");
    }
    assert_eq!(stdout_of(&as_uid(STRANGER, "open.txt")), "value");
    for name in ["own.txt", "group.txt"] {
        let denied = as_uid(STRANGER, name);
        assert!(!denied.status.success() && denied.stdout.is_empty());
        assert!(String::from_utf8_lossy(&denied.stderr).contains("Permission denied"), "{denied:?}");
    }
    assert_eq!(mount.read("own.txt"), "value", "root reads like everywhere");
}

#[test]
fn who_may_not_read_learns_no_size() {
    let mount = TestMount::new().secret("key", "value").template("f.tpl", "<< secrets.key >>").start();
    assert_eq!(mount.read("f"), "value");
    let stat = |uid: u32| {
        let output = Command::new("stat")
            .args(["-c", "%s %a %u"])
            .arg(mount.path("f"))
            .uid(uid)
            .gid(uid)
            .output()
            .unwrap();
        stdout_of(&output).trim().to_owned()
    };
    assert_eq!(stat(0), "5 400 0");
    assert_eq!(stat(STRANGER), "0 400 0");
    assert_eq!(stat(0), "5 400 0", "the stranger's view did not disturb the owner's");
}

#[test]
fn an_inherited_descriptor_does_not_serve_another_uid() {
    let mount = TestMount::new().secret("key", "value").template("f.tpl", "<< secrets.key >>").start();
    let read_stdin = |uid: u32| {
        let file = File::open(mount.path("f")).unwrap();
        Command::new("cat").stdin(file).uid(uid).gid(uid).output().unwrap()
    };
    assert_eq!(stdout_of(&read_stdin(0)), "value");
    let other = read_stdin(STRANGER);
    assert!(other.stdout.is_empty() && !other.status.success(), "{other:?}");
}

#[test]
fn a_clean_stop_leaves_nothing_mounted() {
    let mut mount = TestMount::new().template("f.tpl", "text").start();
    let open = File::open(mount.path("f")).unwrap();
    assert!(mount.stop().success());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(mount.point().to_str().unwrap()));
    assert_eq!(fs::read_dir(mount.point()).unwrap().count(), 0);
    drop(open);
}

#[test]
fn a_mount_that_is_taken_away_ends_its_process() {
    let mut mount = TestMount::new().template("f.tpl", "text").start();
    stdout_of(&Command::new("umount").arg(mount.point()).output().unwrap());
    assert!(mount.stop().success());
}

#[test]
fn reads_of_every_shape_give_the_same_bytes() {
    let value: String = (0..9_000).map(|index| char::from(b'a' + (index % 23) as u8)).collect();
    let mount = TestMount::new().secret("key", &value).template("f.tpl", "<< secrets.key >>").start();
    let path = mount.path("f");
    let file = File::open(&path).unwrap();
    let bytes = value.as_bytes();
    for (offset, length) in [(0, 1), (7, 33), (4095, 2), (8_999, 10), (9_000, 10), (1 << 40, 10)] {
        let mut buffer = vec![0; length];
        let got = file.read_at(&mut buffer, offset).unwrap();
        let start = bytes.len().min(offset as usize);
        assert_eq!(&buffer[..got], &bytes[start..bytes.len().min(start + length)], "{offset} {length}");
    }
    let (mut slow, mut byte) = (File::open(&path).unwrap(), [0]);
    for expected in &bytes[..50] {
        slow.read_exact(&mut byte).unwrap();
        assert_eq!(byte[0], *expected);
    }
    let direct = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(&path).unwrap();
    let mut buffer = [0; 33];
    direct.read_exact_at(&mut buffer, 7).unwrap();
    assert_eq!(buffer, bytes[7..40]);
    assert_eq!(mapped(&path, libc::MAP_PRIVATE), bytes);
    assert_eq!(mapped(&path, libc::MAP_SHARED), bytes);
    let busybox = Command::new(tool("busybox")).arg("cat").arg(&path).output().unwrap();
    assert_eq!(busybox.stdout, bytes, "sendfile without fstat");
}

#[test]
fn seeks_know_the_end() {
    let mount = TestMount::new().template("f.tpl", "0123456789").template("empty.tpl", "").start();
    let mut file = File::open(mount.path("f")).unwrap();
    assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), 7);
    let mut rest = String::new();
    file.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "789");
    assert_eq!(seek(&file, 3, libc::SEEK_DATA), Ok(3));
    assert_eq!(seek(&file, 3, libc::SEEK_HOLE), Ok(10));
    assert_eq!(seek(&file, 10, libc::SEEK_DATA), Err(libc::ENXIO));
    assert_eq!(fs::read(mount.path("empty")).unwrap(), b"");
    assert_eq!(mapped_error(&mount.path("empty")), ErrorKind::InvalidInput);
}

#[test]
fn large_files_are_served_up_to_the_cap() {
    let value = "x".repeat(1 << 20);
    let four = "<< secrets.key >>".repeat(4);
    let mount = TestMount::new()
        .secret("key", &value)
        .template("four.tpl", &four)
        .template("more.tpl", format!("{four}."))
        .start();
    let text = fs::read(mount.path("four")).unwrap();
    assert!(text.len() == 4 << 20 && text.iter().all(|&byte| byte == b'x'));
    assert_eq!(mount.errno("more"), libc::EFBIG);
}

#[test]
fn a_mapping_keeps_its_bytes_across_a_rotation() {
    let mount =
        TestMount::new().secret("key", "a".repeat(5_000)).template("f.tpl", "<< secrets.key >>").start();
    let file = File::open(mount.path("f")).unwrap();
    for kind in [libc::MAP_PRIVATE, libc::MAP_SHARED] {
        let map = Map::of(&file, kind).unwrap();
        mount.store().set("key", "b".repeat(7_000));
        assert_eq!(mount.read("f").len(), 7_000);
        assert!(map.iter().all(|&byte| byte == b'a') && map.len() == 5_000);
        mount.store().set("key", "a".repeat(5_000));
    }
}

#[test]
fn a_path_descriptor_reopens_to_the_current_content() {
    let mount = TestMount::new().secret("key", "first").template("f.tpl", "<< secrets.key >>").start();
    let path = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(mount.path("f")).unwrap();
    let again = format!("/proc/self/fd/{}", path.as_raw_fd());
    assert_eq!(fs::read_to_string(&again).unwrap(), "first");
    for value in ["the second, longer", "3"] {
        mount.store().set("key", value);
        assert_eq!(fs::read_to_string(&again).unwrap(), value);
    }
}

#[test]
fn a_bound_single_file_rotates_grows_and_shrinks() {
    let mount = TestMount::new().secret("key", "first").template("f.tpl", "<< secrets.key >>").start();
    let bound = mount.store().folder().join("bound");
    fs::write(&bound, "").unwrap();
    stdout_of(&Command::new("mount").arg("--bind").arg(mount.path("f")).arg(&bound).output().unwrap());
    let busybox = || stdout_of(&Command::new(tool("busybox")).arg("cat").arg(&bound).output().unwrap());
    for value in
        ["first".to_owned(), "x".repeat(20_000), "short".to_owned(), "y".repeat(4_097), "z".to_owned()]
    {
        mount.store().set("key", &value);
        assert_eq!(busybox(), value, "sendfile without fstat");
        assert_eq!(fs::read_to_string(&bound).unwrap(), value);
        assert_eq!(fs::metadata(&bound).unwrap().len(), value.len() as u64);
        assert_eq!(mapped(&bound, libc::MAP_SHARED), value.as_bytes());
    }
    let held = File::open(&bound).unwrap();
    mount.store().set("key", "newer than the held one");
    assert_eq!(fs::read_to_string(&bound).unwrap(), "z", "somebody has it open: their snapshot");
    drop(held);
    let patience = Instant::now() + Duration::from_secs(5);
    while fs::read_to_string(&bound).unwrap() != "newer than the held one" {
        assert!(Instant::now() < patience, "the new content never came");
    }
    stdout_of(&Command::new("umount").arg(&bound).output().unwrap());
}

/// What the README warns of: mount over folders.
#[test]
fn a_mount_over_a_file_of_ours_goes_with_its_node() {
    let mount = TestMount::new().secret("key", "first").template("f.tpl", "<< secrets.key >>").start();
    let foreign = mount.store().folder().join("foreign");
    fs::write(&foreign, "foreign").unwrap();
    stdout_of(&Command::new("mount").arg("--bind").arg(&foreign).arg(mount.path("f")).output().unwrap());
    assert_eq!(mount.read("f"), "foreign");
    mount.store().set("key", "second");
    assert_eq!(mount.read("f"), "second");
}

#[test]
fn a_poller_of_a_bound_file_sees_a_change() {
    let mount = TestMount::new().secret("key", "first").template("f.tpl", "<< secrets.key >>").start();
    let bound = mount.store().folder().join("bound");
    fs::write(&bound, "").unwrap();
    stdout_of(&Command::new("mount").arg("--bind").arg(mount.path("f")).arg(&bound).output().unwrap());
    let before = fs::metadata(&bound).unwrap();
    mount.store().set("key", "a longer one");
    let patience = Instant::now() + Duration::from_secs(5);
    while fs::metadata(&bound).unwrap().len() != 12 {
        assert!(Instant::now() < patience, "stat never shows the change");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(fs::metadata(&bound).unwrap().modified().unwrap() > before.modified().unwrap());
    stdout_of(&Command::new("umount").arg(&bound).output().unwrap());
}

#[test]
fn tail_follows_a_rotation() {
    let mount = TestMount::new().secret("key", "first").template("f.tpl", "<< secrets.key >>\n").start();
    let log = mount.store().folder().join("log");
    let mut tail = Command::new("tail")
        .args(["-n", "+1", "-s", "0.1", "---disable-inotify", "-F"])
        .arg(mount.path("f"))
        .stdout(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let await_line = |line: &str| {
        let patience = Instant::now() + Duration::from_secs(10);
        while !fs::read_to_string(&log).unwrap().lines().any(|seen| seen == line) {
            assert!(Instant::now() < patience, "tail never showed {line}: {:?}", fs::read_to_string(&log));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    await_line("first");
    mount.store().set("key", "second");
    await_line("second");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

fn mapped(path: &Path, kind: libc::c_int) -> Vec<u8> {
    Map::of(&File::open(path).unwrap(), kind).unwrap().to_vec()
}

fn mapped_error(path: &Path) -> ErrorKind {
    Map::of(&File::open(path).unwrap(), libc::MAP_PRIVATE).err().expect("an empty mapping").kind()
}

fn seek(file: &File, offset: i64, whence: libc::c_int) -> Result<i64, i32> {
    // SAFETY: lseek takes integers only.
    match unsafe { libc::lseek(file.as_raw_fd(), offset, whence) } {
        -1 => Err(std::io::Error::last_os_error().raw_os_error().unwrap()),
        position => Ok(position),
    }
}
