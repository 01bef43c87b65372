//! Small things that were wrong once, each held by a test.

mod common;

use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::{TestMount, TestStore};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// `stat` of a bound file whose text depends on its reader follows a change as any other does.
#[test]
fn a_poller_of_a_bound_view_sees_its_own_size() {
    let mounted =
        TestMount::new().secret("k", "one").template("f.tpl", "<< reader.uid >><< secrets.k >>").start();
    let bound = mounted.store().folder().join("bound");
    File::create(&bound).unwrap();
    mount(Some(&mounted.path("f")), &bound, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    mounted.store().set("k", "longer");
    let patience = Instant::now() + Duration::from_secs(5);
    let mut sizes = vec![fs::metadata(&bound).unwrap().len()];
    while *sizes.last().unwrap() != 7 && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
        sizes.push(fs::metadata(&bound).unwrap().len());
    }
    umount2(&bound, MntFlags::MNT_DETACH).unwrap();
    sizes.dedup();
    assert_eq!(sizes, [4, 7], "the old size, then the new one");
}

#[test]
fn a_template_of_the_future_hides_no_change() {
    let mount = TestMount::new().secret("k", "one").template("f.tpl", "<< secrets.k >>");
    let template = File::options().write(true).open(mount.folder().join("templates/f.tpl")).unwrap();
    let future = SystemTime::now() + Duration::from_secs(3_000_000);
    template.set_times(FileTimes::new().set_modified(future)).unwrap();
    drop(template);
    let mounted = mount.start();
    let mtime = || fs::metadata(mounted.path("f")).unwrap().modified().unwrap();
    let before = mtime();
    assert!(before < future);
    mounted.store().set("k", "two");
    assert!(mtime() > before, "a program that looks at the time would not read it again");
}

#[test]
fn a_dead_mount_with_a_blank_in_its_path_is_replaced() {
    let store = TestStore::new();
    for folder in ["templates", "the mount\tpoint"] {
        fs::create_dir(store.folder().join(folder)).unwrap();
    }
    fs::write(store.folder().join("templates/f.tpl"), "text").unwrap();
    let at = store.folder().join("the mount\tpoint");
    let start = || {
        let mut command = store.command(&["mount", "templates", "the mount\tpoint"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).unwrap();
        (child, line)
    };
    let (mut first, _) = start();
    first.kill().unwrap();
    first.wait().unwrap();
    let (mut second, line) = start();
    let text = fs::read_to_string(at.join("f"));
    second.kill().unwrap();
    second.wait().unwrap();
    umount2(&at, MntFlags::MNT_DETACH).unwrap();
    assert!(line.contains("ready"), "{line:?}");
    assert_eq!(text.unwrap(), "text");
}

/// The folder of templates, and the same one by a link, from which the config takes a file.
#[test]
fn one_folder_under_two_names_tells_both_of_an_edit() {
    let mount = TestMount::new().template("f.tpl", "one").config(
        "store: store\nmounts:\n  - {at: mnt, templates: templates, files: {g: {template: again/f.tpl}}}\n",
    );
    std::os::unix::fs::symlink("templates", mount.folder().join("again")).unwrap();
    let mounted = mount.start();
    for text in ["one", "two", "three"] {
        mounted.template("f.tpl", text);
        assert_eq!((mounted.read("f"), mounted.read("g")), (text.to_owned(), text.to_owned()));
    }
}

/// A template takes its time to be compiled; who comes meanwhile waits for it, too.
#[test]
fn an_edit_that_is_being_compiled_is_passed_by_nobody() {
    let filler = "<< secrets.k >>\n".repeat(1_000);
    let mounted = TestMount::new().secret("k", "v").template("f.tpl", format!("0\n{filler}")).start();
    let templates = mounted.store().folder().join("templates");
    let written = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let stale = thread::scope(|scope| {
        let reader = || {
            let mut stale = 0;
            while !is_over.load(Ordering::Acquire) {
                let least = written.load(Ordering::Acquire);
                let seen: u64 = mounted.read("f").lines().next().unwrap().parse().unwrap();
                stale += u64::from(seen < least);
            }
            stale
        };
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(reader)).collect();
        for number in 1..=10 {
            fs::write(templates.join("next"), format!("{number}\n{filler}")).unwrap();
            fs::rename(templates.join("next"), templates.join("f.tpl")).unwrap();
            written.store(number, Ordering::Release);
            thread::sleep(Duration::from_millis(100));
        }
        is_over.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u64>()
    });
    assert_eq!(stale, 0, "opens that saw the template of before");
}

/// What made a template unusable is gone, and no event of its folder tells of it.
#[test]
fn a_template_that_could_not_be_loaded_is_tried_again() {
    let mounted = TestMount::new().template("sub/f.tpl", "text").start();
    let above = mounted.store().folder().join("templates");
    fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
    assert_eq!(mounted.errno("sub/f"), libc::EACCES);
    fs::set_permissions(&above, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(mounted.read("sub/f"), "text");
}

/// Nobody reads the log: readers are answered all the same.
#[test]
fn a_log_that_nobody_reads_holds_up_nobody() {
    let store = TestStore::new();
    for folder in ["templates", "mnt"] {
        fs::create_dir(store.folder().join(folder)).unwrap();
    }
    for number in 0..1_500 {
        let text = format!("<< secrets.{}{number} >>", "missing".repeat(20));
        fs::write(store.folder().join(format!("templates/bad{number}.tpl")), text).unwrap();
    }
    fs::write(store.folder().join("templates/good.tpl"), "text").unwrap();
    let mut command = store.command(&["mount", "templates", "mnt"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let mount_point = store.folder().join("mnt");
    let start = Instant::now();
    // Far more lines than a pipe holds.
    let failed = (0..1_500).filter(|n| fs::read(mount_point.join(format!("bad{n}"))).is_err()).count();
    let text = fs::read_to_string(mount_point.join("good"));
    let took = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    umount2(&mount_point, MntFlags::MNT_DETACH).unwrap();
    assert_eq!((failed, text.unwrap().as_str()), (1_500, "text"));
    assert!(took < Duration::from_secs(20), "took {took:?}");
}
