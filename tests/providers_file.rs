//! Files as a provider, and several providers as one, through the real mount: what is there, what is
//! not, what has changed, and what happens when one of them fails.

mod common;

use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{fs, thread};

use common::programmed::{Programmed, attribute, eventually};
use common::{Mounted, TestMount};
use nix::mount::{MntFlags, MsFlags};

/// A mount with files beside its templates.
fn with_files(files: &[(&str, &str)]) -> TestMount {
    let mount = TestMount::new();
    for (name, text) in files {
        let path = mount.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    mount
}

const MOUNTS: &str = "mounts: [{at: mnt, templates: templates}]\n";

fn reason(mount: &Mounted, file: &str) -> String {
    attribute(mount, file, "error").expect("a reason")
}

#[test]
fn folders_and_documents_are_read() {
    let mount = with_files(&[
        ("run/db/password", "hunter2\n"),
        ("run/tls.pem", "-----BEGIN\nx\n"),
        ("app.env", "export DB='a b'\n"),
        ("app.json", r#"{"db": {"user": "u", "port": 5432}}"#),
        ("app.yaml", "db:\n  pass: p\nfeature: true\n"),
    ])
    .env("PLACE", "run")
    .config(&format!(
        "providers:
  folder: {{type: file, path: ./run}}
  named: {{type: file, path: '${{PLACE}}'}}
  env_file: {{type: file, path: app.env}}
  json: {{type: file, path: app.json}}
  yaml: {{type: file, path: app.yaml}}
{MOUNTS}"
    ))
    .template("a.tpl", "<< secret('folder:db/password') >>|<< secret('folder:tls.pem') >>")
    .template(
        "b.tpl",
        "<< secret('env_file:DB') >>|<< secret('json:db#user') >>:<< secret('json:db#port') >>",
    )
    .template("c.tpl", "<< secret('yaml:db#pass') >>|<< secret('yaml:feature') >>")
    .template(
        "none.tpl",
        "<< secret('folder:db/user') | default('d') >><< secret('json:no') | default('d') >>",
    )
    .template("missing.tpl", "<< secret('folder:nothing') >>")
    .template("out.tpl", "<< secret('folder:../app.env') | default('never left') >>")
    .start();
    assert_eq!(mount.read("a"), "hunter2|-----BEGIN\nx\n");
    assert_eq!(mount.read("b"), "a b|u:5432");
    assert_eq!(mount.read("c"), "p|true");
    assert_eq!(mount.read("none"), "dd");
    assert_eq!(mount.read("out"), "never left");
    assert_eq!(mount.errno("missing"), libc::ENOKEY);
}

#[test]
fn a_change_of_a_file_reaches_the_next_reader() {
    let mount = with_files(&[("run/a", "one\n"), ("run/b", "one\n")])
        .config(&format!("providers: {{f: {{type: file, path: run}}}}\n{MOUNTS}"))
        .template("a.tpl", "<< secret('f:a') >>")
        .template("b.tpl", "<< secret('f:b') >>")
        .start();
    assert_eq!((mount.read("a"), mount.read("b")), ("one".to_owned(), "one".to_owned()));
    fs::write(mount.store().folder().join("run/a"), "two\n").unwrap();
    eventually("the change is seen", || mount.read("a") == "two");
    assert_eq!(mount.read("b"), "one");
}

#[test]
fn what_cannot_be_read_is_refused_with_its_place_and_never_its_content() {
    let mount = with_files(&[
        ("broken.json", "{\"a\": \"b\",\n 31337}"),
        ("twice.yaml", "a: {b: c}\na: {b: c}\n"),
        ("what.xyz", "31337"),
        ("fine.json", "{\"a\": \"fine\", \"list\": [31337]}"),
    ])
    .config(&format!(
        "providers:
  broken: {{type: file, path: broken.json}}
  twice: {{type: file, path: twice.yaml}}
  what: {{type: file, path: what.xyz}}
  gone: {{type: file, path: gone.json}}
  fine: {{type: file, path: fine.json}}
{MOUNTS}"
    ))
    .template("broken.tpl", "<< secret('broken:a') | default('never') >>")
    .template("twice.tpl", "<< secret('twice:a#b') >>")
    .template("what.tpl", "<< secret('what:a') >>")
    .template("gone.tpl", "<< secret('gone:a') | default('never') >>")
    .template("list.tpl", "<< secret('fine:list') >>")
    .template("fine.tpl", "<< secret('fine:a') >>")
    .start();
    for (file, says) in [
        ("broken", "broken.json:2: it is no JSON"),
        ("twice", "twice.yaml:"),
        ("what", "its name does not say what it is"),
        ("gone", "No such file"),
        ("list", "is a list, no text"),
    ] {
        assert_eq!(mount.errno(file), libc::EIO, "{file}");
        let reason = reason(&mount, file);
        assert!(reason.contains(says) && !reason.contains("31337"), "{file}: {reason}");
    }
    assert_eq!(mount.read("fine"), "fine", "others are untouched");
}

/// `p` is a program that can be made to fail; `store` and `f` are what stands beside it.
fn several(strategy: &str) -> Programmed {
    let script = "[ ! -e down ] || exit 1; case $1 in both) echo program;; own) echo own;; *) exit 44;; esac";
    let yaml = format!(
        "cache: {{ttl: 500ms, negative_ttl: 500ms}}}}, f: {{type: file, path: run}}, all: {{type: multi, of: [p, f], strategy: {strategy}"
    );
    let program = Programmed::new(script)
        .settings(&yaml)
        .file("both", "<< secret('all:both') >>")
        .file("own", "<< secret('all:own') | default('none') >>")
        .file("other", "<< secret('all:other') | default('none') >>")
        .file("nowhere", "<< secret('all:nowhere') | default('none') >>");
    let run = program.mount.folder().join("run");
    fs::create_dir(&run).unwrap();
    fs::write(run.join("both"), "file\n").unwrap();
    fs::write(run.join("other"), "file\n").unwrap();
    program
}

fn down(mount: &Mounted) {
    fs::write(mount.store().folder().join("down"), "").unwrap();
}

fn fails(mount: &Mounted, file: &str) -> bool {
    match fs::read(mount.path(file)) {
        Err(error) => error.raw_os_error() == Some(libc::EIO),
        Ok(_) => false,
    }
}

fn up(mount: &Mounted) {
    fs::remove_file(mount.store().folder().join("down")).unwrap();
}

#[test]
fn failover_asks_the_next_one_only_if_one_fails() {
    let mount = several("failover").start();
    let all = || ["both", "own", "other", "nowhere"].map(|file| mount.read(file)).join(" ");
    assert_eq!(all(), "program own none none", "who answers is believed, also that there is none");
    down(&mount);
    eventually("the next one answers", || all() == "file none file none");
    up(&mount);
    eventually("the first one is back", || all() == "program own none none");
    mount.await_log("failover", 1);
}

#[test]
fn priority_asks_the_next_one_only_for_what_is_missing() {
    let mount = several("priority").start();
    let all = || ["both", "own", "other", "nowhere"].map(|file| mount.read(file)).join(" ");
    assert_eq!(all(), "program own file none");
    down(&mount);
    eventually("nobody is asked in its place", || fails(&mount, "both"));
    eventually("that it is missing is not known", || fails(&mount, "other") && fails(&mount, "nowhere"));
    up(&mount);
    eventually("it is back", || !fails(&mount, "both") && all() == "program own file none");
}

#[test]
fn merge_takes_it_from_whoever_has_it_and_refuses_what_two_have() {
    let mount = several("merge").start();
    let all = || ["own", "other", "nowhere"].map(|file| mount.read(file)).join(" ");
    assert_eq!(all(), "own file none");
    assert_eq!(mount.errno("both"), libc::EIO);
    let reason = reason(&mount, "both");
    assert!(reason.contains("both `p` and `f` of `all` have `both`"), "{reason}");
    down(&mount);
    eventually("its own are not known", || fails(&mount, "own"));
    eventually("it might be where nobody answers", || fails(&mount, "nowhere"));
    assert_eq!(mount.read("other"), "file", "what another has is there");
}

/// A filesystem that answers nothing, as that of a server that is away, until it is dropped.
struct Hung {
    at: PathBuf,
    device: Option<fs::File>,
}

impl Hung {
    /// Dropped before what it lies in is removed.
    fn at(at: PathBuf) -> Self {
        fs::create_dir(&at).unwrap();
        let device = fs::File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
        nix::mount::mount(Some("hung"), &at, Some("fuse"), MsFlags::empty(), Some(&*options)).unwrap();
        Self { at, device: Some(device) }
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // Whoever waits for it gets an error now.
        self.device = None;
        let _ = nix::mount::umount2(&self.at, MntFlags::MNT_DETACH);
    }
}

/// Also of own secrets that lie there. The control is the file that hangs while the other one is read.
#[test]
fn a_filesystem_that_hangs_costs_its_own_readers_a_deadline_and_nobody_else_anything() {
    const READERS: usize = 24;
    let mut mount = with_files(&[("run/a", "fine\n"), ("sealed.json", r#"{"a": "b"}"#)]);
    for number in 0..READERS {
        mount = mount.template(&format!("hung{number}.tpl"), format!("<< secret('away:{number}') >>"));
    }
    let mount = mount
        .config(&format!(
            "providers:
  away: {{type: file, path: away/run, timeout: 1s, concurrency: 16}}
  own: {{type: file, path: sealed.json, timeout: 1s, age: {{identity: 'file:away/key'}}}}
  near: {{type: file, path: run, cache: {{ttl: 1ms}}}}
{MOUNTS}"
        ))
        .template("own.tpl", "<< secret('own:a') >>")
        .template("fine.tpl", "<< secret('near:a') >>")
        .start();
    let hung = Hung::at(mount.store().folder().join("away"));
    assert_eq!(mount.read("fine"), "fine");
    let before = threads(&mount);
    thread::scope(|scope| {
        let readers: Vec<_> =
            (0..READERS).map(|number| format!("hung{number}")).chain(["own".to_owned()]).collect();
        for file in readers {
            let path = mount.path(&file);
            scope.spawn(move || {
                for _ in 0..3 {
                    let start = Instant::now();
                    let errno = fs::read(&path).unwrap_err().raw_os_error();
                    assert!(matches!(errno, Some(libc::ETIMEDOUT | libc::EIO)), "{errno:?}");
                    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
                }
            });
        }
        thread::sleep(Duration::from_millis(300));
        for _ in 0..40 {
            let start = Instant::now();
            assert_eq!(mount.read("fine"), "fine");
            assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
            thread::sleep(Duration::from_millis(20));
        }
        let of_files = threads(&mount) - before;
        assert!((1..=8).contains(&of_files), "four of each provider hang, and no more: {of_files}");
    });
    assert_eq!(mount.read("fine"), "fine");
    let said = reason(&mount, "hung0");
    assert!(said.contains("has not answered"), "{said}");
    drop(hung);
    eventually("its threads end with it", || threads(&mount) == before);
}

/// Those of the daemon that read files.
fn threads(mount: &Mounted) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", mount.pid())).unwrap().map_while(Result::ok);
    tasks
        .filter(|task| fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "files\n"))
        .count()
}
