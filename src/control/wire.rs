//! What goes over the control socket, as JSON: written by the daemon, read by the command line and
//! by whoever watches. No field can hold a value. Uses serde and jiff.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub config: Option<PathBuf>,
    /// The config's, counted from 1: each reload that succeeds makes a new one.
    pub generation: u64,
    /// The process that keeps the mounts.
    pub holder: Option<u32>,
    /// The process that answers.
    pub worker: u32,
    /// How many workers there have been, this one included.
    pub worker_starts: u64,
    /// How many of them came by an upgrade.
    #[serde(default)]
    pub upgrades: u64,
    pub started_at: Timestamp,
    /// When this worker took over.
    pub worker_started_at: Timestamp,
    /// Else values could be swapped out.
    pub memory_is_locked: bool,
    /// How the keys of stores are kept: hidden, locked or plain.
    #[serde(default)]
    pub keys: String,
    /// Whether the kernel can send requests again to a successor.
    pub can_resume: bool,
    /// How well readers are told apart.
    #[serde(default)]
    pub identity: Identity,
    #[serde(default)]
    pub audit: Audit,
    pub readiness: Readiness,
    pub mounts: Vec<Mount>,
    pub providers: Vec<Provider>,
    pub last_reload: Option<Reload>,
}

/// What rules about readers can rely on here.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Identity {
    /// `L1`, `L2` or `L3`, by the kernel.
    pub level: String,
    /// Why programs cannot be known; none if they can.
    pub hidden: Option<String>,
}

/// Where it is written down who gets what.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Audit {
    pub file: Option<PathBuf>,
    pub journald: bool,
    /// What cannot be written down is not given away.
    pub required: bool,
    /// Why the last event could not be written down; none if it could.
    pub problem: Option<String>,
}

/// Whether all mounts answer and all that `ready:` names is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    pub ready: bool,
    /// What is waited for: never empty unless `ready`.
    pub lacks: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mount {
    pub at: PathBuf,
    pub files: usize,
    pub nodes: usize,
    pub handles: usize,
    pub readers: usize,
    pub stale_readers: usize,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Provider {
    pub name: String,
    /// Why a fetch would fail now; none if it would not.
    pub problem: Option<String>,
    /// `closed`, `trying` or `open`; none where there is no breaker.
    pub breaker: Option<String>,
    /// How many seconds ago the oldest answer was confirmed that is served in place of a newer one; none if there is
    /// no such answer.
    #[serde(default)]
    pub stale_seconds: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reload {
    pub at: Timestamp,
    /// Why the old config stayed; none if it did not.
    pub problem: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reloaded {
    pub generation: u64,
    /// What is different now, a line each.
    pub changes: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Synced {
    pub providers: Vec<SyncedProvider>,
}

/// What came of asking a provider anew for what is held of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SyncedProvider {
    pub name: String,
    /// How many secrets it was asked for.
    pub asked: usize,
    pub changed: usize,
    /// For how many there is no answer: what is known of them stays.
    pub failed: usize,
    /// Why the first of them has none.
    pub problem: Option<String>,
}

/// A process that has read a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reader {
    pub pid: u32,
    pub uid: u32,
    pub unit: Option<String>,
    pub exe: Option<String>,
    /// The file's path, in its mount.
    pub file: PathBuf,
    pub opened_at: Timestamp,
    /// None if it is not known whether the file has changed since.
    pub stale: Option<bool>,
    pub references: Vec<Held>,
    pub reaction: Option<Reacted>,
}

/// One reference of a file: what a reader got, and what the next one would get.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub reference: String,
    /// None: there was none, and the template went on without it.
    pub held: Option<u64>,
    /// None: there is none now, or it is not known.
    pub current: Option<u64>,
}

/// What was done for a file's readers when it last changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reacted {
    pub at: Timestamp,
    /// As the config says it: `reload nginx.service`.
    pub action: String,
    /// `ok`, `failed`, `late`, `gone` or `running`.
    pub outcome: String,
    pub problem: Option<String>,
}

/// All that is known of one file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Explained {
    pub file: PathBuf,
    pub mount: PathBuf,
    pub template: PathBuf,
    pub format: String,
    pub uid: u32,
    pub gid: u32,
    /// Octal digits.
    pub mode: String,
    /// Whether rules have a say, too.
    pub has_rules: bool,
    pub set: Option<String>,
    pub on_change: Option<String>,
    /// What a reader would get now.
    pub outcome: Outcome,
    pub references: Vec<Reference>,
    /// What became of it lately, for each class of callers that asked.
    pub views: Vec<View>,
    pub readers: usize,
    pub stale_readers: usize,
    pub reaction: Option<Reacted>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The errno's name; none if it can be read.
    pub errno: Option<String>,
    pub reason: Option<String>,
    /// Of the rendering, in bytes.
    pub size: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    pub reference: String,
    pub provider: String,
    /// None: there is none, or it is not known.
    pub version: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// `real`, `placeholder`, `denied`, or the class of callers that the template distinguishes.
    pub view: String,
    pub handles: u32,
    pub outcome: Outcome,
}

/// A failure, as the command line prints it with `--json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub problem: String,
    pub hint: Option<String>,
}

/// The body of an answer that is a failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failed {
    pub error: Failure,
}
