//! The process that finds out whether mounts answer, by reading a file of each. It never touches a
//! mount itself: its children do, and a child that waits for an answer cannot even be killed. It
//! works for a holder, or watches over a config's mounts by itself. Uses `fs` and `sys`.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;

use crate::fs::mountpoint;
use crate::fs::tree::PROBE;
use crate::sys::child;
use crate::sys::link::Link;

/// How often each mount is looked at by who watches over all of them.
const PERIOD: Duration = Duration::from_secs(2);

/// A child that reads.
struct Reading {
    /// The mount's device number.
    device: String,
    since: Instant,
    is_aborted: bool,
    pid: Pid,
    link: Link,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub device: String,
    pub seen: Seen,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Answer,
    /// Nothing, since nobody can look: it is covered, or mounted nowhere.
    Hidden(String),
    /// Another answer than the right one.
    Failure(String),
}

impl Outcome {
    /// As it goes over a link.
    fn text(&self) -> String {
        let (word, why) = match &self.seen {
            Seen::Answer => ("answer", ""),
            Seen::Hidden(why) => ("hidden", &**why),
            Seen::Failure(why) => ("failure", &**why),
        };
        format!("{} {word} {why}", self.device)
    }

    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let mut words = text.splitn(3, ' ');
        let (device, word, why) = (words.next()?, words.next()?, words.next()?.to_owned());
        let seen = match word {
            "answer" => Seen::Answer,
            "hidden" => Seen::Hidden(why),
            _ => Seen::Failure(why),
        };
        Some(Self { device: device.to_owned(), seen })
    }
}

/// Reads what the holder asks for, by device numbers, and tells what came of it. Ends with the
/// holder. Before a second thread only.
pub fn work_for(holder: &Link) -> io::Result<()> {
    let mut readings: Vec<Reading> = Vec::new();
    loop {
        let (is_asked, ended) = wait(Some(holder), &mut readings, PollTimeout::NONE)?;
        for outcome in ended {
            holder.send(outcome.text().as_bytes())?;
        }
        if is_asked {
            let Some((device, _)) = holder.receive()? else { return Ok(()) };
            begin(&String::from_utf8_lossy(&device), &mut readings)?;
        }
    }
}

/// Ends the connection of each mount at one of these places that has not answered for that long,
/// whoever serves it: somebody who cannot be killed waits there, perhaps PID 1. Before a second
/// thread only.
pub fn watch_over(places: impl Fn() -> Vec<PathBuf>, patience: Duration) -> io::Result<()> {
    let mut readings: Vec<Reading> = Vec::new();
    loop {
        for device in places().iter().filter_map(|at| mountpoint::ours_at(at)) {
            begin(&device, &mut readings)?;
        }
        let next = Instant::now() + PERIOD;
        while let left @ 1.. = next.saturating_duration_since(Instant::now()).as_millis() {
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            wait(None, &mut readings, timeout)?;
        }
        for late in readings.iter_mut().filter(|it| !it.is_aborted && it.since.elapsed() >= patience) {
            tracing::error!(device = late.device, "a mount does not answer: its connection is ended");
            mountpoint::abort(&late.device);
            late.is_aborted = true;
        }
    }
}

/// Starts a child that reads, unless one is still at it.
fn begin(device: &str, readings: &mut Vec<Reading>) -> io::Result<()> {
    if readings.iter().any(|it| it.device == device) {
        return Ok(());
    }
    let (pid, link) = child::fork(|link| {
        let seen = look(device).unwrap_or_else(|error| Seen::Failure(error.to_string()));
        let _ = link.send(Outcome { device: device.to_owned(), seen }.text().as_bytes());
    })?;
    readings.push(Reading { device: device.to_owned(), since: Instant::now(), is_aborted: false, pid, link });
    Ok(())
}

fn look(device: &str) -> io::Result<Seen> {
    let Some(at) = mountpoint::place_of(device) else {
        return Ok(Seen::Hidden("it is mounted nowhere".to_owned()));
    };
    // What is over it may hang for reasons of its own.
    if !mountpoint::is_uncovered(&at, device) {
        return Ok(Seen::Hidden(format!("something else is mounted over {}", at.display())));
    }
    let text = fs::read(at.join(PROBE))?;
    Ok(match text.starts_with(b"worker ") {
        true => Seen::Answer,
        false => Seen::Failure("it holds another text".to_owned()),
    })
}

/// Whether the holder has something to say, and the readings that came to an end.
fn wait(
    holder: Option<&Link>,
    readings: &mut Vec<Reading>,
    timeout: PollTimeout,
) -> io::Result<(bool, Vec<Outcome>)> {
    let links = holder.into_iter().chain(readings.iter().map(|it| &it.link));
    let mut watched: Vec<_> = links.map(|link| PollFd::new(link.as_fd(), PollFlags::POLLIN)).collect();
    match poll(&mut watched, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let mut is_ready: Vec<bool> = watched.iter().map(|it| it.any() == Some(true)).collect();
    let is_asked = holder.is_some() && is_ready.remove(0);
    let mut is_ready = is_ready.into_iter();
    let ended = readings.extract_if(.., |_| is_ready.next() == Some(true)).map(Reading::end).collect();
    Ok((is_asked, ended))
}

impl Reading {
    fn end(self) -> Outcome {
        let said = self.link.receive().ok().flatten().and_then(|(text, _)| Outcome::parse(&text));
        let _ = child::wait(self.pid);
        let seen = Seen::Failure("the reader was killed".to_owned());
        said.unwrap_or(Outcome { device: self.device, seen })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_survives_the_way() {
        let why = || "it is\nso: bad".to_owned();
        for seen in [Seen::Answer, Seen::Hidden(why()), Seen::Failure(why())] {
            let outcome = Outcome { device: "0:57".to_owned(), seen };
            assert_eq!(Outcome::parse(outcome.text().as_bytes()), Some(outcome));
        }
        assert_eq!(Outcome::parse(b"nonsense"), None);
    }
}
