//! What is written down: who asked for what, and what was said to it; or what became of a store, of
//! the daemon, or of the log itself. Names of secrets, never values. Uses the words and `policy`.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::caller::{Identity, UserUnit};
use crate::policy::{Access, RuleId, Verdict};
use crate::secret::SecretKey;
use crate::sys::user;

/// What happened. A line of the log is this, with its number, its time and its seal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    #[serde(rename = "event")]
    pub kind: Kind,
    #[serde(flatten)]
    pub who: Who,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub door: Option<String>,
    /// The program that a command of ours runs with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The whole path of the file that was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<Named>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// What decided: a rule with its place, or `mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What came of it: `ok`, or the class of the failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// By what a denied caller can name it to who may see this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub denial: Option<String>,
    /// Which values are older than they should be, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<String>,
    /// From the request to this line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
    /// Where the key came from with which the store was opened for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(flatten)]
    pub log: OfLog,
}

/// The kinds of events, each by its name in the log.
macro_rules! kinds {
    ($($(#[$attribute:meta])* $kind:ident = $name:literal,)*) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$attribute])* #[serde(rename = $name)] $kind,)*
        }

        impl Kind {
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    #[default]
    Read = "read",
    /// Names of secrets, and what is known beside their values.
    List = "list",
    Create = "create",
    Update = "update",
    Rotate = "rotate",
    Rollback = "rollback",
    Delete = "delete",
    /// Old versions.
    Destroy = "destroy",
    Disable = "disable",
    Enable = "enable",
    Import = "import",
    Export = "export",
    /// A key of the store was made, changed or destroyed.
    Key = "key",
    /// A namespace was made or removed.
    Namespace = "namespace",
    /// A store was made, copied, or moved as a whole.
    Init = "init",
    Backup = "backup",
    Restore = "restore",
    Repair = "repair",
    Migrate = "migrate",
    Start = "start",
    Stop = "stop",
    Policy = "policy",
    /// Somebody had the providers asked anew.
    Sync = "sync",
    /// A file of the log begins.
    LogBegun = "log-begun",
    /// What a crash has left unfinished was closed.
    LogRecovered = "log-recovered",
    /// What was last written is not there any more.
    LogLost = "log-lost",
    /// The file took nothing for a while; another place did.
    LogMissed = "log-missed",
}

/// A process, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Who {
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
    /// Of a program that runs under another's rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real_uid: Option<u32>,
    /// Who has logged in, whoever they have become since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
}

/// A secret, by its reference without the field.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Named {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Its name there, if that is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
}

/// What the log says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfLog {
    /// Bytes of an unfinished line, lines that went elsewhere, or denials that this line stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// The SHA-256 of the unfinished line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub torn: Option<String>,
    /// All up to this number were let go, as the config says how much is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

impl Event {
    pub fn new(kind: Kind, who: Who) -> Self {
        Self { kind, who, ..Self::default() }
    }

    /// A judged access. What it shows, and what came of it, is still to be said.
    pub fn of_access(who: &Identity, access: &Access<'_>, verdict: Verdict, rule: &RuleId) -> Self {
        let file = access.file.map(|file| file.mount.join(file.path).to_string_lossy().into_owned());
        Self {
            door: Some(access.door.name().to_owned()),
            file,
            secrets: access.keys.iter().map(Named::from).collect(),
            verdict: Some(verdict.name().to_owned()),
            rule: Some(rule.to_string()),
            ..Self::new(Kind::Read, who.into())
        }
    }

    /// These versions are what would be given away.
    pub fn showing<'a>(self, versions: impl IntoIterator<Item = (&'a SecretKey, u64)>) -> Self {
        let named = |(key, version): (&SecretKey, u64)| Named { version: Some(version), ..Named::from(key) };
        Self { secrets: versions.into_iter().map(named).collect(), ..self }
    }

    pub fn stale(self, stale: Option<String>) -> Self {
        Self { stale, ..self }
    }

    /// What came of it, so long after it was asked for.
    pub fn outcome(self, outcome: &str, since: Instant) -> Self {
        let micros = u64::try_from(since.elapsed().as_micros()).ok();
        Self { outcome: Some(outcome.to_owned()), micros, ..self }
    }

    pub fn opened(self, opened: Option<&str>) -> Self {
        Self { opened: opened.map(str::to_owned), ..self }
    }

    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    /// Of the log itself: nobody has asked for it.
    pub(super) fn of_log(kind: Kind, detail: impl Into<String>, log: OfLog) -> Self {
        Self { detail: Some(detail.into()), log, ..Self::new(kind, Who::ourselves()) }
    }

    /// As it stands in the line, without the braces.
    pub(super) fn body(&self) -> String {
        let json = serde_json::to_string(self).expect("numbers and texts can be written");
        json[1..json.len() - 1].to_owned()
    }
}

impl Who {
    /// This process, and who has logged in to start it.
    pub fn ourselves() -> Self {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let real_uid = Some(nix::unistd::getuid().as_raw()).filter(|real| *real != uid);
        Self { uid, gid, pid: std::process::id(), real_uid, login_uid: user::login(), ..Self::default() }
    }
}

impl From<&SecretKey> for Named {
    fn from(key: &SecretKey) -> Self {
        Self { name: key.path.clone(), provider: key.provider.clone(), path: None, version: key.version }
    }
}

impl From<&Identity> for Who {
    fn from(who: &Identity) -> Self {
        let exe = who.exe.as_ref().map(|exe| exe.path.to_string_lossy().into_owned());
        let of_user = |it: &UserUnit| format!("{} of user:{}", it.name, it.uid);
        Self {
            uid: who.caller.uid,
            gid: who.caller.gid,
            // The caller may be a thread.
            pid: who.process.as_ref().map_or(who.caller.pid, |process| process.pid),
            real_uid: who.real_uid.filter(|uid| *uid != who.caller.uid),
            login_uid: None,
            exe,
            unit: who.unit.known().cloned(),
            user_unit: who.user_unit.known().map(of_user),
            container: who.container.known().cloned(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
