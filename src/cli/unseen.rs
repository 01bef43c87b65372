//! A value typed at a terminal that shows nothing of it. Uses nix and the secret types.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::termios::{FlushArg, LocalFlags, SetArg, Termios, tcflush, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// The longest line: room that never grows, so that no copy stays behind.
const LIMIT: usize = 64 << 10;
/// What a paste takes to arrive, and nobody types in.
const PASTE: u16 = 100;

/// Asks, and reads a line. A key that no value holds (an arrow, Escape) is refused, not dropped.
pub(super) fn ask(prompt: &str) -> io::Result<SecretBytes> {
    let mut quiet = Quiet::start()?;
    quiet.terminal.write_all(prompt.as_bytes())?;
    let line = read_line(&mut &quiet.terminal);
    let _ = quiet.terminal.write_all(b"\n");
    line
}

/// Whether more was typed than was asked for, as by a paste of several lines. It is thrown away: the
/// shell would show it, and run it.
pub(super) fn more_was_typed() -> bool {
    let Ok(quiet) = Quiet::start() else { return false };
    let mut waiting = [PollFd::new(quiet.terminal.as_fd(), PollFlags::POLLIN)];
    let is_there = poll(&mut waiting, PollTimeout::from(PASTE)).is_ok_and(|ready| ready > 0);
    is_there && tcflush(&quiet.terminal, FlushArg::TCIFLUSH).is_ok()
}

fn read_line(terminal: &mut impl Read) -> io::Result<SecretBytes> {
    let mut line = Zeroizing::new(Vec::with_capacity(LIMIT));
    let mut has_strange_key = false;
    loop {
        let mut byte = Zeroizing::new([0]);
        if terminal.read(&mut *byte)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        match byte[0] {
            b'\r' | b'\n' if has_strange_key => {
                return Err(io::Error::other("a key was typed that no value holds; type it again"));
            }
            b'\r' | b'\n' => return Ok(SecretBytes::copy_of(&line)),
            CTRL_C => return Err(io::Error::new(ErrorKind::Interrupted, "interrupted")),
            CTRL_D if line.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            BACKSPACE | DELETE => drop_character(&mut line),
            CTRL_U => line.clear(),
            b'\t' | b' '..=b'~' | 0x80.. if line.len() < LIMIT => line.push(byte[0]),
            b'\t' | b' '..=b'~' | 0x80.. => {
                return Err(io::Error::other("it is too long to be typed: give it on stdin"));
            }
            _ => has_strange_key = true,
        }
    }
}

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DELETE: u8 = 127;

/// The last one, which may be several bytes of UTF-8.
fn drop_character(line: &mut Vec<u8>) {
    while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
}

/// While it lives, the terminal does not echo, does not cut lines at its own limit, and Ctrl-C is read
/// as a key.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn start() -> io::Result<Self> {
        let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty")?;
        let before = tcgetattr(&terminal)?;
        interrupt().thread_block()?;
        let quiet = Self { terminal, before };
        let mut settings = quiet.before.clone();
        settings.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(&quiet.terminal, SetArg::TCSANOW, &settings)?;
        Ok(quiet)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        let _ = interrupt().thread_unblock();
    }
}

fn interrupt() -> SigSet {
    SigSet::from(Signal::SIGINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        read_line(&mut &*keys).map(|line| line.expose().to_vec()).map_err(|error| error.kind())
    }

    #[test]
    fn a_line_is_what_was_typed() {
        assert_eq!(typed(b"a\tb c\n"), Ok(b"a\tb c".to_vec()));
        assert_eq!(typed("ä€x\x7f\x7f\n".as_bytes()), Ok("ä".as_bytes().to_vec()));
        assert_eq!(typed(b"\x7fold\x15new\r"), Ok(b"new".to_vec()));
        assert_eq!(typed(b"\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        assert_eq!(typed(b"ab\x1b[D\n"), Err(ErrorKind::Other), "an arrow");
        assert_eq!(typed(b"ab\x03"), Err(ErrorKind::Interrupted));
        assert_eq!(typed(b"\x04"), Err(ErrorKind::UnexpectedEof));
        assert_eq!(typed(b"ab"), Err(ErrorKind::UnexpectedEof));
        assert_eq!(typed(&[b'x'; LIMIT + 1]), Err(ErrorKind::Other));
        assert_eq!(typed(&[&[b'x'; LIMIT][..], b"\n"].concat()).unwrap().len(), LIMIT);
    }
}
