//! Processes that serve one mount after each other, and the test that holds its descriptors as
//! the daemon's holder does. What they render is made of one number, which the test turns.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::mount::{MntFlags, umount2};
use secretfs::broker::{Broker, Environment};
use secretfs::fs::tree::{Layout, Spec};
use secretfs::fs::{SecretFs, mountpoint, session};
use secretfs::ledger::Ledger;
use secretfs::policy::{Door, Ownership, Policy};
use secretfs::provider::{AsOf, Batch, BoxFuture, Changes, Provider, ProviderError, Pulse};
use secretfs::resolver::Resolver;
use secretfs::secret::{FieldName, SecretBytes, SecretKey, SecretType, SecretVersion};
use secretfs::template::Syntax;

const ORDER: &str = "SECRETFS_TEST_SERVER";
/// The test that is the server, in a process of its own.
const SERVER: &str = "serve";
/// How long the file `slow` takes to render.
pub(crate) const SLOW: Duration = Duration::from_millis(400);

/// What a mount consists of when nobody serves it.
pub(crate) struct Held {
    folder: tempfile::TempDir,
    device: OwnedFd,
    ledger: Option<OwnedFd>,
    number: File,
    /// Who the servers are.
    user: u32,
    _guard: Server,
}

/// A process that serves it.
pub(crate) struct Server(Child);

/// A process that waits for the one before to end.
pub(crate) struct Prepared {
    server: Server,
    said: BufReader<ChildStdout>,
}

impl Held {
    /// Mounts files that show the number, and `slow`, which takes its time for that.
    pub(crate) fn new(ledger: Option<&Ledger>, files: usize) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("chmod");
        for name in ["templates", "templates/below", "mnt"] {
            fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let template = |name: &str, text: &str| fs::write(folder.path().join("templates").join(name), text);
        for file in 0..files {
            template(&format!("f{file}.tpl"), "<< secrets.a >>|<< secrets.b >>").expect("a template");
        }
        template("below/f.tpl", "<< secrets.a >>|<< secrets.b >>").expect("a template");
        template("slow.tpl", "<< secrets.slow >>|<< secrets.a >>").expect("a template");
        let number =
            File::options().read(true).write(true).create_new(true).open(folder.path().join("number"));
        let number = number.expect("a file");
        number.write_all_at(&1u64.to_ne_bytes(), 0).expect("written");
        let device = mountpoint::mount_direct(&folder.path().join("mnt")).expect("root mounts");
        let guard = guard(&folder.path().join("mnt"));
        let ledger =
            ledger.and_then(Ledger::descriptor).map(|it| it.try_clone_to_owned().expect("a descriptor"));
        Self { folder, device, ledger, number, user: 0, _guard: guard }
    }

    /// Served by a user who may do nothing that others may not.
    pub(crate) fn by(mut self, user: u32) -> Self {
        let owner = format!("{user}:{user}");
        let mut chown = Command::new("chown");
        chown.args(["-R", &owner, "number", "templates"]).current_dir(self.folder.path());
        assert!(chown.status().expect("chown").success());
        self.user = user;
        self
    }

    pub(crate) fn device(&self) -> &OwnedFd {
        &self.device
    }

    /// What no server has in its hands any more.
    pub(crate) fn ledger(&self) -> Ledger {
        Ledger::adopt(self.ledger.as_ref().and_then(|it| it.try_clone().ok()).expect("a ledger"))
            .expect("adopted")
    }

    /// The memory behind it.
    pub(crate) fn kept_bytes(&self) -> u64 {
        nix::sys::stat::fstat(self.ledger.as_ref().expect("a ledger")).expect("fstat").st_blocks as u64 * 512
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("mnt").join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn number(&self) -> u64 {
        read_number(&self.number)
    }

    pub(crate) fn turn(&self) {
        self.number.write_all_at(&(self.number() + 1).to_ne_bytes(), 0).expect("written");
    }

    /// The first process, or the next after one that has ended.
    pub(crate) fn serve(&self, how: &str) -> Server {
        self.try_serve(how).expect("the server cannot begin")
    }

    pub(crate) fn try_serve(&self, how: &str) -> Option<Server> {
        self.prepare(how).go()
    }

    /// Before the one before is ended: while nobody serves, a reader's mapping that waits can keep
    /// this whole process from starting another.
    pub(crate) fn prepare(&self, how: &str) -> Prepared {
        let device = self.device.try_clone().expect("a descriptor");
        let ledger = self.ledger.as_ref().map(|it| it.try_clone().expect("a descriptor"));
        let given = |it: &OwnedFd| it.as_raw_fd().to_string();
        let order = [
            how.to_owned(),
            given(&device),
            ledger.as_ref().map_or("-1".to_owned(), given),
            self.user.to_string(),
            self.folder.path().display().to_string(),
        ];
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", SERVER, "--ignored", "--nocapture"]).env(ORDER, order.join(":"));
        // SAFETY: fcntl(2) is safe after fork, and the descriptors are open until the exec.
        unsafe {
            command.pre_exec(move || {
                for descriptor in [Some(&device), ledger.as_ref()].into_iter().flatten() {
                    fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
                }
                Ok(())
            })
        };
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this program can be started again");
        let said = BufReader::new(child.stdout.take().expect("piped"));
        let mut prepared = Prepared { server: Server(child), said };
        assert!(prepared.says("it is ready"));
        prepared
    }

    /// Ends the mount with all who wait for it.
    pub(crate) fn abort(&self) {
        let at = self.path("");
        let _ = umount2(&at, MntFlags::MNT_FORCE);
        let _ = umount2(&at, MntFlags::MNT_DETACH);
    }
}

impl Prepared {
    pub(crate) fn go(mut self) -> Option<Server> {
        let mut stdin = self.server.0.stdin.take().expect("piped");
        stdin.write_all(b"go\n").expect("it waits for that");
        self.says("it serves").then_some(self.server)
    }

    fn says(&mut self, words: &str) -> bool {
        self.said.by_ref().lines().map_while(Result::ok).any(|line| line.ends_with(words))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.abort();
    }
}

impl Server {
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// SIGKILL, and gone.
    pub(crate) fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

/// Ends the mount when this thread ends, however that comes: a process that has the device and
/// waits for its own mount cannot be killed.
fn guard(at: &Path) -> Server {
    let script = "trap 'umount -f \"$0\"; umount -l \"$0\"; exit' TERM; while :; do sleep 0.2; done";
    let mut guard = Command::new("sh");
    guard.args(["-c", script]).arg(at).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: prctl(2) with two integers is safe after fork.
    unsafe {
        guard.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    Server(guard.spawn().expect("a shell"))
}

/// The other side of [`Held::serve`]: serves until it is killed.
pub(crate) fn serve() {
    let order = std::env::var(ORDER).expect("only to be run by the tests that need it");
    let words: Vec<&str> = order.splitn(5, ':').collect();
    let descriptor = |word: &str| word.parse().ok().filter(|it| *it >= 0);
    // SAFETY: these are ours alone, given by the process that started this one.
    let own = |it: i32| unsafe { OwnedFd::from_raw_fd(it) };
    let device = own(descriptor(words[1]).expect("a device"));
    let folder = Path::new(words[4]);
    let user = nix::unistd::Uid::from_raw(words[3].parse().expect("a uid"));
    nix::unistd::setresuid(user, user, user).expect("setresuid");
    let pool = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    let fs = filesystem(folder);
    println!("it is ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let ledger =
        descriptor(words[2]).map_or_else(Ledger::none, |it| Ledger::adopt(own(it)).expect("adopted"));
    // Nobody reads what is said here.
    let ended = |_| ();
    let serving = match words[0] {
        "first" => session::serve(fs, &ledger, device, pool.handle().clone(), ended),
        "next" => session::resume(fs, &ledger, device, pool.handle().clone(), ended),
        other => panic!("{other}"),
    };
    let serving = serving.expect("it can be served");
    println!("it serves");
    std::io::stdout().flush().unwrap();
    serving.join().unwrap();
}

fn filesystem(folder: &Path) -> Arc<SecretFs> {
    let number = File::open(folder.join("number")).expect("it is there");
    let resolver = Resolver::of([("turning", Arc::new(Turning(number)) as Arc<dyn Provider>)]);
    let salt = SecretBytes::copy_of(&[0; 32]);
    let broker = Broker::new(Policy::by_mode(), resolver, salt, Environment::Only(Default::default()));
    let spec = Spec {
        ownership: Ownership { uid: 0, gid: 0, mode: 0o444 },
        rules: None,
        format: None,
        dialect: None,
        syntax: Syntax::Angle,
        verify: true,
        set: None,
        deadline: Duration::from_secs(5),
        on_change: None,
    };
    let folders = Ownership { uid: 0, gid: 0, mode: 0o555 };
    let (at, templates) = (folder.join("mount"), Some(folder.join("templates")));
    let spelled = at.clone();
    let layout = Layout { at, spelled, door: Door::Mount, templates, spec, files: BTreeMap::new(), folders };
    SecretFs::new(Arc::new(broker), layout).expect("the templates can be read")
}

fn read_number(file: &File) -> u64 {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, 0).expect("the number is there");
    u64::from_ne_bytes(bytes)
}

/// A value that tells its number and has a length of its own.
pub(crate) fn value(number: u64) -> String {
    format!("{number}{}", ".".repeat(number as usize * 37 % 5_000))
}

pub(crate) fn text(number: u64) -> String {
    format!("{}|{}", value(number), value(number))
}

/// Every secret has the value of the number as it is now.
struct Turning(File);

impl Provider for Turning {
    fn fetch<'a>(&'a self, keys: &'a [SecretKey]) -> BoxFuture<'a, Result<Batch, ProviderError>> {
        Box::pin(async move {
            if keys.iter().any(|key| key.path == "slow") {
                tokio::time::sleep(SLOW).await;
            }
            let number = read_number(&self.0);
            let at = jiff::Timestamp::from_second(1_700_000_000 + number as i64).unwrap();
            let answer = || {
                Ok(Arc::new(SecretVersion {
                    turned_out: None,
                    kind: SecretType::Plain,
                    fields: BTreeMap::from([(
                        FieldName::value(),
                        SecretBytes::copy_of(value(number).as_bytes()),
                    )]),
                    version: number,
                    created_at: at,
                    updated_at: at,
                    expires_at: None,
                    uses: None,
                }))
            };
            Ok(Batch { answers: keys.iter().map(|_| answer()).collect(), as_of: AsOf::moment(number) })
        })
    }

    fn names(&self) -> BoxFuture<'_, Result<Vec<String>, ProviderError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn health(&self) -> BoxFuture<'_, Result<(), ProviderError>> {
        Box::pin(async { Ok(()) })
    }

    fn changes(&self) -> Option<&dyn Changes> {
        Some(self)
    }
}

impl Changes for Turning {
    fn pulse(&self) -> Pulse {
        Pulse::Still(read_number(&self.0))
    }

    fn unchanged<'a>(
        &'a self,
        _: &'a [SecretKey],
        since: u64,
    ) -> BoxFuture<'a, Result<Option<AsOf>, ProviderError>> {
        Box::pin(async move { Ok((read_number(&self.0) == since).then_some(AsOf::moment(since))) })
    }
}
