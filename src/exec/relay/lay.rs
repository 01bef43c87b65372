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
use super::change::{Changes, Teller};
use super::keys::Keys;
use super::stream::{PIECE, Stream};
use crate::exec::mask::{Filter, Masks};
use crate::exec::starter::{Ends, Front};
use crate::sys::terminal::{self, Pair};

impl Relay {
    /// Lays what the command's output goes through, if something is masked in it. In the parent,
    /// streams are to be left to that ([`super::super::leave_streams`]) once the command has its ends.
    pub fn lay(masks: Option<&Arc<Masks>>, is_restartable: bool) -> io::Result<(Self, Teller, Ends)> {
        let (stdin, stdout, stderr) = (stdin(), stdout(), stderr());
        let (changes, teller) = Changes::new()?;
        let mut relay = Self {
            streams: Vec::new(),
            sized: Vec::new(),
            window: None,
            keys: None,
            changes,
            told: None,
            between: None,
            piece: Zeroizing::new(vec![0; PIECE]),
        };
        let (first, second) = match masks {
            None => (stdout.as_fd().try_clone_to_owned()?, stderr.as_fd().try_clone_to_owned()?),
            Some(masks) => relay.ways(stdout.as_fd(), stderr.as_fd(), masks)?,
        };
        let streams = [stdin.as_fd().try_clone_to_owned()?, first, second];
        let mut ends = Ends { streams, terminal: None, are_kept: is_restartable };
        if isatty(&stdin).unwrap_or(false) && terminal::is_ours(stdin.as_fd()) {
            relay.connect_keys(&mut ends)?;
        }
        Ok((relay, teller, ends))
    }

    fn ways(
        &mut self,
        stdout: BorrowedFd<'_>,
        stderr: BorrowedFd<'_>,
        masks: &Arc<Masks>,
    ) -> io::Result<(OwnedFd, OwnedFd)> {
        let first = self.way(stdout, masks)?;
        let second = match is_same(stdout, stderr) {
            // What comes in one order goes on in it, and no value is cut in two between them.
            true => first.try_clone()?,
            false => self.way(stderr, masks)?,
        };
        Ok((first, second))
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
        let [stdin, stdout, stderr] = &mut ends.streams;
        let theirs = if isatty(&*stdout)? { stdout } else { stderr };
        // As ours is, and from now on ours passes all on.
        let modes = terminal::modes(stdin.as_fd())?;
        terminal::set_modes(theirs.as_fd(), &modes)?;
        let keys = Keys::new(stdin.try_clone()?, ours.as_fd())?;
        ends.terminal = Some(Front { terminal: theirs.try_clone()?, modes, has_keys: keys.is_in_front() });
        *stdin = theirs.try_clone()?;
        self.keys = Some(keys);
        Ok(())
    }
}

/// Whether both lead to the same place.
fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    let place = |fd| fstat(fd).map(|meta| (meta.st_dev, meta.st_ino, meta.st_rdev));
    place(one).is_ok_and(|it| place(other) == Ok(it))
}
