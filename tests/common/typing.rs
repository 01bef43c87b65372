//! A store called `other` beside a test's own, used from a terminal on which lines are typed, or
//! where nobody sits.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use super::{TestStore, tool};

const BINARY: &str = env!("CARGO_BIN_EXE_secretfs");

/// `secretfs --store other ARGS` on a terminal of its own, without a key, with one line typed at
/// each prompt: its status and what the screen shows.
pub fn on_a_terminal(home: &TestStore, args: &[&str], typed: &[&str]) -> (Option<i32>, String) {
    on_a_terminal_under(home, &[], args, typed)
}

/// The same, started by another program.
pub fn on_a_terminal_under(
    home: &TestStore,
    starter: &[&str],
    args: &[&str],
    typed: &[&str],
) -> (Option<i32>, String) {
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut command = Command::new(tool("setsid"));
    command.args(["--ctty", "--wait"]).args(starter).args([BINARY, "--store", "other"]).args(args);
    command.env_clear().env("HOME", home.folder()).current_dir(home.folder());
    let slave = || Stdio::from(terminal.slave.try_clone().expect("dup"));
    let mut child = command.stdin(slave()).stdout(slave()).stderr(slave()).spawn().expect("setsid");
    drop((command, terminal.slave));
    let mut master = File::from(terminal.master);
    let (mut screen, mut buffer, mut typed) = (Vec::new(), [0; 4096], typed.iter());
    while let Ok(length @ 1..) = master.read(&mut buffer) {
        screen.extend_from_slice(&buffer[..length]);
        // The echo is off before the prompt is there.
        if screen.ends_with(b": ")
            && let Some(line) = typed.next()
        {
            master.write_all(format!("{line}\n").as_bytes()).expect("typing");
        }
    }
    (child.wait().expect("it ends").code(), String::from_utf8(screen).expect("text"))
}

/// The same where nobody sits.
pub fn unattended(home: &TestStore, args: &[&str]) -> Output {
    let mut command = Command::new(tool("setsid"));
    command.args(["--wait", BINARY, "--store", "other"]).args(args);
    command.env_clear().env("HOME", home.folder()).current_dir(home.folder()).stdin(Stdio::null());
    command.output().expect("setsid")
}
