//! What is done for the readers of a file when a value in it changes, as the config says it.
//! Pure: what is named here is found, or not, by who does it.

use std::time::Duration;

use super::scalar::choice;
use super::word::Scalar;

/// One action, and when it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaction {
    pub action: Action,
    /// How long it waits for more changes, to be done once for all of them.
    pub debounce: Duration,
    /// How long it may take.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To the processes that read the file.
    Signal(Signal),
    Reload(Unit),
    Restart(Unit),
    /// A program and its arguments, without a shell. One without `/` is looked for in PATH.
    Command(Vec<String>),
}

/// A signal that means something to a program that is to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(&'static str);

/// What `exec` does when a value changes that its command uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Response {
    Restart,
    Signal(Signal),
}

/// As it is written; `off` is for who has it in a profile and wants it not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch(pub Option<Response>);

/// The name of a systemd unit, with its suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit(String);

pub(super) const DEBOUNCE: Duration = Duration::from_secs(1);
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

impl Signal {
    pub const NAMES: [&'static str; 10] =
        ["HUP", "INT", "QUIT", "USR1", "USR2", "ALRM", "TERM", "CONT", "WINCH", "KILL"];

    /// With `SIG` in front or without.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let name = text.strip_prefix("SIG").unwrap_or(text);
        Self::NAMES.into_iter().find(|known| *known == name).map(Self)
    }

    /// Without `SIG`.
    pub fn name(self) -> &'static str {
        self.0
    }
}

impl Watch {
    pub const NAMES: [&'static str; 3] = ["restart", "reload", "off"];
    pub const SIGNAL: &'static str = "signal:";

    /// As the command line and the config write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            "restart" => Ok(Self(Some(Response::Restart))),
            "reload" => Ok(Self(Some(Response::Signal(Signal("HUP"))))),
            _ => match text.strip_prefix(Self::SIGNAL) {
                Some(name) => {
                    Signal::judge(&name.to_ascii_uppercase()).map(|it| Self(Some(Response::Signal(it))))
                }
                None => Err(format!("`{text}` is not {}", Self::EXPECTED)),
            },
        }
    }
}

impl Unit {
    /// Those that can be reloaded or restarted for a reader's sake.
    pub const SUFFIXES: [&'static str; 5] = [".service", ".socket", ".target", ".timer", ".path"];

    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_fit = |c: char| c.is_ascii_alphanumeric() || ":_.\\@-".contains(c);
        let stem = Self::SUFFIXES.iter().find_map(|suffix| text.strip_suffix(suffix))?;
        let is_name = !stem.is_empty() && !stem.starts_with('-') && text.len() < 256;
        (is_name && text.chars().all(is_fit)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for Signal {
    const EXPECTED: &'static str = "the name of a signal, like HUP";

    fn judge(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| choice(text, "signal", &Self::NAMES, &[]))
    }
}

impl Scalar for Watch {
    const EXPECTED: &'static str = "`restart`, `reload`, `off` or `signal:NAME`, like signal:HUP";

    fn judge(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl Scalar for Unit {
    const EXPECTED: &'static str = "the name of a unit, like app.service";

    fn judge(text: &str) -> Result<Self, String> {
        let whole = || Self::parse(&format!("{text}.service"));
        Self::parse(text).ok_or_else(|| match whole() {
            Some(unit) if !text.contains('.') => {
                format!("`{text}` is not the whole name; did you mean `{}`?", unit.as_str())
            }
            _ => format!("`{text}` is not {}", Self::EXPECTED),
        })
    }
}

/// A program or one of its arguments.
pub(super) struct Argument(pub(super) String);

impl Scalar for Argument {
    const EXPECTED: &'static str = "text";

    fn judge(text: &str) -> Result<Self, String> {
        if text.contains('\0') {
            return Err(format!("expected {}", Self::EXPECTED));
        }
        Ok(Self(text.to_owned()))
    }
}
