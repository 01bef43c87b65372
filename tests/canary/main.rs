//! What is left of a value when its time is over: nothing, in no process of ours, on no disk, in no
//! log and no core file. Values that nobody else has go through every door; then all is searched for
//! them, whole and in parts, in all forms.

#[path = "../common/mod.rs"]
mod common;
mod disk;
mod scan;
mod short;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, Running, TestDaemon, TestStore, http, stdout_of, tool, tools};
use disk::Disk;
use scan::{Hits, Scan};

/// A value with characters that each format writes in its own way.
fn canary() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).unwrap();
    let word: String = random.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(letter).collect();
    format!("{word}{word}\"\\ %&</é>{word}{word}")
}

fn letter(number: u8) -> char {
    char::from(b'A' + number)
}

/// The values, by what happens to them. None is ever in this process's arguments or on its disk.
struct Values(Vec<(&'static str, String)>);

const NAMES: [&str; 9] =
    ["read", "provided", "executed", "failed", "rotated", "large", "huge", "removed", "sealed"];

impl Values {
    fn new() -> Self {
        Self(NAMES.map(|name| (name, canary())).to_vec())
    }

    fn get(&self, name: &str) -> &str {
        &self.0.iter().find(|(it, _)| *it == name).unwrap().1
    }

    fn scan(&self) -> Scan {
        Scan::of(self.0.iter().map(|(name, value)| (*name, value.as_bytes())))
    }
}

struct Stage {
    daemon: Daemon,
    running: Running,
    values: Values,
    scan: Scan,
    /// What has been printed, and what clients were told.
    heard: Vec<(String, Vec<u8>)>,
    disk: Disk,
    _provider: tempfile::NamedTempFile,
    _sealed: tempfile::TempDir,
}

/// Files that are rendered beside the others.
const MANY: usize = 60;

const CONFIG: &str = "\
mounts:
- {at: mnt, templates: templates, files: {f.env: {dialect: shell}, f.json: {format: json}, failed.pass: {format: pgpass}}}
providers:
  p: {type: exec, command: [./provider], cache: {ttl: 1s, negative_ttl: 1s}}
  s: {type: file, path: SEALED, age: {identity: 'file:SEALED/key'}, cache: {ttl: 1s, negative_ttl: 1s}}
audit: {file: audit.log}
";

impl Stage {
    /// A daemon, and a command with a parent that serves its files; store, logs and everything else on
    /// a disk of its own.
    fn new(weaknesses: &str) -> Self {
        let (disk, mut values) = (Disk::new(), Values::new());
        let sealed = sealed(&mut values);
        let config = CONFIG.replace("SEALED", sealed.path().to_str().unwrap());
        let scan = values.scan();
        let store = TestStore::below(disk.at().to_str().unwrap());
        assert!(disk.holds(store.folder()));
        let mut daemon = TestDaemon::on(store).config(&config);
        for name in ["read", "executed", "failed", "rotated", "removed"] {
            daemon = daemon.secret(name, values.get(name));
        }
        let times = |name: &str, times| format!("{} and so on, so on, ", values.get(name)).repeat(times);
        for (name, text) in [
            ("f.txt.tpl", "<< secrets.read >>\n<< secrets.read | b64encode >>\n<< secrets.read | upper >>"),
            ("f.json.tpl", "{\"a\": \"<< secrets.read >>\", \"b\": << secrets.read | tojson >>}"),
            ("f.env.tpl", "A=<< secrets.read >>\nB=<< secrets.read | urlencode >>\n"),
            ("p.txt.tpl", "<< secret('p:a') >>"),
            ("s.txt.tpl", "<< secret('s:a.yaml#a') >> << secret('s:a.env#A') >>"),
            ("failed.pass.tpl", "h:1:d:u:<< secrets.failed ~ '\\n' >>\n"),
            ("failed.txt.tpl", "<< secrets.failed | from_json >>"),
            ("rotated.txt.tpl", "<< secrets.rotated >> << secret('rotated', version=1) >>"),
            ("large.txt.tpl", "<< secrets.large >><< secrets.large | lower >>"),
            ("huge.txt.tpl", "<< secrets.huge >>"),
            ("covered.tpl", "<< secrets.executed >>\n"),
        ] {
            daemon = daemon.template(name, text);
        }
        for number in 0..MANY {
            let text =
                format!("{number} << secrets.read >> << secrets.read | b64encode | lower | upper >>\n");
            daemon = daemon.template(&format!("many/{number}.txt.tpl"), text);
        }
        let provider = provider(daemon.folder(), values.get("provided"));
        daemon = daemon
            .secret("huge", times("huge", 6_000))
            .secret("large", times("large", 400))
            .env("SECRETFS_LOG", "trace");
        let daemon = daemon.env("SECRETFS_TEST_WEAKNESS", &format!("hasty,{weaknesses}")).start();
        fs::write(daemon.folder().join("covered"), "").unwrap();
        let env = Some(("SECRETFS_TEST_WEAKNESS", "hasty"));
        let mut running =
            Running::start_with(daemon.store(), &["--file", "covered=templates/covered.tpl"], env);
        running.say();
        let mut stage = Self {
            daemon,
            running,
            values,
            scan,
            heard: Vec::new(),
            disk,
            _provider: provider,
            _sealed: sealed,
        };
        stage.use_everything();
        stage
    }

    fn hear(&mut self, args: &[&str]) {
        let output = self.daemon.run(args);
        self.heard.push((args.join(" "), [output.stdout, output.stderr].concat()));
    }

    /// Through every door, right and wrong.
    fn use_everything(&mut self) {
        let read = |name: &str| read(&self.daemon.path(name));
        for (name, value) in
            [("f.txt", "read"), ("p.txt", "provided"), ("s.txt", "sealed"), ("rotated.txt", "rotated")]
        {
            let text = String::from_utf8(read(name).unwrap()).unwrap();
            assert!(text.contains(self.values.get(value)), "{name}");
        }
        assert!(read("f.json").unwrap().len() > 200 && read("f.env").unwrap().len() > 200);
        assert!((0..MANY).all(|number| read(&format!("many/{number}.txt")).is_ok()));
        assert!(read("large.txt").unwrap().len() > 100_000 && read("huge.txt").unwrap().len() > 500_000);
        for failing in ["failed.pass", "failed.txt"] {
            assert!(read(failing).is_err(), "{failing}");
            let path = self.daemon.path(failing);
            let mut ask = Command::new(tool("getfattr"));
            ask.args(["--only-values", "-n", "user.secretfs.error"]).arg(path);
            let told = ask.output().unwrap();
            self.heard.push((format!("xattr of {failing}"), told.stdout));
        }
        assert_eq!(self.running.ask("cat covered").trim_end(), self.values.get("executed"));
        let store = self.daemon.store();
        let renewed = store.run_with(&["rotate", "rotated"], self.values.get("rotated").to_owned() + "2");
        let refused = store.run_with(&["set", "huge"], self.values.get("huge").repeat(20_000));
        assert!(renewed.status.success() && !refused.status.success());
        self.heard.push(("rotate".into(), renewed.stdout));
        self.heard.push(("set too much".into(), refused.stderr));
        let exec = ["exec", "--env", "A=executed", "--", "sh", "-c", "test ${#A} -gt 100"];
        for args in [
            &exec[..],
            &["rm", "--yes", "removed"],
            &["backup", "copy"],
            &["test", "read"],
            &["status", "--json"],
            &["readers", "--json"],
            &["explain", "mnt/failed.pass"],
            &["check"],
            &["audit", "query", "--json"],
            &["store", "verify"],
            &["get", "read", "--namespace", "none"],
        ] {
            self.hear(args);
        }
        let metrics = http::get_unix(&self.daemon.folder().join("run/control.sock"), "/metrics");
        assert!(metrics.contains("renderings"), "{metrics}");
        self.heard.push(("metrics".into(), metrics.into_bytes()));
        assert!(self::read(&self.daemon.path("rotated.txt")).is_ok());
    }

    /// Every process of ours there is: by the folder that they were told of, and the daemon's children.
    fn processes(&self) -> Vec<u32> {
        let folder = self.daemon.folder().to_str().unwrap().to_owned();
        let mut pids: Vec<u32> = descendants(self.daemon.pid());
        let all = fs::read_dir("/proc").unwrap();
        let all = all.filter_map(|it| it.ok()?.file_name().to_str()?.parse().ok());
        pids.extend(all.filter(|pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(&folder)
        }));
        pids.retain(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|it| it == Path::new(BINARY)));
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    fn memory(&self) -> Hits {
        let searched = self.processes().into_iter().map(|pid| self.scan.process(pid).unwrap());
        searched.fold(Hits::default(), Hits::and)
    }

    /// Waits until nothing is left in memory, or for as long as it may take.
    fn memory_in_the_end(&self) -> Hits {
        // What is kept, for one second; the round of who wipes it, for another; and as much again.
        let patience = Instant::now() + Duration::from_secs(4);
        loop {
            // A look can take as long on a busy machine: the last one begins when all time is over.
            let is_last = Instant::now() > patience;
            let hits = self.memory();
            if hits.is_empty() || is_last {
                return hits;
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn heard(&self) -> Hits {
        self.heard.iter().fold(Hits::default(), |all, (what, bytes)| {
            let hits = self.scan.bytes(bytes);
            assert!(hits.is_empty() || what == "the control", "{what}: {hits:?}");
            all.and(hits)
        })
    }

    fn image(&self) -> Hits {
        self.disk.sync();
        self.scan.file(&self.disk.image()).unwrap()
    }

    /// What root's debugger takes out of a process, which no prctl keeps out: the registers of its
    /// threads, too.
    fn core(&self, pid: u32) -> Hits {
        let prefix = self.daemon.folder().parent().unwrap().parent().unwrap().join("core");
        let mut gcore = Command::new(tool("gcore"));
        stdout_of(&gcore.arg("-o").arg(&prefix).arg(pid.to_string()).output().unwrap());
        let core = prefix.with_extension(pid.to_string());
        let hits = self.scan.file(&core).unwrap();
        fs::remove_file(core).unwrap();
        hits
    }

    fn end(self) {
        self.running.end();
        drop(self.daemon);
        drop(self.disk);
    }
}

/// By a program that ends: as long as a reader lives, it is looked whether what it has is current, and
/// what a provider answers to that is there for a moment.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let output = Command::new("cat").arg(path).output().unwrap();
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

const BINARY: &str = env!("CARGO_BIN_EXE_secretfs");

fn descendants(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|it| it.parse().ok());
    [pid].into_iter().chain(children.flat_map(descendants)).collect()
}

/// A program that knows a value, which lies elsewhere: in memory.
fn provider(folder: &Path, value: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
    fs::write(file.path(), value).unwrap();
    let program = folder.join("provider");
    fs::write(&program, format!("#!/bin/sh\ncat {}\n", file.path().display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

/// A value that sops has encrypted, and the identity that opens it, which is another value: in memory, too.
fn sealed(values: &mut Values) -> tempfile::TempDir {
    let folder = tempfile::TempDir::new_in("/dev/shm").unwrap();
    let run = |program: &Path, args: &[&str]| {
        let done = Command::new(program).current_dir(folder.path()).args(args).output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        stdout_of(&done)
    };
    run(&tool("age-keygen"), &["-o", "key"]);
    let recipient = run(&tool("age-keygen"), &["-y", "key"]);
    let value = values.get("sealed").to_owned();
    fs::write(folder.path().join("a.yaml"), serde_json::json!({ "a": value }).to_string()).unwrap();
    fs::write(folder.path().join("a.env"), format!("A={value}\n")).unwrap();
    for name in ["a.yaml", "a.env"] {
        run(&tools("bin/sops"), &["encrypt", "-i", "--age", recipient.trim(), name]);
    }
    let key = fs::read_to_string(folder.path().join("key")).unwrap();
    // Without what all of them begin with, which stands in our program.
    let identity = key.lines().find_map(|line| line.strip_prefix("AGE-SECRET-KEY-1")).unwrap().to_owned();
    values.0.push(("identity", identity));
    folder
}

#[test]
fn nothing_is_left_when_its_time_is_over() {
    let mut stage = Stage::new("");
    // While somebody reads it, it is there: else the search would be one that finds nothing.
    let open = fs::File::open(stage.daemon.path("f.txt")).unwrap();
    let live = stage.scan.process(stage.daemon.worker_pid()).unwrap();
    assert!(live.0.contains_key("read (raw)") && live.0.contains_key("read (base64)"), "{live:?}");
    drop(open);
    let left = stage.memory_in_the_end();
    assert!(left.is_empty(), "in memory: {left:?}");
    let processes = stage.processes();
    assert!(processes.len() >= 4, "holder, worker, probe, a command's parent: {processes:?}");
    for pid in [stage.daemon.worker_pid(), stage.running.child.id()] {
        let core = stage.core(pid);
        assert!(core.is_empty(), "in a core file of {pid}: {core:?}");
    }
    assert!(stage.heard().is_empty());
    assert!(stage.daemon.stop().success());
    let log = fs::read_to_string(stage.daemon.folder().join("stderr")).unwrap();
    assert!(log.contains("cannot be rendered file=failed.txt"), "what fails is told: {log}");
    let image = stage.image();
    assert!(image.is_empty(), "on the disk: {image:?}");
    // What was there for a moment, and is free now.
    let file = stage.daemon.folder().join("plain");
    fs::write(&file, stage.values.get("read")).unwrap();
    stage.disk.sync();
    fs::remove_file(file).unwrap();
    assert!(stage.image().0.contains_key("read (raw)"), "the control");
    stage.end();
}

/// What our own code holds is wiped all the same; this is what libraries have let go of.
#[test]
fn without_the_wipe_much_is_left() {
    let stage = Stage::new("unwiped");
    thread::sleep(Duration::from_secs(3));
    let left = stage.memory();
    assert!(left.count() > 5, "the control: {left:?}");
    stage.end();
}

#[test]
fn a_log_that_tells_is_found() {
    let mut stage = Stage::new("talkative");
    assert!(stage.daemon.stop().success());
    let log = stage.scan.file(&stage.daemon.folder().join("stderr")).unwrap();
    assert!(log.0.contains_key("read (raw)"), "the control: {log:?}");
    assert!(!stage.image().is_empty(), "the control: on the disk");
    stage.end();
}

/// The writable memory of a process that could be swapped out.
fn swappable(pid: u32) -> Vec<String> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut of = "";
    let mut found = Vec::new();
    for line in maps.lines() {
        match line.strip_prefix("VmFlags:") {
            Some(flags) if of.contains(" rw-p ") && !flags.contains(" lo") => found.push(of.to_owned()),
            None if !line.split(' ').next().unwrap().ends_with(':') => of = line,
            _ => {}
        }
    }
    found
}

/// No swap is switched on for a test: it would be everybody's. What the kernel says about the memory is
/// what decides whether it may go there.
#[test]
fn nothing_of_a_worker_can_be_swapped_out_where_that_can_be_had() {
    let daemon = |store| TestDaemon::on(store).secret("k", "v").template("f.tpl", "<< secrets.k >>");
    let root = daemon(TestStore::new()).start();
    assert_eq!(root.read("f"), "v");
    assert_eq!(swappable(root.worker_pid()), [""; 0]);
    assert!(stdout_of(&root.run(&["status"])).contains("memory    locked"));
    let user = daemon(TestStore::of(common::NAMED)).start();
    assert!(swappable(user.worker_pid()).iter().any(|line| line.ends_with("[heap]")), "the control");
    assert!(stdout_of(&user.run(&["status"])).contains("memory    not"));
}
