//! Several providers that are asked as one, where it is about time and about who has answered. What each strategy
//! is, `providers_file.rs` shows.

mod common;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::programmed::{attribute, eventually};
use common::{Mounted, TestMount, stdout_of};
use serde_json::Value;

const MOUNT: &str = "mounts: [{at: mnt, templates: templates}]\naudit: {file: audit.log}\n";

/// With a folder of files `f`, each of which has the secret `a`.
fn with_file(text: &str) -> TestMount {
    let mount = TestMount::new();
    fs::create_dir(mount.folder().join("run")).unwrap();
    fs::write(mount.folder().join("run/a"), text).unwrap();
    mount.template("a.tpl", "<< secret('all:a') >>").template("b.tpl", "<< secret('all:a') >>!")
}

/// Members that take every connection and say nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("{{type: etcd, address: 'http://{}'}}", listener.local_addr().unwrap());
    (listener, address)
}

/// The control asks only those who are silent, which takes a deadline.
#[test]
fn a_third_answers_in_time_if_two_are_silent() {
    let ((_one, first), (_other, second)) = (silent(), silent());
    let providers = format!("s1: {first}, s2: {second}, f: {{type: file, path: run}}");
    let of =
        |names: &str| format!("providers: {{{providers}, all: {{type: multi, of: [{names}]}}}}\n{MOUNT}");
    let mount = with_file("from the file").config(&of("s1, s2, f")).start();
    let start = Instant::now();
    assert_eq!(mount.read("a"), "from the file");
    let took = start.elapsed();
    println!("the first read, two are silent: {took:?}");
    assert!(took > Duration::from_secs(1), "it was their turn: {took:?}");
    let mut longest = Duration::ZERO;
    for _ in 0..60 {
        let start = Instant::now();
        assert_eq!(mount.read("a"), "from the file");
        longest = longest.max(start.elapsed());
        sleep(Duration::from_millis(200));
    }
    println!("the longest of 60 reads after it: {longest:?}");
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    let mount = with_file("").config(&of("s1, s2")).start();
    let start = Instant::now();
    assert!(matches!(mount.errno("a"), libc::EIO | libc::ETIMEDOUT));
    assert!(start.elapsed() > Duration::from_secs(3), "the control: {:?}", start.elapsed());
}

/// A program that can be made to fail, and a file.
fn two(strategy: &str) -> Mounted {
    let mount = with_file("file\n");
    let program = mount.folder().join("program");
    fs::write(
        &program,
        format!(
            "#!/bin/sh\ncd {}\n[ -e down ] && exit 1\n[ -e none ] && exit 44\necho program\n",
            mount.folder().display()
        ),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let cache = "cache: {ttl: 300ms, negative_ttl: 300ms}";
    let config = format!(
        "providers: {{p: {{type: exec, command: [./program], {cache}}}, f: {{type: file, path: run, {cache}}},
  all: {{type: multi, of: [p, f], strategy: {strategy}}}}}\n{MOUNT}"
    );
    mount.config(&config).start()
}

fn aside(mount: &Mounted, name: &str) -> std::path::PathBuf {
    mount.store().folder().join(name)
}

/// Of each open of this file: the provider that the audit names.
fn audited(mount: &Mounted, file: &str) -> Vec<String> {
    let log = fs::read_to_string(aside(mount, "audit.log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_file = lines.filter(|line| line["file"].as_str().is_some_and(|it| it.ends_with(file)));
    let provider = |line: Value| line["secrets"][0]["provider"].as_str().map(str::to_owned);
    of_file.filter_map(provider).collect()
}

/// Two snapshots at the same time, each of another's answer: the one that is still open is not told as the other.
#[test]
fn the_audit_names_who_has_answered_for_this_snapshot() {
    for (strategy, flag) in [("failover", "down"), ("priority", "none")] {
        let mount = two(strategy);
        assert_eq!(mount.read("a"), "program");
        fs::write(aside(&mount, flag), "").unwrap();
        eventually("the other one answers", || mount.read("b") == "file!");
        fs::remove_file(aside(&mount, flag)).unwrap();
        eventually("the first one is back", || mount.read("b") == "program!");
        assert_eq!(audited(&mount, "a"), ["p"], "{strategy}");
        let of_b = audited(&mount, "b");
        assert!(of_b.contains(&"f".to_owned()) && of_b.last().unwrap() == "p", "{strategy}: {of_b:?}");
    }
}

/// Its value counts, as the order says; that the one that stood in for it had another one is for somebody to look at.
#[test]
fn a_member_that_comes_back_with_another_value_is_told() {
    for (has, is_told) in [("file\n", true), ("program\n", false)] {
        let mount = two("failover");
        fs::write(mount.store().folder().join("run/a"), has).unwrap();
        assert_eq!(mount.read("a"), "program");
        fs::write(aside(&mount, "down"), "").unwrap();
        let stands_in = has.trim_end();
        eventually("the other one answers", || {
            sleep(Duration::from_millis(350));
            mount.read("b") == format!("{stands_in}!")
        });
        fs::remove_file(aside(&mount, "down")).unwrap();
        eventually("the first one is back", || {
            sleep(Duration::from_millis(350));
            mount.read("b") == "program!" && audited(&mount, "b").last().unwrap() == "p"
        });
        sleep(Duration::from_millis(300));
        let told = mount.stderr();
        let line = told.lines().find(|line| line.contains("divergence"));
        assert_eq!(line.is_some(), is_told, "{told}");
        assert!(line.is_none_or(|it| it.contains("provider=\"p\"") && it.contains("other=\"f\"")), "{told}");
    }
}

#[test]
fn merge_is_looked_at_again_when_a_member_comes_back() {
    let mount = two("merge");
    fs::write(aside(&mount, "down"), "").unwrap();
    eventually("what is left answers", || fs::read(mount.path("a")).is_ok_and(|it| it == b"file"));
    fs::remove_file(aside(&mount, "down")).unwrap();
    eventually("both have it", || fs::read(mount.path("a")).is_err());
    // The control: both had it from the beginning.
    fs::write(aside(&mount, "none"), "").unwrap();
    eventually("one has it", || fs::read(mount.path("a")).is_ok_and(|it| it == b"file"));
}

/// An old answer of the first is not taken before a new one of the next.
#[test]
fn failover_prefers_a_new_answer_to_an_old_one() {
    let mount = with_file("file\n");
    let program = mount.folder().join("program");
    fs::write(
        &program,
        format!("#!/bin/sh\ncd {}\n[ -e down ] && exit 1\necho program\n", mount.folder().display()),
    )
    .unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let stale = "cache: {ttl: 300ms, max_stale: 1h}";
    let config = format!(
        "providers: {{p: {{type: exec, command: [./program], {stale}}}, f: {{type: file, path: run/a.env}},
  all: {{type: multi, of: [p, f]}}}}\n{MOUNT}"
    );
    fs::write(mount.folder().join("run/a.env"), "a=file\n").unwrap();
    let mount = mount.config(&config).start();
    assert_eq!(mount.read("a"), "program");
    fs::write(aside(&mount, "down"), "").unwrap();
    eventually("the next one", || mount.read("a") == "file");
    // If nobody has a new one, an old one is better than none.
    fs::remove_file(aside(&mount, "run/a.env")).unwrap();
    eventually("the old one", || fs::read(mount.path("a")).is_ok_and(|it| it == b"program"));
    fs::remove_file(aside(&mount, "down")).unwrap();
    fs::write(aside(&mount, "run/a.env"), "a=file\n").unwrap();
    eventually("new", || mount.read("a") == "program");
}

/// A program that is slow or fails while there is such a file, before a file that has another `a` and no `c`.
fn slow_and(cache: &str, (names, others): (&str, &str), flags: &[&str]) -> Mounted {
    let mount = with_file("file");
    let (program, folder) = (mount.folder().join("program"), mount.folder().display().to_string());
    let script =
        format!("#!/bin/sh\ncd {folder}\n[ -e down ] && exit 1\n[ -e slow ] && sleep 2.6\necho program\n");
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    for flag in flags {
        fs::write(mount.folder().join(flag), "").unwrap();
    }
    let config = format!(
        "providers: {{p: {{type: exec, command: [./program], cache: {cache}}}, {others}, all: {{type: multi, of: [p, {names}]}}}}\n{MOUNT}"
    );
    mount
        .template("c.tpl", "<< secret('all:c') | default('none') >>")
        .template("e.tpl", "<< secret('all:c') | default('none') >>!")
        .config(&config)
        .start()
}

const FILE: (&str, &str) = ("f", "f: {type: file, path: run}");
const SHORT: &str = "{ttl: 300ms, negative_ttl: 300ms}";

/// Who is slow has not failed: what the next one does not have may be there. The control has failed.
#[test]
fn that_there_is_none_is_not_taken_from_the_next_one_while_the_first_is_slow() {
    let mount = slow_and(SHORT, FILE, &["slow"]);
    assert_eq!(mount.read("c"), "program");
    fs::write(aside(&mount, "down"), "").unwrap();
    eventually("the control", || mount.read("e") == "none!");
}

/// A value of the next one is taken while the first is slow, but never in place of what the first has said: that would
/// be a step back. The control knows nothing of the first.
#[test]
fn who_has_answered_before_and_is_slow_is_waited_for() {
    let mount = slow_and(SHORT, FILE, &[]);
    assert_eq!(mount.read("a"), "program");
    fs::write(aside(&mount, "slow"), "").unwrap();
    sleep(Duration::from_millis(400));
    assert_eq!((mount.read("b"), mount.read("a")), ("program!".to_owned(), "program".to_owned()));
    let mount = slow_and(SHORT, FILE, &["slow"]);
    assert_eq!(mount.read("a"), "file", "the control");
    let said = mount.stderr();
    assert!(said.contains("it takes long") && said.contains("slow=\"p\""), "{said}");
}

/// Two that hang do not keep from the reader what is at hand. The control has nothing.
#[test]
fn an_old_answer_does_not_wait_for_all_who_hang() {
    let ((_one, first), (_other, second)) = (silent(), silent());
    let silent = format!("s: {first}, t: {second}");
    for (cache, is_there) in [("{ttl: 300ms, max_stale: 1h}", true), (SHORT, false)] {
        let mount = slow_and(cache, ("s, t", &silent), &[]);
        assert_eq!(mount.read("a"), "program");
        fs::write(aside(&mount, "down"), "").unwrap();
        sleep(Duration::from_millis(400));
        let start = Instant::now();
        let read = fs::read(mount.path("b"));
        println!("with two that hang, {cache}: {:?}", start.elapsed());
        assert_eq!(read.is_ok_and(|it| it == b"program!"), is_there, "{}", mount.stderr());
    }
}

/// A name that is nowhere mapped leads through the `multi` to the store, though nothing else names that. The control
/// has no member that is the store.
#[test]
fn the_store_is_opened_for_who_has_it_as_a_member() {
    for (of, expected) in [("store, f", "of the store"), ("f", "of the file")] {
        let config = format!(
            "providers: {{f: {{type: file, path: run}}, all: {{type: multi, of: [{of}]}}}}\nsecrets: {{from: all}}\n{MOUNT}"
        );
        let mount = with_file("of the file").secret("a", "of the store").template("c.tpl", "<< secrets.a >>");
        assert_eq!(mount.config(&config).start().read("c"), expected);
    }
}

/// A store that is gone or damaged has failed: `failover` goes on with the next one and names it, `priority` does not take
/// it for one without the secret. The control is one without it.
#[test]
fn a_store_that_is_lost_is_no_store_without_the_secret() {
    let lose = |way: &str, store: &Path| {
        if way == "removed" {
            return fs::remove_dir_all(store).unwrap();
        }
        let database = rusqlite::Connection::open(store.join("store.db")).unwrap();
        database.execute("UPDATE versions SET record = randomblob(length(record))", ()).unwrap();
    };
    for strategy in ["failover", "priority"] {
        let several = format!("all: {{type: multi, of: [store, f], strategy: {strategy}}}");
        let config = format!("providers: {{f: {{type: file, path: run}}, {several}}}\n{MOUNT}");
        let started = || with_file("of the file").secret("a", "of the store").config(&config).start();
        for way in ["removed", "damaged"] {
            let mount = started();
            assert_eq!(mount.read("a"), "of the store");
            lose(way, &mount.store().path());
            let read = || fs::read_to_string(mount.path("b"));
            match strategy {
                "failover" => {
                    eventually("the next one answers", || read().is_ok_and(|it| it == "of the file!"));
                    assert_eq!(audited(&mount, "b").last().unwrap(), "f", "{way}");
                }
                _ => {
                    eventually("it is refused", || match read() {
                        Ok(text) if text == "of the store!" => false,
                        told => told.is_err() || panic!("{way}: {told:?}"),
                    });
                    assert!(matches!(mount.errno("b"), libc::EIO | libc::EBADMSG), "{way}");
                }
            }
        }
        let mount = started();
        stdout_of(&mount.store().run(&["rm", "a", "--yes"]));
        match strategy {
            "failover" => assert_eq!(mount.errno("b"), libc::ENOKEY, "the control"),
            _ => assert_eq!(mount.read("b"), "of the file!", "the control"),
        }
    }
}

/// A rule on a secret holds for it under the name of another provider that looks at the same place; the control looks
/// elsewhere.
#[test]
fn a_rule_holds_for_a_place_under_two_names() {
    let mount = with_file("value");
    fs::create_dir(mount.folder().join("elsewhere")).unwrap();
    fs::write(mount.folder().join("elsewhere/a"), "value").unwrap();
    let file = |path: &str| format!("{{type: file, path: {path}}}");
    let (here, there) = (file("run"), file("elsewhere"));
    let config = format!(
        "providers: {{f: {here}, g: {here}, h: {there}, all: {{type: multi, of: [f]}}}}\npolicy: [{{secrets: \"f:a\", deny: anyone}}]\n{MOUNT}"
    );
    let mount = ["f", "g", "h"].iter().fold(mount, |mount, name| {
        mount.template(&format!("of-{name}.tpl"), format!("<< secret('{name}:a') >>"))
    });
    let mount = mount.config(&config).start();
    assert_eq!((mount.errno("of-f"), mount.errno("of-g")), (libc::EACCES, libc::EACCES));
    assert_eq!(mount.read("of-h"), "value", "the control");
}

/// Each member counts by itself, so the same number is another value there. The controls: no version, and one of a
/// member.
#[test]
fn a_version_of_several_is_nobodys() {
    for strategy in ["failover", "priority", "merge"] {
        let several = format!("all: {{type: multi, of: [store, f], strategy: {strategy}}}");
        let config = format!(
            "providers: {{f: {{type: file, path: run}}, {several}}}\nsecrets: {{old: 'all:s@1', older: 'store:s@1'}}\n{MOUNT}"
        );
        let mount = with_file("file")
            .secret("s", "first")
            .secret("s", "second")
            .template("unpinned.tpl", "<< secret('all:s') >>")
            .template("member.tpl", "<< secret('store:s', version=1) >> << secrets.older >>")
            .template("pinned.tpl", "<< secret('all:s', version=1) | default('none') >>")
            .template("mapped.tpl", "<< secrets.old | default('none') >>")
            .config(&config)
            .start();
        assert_eq!((mount.read("unpinned"), mount.read("member")), ("second".into(), "first first".into()));
        for file in ["pinned", "mapped"] {
            assert_eq!(mount.errno(file), libc::EIO, "{strategy} {file}");
            let reason = attribute(&mount, file, "error").unwrap();
            let says = "`all:s@1`: each of store, f counts its own versions: name the one that is meant";
            assert!(reason.contains(says), "{strategy} {file}: {reason}");
        }
    }
}
