//! A program on a terminal: what it shows there, and when.

use std::fs::File;
use std::io::Read;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::pty::openpty;

/// What a program wrote to its terminal until it ended.
pub struct Shown {
    pub status: ExitStatus,
    pub text: String,
    /// Its pieces, each with the time since the start.
    pub pieces: Vec<(Duration, String)>,
}

/// Runs it with all three descriptors on a terminal of its own.
pub fn on_terminal(mut command: Command) -> Shown {
    let pty = openpty(None, None).expect("a pseudo terminal");
    let side = || pty.slave.try_clone().expect("dup");
    let start = Instant::now();
    command.env("TERM", "xterm").stdin(side()).stdout(side()).stderr(side());
    let mut child = command.spawn().expect("it can be started");
    // The end comes when nobody holds the other side any more.
    drop((command, pty.slave));
    let mut screen = File::from(pty.master);
    let mut pieces = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = screen.read(&mut bytes) {
        pieces.push((start.elapsed(), String::from_utf8_lossy(&bytes[..length]).into_owned()));
    }
    let text = pieces.iter().map(|(_, text)| text.as_str()).collect();
    Shown { status: child.wait().expect("it can be waited for"), text, pieces }
}
