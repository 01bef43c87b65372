//! One fault from before it to after it: a daemon that asks the server through a proxy, a file with its secret, and a
//! file of the store's own beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ServerConfig;

use crate::common::http::get_unix;
use crate::common::{Daemon, TestDaemon, eventually, tool};
use crate::harness::{Authority, Fault, Proxy};
use crate::servers::Server;
use crate::trouble::{Bad, Trouble};

/// What a reader waits at most, by default, and what a busy machine takes beside it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);
pub(crate) const BUSY: Duration = Duration::from_secs(3);

pub(crate) struct Scene<'a, S> {
    server: &'a S,
    trouble: &'a Trouble,
    pub(crate) proxy: Proxy,
    certificates: Certificates,
    good: Arc<ServerConfig>,
    pub(crate) daemon: Daemon,
    credential: PathBuf,
    secret: String,
}

/// Whose certificates the proxy can show, and the name that the daemon asks for.
struct Certificates {
    ours: Authority,
    theirs: Authority,
}

/// What somebody met who read while it went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// `None`: it is told that there is no such secret, and reads the default.
    pub(crate) errno: Option<i32>,
    /// As the log and the figures call it; `None` if there was nothing to tell.
    pub(crate) kind: Option<String>,
}

const BEFORE: &str = "hunter2-before";
const AFTER: &str = "hunter2-after";
const NAMES: [&str; 2] = ["127.0.0.1", NAME];
const NAME: &str = "server.test";
/// The file that says where `NAME` is, for this daemon alone.
const HOSTS: &str = "hosts";

impl<'a, S: Server> Scene<'a, S> {
    /// With a secret of its own, of this number.
    pub(crate) fn of(server: &'a S, number: usize, trouble: &'a Trouble) -> Self {
        let cache = format!("cache: {{ttl: 1h, no_cache: [{}of-{number}]}}", S::ABOVE);
        Self::with_cache(server, number, trouble, &cache)
    }

    pub(crate) fn with_cache(server: &'a S, number: usize, trouble: &'a Trouble, cache: &str) -> Self {
        let secret = format!("of-{number}");
        let certificates = Certificates { ours: Authority::new("Ours"), theirs: Authority::new("Theirs") };
        let good = certificates.ours.server(&NAMES);
        let proxy = Proxy::before_with_tls(server.address(), good.config());
        let daemon = TestDaemon::new().secret("own", "own").template("own.tpl", "<< secrets.own >>");
        let credential = daemon.folder().join("credential");
        server.put(&secret, BEFORE);
        if !matches!(trouble, Trouble::NoCredential) {
            server.grant(&credential);
        }
        let ca = certificates.ours.file(daemon.folder());
        let (host, pin) = match trouble {
            Trouble::NoName => (NAME, String::new()),
            Trouble::Certificate(Bad::Unpinned) => ("127.0.0.1", format!(", pins: [{}]", good.pin)),
            _ => ("127.0.0.1", String::new()),
        };
        let provider = format!(
            "{}, address: 'https://{host}:{}', tls: {{ca: {}{pin}}}, timeout: 2s, {cache}",
            server.settings(&credential),
            proxy.address.port(),
            ca.display(),
        );
        let config =
            format!("providers: {{p: {{{provider}}}}}\nmounts: [{{at: mnt, templates: templates}}]\n");
        let file = format!("<< secret('p:{}{secret}') | default('d') >>", S::ABOVE);
        let daemon = daemon.template("f.tpl", file).config(&config);
        let hosts = daemon.folder().join(HOSTS);
        fs::write(&hosts, format!("127.0.0.1 {NAME}\n")).unwrap();
        let daemon = match trouble {
            Trouble::NoName => daemon.start_with(|command| with_hosts(command, &hosts)),
            _ => daemon.start(),
        };
        Self { server, trouble, proxy, certificates, good: good.config(), daemon, credential, secret }
    }

    /// It works, goes wrong, and works again.
    pub(crate) fn played(self, name: &str) -> Seen {
        // The first login of all is slow on a busy machine.
        if !matches!(self.trouble, Trouble::NoCredential) {
            eventually("the control", || (self.read("f").ok()? == BEFORE).then_some(()));
        }
        let before = self.daemon.stderr().len();
        self.go_wrong();
        let seen = self.met(name, before);
        let start = Instant::now();
        self.mend();
        self.server.put(&self.secret, AFTER);
        eventually(name, || match self.read("f") {
            Ok(text) if text == AFTER => Some(()),
            // Of a server that has just been mended.
            Ok(text) => {
                assert!(text == BEFORE || (seen.errno.is_none() && text == "d"), "{name}: {text}");
                None
            }
            Err(_) => None,
        });
        println!("{name}: {seen:?}, healed after {:.1?}", start.elapsed());
        let log = self.daemon.stderr();
        for canary in [BEFORE, AFTER, "31337"] {
            assert!(!log.contains(canary), "{name}: `{canary}` is in the log:\n{log}");
        }
        seen
    }

    /// Reads while it goes wrong. The other file is read all the time.
    fn met(&self, name: &str, before: usize) -> Seen {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let others = scope.spawn(|| {
                let mut read = 0;
                while !is_over.load(Ordering::SeqCst) || read == 0 {
                    assert_eq!(self.read("own").as_deref(), Ok("own"), "{name}: others are left alone");
                    read += 1;
                    thread::sleep(Duration::from_millis(20));
                }
                read
            });
            let start = Instant::now();
            let outcome = self.read("f");
            let took = start.elapsed();
            is_over.store(true, Ordering::SeqCst);
            let errno = match outcome {
                Ok(text) if text == "d" => None,
                outcome => Some(outcome.expect_err(name)),
            };
            assert!(took < DEADLINE + BUSY, "{name}: {took:?}");
            let others = others.join().unwrap();
            assert!(
                took < Duration::from_millis(1800) || others > 5,
                "{name}: {others} of others in {took:?}"
            );
            // The log is written beside the answers.
            let kind = match errno {
                Some(_) => Some(eventually(name, || told(&self.daemon, before))),
                None => told(&self.daemon, before),
            };
            Seen { errno, kind }
        })
    }

    fn go_wrong(&self) {
        match self.trouble {
            Trouble::Answers(fault) => self.proxy.set(fault.clone()),
            Trouble::Certificate(bad) => self.proxy.show(self.certificates.bad(*bad)),
            Trouble::NoName => fs::write(self.daemon.folder().join(HOSTS), "").unwrap(),
            Trouble::NoCredential => {}
            Trouble::Revoked => self.server.revoke(&self.credential),
            Trouble::Restarted => {
                self.server.stop();
                self.proxy.set(Fault::Refuse);
            }
            Trouble::Sealed => self.server.seal(),
        }
        // What has just been asked for is not asked for again at once.
        thread::sleep(Duration::from_millis(300));
    }

    fn mend(&self) {
        match self.trouble {
            Trouble::Answers(_) => self.proxy.mend(),
            Trouble::Certificate(_) => self.proxy.show(self.good.clone()),
            Trouble::NoName => {
                fs::write(self.daemon.folder().join(HOSTS), format!("127.0.0.1 {NAME}\n")).unwrap();
            }
            Trouble::NoCredential | Trouble::Revoked => self.server.grant(&self.credential),
            Trouble::Restarted => {
                self.server.start_again();
                self.proxy.mend();
            }
            Trouble::Sealed => self.server.unseal(),
        }
    }

    /// As whoever sees the mount.
    fn read(&self, name: &str) -> Result<String, i32> {
        if !matches!(self.trouble, Trouble::NoName) {
            return fs::read_to_string(self.daemon.path(name)).map_err(|error| error.raw_os_error().unwrap());
        }
        const READ: &str = "import sys\ntry: sys.stdout.write(open(sys.argv[1]).read())\nexcept OSError as e: sys.exit(e.errno)";
        let read = Command::new(tool("nsenter"))
            .args(["--mount", "--target", &self.daemon.pid().to_string(), "python3", "-c", READ])
            .arg(self.daemon.path(name))
            .output()
            .unwrap();
        match read.status.code() {
            Some(0) => Ok(String::from_utf8(read.stdout).unwrap()),
            code => Err(code.unwrap()),
        }
    }
}

impl Certificates {
    fn bad(&self, bad: Bad) -> Arc<ServerConfig> {
        match bad {
            Bad::Expired => self.ours.expired(&NAMES),
            Bad::NotYet => self.ours.not_yet(&NAMES),
            Bad::OtherName => self.ours.server(&["other.test"]),
            Bad::UnknownAuthority => self.theirs.server(&NAMES),
            Bad::Unpinned => self.ours.server(&NAMES),
        }
        .config()
    }
}

/// The first failure that is told after so much of the log, by the log and by the figures alike.
pub(crate) fn told(daemon: &Daemon, before: usize) -> Option<String> {
    let log = daemon.stderr();
    let kind = log[before..].lines().find_map(|line| {
        let rest = line.contains("provider=\"p\"").then(|| line.split_once(" kind=\""))??.1;
        rest.split('"').next().map(str::to_owned)
    })?;
    let figures = get_unix(&daemon.folder().join("run/control.sock"), "/metrics");
    let figure = format!("secretfs_provider_errors_total{{provider=\"p\",kind=\"{kind}\"}} ");
    assert!(figures.contains(&figure), "{figure} is not in\n{figures}");
    Some(kind)
}

/// The command, where this file is `/etc/hosts`.
fn with_hosts(command: &mut Command, hosts: &Path) {
    const RUN: &str = "mount --bind \"$1\" /etc/hosts && shift && exec \"$@\"";
    let mut within = Command::new(tool("unshare"));
    within.args(["--mount", "sh", "-c", RUN, "sh"]).arg(hosts);
    within.arg(command.get_program()).args(command.get_args());
    within.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        within.current_dir(folder);
    }
    let output = fs::File::create(hosts.with_file_name("output")).unwrap();
    let stderr = fs::File::options().create(true).append(true).open(hosts.with_file_name("stderr")).unwrap();
    *command = within;
    command.stdout(output).stderr(stderr);
}
