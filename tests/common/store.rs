//! A throw-away store, made and filled through the real binary.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::{env, fs};

use tempfile::TempDir;

use super::stdout_of;

const BINARY: &str = env!("CARGO_BIN_EXE_secretfs");

/// A store with its key, in a folder that other users may enter (the store itself they may not).
pub struct TestStore {
    folder: TempDir,
    user: Option<u32>,
}

impl TestStore {
    pub fn new() -> Self {
        Self::made(&env::temp_dir(), None, &["init"])
    }

    /// Kept by this backend.
    pub fn on(backend: &str) -> Self {
        Self::made(&env::temp_dir(), None, &["init", "--backend", backend])
    }

    /// Owned and used by this uid; needs root.
    pub fn of(uid: u32) -> Self {
        Self::made(&env::temp_dir(), Some(uid), &["init"])
    }

    /// Below a folder that, other than /tmp, only root may write to: some programs want that.
    pub fn below(folder: &str) -> Self {
        Self::made(Path::new(folder), None, &["init"])
    }

    fn made(parent: &Path, user: Option<u32>, init: &[&str]) -> Self {
        let folder = TempDir::with_prefix_in("secretfs-test-", parent).expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        if let Some(uid) = user {
            chown(folder.path(), Some(uid), Some(uid)).expect("tests with another uid need root");
        }
        let store = Self { folder, user };
        if user.is_some() {
            store.copy_binary();
        }
        stdout_of(&store.run(init));
        store
    }

    /// The folder that holds the store, its key and whatever a test puts beside them.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whose store it is, if that is not who tests.
    pub fn user(&self) -> Option<u32> {
        self.user
    }

    pub fn path(&self) -> PathBuf {
        self.folder().join("store")
    }

    pub fn key_file(&self) -> PathBuf {
        self.folder().join("master.key")
    }

    /// Sets a secret; here an empty value is meant. A final newline of a one-line value is dropped,
    /// as on any stdin.
    #[track_caller]
    pub fn set(&self, name: &str, value: impl AsRef<[u8]>) -> &Self {
        stdout_of(&self.run_with(&["set", name, "--allow-empty"], value));
        self
    }

    /// `secretfs` with this store and key, as this store's user, with nothing of ours inherited.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.binary());
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("SECRETFS_") {
                command.env_remove(name);
            }
        }
        command.env_remove("CREDENTIALS_DIRECTORY").env("HOME", self.folder());
        command.current_dir(self.folder()).stdin(Stdio::null());
        command.arg("--store").arg(self.path()).arg("--key-file").arg(self.key_file()).args(args);
        if let Some(uid) = self.user {
            command.uid(uid).gid(uid);
        }
        command
    }

    /// From now on a copy of the program is used, in our folder: another user may not be able to
    /// enter the clone, and a test may replace it.
    pub fn copy_binary(&self) -> PathBuf {
        let new = self.folder().join("secretfs.new");
        copy_program(BINARY, &new);
        fs::rename(new, self.own_binary()).expect("a new binary");
        self.own_binary()
    }

    fn own_binary(&self) -> PathBuf {
        self.folder().join("secretfs")
    }

    fn binary(&self) -> PathBuf {
        Some(self.own_binary()).filter(|path| path.exists()).unwrap_or_else(|| BINARY.into())
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("secretfs can be started")
    }

    /// How many copies of this provider's answers it has.
    pub fn copies(&self, provider: &str) -> usize {
        let listed = self.run(&["list", "--namespace", &format!("mirror:{provider}"), "--json"]);
        let listed = listed.status.success().then(|| serde_json::from_slice(&listed.stdout).expect("JSON"));
        listed.map_or(0, |listed: Vec<serde_json::Value>| listed.len())
    }

    /// Runs with these bytes on stdin.
    pub fn run_with(&self, args: &[&str], stdin: impl AsRef<[u8]>) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("secretfs can be started");
        // A command that fails early closes its stdin: its status says more than our EPIPE.
        let _ = child.stdin.take().expect("piped").write_all(stdin.as_ref());
        child.wait_with_output().expect("secretfs can be waited for")
    }
}

/// Copies a program that shall be run at once. By another process: a fork of ours in another test,
/// not yet at its exec, could hold a file open that we wrote, and that cannot be run (ETXTBSY).
pub fn copy_program(from: impl AsRef<Path>, to: &Path) {
    let copied = Command::new("cp").arg(from.as_ref()).arg(to).output().expect("cp can be started");
    stdout_of(&copied);
}
