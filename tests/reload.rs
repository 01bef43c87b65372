//! The daemon's config is changed while it serves: by a signal, by an edit, with and without a
//! mistake, and what its readers see of it.

mod common;

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Daemon, TestDaemon, USER, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ONE: &str = "mounts:\n- {at: mnt, templates: templates}\n";

fn one_file() -> TestDaemon {
    TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n")
}

/// How often the log says that a config was taken, or was not.
fn reloads(daemon: &Daemon) -> (usize, usize) {
    let said = daemon.stderr();
    (said.matches("config_reloaded").count(), said.matches("config_reload_failed").count())
}

/// Writes the config and waits until the daemon has noticed by itself.
#[track_caller]
fn edit(daemon: &Daemon, yaml: &str) {
    let before = reloads(daemon);
    daemon.config(yaml);
    eventually("a reload after the edit", || (reloads(daemon) != before).then_some(()));
}

/// The first line of the log that says so.
fn logged(daemon: &Daemon, words: &str) -> String {
    let said = daemon.stderr();
    let from = said.find(words).unwrap_or_else(|| panic!("`{words}` is not in the log:\n{said}"));
    said[from..].lines().take(4).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_edit_of_the_config_is_noticed() {
    let daemon = one_file().start();
    assert_eq!(daemon.path("f").metadata().unwrap().mode() & 0o777, 0o400);
    edit(&daemon, &ONE.replace("}", ", mode: \"0440\", format: json, verify: false}"));
    assert_eq!(daemon.path("f").metadata().unwrap().mode() & 0o777, 0o440);
    assert_eq!(daemon.read("f"), "k=\"v1\"\n");
    assert_eq!(daemon.worker_pid(), daemon.workers()[0], "the same worker serves");
}

/// A signal for who does not trust edits, or where none is seen.
#[test]
fn a_signal_has_the_config_read_at_once() {
    let daemon = one_file().start();
    daemon.config(&ONE.replace("}", ", mode: \"0440\"}"));
    daemon.signal(Signal::SIGHUP);
    let start = Instant::now();
    eventually("the new mode", || (daemon.path("f").metadata().ok()?.mode() & 0o777 == 0o440).then_some(()));
    assert!(start.elapsed() < Duration::from_secs(1));
}

/// Who asks for it is told what came of it.
#[test]
fn a_command_reloads_and_says_what_is_different() {
    let daemon = one_file().start();
    let reload = || daemon.run(&["reload", "--socket", "run/control.sock"]);
    let generation = || {
        let status = common::stdout_of(&daemon.run(&["status", "--json", "--socket", "run/control.sock"]));
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        (status["generation"].as_u64(), status["last_reload"]["problem"].as_str().map(str::to_owned))
    };
    assert_eq!(
        (common::stdout_of(&reload()), generation()),
        ("reloaded: generation 1\n".into(), (Some(1), None))
    );
    daemon.config("mounts:\n- {at: mnt, templates: templates, mod: \"0440\"}\n");
    let refused = reload();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("secretfs.yaml:3:35: unknown key `mod`"), "{said}");
    assert!(said.contains("try: did you mean `mode`?"), "{said}");
    let (number, problem) = generation();
    assert!(number == Some(1) && problem.unwrap().contains("unknown key `mod`"));
    daemon.config("mounts:\n- {at: mnt, templates: templates, mode: \"0440\"}\n");
    assert!(reload().status.success());
    assert_eq!(generation(), (Some(2), None));
    assert_eq!(daemon.path("f").metadata().unwrap().mode() & 0o777, 0o440);
}

/// Fault 38. Each of them is found before anything is changed.
#[test]
fn a_config_with_a_mistake_changes_nothing() {
    let daemon = one_file();
    for folder in ["full/of", "more", "x"] {
        fs::create_dir_all(daemon.folder().join(folder)).unwrap();
    }
    let daemon = daemon.start();
    let good = ONE.replace("}", ", mode: \"0444\"}");
    for (mistake, says) in [
        ("stor: x\n", "secretfs.yaml:4:1: unknown key `stor`"),
        ("secrets: {a: nix:b}\n", "no provider is named `nix`"),
        ("- {at: more, templates: nowhere}\n", "nowhere"),
        ("- {at: full, templates: templates}\n", "full"),
        ("- {at: missing, templates: templates}\n", "missing"),
        ("- {at: mnt, templates: templates}\n", "two mounts at"),
        ("- {at: x, templates: templates, owner: no-such-user}\n", "there is no user `no-such-user`"),
        ("  files: {g: {}}\n", "no template"),
    ] {
        let (taken, failed) = reloads(&daemon);
        let config = match mistake.starts_with("  ") {
            true => format!("mounts:\n- at: mnt\n  templates: templates\n  mode: \"0444\"\n{mistake}"),
            false => format!("{good}{mistake}"),
        };
        daemon.config(&config);
        daemon.signal(Signal::SIGHUP);
        eventually(mistake, || (reloads(&daemon) == (taken, failed + 1)).then_some(()));
        let said = daemon.stderr();
        let line = said.rmatch_indices("config_reload_failed").next().map(|(at, _)| &said[at..]).unwrap();
        assert!(line.contains(says), "{mistake}: {line}");
        assert_eq!(daemon.read("f"), "k=v1\n");
        assert_eq!(daemon.path("f").metadata().unwrap().mode() & 0o777, 0o400, "{mistake}");
        assert_eq!(daemon.mounts().len(), 1, "{mistake}: {:?}", daemon.mounts());
    }
    // The control: without a mistake it is taken.
    edit(&daemon, &good);
    assert_eq!(daemon.path("f").metadata().unwrap().mode() & 0o777, 0o444);
}

/// `FILE:LINE:COLUMN` of what the config says last.
fn place_of(folder: &Path, value: &str) -> String {
    let text = fs::read_to_string(folder.join("secretfs.yaml")).unwrap();
    let before = &text[..text.rfind(value).unwrap()];
    let column = before.len() - before.rfind('\n').unwrap();
    format!("secretfs.yaml:{}:{column}", before.matches('\n').count() + 1)
}

/// The daemon would wait for itself.
#[test]
fn nothing_that_the_daemon_uses_may_lie_in_its_mounts() {
    let daemon = one_file();
    for folder in ["m2", "none"] {
        fs::create_dir(daemon.folder().join(folder)).unwrap();
    }
    symlink("mnt/f", daemon.folder().join("link")).unwrap();
    symlink("mnt", daemon.folder().join("way")).unwrap();
    let daemon = daemon.start();
    let reload = || daemon.run(&["reload", "--socket", "run/control.sock"]);
    for (mistake, value) in [
        ("- {at: m2, templates: mnt/sub}\n", "mnt/sub"),
        ("- {at: m2, templates: none, files: {loop: {template: mnt/x}}}\n", "mnt/x"),
        ("- {at: m2, templates: none, files: {loop: {template: link}}}\n", "link"),
        ("- {at: mnt/sub, templates: none}\n", "mnt/sub"),
        ("audit: {file: mnt/audit.log}\n", "mnt/audit.log"),
        ("audit:\n  file: way/sub/audit.log\n", "way/sub/audit.log"),
        ("credentials: {socket: mnt/c.sock, names: {c: k}}\n", "mnt/c.sock"),
        ("credentials: {names: {c: k}, socket: ./way/c.sock}\n", "./way/c.sock"),
        ("control: {socket: mnt/control.sock}\n", "mnt/control.sock"),
    ] {
        daemon.config(&format!("{ONE}{mistake}"));
        let place = place_of(daemon.folder(), value);
        let refused = reload();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{mistake}: {said}");
        assert!(said.contains("lies in the mount") && said.contains(&place), "{mistake}, {place}: {said}");
        assert_eq!(daemon.read("f"), "k=v1\n", "{mistake}");
        let checked = daemon.run(&["check", "--offline", "--config", "secretfs.yaml"]);
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert_eq!(checked.status.code(), Some(78), "{mistake}: {said}");
        assert!(said.contains("lies in the mount") && said.contains(&place), "{mistake}, {place}: {said}");
    }
    // Nor in one that the new config does not have.
    daemon.config("mounts:\n- {at: m2, templates: mnt}\n");
    assert!(!reload().status.success());
    // The control: what lies elsewhere, and a socket that nobody wants.
    let elsewhere = [
        "- {at: m2, templates: none, files: {f: {template: templates/f.tpl}}}",
        "audit: {file: audit.log}",
        "credentials: {socket: way/c.sock}",
        "control: {socket: run/control.sock}",
    ];
    daemon.config(&format!("{ONE}{}\n", elsewhere.join("\n")));
    let taken = reload();
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
}

/// So it is at the start, and for who serves without a daemon.
#[test]
fn who_begins_with_a_log_in_his_own_mount_is_refused() {
    let with = |daemon: TestDaemon, log: &str| daemon.config(&format!("{ONE}audit: {{file: {log}}}\n"));
    let refused = with(one_file(), "mnt/audit.log").refused();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("secretfs.yaml:4:15: ") && said.contains("lies in the mount"), "{said}");
    with(one_file(), "audit.log").start();
    let folder = tempfile::tempdir().unwrap();
    ["mnt", "templates"].iter().for_each(|name| fs::create_dir(folder.path().join(name)).unwrap());
    let run = |own: &str, args: &[&str]| {
        fs::write(folder.path().join("secretfs.yaml"), format!("{ONE}{own}")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command.args(args).current_dir(folder.path()).env("HOME", folder.path());
        command.env_remove("SECRETFS_STORE").output().unwrap()
    };
    assert!(run("", &["init"]).status.success());
    for (own, place) in [
        ("audit: {file: mnt/audit.log}\n", "3:15"),
        ("store: mnt/store\n", "3:8"),
        ("store: {path: .secretfs, key: {source: file, path: mnt/key}}\n", "3:52"),
    ] {
        for (args, place) in [
            (&["mount", "--", "true"][..], format!("secretfs.yaml:{place}: ")),
            (&["mount", "templates", "mnt", "--", "true"], String::new()),
        ] {
            let refused = run(own, args);
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert_eq!(refused.status.code(), Some(78), "{own}: {said}");
            assert!(said.contains("lies in the mount") && said.contains(&place), "{own}: {said}");
        }
    }
    assert!(run("audit: {file: audit.log}\n", &["mount", "--", "true"]).status.success(), "the control");
}

/// It says which programs root runs.
#[test]
fn a_config_that_somebody_else_could_have_written_is_refused() {
    let daemon = one_file().start();
    let folder = daemon.store().folder();
    let reload = || daemon.run(&["reload", "--socket", "run/control.sock"]);
    let set_mode = |name: &str, mode| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for (name, open, closed) in [("secretfs.yaml", 0o666, 0o644), (".", 0o777, 0o755)] {
        set_mode(name, open);
        let refused = reload();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && said.contains("others may write to it"), "{name}: {said}");
        set_mode(name, closed);
        assert!(reload().status.success(), "the control: {name}");
    }
    chown(folder.join("secretfs.yaml"), Some(USER), None).unwrap();
    assert!(!reload().status.success(), "it is another user's");
    chown(folder.join("secretfs.yaml"), Some(0), None).unwrap();
    // Nobody can replace what is root's in a sticky folder.
    set_mode(".", 0o1777);
    assert!(reload().status.success());
}

/// Whoever may write where a link lies, or where it leads, writes the config.
#[test]
fn a_config_behind_links_is_judged_where_they_lie_and_where_it_lies() {
    let daemon = one_file().start();
    let folder = daemon.store().folder();
    let set_mode = |name: &str, mode| {
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    for name in ["one", "two"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    fs::rename(folder.join("secretfs.yaml"), folder.join("two/config.yaml")).unwrap();
    symlink("../two/config.yaml", folder.join("one/link.yaml")).unwrap();
    symlink("one/link.yaml", folder.join("secretfs.yaml")).unwrap();
    let reload = || daemon.run(&["reload", "--socket", "run/control.sock"]);
    assert!(reload().status.success(), "the control");
    for (name, open, closed) in
        [("one", 0o777, 0o755), ("two", 0o777, 0o755), ("two/config.yaml", 0o666, 0o644)]
    {
        set_mode(name, open);
        let said = String::from_utf8_lossy(&reload().stderr).into_owned();
        assert!(
            said.contains(&format!("{name} belongs to another user, or others may write to it")),
            "{said}"
        );
        set_mode(name, closed);
        assert!(reload().status.success(), "the control: {name}");
    }
    lchown(folder.join("one/link.yaml"), Some(USER), None).unwrap();
    assert!(!reload().status.success(), "the link is another user's");
}

#[test]
fn a_config_that_never_ends_holds_no_reload_up() {
    let daemon = one_file().start();
    let more = daemon.store().folder().join("conf.d");
    fs::create_dir(&more).unwrap();
    nix::unistd::mkfifo(&more.join("x.yaml"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let start = Instant::now();
    let refused = daemon.run(&["reload", "--socket", "run/control.sock"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("no regular file"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    fs::remove_file(more.join("x.yaml")).unwrap();
    assert!(daemon.run(&["reload", "--socket", "run/control.sock"]).status.success());
}

/// Somebody has written a value where it does not belong.
#[test]
fn a_line_of_the_config_is_shown_to_who_asks_and_not_in_the_log() {
    let daemon = one_file().start();
    daemon.config(&format!("{ONE}pasword: hunter2\n"));
    let refused = daemon.run(&["reload", "--socket", "run/control.sock"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("hunter2"), "the control");
    let status = common::stdout_of(&daemon.run(&["status", "--json", "--socket", "run/control.sock"]));
    assert!(status.contains("unknown key `pasword`") && !status.contains("hunter2"), "{status}");
    let log = logged(&daemon, "config_reload_failed");
    assert!(log.contains("secretfs.yaml:4:1: unknown key") && !daemon.stderr().contains("hunter2"), "{log}");
}

#[test]
fn a_mistake_is_told_once_however_often_the_folder_changes() {
    let daemon = one_file().start();
    edit(&daemon, "mounts: [\n");
    for name in ["a", "b", "c"] {
        fs::write(daemon.folder().join(name), "").unwrap();
        thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(reloads(&daemon), (0, 1), "{}", daemon.stderr());
    assert!(logged(&daemon, "config_reload_failed").contains("the old config stays"));
}

#[test]
fn mounts_come_and_go() {
    let daemon = one_file();
    let at = |name: &str| daemon.folder().join(name);
    fs::create_dir(at("more")).unwrap();
    let daemon = daemon.start();
    let more = daemon.folder().join("more");
    edit(&daemon, &format!("{ONE}- {{at: more, templates: templates}}\n"));
    assert_eq!(fs::read_to_string(more.join("f")).unwrap(), "k=v1\n");
    daemon.store().set("k", "v2");
    assert_eq!(fs::read_to_string(more.join("f")).unwrap(), "k=v2\n");
    // Who has something of it open keeps it from nothing, and is cut off.
    let mut open = File::open(more.join("f")).unwrap();
    edit(&daemon, ONE);
    assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
    assert!(!more.join("f").exists());
    let error = open.read(&mut [0; 8]).expect_err("it is not of the config any more");
    assert_eq!(error.raw_os_error(), Some(libc::EACCES));
    assert_eq!(daemon.read("f"), "k=v2\n");
    // Elsewhere is another mount.
    edit(&daemon, "mounts:\n- {at: more, templates: templates}\n");
    assert_eq!(fs::read_to_string(more.join("f")).unwrap(), "k=v2\n");
    assert!(!daemon.path("f").exists());
}

#[test]
fn what_is_open_is_cut_off_only_where_the_right_is_lost() {
    let daemon = one_file().template("g.tpl", "g\n");
    chown(daemon.folder().join("mnt"), Some(USER), Some(USER)).unwrap();
    let daemon = daemon.start();
    let open = |name: &str| File::open(daemon.path(name)).unwrap();
    let (mut kept, mut gone) = (open("f"), open("g"));
    let read = |file: &mut File| {
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).map(|_| text).map_err(|error| error.raw_os_error())
    };
    assert_eq!(read(&mut gone), Ok("g\n".to_owned()));
    fs::remove_file(daemon.folder().join("templates/g.tpl")).unwrap();
    daemon.store().set("k", "v2");
    edit(&daemon, &ONE.replace("}", ", mode: \"0404\"}"));
    assert_eq!(read(&mut kept), Ok("k=v1\n".to_owned()), "what was open stays as it was");
    assert_eq!(read(&mut gone), Err(Some(libc::EACCES)));
    assert_eq!(daemon.read("f"), "k=v2\n");
}

#[test]
fn values_may_come_from_elsewhere() {
    let start = one_file().env("ELSEWHERE", "from the environment").secret("other", "o1");
    let daemon = start.template("e.tpl", "<< env.ELSEWHERE >>\n").start();
    assert_eq!(daemon.errno("e"), libc::EIO, "the config allows no variable");
    edit(&daemon, &format!("{ONE}env: [ELSEWHERE]\nsecrets: {{k: store:other}}\n"));
    assert_eq!((daemon.read("f"), daemon.read("e")), ("k=o1\n".into(), "from the environment\n".into()));
    // The store is open already; only who opens it anew needs its key.
    fs::remove_file(daemon.store().key_file()).unwrap();
    edit(&daemon, &format!("{ONE}secrets: {{k: env:ELSEWHERE}}\n"));
    assert_eq!(daemon.read("f"), "k=from the environment\n");
    assert_eq!(daemon.errno("e"), libc::EIO);
    edit(&daemon, ONE);
    assert_eq!(daemon.read("f"), "k=v1\n");
}

/// The control is the read before: nothing of the provider of variables has changed.
#[test]
fn a_variable_that_a_provider_is_asked_with_from_now_on_is_told_no_more() {
    let daemon = one_file().env("OWN", "hunter2").template("own.tpl", "<< secrets.own >>\n").start();
    let named = format!("{ONE}secrets: {{own: env:OWN}}\n");
    edit(&daemon, &named);
    assert_eq!(daemon.read("own"), "hunter2\n");
    let vault = "{type: vault, address: 'https://vault.example.com', auth: {token: '${OWN}'}}";
    edit(&daemon, &format!("{named}providers: {{v: {vault}}}\n"));
    assert_eq!(daemon.errno("own"), libc::EKEYREVOKED);
}

#[test]
fn the_config_may_lie_in_several_files() {
    let daemon = one_file();
    let folder = daemon.folder().to_owned();
    let more = |name: &str, text: &str| {
        fs::create_dir_all(folder.join("conf.d")).unwrap();
        let beside = folder.join("beside");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, folder.join("conf.d").join(name)).unwrap();
    };
    fs::create_dir(folder.join("more")).unwrap();
    let daemon = daemon.start();
    let wait = |before| eventually("a reload", || (reloads(&daemon) != before).then_some(()));
    let before = reloads(&daemon);
    more("app.yaml", "mounts:\n- {at: ../more, templates: ../templates}\n");
    wait(before);
    assert_eq!(fs::read_to_string(folder.join("more/f")).unwrap(), "k=v1\n");
    // What an editor leaves is not read; a mistake has its own place.
    let before = reloads(&daemon);
    more(".hidden.yaml", "nonsense: [\n");
    more("note.txt", "nonsense: [\n");
    more("zzz.yaml", "mounts:\n- {at: ../more, templates: ../templates}\n");
    wait(before);
    assert_eq!(reloads(&daemon), (before.0, before.1 + 1));
    let line = logged(&daemon, "config_reload_failed");
    assert!(
        line.contains("conf.d/zzz.yaml:2:8: two mounts at") && line.contains("conf.d/app.yaml:2:8"),
        "{line}"
    );
    // What everybody may write is nobody's.
    let before = reloads(&daemon);
    fs::set_permissions(folder.join("conf.d/zzz.yaml"), fs::Permissions::from_mode(0o666)).unwrap();
    more("zzz2.yaml", "# nothing\n");
    wait(before);
    assert!(daemon.stderr().contains("zzz.yaml belongs to another user, or others may write to it"));
    let before = reloads(&daemon);
    fs::remove_dir_all(folder.join("conf.d")).unwrap();
    wait(before);
    assert_eq!(daemon.mounts().len(), 1, "{:?}", daemon.mounts());
}

/// A worker that starts while the config has a mistake serves what the one before has served.
#[test]
fn a_mistake_in_the_config_outlives_no_worker() {
    let daemon = one_file().start();
    edit(&daemon, &ONE.replace("}", ", mode: \"0444\"}"));
    edit(&daemon, "mounts: [\n");
    daemon.kill_worker();
    daemon.await_log("the worker serves", 2);
    assert_eq!(daemon.read("f"), "k=v1\n");
    assert_eq!(daemon.path("f").metadata().unwrap().mode() & 0o777, 0o444);
    edit(&daemon, ONE);
    assert_eq!(daemon.path("f").metadata().unwrap().mode() & 0o777, 0o400);
}

/// A service manager that hears what it is told.
struct Manager(UnixDatagram);

impl Manager {
    fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(socket)
    }

    /// All that is told until this.
    #[track_caller]
    fn until(&self, words: &str) -> Vec<String> {
        let mut told = Vec::new();
        let mut buffer = [0; 4096];
        while told.last().is_none_or(|text: &String| !text.contains(words)) {
            let length =
                self.0.recv(&mut buffer).unwrap_or_else(|error| panic!("{words}: {error}; {told:?}"));
            told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        told
    }
}

#[test]
fn it_is_ready_when_what_it_waits_for_is_there() {
    let config = format!("{ONE}ready: [k, late.part, \"env:SOON\"]\nproviders: {{env: {{type: env}}}}\n");
    let start = one_file().config(&config).env("SOON", "now");
    let folder = start.folder().to_owned();
    let manager = Manager::at(&folder.join("notify"));
    let start = start.env("NOTIFY_SOCKET", folder.join("notify").to_str().unwrap());
    let others = thread::spawn(move || {
        let told = manager.until("not ready");
        assert!(told.last().unwrap().contains("not ready: 1 of 3"), "{told:?}");
        assert!(!told.concat().contains("READY=1"), "{told:?}");
        // What it can serve, it serves meanwhile.
        let file = fs::read_to_string(folder.join("mnt/f")).unwrap();
        let mut set = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        set.arg("--store").arg(folder.join("store")).arg("--key-file").arg(folder.join("master.key"));
        let mut set = set.args(["set", "late.part"]).stdin(Stdio::piped()).spawn().unwrap();
        set.stdin.take().unwrap().write_all(b"here").unwrap();
        assert!(set.wait().unwrap().success());
        manager.until("READY=1");
        (manager, file)
    });
    let daemon = start.start();
    let (manager, file) = others.join().unwrap();
    assert_eq!(file, "k=v1\n");
    assert_eq!(daemon.stderr().matches("not_ready").count(), 1, "{}", daemon.stderr());
    assert!(!daemon.stderr().contains("late.part"), "names are not for logs: {}", daemon.stderr());
    // A reload is told from its begin to its end.
    daemon.signal(Signal::SIGHUP);
    let told = manager.until("RELOADING=1");
    assert!(told.last().unwrap().contains("MONOTONIC_USEC="), "{told:?}");
    manager.until("READY=1");
}

/// Fault 39. Of 1,000 files each reload changes how one half is shown, and of which secret all are:
/// nobody sees it fail, or sees something of both.
#[test]
fn many_files_are_reloaded_under_load() {
    let count = 1_000;
    let mut start = TestDaemon::new().secret("k", "v").secret("other", "w");
    for index in 0..count {
        start = start.template(&format!("{index}.tpl"), "<< secrets.k >>\n");
    }
    let files = |format: &str, secret: &str| {
        let file = |index| format!("    \"{index}\": {{format: {format}, verify: false}}\n");
        let files: String = (0..count / 2).map(file).collect();
        format!(
            "secrets: {{k: store:{secret}}}\nmounts:\n- at: mnt\n  templates: templates\n  files:\n{files}"
        )
    };
    let (text, json) = (files("text", "k"), files("json", "other"));
    let daemon = start.config(&text).start();
    let names: Vec<String> = (0..count).step_by(7).map(|index| index.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let is_right = move |name: &str, bytes: &[u8]| match name.parse::<usize>().unwrap() < count / 2 {
        true => [&b"v\n"[..], b"\"w\"\n"].contains(&bytes),
        false => [&b"v\n"[..], b"w\n"].contains(&bytes),
    };
    let readers = daemon.readers(4, &names, is_right);
    let start = Instant::now();
    let rounds = if common::long() { 400 } else { 40 };
    for round in 0..rounds {
        let before = reloads(&daemon);
        daemon.config(if round % 2 == 0 { &json } else { &text });
        daemon.signal(Signal::SIGHUP);
        eventually("a reload", || (reloads(&daemon).0 > before.0).then_some(()));
    }
    let took = start.elapsed() / rounds;
    let tally = readers.stop();
    println!("{} reads, longest {:?}; a reload takes {took:?}", tally.reads, tally.longest);
    tally.expect_clean();
    assert_eq!(daemon.read("1"), "v\n");
}

/// Fault 37: more edits than the kernel keeps events for. That it is so many is the control: the log
/// says that events were lost.
#[test]
fn edits_of_which_events_are_lost_are_seen() {
    let daemon = one_file().template("gone.tpl", "gone\n").start();
    assert_eq!(daemon.read("gone"), "gone\n");
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: usize = limit.trim().parse().unwrap();
    let worker = Pid::from_raw(daemon.worker_pid() as i32);
    kill(worker, Signal::SIGSTOP).unwrap();
    let templates = daemon.folder().join("templates");
    // Two by turns: the same event twice in a row is one.
    let noise = ["x", "y"].map(|name| File::create(templates.join(name)).unwrap());
    for index in 0..=limit {
        noise[index % 2].set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    }
    daemon.template("f.tpl", "new k=<< secrets.k >>\n");
    daemon.template("came.tpl", "came\n");
    fs::remove_file(templates.join("gone.tpl")).unwrap();
    kill(worker, Signal::SIGCONT).unwrap();
    let start = Instant::now();
    assert_eq!(daemon.read("f"), "new k=v1\n");
    assert_eq!(daemon.read("came"), "came\n");
    assert_eq!(daemon.errno("gone"), libc::ENOENT);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    eventually("the log", || daemon.stderr().contains("more edits than inotify tells of").then_some(()));
}
