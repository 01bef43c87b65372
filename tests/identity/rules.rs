//! Rules that change while files are open.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::common::{Daemon, STRANGER, TestDaemon, USER, stdout_of};
use crate::stage::{VALUE, placed};

fn config(access: &str) -> String {
    format!("mounts:\n- {{at: mnt, templates: templates, mode: \"0444\", access: [{access}]}}\n")
}

/// A process that reads what it has open once more whenever it is told to.
pub(crate) struct Keeper {
    child: Child,
    tell: ChildStdin,
    said: BufReader<ChildStdout>,
}

impl Keeper {
    pub(crate) fn of(daemon: &Daemon, how: &str, uid: u32) -> Self {
        let mut command = Command::new(placed(daemon.folder(), "reader"));
        command.args([how, daemon.path("f").to_str().unwrap()]).uid(uid).gid(uid);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (tell, said) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut keeper = Self { child, tell, said: BufReader::new(said) };
        assert_eq!(keeper.hear(), format!("kept: {VALUE}"));
        keeper
    }

    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn again(&mut self) -> String {
        self.tell.write_all(b"again\n").unwrap();
        self.hear()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn case_19_a_handle_whose_grant_is_gone_is_cut_off_and_no_other() {
    let daemon = TestDaemon::new().secret("pw", VALUE).template("f.tpl", "<< secrets.pw >>");
    let daemon = daemon.config(&config(&format!("{{allow: {{uid: [{USER}, {STRANGER}]}}}}"))).start();
    let mut cut = Keeper::of(&daemon, "keep", USER);
    let mut mapped = Keeper::of(&daemon, "keep-mapped", USER);
    let mut other = Keeper::of(&daemon, "keep", STRANGER);
    let kept = format!("kept: {VALUE}");
    for keeper in [&mut cut, &mut mapped, &mut other] {
        assert_eq!(keeper.again(), kept);
    }
    let rules = |access: &str| {
        daemon.config(&config(access));
        stdout_of(&daemon.run(&["reload"]));
    };
    rules(&format!("{{allow: {{uid: {STRANGER}}}}}"));
    assert_eq!(cut.again(), "kept: errno EACCES");
    assert_eq!(mapped.again(), "kept: errno EFAULT", "who touches the memory gets SIGBUS");
    assert_eq!(other.again(), kept);
    rules(&format!("{{deny: {{uid: {STRANGER}}}}}, {{allow: {{uid: {USER}}}}}"));
    assert_eq!(cut.again(), kept, "what is allowed again goes on");
    assert_eq!(other.again(), "kept: errno EACCES");
}

/// The same with the rules on secrets, of which the files know nothing.
#[test]
fn case_19_a_rule_on_a_secret_cuts_off_too() {
    let daemon = TestDaemon::new().secret("pw", VALUE).template("f.tpl", "<< secrets.pw >>");
    let open = "mounts:\n- {at: mnt, templates: templates, mode: \"0444\"}\n";
    let daemon = daemon.config(open).start();
    let mut cut = Keeper::of(&daemon, "keep", USER);
    let mut mapped = Keeper::of(&daemon, "keep-mapped", USER);
    daemon.config(&format!("{open}policy:\n- {{secrets: p*, allow: {{uid: {STRANGER}}}}}\n"));
    stdout_of(&daemon.run(&["reload"]));
    assert_eq!(cut.again(), "kept: errno EACCES");
    assert_eq!(mapped.again(), "kept: errno EFAULT");
    let other = Keeper::of(&daemon, "keep", STRANGER);
    drop(other);
}
