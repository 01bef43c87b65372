//! What is laid between a command and our streams: pipes, and terminals where ours lead to one.
//! Uses sys.

use std::io::{self, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use nix::sys::stat::fstat;
use nix::unistd::{isatty, pipe2};
use zeroize::Zeroizing;

use super::Relay;
use super::keys::Keys;
use super::stream::{PIECE, Stream};
use crate::exec::mask::{Filter, Masks};
use crate::exec::starter::{Ends, Front};
use crate::sys::terminal::{self, Pair};

impl Relay {
    /// Lays what the command's output goes through. In the parent, streams are to be left to that
    /// ([`super::super::leave_streams`]) once the command has its ends.
    pub fn lay(masks: &Arc<Masks>) -> io::Result<(Self, Ends)> {
        let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
        let mut relay = Self {
            streams: Vec::new(),
            sized: Vec::new(),
            window: None,
            keys: None,
            piece: Zeroizing::new(vec![0; PIECE]),
        };
        let first = relay.way(stdout.as_fd(), masks)?;
        let second = match is_same(stdout.as_fd(), stderr.as_fd()) {
            // What comes in one order goes on in it, and no value is cut in two between them.
            true => first.try_clone()?,
            false => relay.way(stderr.as_fd(), masks)?,
        };
        let mut ends = Ends {
            stdin: stdin.as_fd().try_clone_to_owned()?,
            stdout: first,
            stderr: second,
            terminal: None,
        };
        if isatty(&stdin).unwrap_or(false) && terminal::is_ours(stdin.as_fd()) {
            relay.connect_keys(&mut ends)?;
        }
        Ok((relay, ends))
    }

    /// The command's end of a new way to there.
    fn way(&mut self, to: BorrowedFd<'_>, masks: &Arc<Masks>) -> io::Result<OwnedFd> {
        let filter = Filter::new(masks.clone());
        if !isatty(to).unwrap_or(false) {
            let (from, end) = pipe2(OFlag::O_CLOEXEC)?;
            self.streams.push(Stream::new(from, to, filter)?);
            return Ok(end);
        }
        let Pair { ours, theirs } = Pair::like(to)?;
        self.window = Some(to.try_clone_to_owned()?);
        self.sized.push(ours.try_clone()?);
        self.streams.push(Stream::new(ours, to, filter)?);
        // What it writes goes on to a terminal that makes of it what a terminal makes of it.
        terminal::pass_output(theirs.as_fd())?;
        Ok(theirs)
    }

    /// If the command's output goes to a terminal of its own, its keys come from there.
    fn connect_keys(&mut self, ends: &mut Ends) -> io::Result<()> {
        let Some(ours) = self.sized.first() else { return Ok(()) };
        let theirs = if isatty(&ends.stdout)? { &ends.stdout } else { &ends.stderr };
        // As ours is, and from now on ours passes all on.
        terminal::set_modes(theirs.as_fd(), &terminal::modes(ends.stdin.as_fd())?)?;
        let keys = Keys::new(ends.stdin.try_clone()?, ours.as_fd())?;
        let front = Front { terminal: theirs.try_clone()?, has_keys: keys.is_in_front() };
        ends.stdin = theirs.try_clone()?;
        ends.terminal = Some(front);
        self.keys = Some(keys);
        Ok(())
    }
}

/// Whether both lead to the same place.
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let place = |fd| fstat(fd).map(|meta| (meta.st_dev, meta.st_ino, meta.st_rdev));
    place(one).is_ok_and(|it| place(other) == Ok(it))
}
