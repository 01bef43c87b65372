//! Where the demo runs its commands: prints each with its real output, and stops at the first that
//! does not do what it should.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SigSet, Signal};

use crate::cli::report::Failure;
use crate::cli::{exit, output};

/// As a shell says it.
const INTERRUPTED: u8 = 130;

pub(super) struct Stage {
    folder: PathBuf,
    is_colored: bool,
    is_interrupted: Arc<AtomicBool>,
}

impl Stage {
    pub(super) fn new(folder: &Path) -> Self {
        let is_colored = output::is_colored(&std::io::stdout());
        Self { folder: folder.to_owned(), is_colored, is_interrupted: Arc::default() }
    }

    /// From now on a signal ends the demo before its next command, with everything cleaned up.
    pub(super) fn heed_signals(&self) -> Result<(), Failure> {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
        signals.thread_block().map_err(|errno| Failure::new(exit::OS, errno))?;
        let is_interrupted = self.is_interrupted.clone();
        std::thread::spawn(move || {
            let _ = signals.wait();
            is_interrupted.store(true, Ordering::Relaxed);
        });
        Ok(())
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn title(&self, text: &str) {
        self.print(&format!("\n{}\n", self.colored("1;36", text)));
    }

    pub(super) fn show(&self, command: &str) {
        self.print(&format!("{}\n", self.colored("1", &format!("$ {command}"))));
    }

    pub(super) fn say(&self, text: &str) {
        for line in text.lines() {
            self.print(&format!("  {line}\n"));
        }
    }

    pub(super) fn write(&self, path: &str, text: &str) -> Result<(), Failure> {
        let path = self.folder.join(path);
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.and_then(|()| std::fs::write(&path, text)).map_err(|error| cannot_write(&path, &error))
    }

    pub(super) fn make_folder(&self, path: &str) -> Result<(), Failure> {
        let path = self.folder.join(path);
        std::fs::create_dir_all(&path).map_err(|error| cannot_write(&path, &error))
    }

    pub(super) fn has(&self, program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
    }

    /// Shows a command and its output; it has to succeed. The output comes back.
    pub(super) fn run(&self, command: &str) -> Result<String, Failure> {
        self.run_with(command, command, "")
    }

    /// Shows one form of a command and runs another, with this on stdin.
    pub(super) fn run_with(&self, shown: &str, command: &str, stdin: &str) -> Result<String, Failure> {
        self.show(shown);
        let output = self.quietly(command, stdin)?;
        self.say(&text(&output));
        if output.status.success() { Ok(text(&output)) } else { Err(super::failed(command, output.status)) }
    }

    /// Runs a command that must fail, and shows how it does.
    pub(super) fn run_failing(&self, command: &str) -> Result<(), Failure> {
        self.show(command);
        let output = self.quietly(command, "")?;
        self.say(&text(&output));
        match output.status.code() {
            Some(0) | None => {
                Err(Failure::new(exit::SOFTWARE, format!("the demo stops: `{command}` did not fail")))
            }
            Some(status) => {
                self.say(&format!("(exit status {status})"));
                Ok(())
            }
        }
    }

    /// Runs a command without showing it.
    pub(super) fn quietly(&self, command: &str, stdin: &str) -> Result<Output, Failure> {
        if self.is_interrupted.load(Ordering::Relaxed) {
            return Err(Failure::new(INTERRUPTED, "the demo was interrupted"));
        }
        let mut sh = self.command("sh");
        sh.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = sh.spawn().and_then(|mut child| {
            // A command that fails early closes its stdin: its status says more.
            let _ = child.stdin.take().map(|mut pipe| pipe.write_all(stdin.as_bytes()));
            child.wait_with_output()
        });
        started.map_err(|error| Failure::new(exit::OS, format!("cannot run sh: {error}")))
    }

    /// Lets the commands find this very binary, whatever its file is called.
    pub(super) fn provide_program(&self) -> Result<(), Failure> {
        self.make_folder("bin")?;
        let link = self.folder.join("bin/secretfs");
        let made = std::env::current_exe().and_then(|program| std::os::unix::fs::symlink(program, &link));
        made.map_err(|error| cannot_write(&link, &error))
    }

    /// This very binary, in the demo's folder.
    pub(super) fn program(&self) -> Command {
        self.command(self.folder.join("bin/secretfs"))
    }

    /// A command in the demo's folder that finds this binary as `secretfs`, and no other store.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let ours = |name: &str| name.starts_with("SECRETFS_") && name != "SECRETFS_LOG";
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(ours)) {
            command.env_remove(name);
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.join("bin")).chain(std::env::split_paths(&inherited));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
        if std::env::var_os("SECRETFS_LOG").is_none() {
            // The tour shows a failing file itself.
            command.env("SECRETFS_LOG", "error");
        }
        command.env_remove("CREDENTIALS_DIRECTORY").current_dir(&self.folder);
        command
    }

    fn colored(&self, code: &str, text: &str) -> String {
        output::colored(text, code, self.is_colored)
    }

    fn print(&self, text: &str) {
        // Who closes our stdout does not want the rest of the tour.
        if std::io::stdout().write_all(text.as_bytes()).is_err() {
            self.is_interrupted.store(true, Ordering::Relaxed);
        }
    }
}

/// What a terminal would have shown.
fn text(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(exit::CANNOT_CREATE, format!("cannot write {}: {error}", path.display()))
}
