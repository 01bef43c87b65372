//! A real mount: `secretfs mount` as a child process, ready when `start` returns, gone when dropped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::TestStore;

const PATIENCE: Duration = Duration::from_secs(20);

/// What shall be mounted.
pub struct TestMount {
    store: TestStore,
    has_config: bool,
    env: Vec<(String, String)>,
}

impl TestMount {
    pub fn new() -> Self {
        Self::on(TestStore::new())
    }

    pub fn on(store: TestStore) -> Self {
        for folder in ["templates", "mnt"] {
            fs::create_dir(store.folder().join(folder)).expect("a folder");
        }
        Self { store, has_config: false, env: Vec::new() }
    }

    pub fn folder(&self) -> &Path {
        self.store.folder()
    }

    pub fn store(&self) -> &TestStore {
        &self.store
    }

    #[track_caller]
    pub fn secret(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.store.set(name, value);
        self
    }

    /// A file below the template folder; its name keeps its `.tpl`.
    pub fn template(self, name: &str, text: impl AsRef<[u8]>) -> Self {
        write(&self.store.folder().join("templates").join(name), text.as_ref());
        self
    }

    /// Mounts by this `secretfs.yaml`; it lies beside `store`, `templates` and `mnt`.
    pub fn config(mut self, yaml: &str) -> Self {
        fs::write(self.folder().join("secretfs.yaml"), yaml).expect("a config");
        self.has_config = true;
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `secretfs` with this store, for who starts it in another way.
    pub fn command_of(&self, args: &[&str]) -> Command {
        self.store.command(args)
    }

    /// Mounts and waits until it answers.
    #[track_caller]
    pub fn start(self) -> Mounted {
        let mut command = self.command();
        let stderr = fs::File::create(self.store.folder().join("stderr")).expect("a file");
        command.stdout(Stdio::piped()).stderr(stderr);
        let mut child = command.spawn().expect("secretfs can be started");
        let stdout = child.stdout.take().expect("piped");
        let mut mounted = Mounted { store: self.store, child };
        if let Err(silence) = await_ready(stdout) {
            let status = mounted.stop();
            panic!("no ready line ({silence}), {status}; stderr:\n{}", mounted.stderr());
        }
        mounted
    }

    fn command(&self) -> Command {
        let mut command = match self.has_config {
            false => self.store.command(&["mount", "templates", "mnt"]),
            true => self.store.command(&["--config", "secretfs.yaml", "mount"]),
        };
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A running `secretfs mount`.
pub struct Mounted {
    store: TestStore,
    child: Child,
}

impl Mounted {
    pub fn store(&self) -> &TestStore {
        &self.store
    }

    pub fn point(&self) -> PathBuf {
        self.store.folder().join("mnt")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.point().join(name)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file's text; panics with the errno if it cannot be read.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    #[track_caller]
    pub fn errno(&self, name: &str) -> i32 {
        let error = fs::read(self.path(name)).expect_err("the read should fail");
        error.raw_os_error().expect("an errno")
    }

    /// Writes a template while the mount runs.
    pub fn template(&self, name: &str, text: impl AsRef<[u8]>) {
        write(&self.store.folder().join("templates").join(name), text.as_ref());
    }

    /// What it has said on stderr so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.store.folder().join("stderr")).unwrap_or_default()
    }

    /// Waits until its log has this text so often: it is written beside the answers.
    #[track_caller]
    pub fn await_log(&self, text: &str, times: usize) {
        let is_there = || self.stderr().matches(text).count() >= times;
        super::programmed::eventually(&format!("{times} times `{text}`; {}", self.stderr()), is_there);
    }

    /// Asks it to end as systemd does, and waits for it.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let _ = kill(self.kernel_pid(), Signal::SIGTERM);
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.abort();
        panic!("still running {PATIENCE:?} after SIGTERM; stderr:\n{}", self.stderr())
    }

    /// SIGKILL; what is left of its mount is taken away.
    pub fn abort(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = nix::mount::umount2(&self.point(), nix::mount::MntFlags::MNT_DETACH);
    }

    /// Waits for it to end by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// Mounts the same again, on the same place.
    #[track_caller]
    pub fn restart(mut self) -> Self {
        let stderr = fs::File::create(self.store.folder().join("stderr")).expect("a file");
        let mut command = self.store.command(&["mount", "templates", "mnt"]);
        self.child = command.stdout(Stdio::piped()).stderr(stderr).spawn().expect("secretfs can be started");
        let stdout = self.child.stdout.take().expect("piped");
        if let Err(silence) = await_ready(stdout) {
            panic!("no ready line ({silence}); stderr:\n{}", self.stderr());
        }
        self
    }

    fn kernel_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid fits"))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        if thread::panicking() {
            println!("stderr of the mount:\n{}", self.stderr());
            self.abort();
        } else {
            self.stop();
        }
    }
}

/// Until `secretfs: ready: …` is on its stdout. The rest of stdout is drained, so that it never blocks.
fn await_ready(stdout: ChildStdout) -> Result<(), mpsc::RecvTimeoutError> {
    let (ready, readiness) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.starts_with("secretfs: ready:") {
                let _ = ready.send(());
            }
        }
    });
    readiness.recv_timeout(PATIENCE)
}

fn write(path: &Path, text: &[u8]) {
    fs::create_dir_all(path.parent().expect("below a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// `check` finds nothing to say of these providers; the control has a letter too few in this key.
#[track_caller]
pub fn is_judged_good(config: &str, key: &str) {
    let judge = |config: &str| {
        let test = TestMount::new().template("f.tpl", "x");
        let mounts = "mounts: [{at: mnt, templates: templates}]\n";
        fs::write(test.folder().join("c.yaml"), format!("{config}{mounts}")).unwrap();
        let judged = test.command_of(&["--config", "c.yaml", "check"]).output().unwrap();
        (judged.status.code(), String::from_utf8_lossy(&judged.stderr).into_owned())
    };
    let (status, said) = judge(config);
    assert!(status == Some(0) && !said.contains("unknown key"), "{status:?} {said}\n{config}");
    let wrong = format!("{}{}", &key[..1], &key[2..]);
    let (status, said) = judge(&config.replace(key, &wrong));
    assert!(
        status != Some(0) && said.contains(wrong.trim_end_matches(':')),
        "the control: {status:?} {said}"
    );
}
