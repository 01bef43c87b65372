//! A real daemon: `secretfs daemon` as a child process, ready when `start` returns, gone when
//! dropped; what can happen to it; and readers that count what fails meanwhile.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Manager, TestStore};

const PATIENCE: Duration = Duration::from_secs(20);

/// What shall be served.
pub struct TestDaemon {
    store: TestStore,
    config: String,
    env: Vec<(String, String)>,
}

/// A running daemon.
pub struct Daemon {
    store: TestStore,
    child: Child,
    env: Vec<(String, String)>,
}

impl TestDaemon {
    /// One mount: `templates` at `mnt`.
    pub fn new() -> Self {
        Self::on(TestStore::new())
    }

    pub fn on(store: TestStore) -> Self {
        for folder in ["templates", "mnt"] {
            fs::create_dir_all(store.folder().join(folder)).expect("a folder");
        }
        fs::DirBuilder::new().mode(0o700).create(store.folder().join("run")).expect("a folder");
        for folder in ["templates", "mnt", "run"] {
            chown(store.folder().join(folder), store.user(), store.user()).expect("chown");
        }
        let config = "mounts:\n- {at: mnt, templates: templates}\n".to_owned();
        Self { store, config, env: Vec::new() }
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
        write(&self.folder().join("templates").join(name), text.as_ref());
        self
    }

    /// Serves what this config says; it lies beside `store`, `templates` and `mnt`. Its control
    /// socket is `run/control.sock`, unless the text says otherwise.
    pub fn config(mut self, yaml: &str) -> Self {
        self.config = yaml.to_owned();
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Tells this manager how it is.
    pub fn of(self, manager: &Manager) -> Self {
        let socket = manager.socket();
        self.env("NOTIFY_SOCKET", socket.to_str().expect("UTF-8"))
    }

    /// Starts it and waits until all mounts answer.
    #[track_caller]
    pub fn start(self) -> Daemon {
        self.start_with(|_| {})
    }

    /// The same, started in a way of one's own.
    #[track_caller]
    pub fn start_with(self, change: impl FnOnce(&mut Command)) -> Daemon {
        let output = fs::File::create(self.folder().join("output")).expect("a file");
        let mut command = self.command();
        change(command.stdout(output));
        let child = command.spawn().expect("secretfs can be started");
        let mut daemon = Daemon { store: self.store, child, env: self.env };
        daemon.await_ready();
        daemon
    }

    /// Starts it, with a first worker that is stopped for this long before it is prepared.
    #[track_caller]
    pub fn start_slowly(self, pause: Duration) -> Daemon {
        let output = fs::File::create(self.folder().join("output")).expect("a file");
        let child = self.command().stdout(output).spawn().expect("secretfs can be started");
        let mut daemon = Daemon { store: self.store, child, env: self.env };
        let worker = raw(daemon.worker_pid());
        kill(worker, Signal::SIGSTOP).expect("it runs");
        thread::sleep(pause);
        assert!(!daemon.stderr().contains("the worker serves"), "it was stopped too late");
        kill(worker, Signal::SIGCONT).expect("it is there");
        daemon.await_ready();
        daemon
    }

    /// Starts it and waits until a worker serves, which may lack what the config waits for.
    #[track_caller]
    pub fn start_unready(self) -> Daemon {
        let child = self.command().stdout(Stdio::null()).spawn().expect("secretfs can be started");
        let daemon = Daemon { store: self.store, child, env: self.env };
        daemon.await_log("the worker serves", 1);
        daemon
    }

    /// Starts one that shall be refused, and waits for its end.
    #[track_caller]
    pub fn refused(self) -> Output {
        let mut command = self.command();
        command.stderr(Stdio::piped()).output().expect("secretfs can be started")
    }

    fn command(&self) -> Command {
        fs::write(self.folder().join("secretfs.yaml"), with_socket(&self.config)).expect("a config");
        command(&self.store, &self.env)
    }
}

/// `secretfs daemon` in this store's folder.
fn command(store: &TestStore, env: &[(String, String)]) -> Command {
    let mut command = store.command(&["--config", "secretfs.yaml", "daemon"]);
    command.envs(env.iter().map(|(name, value)| (name, value))).stderr(stderr_of(store));
    command
}

fn stderr_of(store: &TestStore) -> fs::File {
    let stderr = fs::File::options().create(true).append(true).open(store.folder().join("stderr"));
    stderr.expect("a file")
}

fn with_socket(config: &str) -> String {
    match config.contains("control:") {
        true => config.to_owned(),
        false => format!("control: {{socket: run/control.sock}}\n{config}"),
    }
}

impl Daemon {
    pub fn store(&self) -> &TestStore {
        &self.store
    }

    pub fn folder(&self) -> &Path {
        self.store.folder()
    }

    /// A file of the mount at `mnt`.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join("mnt").join(name)
    }

    /// The file's text; panics with the errno if it cannot be read.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}\n{}", self.stderr()))
    }

    #[track_caller]
    pub fn errno(&self, name: &str) -> i32 {
        let error = fs::read(self.path(name)).expect_err("the read should fail");
        error.raw_os_error().expect("an errno")
    }

    /// Writes a template while the daemon runs.
    pub fn template(&self, name: &str, text: impl AsRef<[u8]>) {
        write(&self.folder().join("templates").join(name), text.as_ref());
    }

    /// Writes the config while the daemon runs, which does not reload it yet.
    pub fn config(&self, yaml: &str) {
        fs::write(self.folder().join("secretfs.yaml"), with_socket(yaml)).expect("a config");
    }

    /// `secretfs` with the daemon's store and config.
    pub fn run(&self, args: &[&str]) -> Output {
        self.store.run(&[&["--config", "secretfs.yaml"], args].concat())
    }

    /// What holder and workers have said on stderr so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.folder().join("stderr")).unwrap_or_default()
    }

    /// The holder.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(raw(self.pid()), signal).expect("the daemon runs");
    }

    /// The workers of this moment: one, but for a take-over.
    pub fn workers(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = fs::read_to_string(path).unwrap_or_default();
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        pids.filter(|pid| is_worker(*pid)).collect()
    }

    #[track_caller]
    pub fn worker_pid(&self) -> u32 {
        eventually("a worker", || self.workers().first().copied())
    }

    /// Kills the worker and waits for the next one, which may not serve yet.
    #[track_caller]
    pub fn kill_worker(&self) -> u32 {
        let old = self.worker_pid();
        kill(raw(old), Signal::SIGKILL).expect("the worker runs");
        eventually("another worker", || self.workers().into_iter().find(|pid| *pid != old))
    }

    /// Waits until its log has this text so often.
    #[track_caller]
    pub fn await_log(&self, text: &str, times: usize) {
        let count = || self.stderr().matches(text).count();
        eventually(&format!("{times} times `{text}`"), || (count() >= times).then_some(()));
    }

    /// Reads these files of `mnt` over and over, in as many threads, until it is told to stop.
    /// Each content must be one that `is_right`.
    pub fn readers(
        &self,
        threads: usize,
        names: &[&str],
        is_right: impl Fn(&str, &[u8]) -> bool + Clone + Send + 'static,
    ) -> Readers {
        let files: Vec<_> = names.iter().map(|name| ((*name).to_owned(), self.path(name))).collect();
        Readers::start(threads, &files, is_right)
    }

    /// Asks it to end as systemd does, and waits for it.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        let _ = kill(raw(self.pid()), Signal::SIGTERM);
        match self.await_end() {
            Some(status) => status,
            None => {
                self.abort();
                panic!("still running {PATIENCE:?} after SIGTERM; stderr:\n{}", self.stderr())
            }
        }
    }

    /// SIGKILL to the holder, whose worker ends with it; the dead mounts stay.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts the same again, after its end.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_as(command(&self.store, &self.env));
    }

    /// The same with what the manager has kept.
    #[track_caller]
    pub fn start_again_by(&mut self, manager: &Manager) {
        self.start_as(manager.start(&command(&self.store, &self.env), self.store.user()));
    }

    #[track_caller]
    fn start_as(&mut self, mut command: Command) {
        let output = fs::File::create(self.folder().join("output")).expect("a file");
        command.stdout(output).stderr(stderr_of(&self.store));
        self.child = command.spawn().expect("secretfs can be started");
        self.await_ready();
    }

    /// Asks it to end as a manager does that is about to start it again.
    #[track_caller]
    pub fn leave(&mut self) -> ExitStatus {
        self.signal(Signal::SIGUSR1);
        self.await_end().expect("it ends at once")
    }

    /// SIGKILL; what is left of its mounts is taken away.
    pub fn abort(&mut self) {
        self.kill();
        for at in self.mounts() {
            let _ = umount2(&at, MntFlags::MNT_DETACH);
        }
    }

    /// The places below our folder where something is mounted.
    pub fn mounts(&self) -> BTreeSet<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
        let places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        places.filter(|at| at.starts_with(self.folder())).collect()
    }

    fn await_end(&mut self) -> Option<ExitStatus> {
        let patience = Instant::now() + PATIENCE;
        while Instant::now() < patience {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    #[track_caller]
    fn await_ready(&mut self) {
        let patience = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(self.folder().join("output")).unwrap_or_default();
            if said.contains("secretfs: ready") {
                return;
            }
            let ended = self.child.try_wait().expect("our child");
            if ended.is_some() || Instant::now() > patience {
                self.abort();
                panic!("not ready ({ended:?}); stderr:\n{}", self.stderr());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("stderr of the daemon:\n{}", self.stderr());
            self.abort();
        } else if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.stop();
        } else {
            self.abort();
        }
    }
}

/// Threads that read until they are told to stop.
pub struct Readers {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What they have seen.
#[derive(Debug, Default)]
pub struct Tally {
    pub reads: usize,
    /// An errno, or the wrong content, each with its file.
    pub failures: Vec<String>,
    /// From the open to the end of the read.
    pub longest: Duration,
}

impl Readers {
    pub fn start(
        threads: usize,
        files: &[(String, PathBuf)],
        is_right: impl Fn(&str, &[u8]) -> bool + Clone + Send + 'static,
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let reader = |_| {
            let (is_over, files, is_right) = (is_over.clone(), files.to_vec(), is_right.clone());
            thread::spawn(move || {
                let mut tally = Tally::default();
                while !is_over.load(Ordering::Relaxed) {
                    files.iter().for_each(|(name, path)| tally.read(name, path, &is_right));
                }
                tally
            })
        };
        let threads = (0..threads).map(reader).collect();
        Self { is_over, threads }
    }

    pub fn stop(self) -> Tally {
        self.is_over.store(true, Ordering::Relaxed);
        let tallies = self.threads.into_iter().map(|thread| thread.join().expect("no reader panics"));
        tallies.fold(Tally::default(), Tally::and)
    }
}

impl Tally {
    fn read(&mut self, name: &str, path: &Path, is_right: &impl Fn(&str, &[u8]) -> bool) {
        let start = Instant::now();
        let outcome = fs::read(path);
        self.longest = self.longest.max(start.elapsed());
        self.reads += 1;
        match outcome {
            Ok(bytes) if is_right(name, &bytes) => {}
            Ok(bytes) => self.failures.push(format!("{name}: {:?}", String::from_utf8_lossy(&bytes))),
            Err(error) => self.failures.push(format!("{name}: {error}")),
        }
    }

    fn and(mut self, other: Self) -> Self {
        self.failures.extend(other.failures);
        Self { reads: self.reads + other.reads, longest: self.longest.max(other.longest), ..self }
    }

    /// No read failed, and there were some.
    #[track_caller]
    pub fn expect_clean(&self) -> &Self {
        let few: Vec<_> = self.failures.iter().take(10).collect();
        assert!(self.failures.is_empty(), "{} of {} failed: {few:?}", self.failures.len(), self.reads);
        assert!(self.reads > 0, "nothing was read");
        self
    }
}

/// The first answer that there is, within our patience.
#[track_caller]
pub fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let patience = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < patience, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn is_worker(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"\0--worker\0"))
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("a pid fits"))
}

fn write(path: &Path, text: &[u8]) {
    fs::create_dir_all(path.parent().expect("below a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}
