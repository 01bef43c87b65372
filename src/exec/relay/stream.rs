//! One way of output: from a command, through the filter, to where ours goes. Waits for nobody.
//! Uses sys.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{MsgFlags, send};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{isatty, read, write};
use zeroize::Zeroizing;

use crate::exec::mask::{Filter, Held};

/// What is read at once, and what may wait to be written before no more is read.
pub(super) const PIECE: usize = 64 * 1024;

/// How long the beginning of a value may be held back from somebody who perhaps waits for it.
const LITTLE: Duration = Duration::from_millis(50);
const LITTLE_ON_PIPE: Duration = Duration::from_secs(1);
const MUCH: Duration = Duration::from_secs(2);

pub(super) struct Stream {
    from: Option<OwnedFd>,
    to: Option<Sink>,
    filter: Filter,
    /// Filtered, and not yet written.
    out: Zeroizing<Vec<u8>>,
    /// When the last piece came.
    since: Instant,
    is_terminal: bool,
    /// Once the command has ended: how much of what it wrote may still lie there, unread. Of who writes
    /// on, no more is read than that.
    rest: Option<usize>,
}

/// What poll(2) says of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ready {
    pub(super) can_read: bool,
    /// There is room for more, and nothing is there.
    pub(super) is_silent: bool,
    pub(super) can_write: bool,
    pub(super) is_reader_gone: bool,
}

impl Stream {
    pub(super) fn new(from: OwnedFd, to: BorrowedFd<'_>, filter: Filter) -> io::Result<Self> {
        Ok(Self {
            from: Some(from),
            to: Some(Sink::of(to)?),
            filter,
            out: Zeroizing::default(),
            since: Instant::now(),
            is_terminal: isatty(to).unwrap_or(false),
            rest: None,
        })
    }

    /// Nothing comes any more, and all is written.
    pub(super) fn is_over(&self) -> bool {
        self.to.is_none()
    }

    /// From now on what the command wrote is read, and nothing behind it.
    pub(super) fn read_the_rest(&mut self) {
        self.rest = self.from.as_ref().map(holds);
    }

    pub(super) fn read_on(&mut self) {
        self.rest = None;
    }

    /// All that the command wrote is passed on.
    pub(super) fn is_taken(&self) -> bool {
        self.is_over() || self.rest == Some(0) && self.out.is_empty()
    }

    /// Whether it would be told at once that nothing is there.
    pub(super) fn asks(&self) -> bool {
        self.rest.is_some() && self.awaited()[0].is_some()
    }

    /// What it waits for: something to read, and room to write.
    pub(super) fn awaited(&self) -> [Option<PollFd<'_>>; 2] {
        let room = if self.out.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let from = self.from.as_ref().filter(|_| self.out.len() < PIECE && self.rest != Some(0));
        [
            from.map(|from| PollFd::new(from.as_fd(), PollFlags::POLLIN)),
            // Even without anything to write: that the reader has gone is told.
            self.to.as_ref().map(|to| PollFd::new(to.fd.as_fd(), room)),
        ]
    }

    /// When what is held back is to be passed on.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let patience = match self.filter.held() {
            Held::Nothing => return None,
            Held::Little if self.is_terminal => LITTLE,
            Held::Little => LITTLE_ON_PIPE,
            Held::Much => MUCH,
        };
        self.from.is_some().then_some(self.since + patience)
    }

    /// Moves what can be moved. Answers whether something came.
    pub(super) fn go_on(&mut self, ready: Ready, piece: &mut [u8]) -> bool {
        if ready.is_reader_gone {
            self.close();
            return false;
        }
        let has_come = ready.can_read && self.read(piece);
        if ready.is_silent {
            self.rest = self.rest.map(|_| 0);
        }
        if self.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
            self.filter.release(&mut self.out);
        }
        self.write(ready.can_write);
        has_come
    }

    fn read(&mut self, piece: &mut [u8]) -> bool {
        let Some(from) = &self.from else { return false };
        match read(from, piece) {
            Ok(length @ 1..) => {
                self.since = Instant::now();
                self.rest = self.rest.map(|rest| rest.saturating_sub(length));
                self.filter.feed(&piece[..length], &mut self.out);
                true
            }
            Err(Errno::EAGAIN | Errno::EINTR) => false,
            // A terminal that nobody has open any more says EIO.
            Ok(0) | Err(_) => {
                self.end();
                false
            }
        }
    }

    /// Nothing is waited for any more.
    pub(super) fn end(&mut self) {
        if self.from.take().is_some() {
            self.filter.end(&mut self.out);
        }
        if self.out.is_empty() {
            self.to = None;
        }
    }

    fn write(&mut self, has_room: bool) {
        let Some(to) = &self.to else { return };
        while !self.out.is_empty() && (has_room || !to.waits) {
            match to.write(&self.out) {
                Ok(length) => drop(self.out.drain(..length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => return self.close(),
            }
            if to.waits {
                break;
            }
        }
        if self.from.is_none() && self.out.is_empty() {
            self.to = None;
        }
    }

    /// The reader has gone: the command is told as it would be without us, when it writes.
    fn close(&mut self) {
        (self.from, self.to) = (None, None);
        self.out.clear();
    }

    pub(super) fn descriptors(&self) -> impl Iterator<Item = i32> {
        let from = self.from.as_ref().map(AsRawFd::as_raw_fd);
        from.into_iter().chain(self.to.as_ref().map(|to| to.fd.as_raw_fd()))
    }
}

/// The most that can lie in a pipe, or in a terminal (`pty_common_install` in the kernel).
fn holds(way: &OwnedFd) -> usize {
    fcntl(way, FcntlArg::F_GETPIPE_SZ).map_or(PIECE, |size| size.unsigned_abs() as usize)
}

/// Where output goes. It is opened anew where that is possible, as others who use it too must not
/// find that it waits for nobody.
struct Sink {
    fd: OwnedFd,
    is_socket: bool,
    /// A write may have to be waited for: only little at once, when there is room.
    waits: bool,
}

/// A pipe with room takes so much at once (pipe(7)).
const AT_ONCE: usize = 4096;

impl Sink {
    fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
        let is_socket = kind == SFlag::S_IFSOCK;
        let is_slow = kind == SFlag::S_IFIFO || kind == SFlag::S_IFCHR;
        if is_slow {
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
            if let Ok(file) = OpenOptions::new().write(true).custom_flags(flags).open(path) {
                return Ok(Self { fd: file.into(), is_socket, waits: false });
            }
        }
        Ok(Self { fd: fd.try_clone_to_owned()?, is_socket, waits: is_slow })
    }

    fn write(&self, bytes: &[u8]) -> nix::Result<usize> {
        if self.is_socket {
            return send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        }
        let most = if self.waits { AT_ONCE } else { bytes.len() };
        write(&self.fd, &bytes[..bytes.len().min(most)])
    }
}
