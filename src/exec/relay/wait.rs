//! One step of the relay: waits until something can be moved, and moves it. Uses sys.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Relay;
use super::stream::{Ready, Stream};

/// What a step has brought.
pub(super) struct Step<const N: usize> {
    /// Of which of the others there is something to read.
    pub(super) others: [bool; N],
    /// Something came from the command.
    pub(super) has_come: bool,
}

/// Two places of each stream, as far as it waits: the events that came.
type Events = [Option<PollFlags>; 2];

impl Relay {
    /// Waits for one of the streams, for keys and for these.
    pub(super) fn step<const N: usize>(
        &mut self,
        others: [BorrowedFd<'_>; N],
        most: Option<Duration>,
    ) -> io::Result<Step<N>> {
        let most = self.patience(most);
        let mut watched: Vec<PollFd<'_>> = others.map(|it| PollFd::new(it, PollFlags::POLLIN)).into();
        let ways =
            self.streams.iter().map(Stream::awaited).chain(self.keys.iter().map(|keys| keys.awaited()));
        let ways: Vec<[bool; 2]> =
            ways.map(|way| way.map(|it| it.map(|it| watched.push(it)).is_some())).collect();
        match poll(&mut watched, most) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(Step { others: [false; N], has_come: false }),
            Err(errno) => return Err(errno.into()),
        }
        let mut events = watched.iter().map(|it| it.revents().unwrap_or(PollFlags::empty()));
        let others = [(); N].map(|()| events.next().is_some_and(|it| !it.is_empty()));
        let events: Vec<Events> = ways
            .into_iter()
            .map(|way| way.map(|is_there| is_there.then(|| events.next()).flatten()))
            .collect();
        drop(watched);
        Ok(Step { others, has_come: self.go_on(&events) })
    }

    fn patience(&self, most: Option<Duration>) -> PollTimeout {
        let due = self.streams.iter().filter_map(Stream::deadline).min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        match due.into_iter().chain(most).min() {
            Some(time) => PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX),
            None => PollTimeout::NONE,
        }
    }

    fn go_on(&mut self, events: &[Events]) -> bool {
        let mut has_come = false;
        let (of_streams, of_keys) = events.split_at(self.streams.len());
        for (stream, [from, to]) in self.streams.iter_mut().zip(of_streams) {
            let to = to.unwrap_or(PollFlags::empty());
            let ready = Ready {
                can_read: from.is_some_and(|it| !it.is_empty()),
                is_silent: from.is_some_and(|it| it.is_empty()),
                can_write: to.contains(PollFlags::POLLOUT),
                is_reader_gone: to.intersects(PollFlags::POLLERR | PollFlags::POLLHUP),
            };
            has_come |= stream.go_on(ready, &mut self.piece);
        }
        if let (Some(keys), Some([ours, _])) = (&mut self.keys, of_keys.first())
            && keys.go_on(ours.is_some_and(|it| !it.is_empty()))
        {
            self.changes.give_way();
        }
        has_come
    }
}
