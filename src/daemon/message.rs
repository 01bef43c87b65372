//! What holder and worker say to each other: a word and its argument, with a descriptor beside it
//! where one is kept. Old and new binaries talk to each other during an upgrade: an unknown word is
//! passed over.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys::link::Link;

/// To the worker.
#[derive(Debug)]
pub enum Order {
    /// A descriptor that outlived the last worker.
    Kept(String, OwnedFd),
    /// Somebody serves until this worker is prepared.
    Relieve,
    /// Several workers have ended at once: take over one mount after the other.
    Carefully,
    /// That was all: get ready. This is what happened before.
    Prepare(Past),
    /// Nobody else serves any more.
    Go,
    Reload,
    /// An upgrade that it asked for has failed.
    Refused(String),
    Stop,
}

/// From the worker.
#[derive(Debug)]
pub enum Report {
    /// A descriptor for its successor.
    Keep(String, OwnedFd),
    Drop(String),
    Prepared,
    /// The mount with this device number is taken over now, carefully.
    Takes(String),
    /// All mounts answer.
    Serving,
    /// And all that the config waits for is there.
    Ready,
    /// The config was read again, whatever came of it.
    Reloaded,
    /// What systemd shows of us.
    Status(String),
    /// Let a successor take over that is the program on disk.
    Upgrade,
    /// Why it ends now.
    Failed(String),
}

/// What a daemon has been through, which a worker has not seen itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    /// Since when it runs, in seconds of the epoch.
    pub since: i64,
    /// Workers started, the present one included.
    pub starts: u64,
    /// Of these, for one that had ended by itself; and those that were asked for.
    pub crashes: u64,
    pub upgrades: u64,
    /// Connections ended because nobody served them.
    pub aborts: u64,
    /// Workers that were there, but answered no more.
    pub lates: u64,
}

impl Past {
    pub fn parse(text: &str) -> Self {
        let mut numbers = text.split(',').map(|number| number.parse().unwrap_or_default());
        let mut next = || numbers.next().unwrap_or_default();
        let since: i64 = next();
        let mut count = || next().cast_unsigned();
        Self { since, starts: count(), crashes: count(), upgrades: count(), aborts: count(), lates: count() }
    }
}

impl fmt::Display for Past {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { since, starts, crashes, upgrades, aborts, lates } = self;
        write!(f, "{since},{starts},{crashes},{upgrades},{aborts},{lates}")
    }
}

/// The name of a mount's `/dev/fuse` descriptor, by the mount's device number.
pub const DEVICE: &str = "device-";
/// The name of the config that is in force, for who cannot use the one on disk.
pub const CONFIG: &str = "config";
/// The name of what its successor needs to know.
pub const LEDGER: &str = "ledger-";
/// The listening control socket.
pub const CONTROL: &str = "control";
/// The listening socket for credentials.
pub const CREDENTIALS: &str = "credentials";
/// A connection on which somebody waits for one.
pub const WAITING: &str = "waiting-";

impl Order {
    pub fn send(&self, link: &Link) -> io::Result<()> {
        match self {
            Self::Kept(name, descriptor) => link.send_with(&line("kept", name), descriptor.as_fd()),
            Self::Relieve => link.send(b"relieve"),
            Self::Carefully => link.send(b"carefully"),
            Self::Prepare(past) => link.send(&line("prepare", &past.to_string())),
            Self::Go => link.send(b"go"),
            Self::Reload => link.send(b"reload"),
            Self::Refused(why) => link.send(&line("refused", why)),
            Self::Stop => link.send(b"stop"),
        }
    }

    /// The next one; `None` once the holder is gone.
    pub fn receive(link: &Link) -> io::Result<Option<Self>> {
        receive(link, |word, argument, descriptor| match (word, descriptor) {
            ("kept", Some(descriptor)) => Some(Self::Kept(argument, descriptor)),
            ("relieve", _) => Some(Self::Relieve),
            ("carefully", _) => Some(Self::Carefully),
            ("prepare", _) => Some(Self::Prepare(Past::parse(&argument))),
            ("go", _) => Some(Self::Go),
            ("reload", _) => Some(Self::Reload),
            ("refused", _) => Some(Self::Refused(argument)),
            ("stop", _) => Some(Self::Stop),
            _ => None,
        })
    }
}

impl Report {
    pub fn send(&self, link: &Link) -> io::Result<()> {
        match self {
            Self::Keep(name, descriptor) => link.send_with(&line("keep", name), descriptor.as_fd()),
            Self::Drop(name) => link.send(&line("drop", name)),
            Self::Prepared => link.send(b"prepared"),
            Self::Takes(device) => link.send(&line("takes", device)),
            Self::Serving => link.send(b"serving"),
            Self::Ready => link.send(b"ready"),
            Self::Reloaded => link.send(b"reloaded"),
            Self::Status(text) => link.send(&line("status", text)),
            Self::Upgrade => link.send(b"upgrade"),
            Self::Failed(why) => link.send(&line("failed", why)),
        }
    }

    /// The next one; `None` once the worker is gone.
    pub fn receive(link: &Link) -> io::Result<Option<Self>> {
        receive(link, |word, argument, descriptor| match (word, descriptor) {
            ("keep", Some(descriptor)) => Some(Self::Keep(argument, descriptor)),
            ("drop", _) => Some(Self::Drop(argument)),
            ("prepared", _) => Some(Self::Prepared),
            ("takes", _) => Some(Self::Takes(argument)),
            ("serving", _) => Some(Self::Serving),
            ("ready", _) => Some(Self::Ready),
            ("reloaded", _) => Some(Self::Reloaded),
            ("status", _) => Some(Self::Status(argument)),
            ("upgrade", _) => Some(Self::Upgrade),
            ("failed", _) => Some(Self::Failed(argument)),
            _ => None,
        })
    }
}

fn line(word: &str, argument: &str) -> Vec<u8> {
    format!("{word} {argument}").into_bytes()
}

fn receive<T>(
    link: &Link,
    known: impl Fn(&str, String, Option<OwnedFd>) -> Option<T>,
) -> io::Result<Option<T>> {
    while let Some((message, descriptor)) = link.receive()? {
        let text = String::from_utf8_lossy(&message);
        let (word, argument) = text.split_once(' ').unwrap_or((&text, ""));
        match known(word, argument.to_owned(), descriptor) {
            Some(message) => return Ok(Some(message)),
            None => tracing::warn!(word, "a message that this version does not know"),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_past_survives_the_way() {
        let past = Past { since: 1_800_000_000, starts: 7, crashes: 3, upgrades: 2, aborts: 1, lates: 4 };
        assert_eq!(Past::parse(&past.to_string()), past);
        assert_eq!(Past::parse("5,1"), Past { since: 5, starts: 1, ..Past::default() });
        assert_eq!(Past::parse("nonsense"), Past::default());
    }

    #[test]
    fn messages_arrive_as_they_were_sent_and_unknown_ones_are_passed_over() {
        let (one, other) = Link::pair().unwrap();
        let null = || std::fs::File::open("/dev/null").unwrap().into();
        one.send(b"dance now").unwrap();
        Report::Keep("device-0:57".to_owned(), null()).send(&one).unwrap();
        Report::Failed("two\nlines".to_owned()).send(&one).unwrap();
        assert!(
            matches!(Report::receive(&other).unwrap(), Some(Report::Keep(name, _)) if name == "device-0:57")
        );
        assert!(matches!(Report::receive(&other).unwrap(), Some(Report::Failed(why)) if why == "two\nlines"));
        Order::Kept("control".to_owned(), null()).send(&other).unwrap();
        Order::Go.send(&other).unwrap();
        drop(other);
        assert!(matches!(Order::receive(&one).unwrap(), Some(Order::Kept(..))));
        assert!(matches!(Order::receive(&one).unwrap(), Some(Order::Go)));
        assert!(Order::receive(&one).unwrap().is_none());
    }
}
