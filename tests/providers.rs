//! Programs as providers, through the real mount: each way in which one can fail has its errno, a
//! reason, and a line in the log, and costs no other file anything.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::Mounted;
use common::programmed::{Programmed, aside, attribute, calls, eventually};

#[track_caller]
fn fails(mount: &Mounted, file: &str, errno: i32, says: &str) {
    assert_eq!(mount.errno(file), errno, "{file}; stderr:\n{}", mount.stderr());
    let reason = attribute(mount, file, "error").expect("a reason");
    assert!(reason.contains(says), "`{says}` is not in: {reason}");
    assert!(reason.contains("provider `p`"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
}

/// The processes that have this word among their arguments.
fn processes_with(word: &str) -> Vec<String> {
    let folders = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let lines = folders.filter_map(|path| fs::read(path.join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(word))
        .collect()
}

#[test]
fn a_program_prints_values_and_says_what_is_not_there() {
    let mount =
        Programmed::new("case $1 in lines) printf 'a\\nb\\n';; none) exit 44;; *) echo \"<$1>\";; esac")
            .file(
                "f",
                "<< secret('p:kv/app') >>|<< secret('p:lines') >>|<< secret('p:none') | default('d') >>",
            )
            .file("missing", "<< secret('p:none') >>")
            .file("version", "<< secret('p:kv/app', version=3) >>")
            .start();
    assert_eq!(mount.read("f"), "<kv/app>|a\nb\n|d");
    for file in ["missing", "version"] {
        assert_eq!(mount.errno(file), libc::ENOKEY, "{file}");
    }
}

#[test]
fn settings_decide_how_it_is_called() {
    let script = "[ \"$1 $2\" = '-x kv:a' ] && printf '{\"user\": \"u\", \"pass\": \"%s\"}' \"$TOKEN$SECRETFS_MASTER_KEY\" || exit 3";
    let mount = Programmed::new(script)
        .command("./program, -x, 'kv:{path}'")
        .settings("fields: json, not_found_status: 3, env: {TOKEN: hunter2}")
        .file("f", "<< secret('p:a#user') >>:<< secret('p:a#pass') >>")
        .file("none", "<< secret('p:b') | default('none') >>")
        .env("SECRETFS_MASTER_KEY", &"0".repeat(64))
        .start();
    assert_eq!(mount.read("f"), "u:hunter2");
    assert_eq!(mount.read("none"), "none");
}

/// As summon's own source has it: one argument, all white space around the value dropped, no status but 0 is an answer.
#[test]
fn a_provider_of_summons_is_called_as_summon_does() {
    let script = "[ $# = 1 ] || exit 9
        case $1 in
        key) printf '  -----BEGIN\\n x \\n\\n\\t';;
        wide) printf '\\302\\240a b\\342\\200\\203\\n';;
        bytes) printf ' \\377 \\n';;
        empty) echo;;
        none) exit 44;;
        three) exit 3;;
        dies) kill -SEGV $$;;
        esac";
    let start = |settings: &str, names: &[&str]| {
        let mut program = Programmed::new(script).command("program").settings(settings);
        let folder = program.mount.folder().display().to_string();
        program = program.env("SUMMON_PROVIDER_PATH", &folder);
        for name in names {
            let reference = name.trim_start_matches('_');
            let or = if name.starts_with('_') { " | default('d')" } else { "" };
            program = program.file(name, &format!("[<< secret('p:{reference}'){or} >>]"));
        }
        program.start()
    };
    let mount = start("protocol: summon", &["key", "wide", "bytes", "empty", "_none", "_dies"]);
    assert_eq!((mount.read("key"), mount.read("wide")), ("[-----BEGIN\n x]".to_owned(), "[a b]".to_owned()));
    assert_eq!(
        (fs::read(mount.path("bytes")).unwrap(), mount.read("empty")),
        (b"[\xff]".to_vec(), "[]".to_owned())
    );
    for file in ["_none", "_dies"] {
        assert_eq!(mount.errno(file), libc::EIO, "no status of it says that there is none: {file}");
    }
    let mount = start("protocol: summon, not_found_status: 3", &["_three", "_none", "key"]);
    assert_eq!((mount.read("_three"), mount.errno("_none")), ("[d]".to_owned(), libc::EIO));
    let mount = start("timeout: 4s", &["key"]);
    assert_eq!(mount.errno("key"), libc::EIO, "the control: a bare name is looked for where programs are");
}

/// Each with what it prints on stderr, which nobody is ever shown.
#[test]
fn each_way_to_fail_has_its_errno_and_reason() {
    let script = "echo hunter2 >&2
        case $1 in
        fails) exit 1;;
        dies) kill -SEGV $$;;
        huge) head -c 2000000 /dev/zero;;
        flood) head -c 20000000 /dev/zero >&2; echo fine;;
        empty) ;;
        esac";
    let mount = Programmed::new(script)
        .file("fails", "<< secret('p:fails') >>")
        .file("dies", "<< secret('p:dies') >>")
        .file("huge", "<< secret('p:huge') >>")
        .file("flood", "<< secret('p:flood') >>")
        .file("empty", "[<< secret('p:empty') >>]")
        .start();
    assert_eq!(mount.read("flood"), "fine", "the control: what is on stderr is no failure");
    assert_eq!(mount.read("empty"), "[]", "nothing printed is an empty value");
    fails(&mount, "fails", libc::EIO, "ended with status 1");
    fails(&mount, "huge", libc::EIO, "more than 1 MiB");
    assert_eq!(mount.read("flood"), "fine");
    fails(&mount, "dies", libc::EIO, "SIGSEGV");
    let log = mount.stderr();
    for kind in ["kind=\"unavailable\"", "kind=\"too_large\""] {
        assert!(log.contains("provider_error") && log.contains(kind), "{kind} in {log}");
    }
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn garbage_where_fields_should_be_is_eio() {
    let script = "case $1 in html) echo '<html>hunter2';; number) echo '{\"a\": 1}';; *) echo '{\"value\": \"v\"}';; esac";
    let mount = Programmed::new(script)
        .settings("fields: json")
        .file("html", "<< secret('p:html') >>")
        .file("number", "<< secret('p:number') >>")
        .file("fine", "<< secret('p:fine') >>")
        .start();
    fails(&mount, "html", libc::EIO, "no JSON object of texts (line 1, column 1)");
    fails(&mount, "number", libc::EIO, "no JSON object of texts");
    assert_eq!(mount.read("fine"), "v");
}

#[test]
fn a_program_that_is_not_there_is_eio() {
    let mount = Programmed::new("").file("f", "<< secret('p:a') >>");
    fs::remove_file(mount.mount.folder().join("program")).unwrap();
    fails(&mount.start(), "f", libc::EIO, "cannot be run");
}

/// Of a program that hangs nothing is left, its own children included.
#[test]
fn a_hanging_program_is_etimedout_and_leaves_no_process() {
    let script =
        "echo $$ >> calls; case $1 in hangs) sleep 4242 & sleep 4243;; leaves) sleep 4244 & echo v;; esac";
    let mount = Programmed::new(script)
        .settings("timeout: 500ms")
        .file("hangs", "<< secret('p:hangs') >>")
        .file("leaves", "<< secret('p:leaves') >>")
        .start();
    let start = Instant::now();
    fails(&mount, "hangs", libc::ETIMEDOUT, "has not answered within 500ms");
    let took = start.elapsed();
    assert!(took > Duration::from_millis(450) && took < Duration::from_secs(3), "{took:?}");
    assert_eq!(mount.read("leaves"), "v", "who ends is not waited for by its children");
    eventually("nothing is left", || {
        ["2", "3", "4"].iter().all(|n| processes_with(&format!("sleep 424{n}")).is_empty())
    });
    mount.await_log("kind=\"timeout\"", 1);
    // The control: such a process would have been seen.
    let mut child = Command::new("sleep").arg("4245").spawn().unwrap();
    eventually("the control is seen", || processes_with("sleep 4245").len() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// The file's deadline holds where the provider's own is longer.
#[test]
fn the_files_deadline_comes_first() {
    let mount = Programmed::new("sleep 4246")
        .mounts("{at: mnt, templates: templates, deadline: 300ms}")
        .file("f", "<< secret('p:a') >>")
        .start();
    let start = Instant::now();
    assert_eq!(mount.errno("f"), libc::ETIMEDOUT);
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
}

#[test]
fn a_program_inherits_nothing_of_ours() {
    let script = "case $1 in
        env) env | cut -d= -f1 | sort | tr '\\n' ' ';;
        fds) ls /proc/self/fd | tr '\\n' ' ';;
        signals) grep '^SigBlk' /proc/self/status | cut -f2;;
        ignored) grep '^SigIgn' /proc/self/status | cut -f2;;
        esac";
    let mount = Programmed::new(script)
        .file("env", "<< secret('p:env') >>")
        .file("fds", "<< secret('p:fds') >>")
        .file("signals", "<< secret('p:signals') >>")
        .file("ignored", "<< secret('p:ignored') >>")
        .env("MARK", "x")
        .start();
    let names = mount.read("env");
    assert!(names.contains("PATH ") && !names.contains("MARK") && !names.contains("SECRETFS"), "{names}");
    // The folder that is listed is the fourth.
    assert_eq!(mount.read("fds").trim(), "0 1 2 3");
    assert_eq!(mount.read("signals"), "0000000000000000");
    // Beside what this test itself may have been started with.
    let ignored = u64::from_str_radix(&mount.read("ignored"), 16).unwrap();
    for signal in [libc::SIGIO, libc::SIGPIPE] {
        assert_eq!(ignored >> (signal - 1) & 1, 0, "{ignored:x}");
    }
}

/// Also of the store's own part, in one file and beside it.
#[test]
fn a_hung_provider_costs_its_own_files_a_deadline_and_no_other_file_anything() {
    let mut programmed = Programmed::new("sleep 4247")
        .settings("timeout: 1s, concurrency: 2")
        .secret("key", "hunter2")
        .file("good", "<< secrets.key >>");
    for number in 0..8 {
        programmed = programmed
            .file(&format!("hung{number}"), &format!("<< secrets.key >><< secret('p:{number}') >>"));
    }
    let mount = programmed.start();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = mount.path(&format!("hung{number}"));
            scope.spawn(move || {
                let start = Instant::now();
                let errno = fs::read(path).unwrap_err().raw_os_error();
                assert!(matches!(errno, Some(libc::ETIMEDOUT | libc::EIO)), "{errno:?}");
                assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
            });
        }
        std::thread::sleep(Duration::from_millis(100));
        for number in 0..20 {
            let start = Instant::now();
            mount.store().set("key", number.to_string());
            assert_eq!(mount.read("good"), number.to_string());
            assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
        }
    });
}

/// More of them than may be asked at once; the good one is asked for for the first time, and then
/// each time, while somebody always waits for each of the others.
#[test]
fn hung_secrets_leave_the_good_ones_of_their_provider_alone() {
    const HUNG: usize = 20;
    let mut programmed = Programmed::new("[ \"$1\" = good ] || sleep 4250; echo v")
        .settings("timeout: 4s, concurrency: 16, cache: {ttl: 1ms}")
        .mounts("{at: mnt, templates: templates, deadline: 6s}")
        .file("good", "<< secret('p:good') >>");
    for number in 0..HUNG {
        programmed = programmed.file(&format!("hung{number}"), &format!("<< secret('p:{number}') >>"));
    }
    let mount = programmed.start();
    let is_over = AtomicBool::new(false);
    let read_good = || {
        let start = Instant::now();
        assert_eq!(fs::read(mount.path("good")).ok().as_deref(), Some(&b"v"[..]), "{:?}", start.elapsed());
        start.elapsed()
    };
    std::thread::scope(|scope| {
        for number in 0..HUNG {
            let (path, is_over) = (mount.path(&format!("hung{number}")), &is_over);
            scope.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    assert!(fs::read(&path).is_err(), "it hangs");
                    std::thread::sleep(Duration::from_millis(50));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        let cold = read_good();
        let start = Instant::now();
        let mut warm = Vec::new();
        while start.elapsed() < Duration::from_secs(if common::long() { 60 } else { 8 }) {
            std::thread::sleep(Duration::from_millis(50));
            warm.push(read_good());
        }
        is_over.store(true, Ordering::Relaxed);
        warm.sort();
        let longest = warm[warm.len() - 1];
        println!("cold {cold:?}; warm {:?} at the median, {longest:?} at most", warm[warm.len() / 2]);
        assert!(cold < Duration::from_millis(2500), "{cold:?}");
        assert!(longest < Duration::from_millis(2500), "{longest:?}");
    });
}

/// The figure, loosely: what it is on a machine of its own, `benches/run hung` tells.
#[test]
fn one_hung_file_among_a_hundred_does_not_slow_the_others() {
    let mut programmed = Programmed::new("sleep 4249").settings("timeout: 1s").secret("key", "value");
    programmed = programmed.file("hung", "<< secret('p:a') >>");
    for number in 0..99 {
        programmed = programmed.file(&format!("f{number}"), &format!("{number} << secrets.key >>"));
    }
    let mount = programmed.start();
    let files: Vec<_> = (0..99).map(|number| mount.path(&format!("f{number}"))).collect();
    let p99 = || {
        let read = |file| {
            let start = Instant::now();
            fs::read(file).unwrap();
            start.elapsed()
        };
        let mut times: Vec<_> = (0..30).flat_map(|_| &files).map(read).collect();
        times.sort();
        times[times.len() * 99 / 100]
    };
    // The first time all are rendered.
    p99();
    let (idle, hung) = (p99(), mount.path("hung"));
    let is_over = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                assert!(fs::read(&hung).is_err(), "it hangs");
            }
        });
        std::thread::sleep(Duration::from_millis(100));
        let beside = p99();
        is_over.store(true, Ordering::Relaxed);
        beside
    });
    println!("p99 of 99 files: {idle:?} idle, {beside:?} beside a hung one");
    assert!(beside < idle * 4 + Duration::from_millis(2), "{idle:?} idle, {beside:?} beside a hung one");
}

/// A node that somebody watches hears of a new value in the store while another provider hangs.
#[test]
fn healing_goes_on_beside_a_hung_provider() {
    let mount = Programmed::new("[ -e hang ] && sleep 4248; echo v")
        .settings("timeout: 4s, cache: {ttl: 300ms}")
        .secret("key", "1")
        .file("good", "<< secrets.key >>")
        .file("hung0", "<< secret('p:0') >>")
        .file("hung1", "<< secret('p:1') >>")
        .start();
    for file in ["good", "hung0", "hung1"] {
        mount.read(file);
    }
    let watched = fs::File::options().read(true).custom_flags_path(&mount.path("good"));
    fs::write(aside(&mount, "hang"), "").unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    mount.store().set("key", "22");
    eventually("the watched node has the new size", || watched.metadata().unwrap().len() == 2);
}

/// `O_PATH`: a node without a handle, as a bound file is.
trait OpenPath {
    fn custom_flags_path(&mut self, path: &Path) -> fs::File;
}

impl OpenPath for fs::OpenOptions {
    fn custom_flags_path(&mut self, path: &Path) -> fs::File {
        use std::os::unix::fs::OpenOptionsExt;
        self.custom_flags(libc::O_PATH).open(path).expect("opened")
    }
}

/// A template that somebody is writing is waited for; so would be one on a disk that hangs.
#[test]
fn a_template_that_lets_wait_delays_no_other_file_however_many_want_it() {
    let mut programmed = Programmed::new("").secret("key", "v").file("slow", "<< secrets.key >>");
    for number in 0..20 {
        programmed = programmed.file(&format!("good{number}"), "<< secrets.key >>");
    }
    let mount = programmed.start();
    let template = mount.store().folder().join("templates/slow.tpl");
    let writer = fs::OpenOptions::new().append(true).open(template).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..600 {
            let (path, reader) = (mount.path("slow"), std::thread::Builder::new().stack_size(64 << 10));
            reader.spawn_scoped(scope, move || fs::read(path)).expect("a thread");
        }
        std::thread::sleep(Duration::from_millis(200));
        for number in 0..20 {
            let start = Instant::now();
            assert_eq!(mount.read(&format!("good{number}")), "v");
            assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        }
        drop(writer);
    });
    eventually("it is served again", || fs::read(mount.path("slow")).is_ok_and(|bytes| bytes == b"v"));
}

#[test]
fn a_breaker_says_at_once_what_is_wrong_and_closes_by_itself() {
    let mount = Programmed::new("echo x >> calls; [ -e down ] && [ \"$1\" != good ] && exit 1; echo v")
        .settings("cache: {ttl: 1ms}")
        .file("f", "<< secret('p:a') >>")
        .file("good", "<< secret('p:good') >>")
        .start();
    fs::write(aside(&mount, "down"), "").unwrap();
    for _ in 0..20 {
        assert_eq!(mount.errno("f"), libc::EIO);
    }
    fails(&mount, "f", libc::EIO, "times in a row: `./program` ended with status 1");
    // It was asked three times for each of the first reads, and now and then by those after them.
    let asked = calls(&mount);
    assert!((5..=9).contains(&asked), "{asked} calls for 21 reads");
    mount.await_log("breaker_state: open", 1);
    assert_eq!(mount.read("good"), "v", "a bad secret cuts no other off");
    eventually("it says so", || mount.stderr().contains("breaker_state: closed"));
    fs::remove_file(aside(&mount, "down")).unwrap();
    eventually("it is asked again", || fs::read(mount.path("f")).is_ok());
}
