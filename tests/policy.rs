//! Rules at the real doors: who may read a file of a daemon's mount, what `exec` gives, what becomes
//! of open handles when the rules change, and that rules with a mistake change nothing.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::process::Command;

use common::{Daemon, STRANGER, TestDaemon, TestStore, USER, copy_program, eventually, stdout_of, tool};
use nix::sys::signal::Signal;

fn config(access: &str, policy: &str) -> String {
    let files = "  files:\n    f: {access: ";
    format!(
        "mounts:\n- at: mnt\n  templates: templates\n  mode: \"0444\"\n{files}{access}}}\npolicy: {policy}\n"
    )
}

fn daemon(access: &str, policy: &str) -> Daemon {
    let daemon = TestDaemon::new().secret("k", "v1").secret("other", "o1");
    let daemon = daemon.template("f.tpl", "k=<< secrets.k >>\n").template("g.tpl", "o=<< secrets.other >>\n");
    daemon.config(&config(access, policy)).start()
}

/// What a user gets of a file; `None` if it is denied.
#[track_caller]
fn read_by(daemon: &Daemon, uid: u32, name: &str) -> Option<String> {
    let mut command = Command::new(tool("setpriv"));
    let ids = [format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()];
    let output = command.args(ids).arg("cat").arg(daemon.path(name)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() || said.contains("Permission denied"), "{said}");
    output.status.success().then(|| stdout_of(&output))
}

/// Judged by the daemon that serves, when this returns.
#[track_caller]
fn reload(daemon: &Daemon, yaml: &str) -> String {
    daemon.config(yaml);
    let output = daemon.run(&["reload", "--socket", "run/control.sock"]);
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const VALUE: Option<&str> = Some("k=v1\n");

fn seen(daemon: &Daemon, name: &str) -> [Option<String>; 3] {
    [0, USER, STRANGER].map(|uid| read_by(daemon, uid, name))
}

fn is(seen: [Option<String>; 3], expected: [Option<&str>; 3]) -> bool {
    seen.each_ref().map(Option::as_deref) == expected
}

/// As the config writes the place of a mount, rules do, also where a link leads there.
#[test]
fn a_rule_holds_for_a_mount_however_it_is_spelled() {
    let test = TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n");
    let folder = test.folder().to_owned();
    symlink(&folder, folder.join("link")).unwrap();
    let config = |at: &str| {
        let mount = "mounts: [{at: link/mnt, templates: templates, mode: \"0444\"}]\n";
        let files = format!("{}/{at}/*", folder.display());
        format!("{mount}policy: [{{secrets: k, files: {files}, deny: {{uid: {USER}}}}}]\n")
    };
    let daemon = test.config(&config("link/mnt")).start();
    for at in ["link/mnt", "mnt"] {
        reload(&daemon, &config(at));
        assert!(is(seen(&daemon, "f"), [VALUE, None, VALUE]), "{at}");
    }
    reload(&daemon, &config("elsewhere"));
    assert!(is(seen(&daemon, "f"), [VALUE; 3]), "the control");
}

#[test]
fn the_first_rule_of_a_file_decides_for_each_reader() {
    let user = format!("[{{allow: {{uid: {USER}}}}}]");
    let served = daemon(&user, "[]");
    assert!(
        is(seen(&served, "f"), [None, VALUE, None]),
        "it is allowed to one, and so to nobody else, root included"
    );
    assert!(is(seen(&served, "g"), [Some("o=o1\n"); 3]), "the control: the file beside it has no rules");
    for (access, expected) in [
        (format!("[{{deny: {{uid: {USER}}}}}]"), [VALUE, None, VALUE]),
        (format!("[{{deny: {{uid: {USER}}}}}, {{allow: anyone}}]"), [VALUE, None, VALUE]),
        (format!("[{{allow: anyone}}, {{deny: {{uid: {USER}}}}}]"), [VALUE; 3]),
        (format!("[{{allow: {{uid: [0, {STRANGER}]}}}}]"), [VALUE, None, VALUE]),
        (format!("[{{allow: {{gid: {USER}, door: mount}}}}]"), [None, VALUE, None]),
        ("[]".to_owned(), [VALUE; 3]),
    ] {
        let said = reload(&served, &config(&access, "[]"));
        assert!(said.contains("reloaded"), "{said}");
        assert!(is(seen(&served, "f"), expected), "{access}: {:?}", seen(&served, "f"));
    }
}

#[test]
fn a_rule_on_a_secret_holds_in_every_file_and_for_exec() {
    let policy = |files: &str, uid: u32| format!("[{{secrets: k, {files}allow: {{uid: {uid}}}}}]");
    let served = daemon("[]", &policy("", USER));
    assert!(is(seen(&served, "f"), [None, VALUE, None]));
    assert!(is(seen(&served, "g"), [Some("o=o1\n"); 3]), "the control: no rule names its secret");
    let exec = || served.run(&["exec", "--env", "K=k", "--", "sh", "-c", "echo $K"]);
    let refused = exec();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(77) && said.contains("secretfs.yaml:8:10: secrets k: allow uid"),
        "{said}"
    );
    let said = reload(&served, &config("[]", &policy("", 0)));
    assert!(said.contains("other rules on secrets"), "{said}");
    assert!(is(seen(&served, "f"), [VALUE, None, None]));
    assert_eq!(stdout_of(&exec()), "v1\n", "the control");
    reload(&served, &config("[]", &policy("files: f, ", 0)));
    assert!(is(seen(&served, "f"), [VALUE, None, None]));
    assert_eq!(exec().status.code(), Some(77), "a variable is no such file");
    let whole = format!("files: {}/f, ", served.folder().join("mnt").display());
    reload(&served, &config("[]", &policy(&whole, 0)));
    assert!(is(seen(&served, "f"), [VALUE, None, None]), "{:?}", seen(&served, "f"));
    reload(&served, &config("[]", &policy("files: g, ", 0)));
    assert!(is(seen(&served, "f"), [None; 3]), "it may go into another file only");
}

#[test]
fn who_may_see_no_values_finds_harmless_ones_at_every_door() {
    let served = daemon(&format!("[{{placeholder: {{uid: {USER}}}}}]"), "[]");
    assert!(is(seen(&served, "f"), [VALUE, Some("k=placehol\n"), VALUE]), "{:?}", seen(&served, "f"));
    let rule = format!("[{{secrets: k, placeholder: {{uid: [0, {STRANGER}]}}}}]");
    reload(&served, &config("[]", &rule));
    assert!(is(seen(&served, "f"), [Some("k=placehol\n"), VALUE, Some("k=placehol\n")]));
    let exec = served.run(&["exec", "--env", "K=k", "--", "sh", "-c", "echo $K"]);
    assert_eq!(stdout_of(&exec), "placehol\n");
    reload(&served, &config("[]", "[]"));
    assert!(is(seen(&served, "f"), [VALUE; 3]), "the control");
}

#[test]
fn other_rules_cut_off_what_is_open_and_hold_for_the_next_open() {
    let served = daemon("[{allow: {uid: 0}}]", "[]");
    let open = File::open(served.path("f")).unwrap();
    let read = || {
        let mut bytes = [0; 16];
        open.read_at(&mut bytes, 0).map(|length| String::from_utf8_lossy(&bytes[..length]).into_owned())
    };
    assert_eq!(read().unwrap(), "k=v1\n");
    reload(&served, &config(&format!("[{{allow: {{uid: {USER}}}}}]"), "[]"));
    assert_eq!(read().unwrap_err().raw_os_error(), Some(libc::EACCES));
    assert!(is(seen(&served, "f"), [None, VALUE, None]));
    reload(&served, &config("[{allow: {uid: 0}}]", "[]"));
    assert!(is(seen(&served, "f"), [VALUE, None, None]), "and back");
    let next = File::open(served.path("f")).unwrap();
    reload(&served, &config("[{allow: {uid: 0}}]", "[{secrets: k, deny: {uid: 0}}]"));
    assert_eq!(
        next.read_at(&mut [0; 16], 0).unwrap_err().raw_os_error(),
        Some(libc::EACCES),
        "by a rule on a secret"
    );
}

#[test]
fn rules_with_a_mistake_change_nothing() {
    let good = "[{allow: {uid: 0}}]";
    let served = daemon(good, "[]");
    for (access, policy, says) in [
        ("[{allow: {user: no-such-user}}]", "[]", "there is no user `no-such-user`"),
        ("[{allow: {group: no-such-group}}]", "[]", "there is no group `no-such-group`"),
        ("[{allow: {unit: app}}]", "[]", "did you mean `app.service`?"),
        ("[{allow: {role: nobody}}]", "[]", "there is no role `nobody`"),
        ("[{permit: anyone}]", "[]", "unknown key `permit`"),
        ("[{allow: anyone, actions: reed}]", "[]", "did you mean `read`?"),
        ("[{allow: anyone}]", "[{secrets: \"a/**\", allow: anyone}]", "did you mean `a/*`?"),
        (
            "[{allow: anyone}]",
            "[{secrets: k, allow: {user: no-such-user}}]",
            "there is no user `no-such-user`",
        ),
    ] {
        let said = reload(&served, &config(access, policy));
        assert!(said.contains(says) && said.contains("secretfs.yaml:"), "{access} {policy}: {said}");
        assert!(is(seen(&served, "f"), [VALUE, None, None]), "{access} {policy}: the old rules stay");
    }
    served.signal(Signal::SIGHUP);
    eventually("a line in the log", || served.stderr().contains("config_reload_failed").then_some(()));
    reload(&served, &config("[{allow: anyone}]", "[]"));
    assert!(is(seen(&served, "f"), [VALUE; 3]), "the control: without a mistake they are taken");
}

#[test]
fn a_daemon_does_not_start_under_rules_with_a_mistake() {
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n");
    let refused = daemon.config(&config("[]", "[{secrets: k, deny: {user: no-such-user}}]")).refused();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("secretfs.yaml:8:36: ") && said.contains("there is no user `no-such-user`"),
        "{said}"
    );
}

/// What the daemon waits for is given to nobody.
#[test]
fn rules_do_not_keep_a_daemon_from_being_ready() {
    let yaml = config("[]", "[{secrets: k, deny: anyone}]") + "ready: [k]\n";
    let daemon = TestDaemon::new().secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n");
    let served = daemon.config(&yaml).start();
    assert!(is(seen(&served, "f"), [None; 3]));
}

/// Where rules have a say, the command that explains a file says so and who knows them.
#[test]
fn explain_tells_of_rules() {
    let policy = format!("[{{secrets: k, deny: {{uid: {STRANGER}}}}}]");
    let served = daemon("[]", "[]");
    let explain = |name: &str| {
        let path = served.path(name).display().to_string();
        stdout_of(&served.run(&["explain", &path, "--socket", "run/control.sock"]))
    };
    let line = |name: &str| explain(name).lines().find(|it| it.starts_with("may read")).unwrap().to_owned();
    assert!(line("g").contains("may read  uid 0, gid 0, mode 0444"), "the control: {}", line("g"));
    reload(&served, &config("[{allow: anyone}]", &policy));
    assert!(
        line("f").contains("may read  by rules, see: secretfs policy explain")
            && !line("g").contains("by rules"),
        "{} {}",
        line("f"),
        line("g")
    );
    read_by(&served, 0, "f");
    assert!(explain("f").lines().any(|it| it.starts_with("real ")), "{}", explain("f"));
}

/// What was left empty is no list without rules.
#[test]
fn an_empty_list_of_rules_is_written_as_one() {
    let served = daemon("[]", "[]");
    let said = reload(&served, &config("", "[]"));
    assert!(said.contains("access") && !said.contains("reloaded"), "{said}");
    let said = reload(&served, &config("[{allow: }]", "[]"));
    assert!(said.contains("is the next line indented too little?"), "{said}");
    assert!(reload(&served, &config("[]", "[]")).contains("reloaded"), "the control");
}

/// The kernel tells the program that runs, and no rule is about a link to it. Who names one is told
/// what to name.
#[test]
fn a_program_behind_a_link_is_nobody_and_that_is_said() {
    let store = TestStore::new();
    let folder = store.folder().canonicalize().unwrap();
    fs::create_dir(folder.join("real")).unwrap();
    copy_program("/bin/cat", &folder.join("real/cat"));
    symlink("real", folder.join("behind")).unwrap();
    symlink("real/cat", folder.join("last")).unwrap();
    let config = |verdict: &str, program: &str| {
        let program = folder.join(program).display().to_string();
        format!(
            "mounts:\n- at: mnt\n  templates: templates\n  mode: \"0444\"\n  access:\n  - {verdict}: {{uid: 0, exe: {program}}}\n"
        )
    };
    let daemon = TestDaemon::on(store).secret("k", "v1").template("f.tpl", "k=<< secrets.k >>\n");
    let daemon = daemon.config(&config("allow", "behind/cat")).start();
    let reads =
        |by: &str| Command::new(folder.join(by)).arg(daemon.path("f")).output().unwrap().status.success();
    let real = folder.join("real/cat");
    let says = format!("leads over a link, so it fits nobody; what runs is {}: name that", real.display());
    let place = "rule_fits_nobody: secretfs.yaml:";
    let mut warned = 1;
    assert!(daemon.stderr().contains(place) && daemon.stderr().contains(&says), "{}", daemon.stderr());
    for (verdict, program, is_read, is_linked) in [
        ("allow", "last", false, true),
        ("deny", "last", true, true),
        ("deny", "behind/cat", true, true),
        ("allow", "real/cat", true, false),
        ("deny", "real/cat", false, false),
    ] {
        let said = reload(&daemon, &config(verdict, program));
        assert!(said.contains("reloaded"), "{said}");
        for by in ["behind/cat", "last", "real/cat"] {
            assert_eq!(reads(by), is_read, "{verdict} {program}, by {by}");
        }
        warned += usize::from(is_linked);
        assert_eq!(daemon.stderr().matches(place).count(), warned, "{verdict} {program}");
        let checked = daemon.run(&["check", "--offline", "--config", "secretfs.yaml"]);
        let checked = stdout_of(&checked);
        let line = format!("  {}: {says}", folder.join(program).display());
        assert_eq!(checked.contains(&line), is_linked, "{checked}");
    }
}
