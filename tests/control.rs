//! The control socket: who may ask, where it may lie, what is told to whom, and what the commands
//! make of it. The daemon behind it is a stand-in; `tests/daemon_control.rs` asks the real one.

mod common;

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{STRANGER, TestStore, stdout_of};
use jiff::Timestamp;
use secretfs::caller::Caller;
use secretfs::control::wire::{
    Explained, Held, Mount, Outcome, Provider, Reader, Readiness, Reference, Reloaded, Status, Synced,
    SyncedProvider, View,
};
use secretfs::control::{BindError, Daemon, Kind, Refused, Server, socket};
use secretfs::provider::BoxFuture;
use tempfile::TempDir;

/// A folder like that of a daemon.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    folder
}

#[derive(Default)]
struct StandIn {
    is_ready: AtomicBool,
    hangs: bool,
}

impl Daemon for StandIn {
    fn status(&self) -> BoxFuture<'_, Status> {
        Box::pin(async {
            Status {
                version: "0.1.0".into(),
                config: Some("/etc/secretfs/config.yaml".into()),
                generation: 3,
                holder: Some(10),
                worker: 11,
                worker_starts: 2,
                upgrades: 0,
                started_at: Timestamp::UNIX_EPOCH,
                worker_started_at: Timestamp::UNIX_EPOCH,
                memory_is_locked: false,
                keys: "locked".to_owned(),
                can_resume: true,
                identity: Default::default(),
                audit: Default::default(),
                readiness: self.readiness(),
                mounts: vec![Mount {
                    at: "/run/app".into(),
                    files: 2,
                    nodes: 3,
                    handles: 1,
                    readers: 1,
                    stale_readers: 1,
                }],
                providers: vec![Provider {
                    name: "store".into(),
                    problem: Some("sealed".into()),
                    breaker: None,
                    stale_seconds: None,
                }],
                last_reload: None,
            }
        })
    }

    fn readiness(&self) -> Readiness {
        let ready = self.is_ready.load(Ordering::Relaxed);
        Readiness { ready, lacks: if ready { vec![] } else { vec!["the secret db-password".into()] } }
    }

    fn reload(&self) -> BoxFuture<'_, Result<Reloaded, Refused>> {
        Box::pin(async {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            Err(Refused::new(Kind::Invalid, "config.yaml:3:1: unknown key `mnts`")
                .hint("did you mean `mounts`?"))
        })
    }

    fn sync<'a>(&'a self, _: Caller, providers: &'a [String]) -> BoxFuture<'a, Result<Synced, Refused>> {
        Box::pin(async move {
            let synced = |name: &String| SyncedProvider {
                name: name.clone(),
                asked: 3,
                changed: 1,
                failed: 1,
                problem: Some("no answer".to_owned()),
            };
            Ok(Synced { providers: providers.iter().map(synced).collect() })
        })
    }

    fn upgrade(&self) -> BoxFuture<'_, Result<(), Refused>> {
        Box::pin(async { Err(Refused::new(Kind::Unavailable, "the new worker ended: no such file")) })
    }

    fn readers(&self) -> BoxFuture<'_, Vec<Reader>> {
        let reader = |pid, stale, held| Reader {
            pid,
            uid: 0,
            unit: Some("nginx.service".into()),
            exe: None,
            file: "/run/app/key.pem".into(),
            opened_at: Timestamp::UNIX_EPOCH,
            stale: Some(stale),
            references: vec![Held { reference: "tls".into(), held: Some(held), current: Some(2) }],
            reaction: None,
        };
        Box::pin(async move { vec![reader(20, true, 1), reader(21, false, 2)] })
    }

    fn explain<'a>(&'a self, file: &'a Path) -> BoxFuture<'a, Result<Explained, Refused>> {
        let file = file.to_owned();
        Box::pin(async move {
            if !file.starts_with("/run/app") {
                let problem = format!("{} is in no mount of the daemon", file.display());
                return Err(Refused::new(Kind::NotFound, problem));
            }
            let outcome = Outcome {
                errno: Some("ENOKEY".into()),
                reason: Some("there is no such secret".into()),
                size: None,
            };
            Ok(Explained {
                file,
                mount: "/run/app".into(),
                template: "/etc/secretfs/key.pem.tpl".into(),
                format: "text".into(),
                uid: 0,
                gid: 0,
                mode: "0400".into(),
                has_rules: false,
                set: None,
                on_change: None,
                outcome: outcome.clone(),
                references: vec![Reference {
                    reference: "tls".into(),
                    provider: "store".into(),
                    version: None,
                }],
                views: vec![View { view: "everybody".into(), handles: 0, outcome }],
                readers: 0,
                stale_readers: 0,
                reaction: None,
            })
        })
    }

    fn measure(&self) {
        secretfs::metrics::get().mounts.set(1);
    }
}

struct Running {
    folder: TempDir,
    store: TestStore,
    daemon: Arc<StandIn>,
    _server: Server,
}

impl Running {
    fn start(loopback: Option<SocketAddr>) -> Self {
        Self::of(StandIn::default(), loopback)
    }

    fn of(daemon: StandIn, loopback: Option<SocketAddr>) -> Self {
        let (folder, daemon) = (folder(), Arc::new(daemon));
        let listener = socket::bind(&folder.path().join("control.sock")).unwrap();
        let server = Server::start(listener, loopback, daemon.clone()).unwrap();
        Self { folder, store: TestStore::new(), daemon, _server: server }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    fn run(&self, args: &[&str]) -> Output {
        let socket = self.socket();
        self.store.run(&[args, &["--socket", socket.to_str().unwrap()]].concat())
    }

    fn ask(&self, line: &str) -> String {
        exchange(UnixStream::connect(self.socket()).unwrap(), line)
    }
}

fn exchange(mut stream: impl Read + Write, line: &str) -> String {
    write!(stream, "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[track_caller]
fn connected(address: SocketAddr) -> TcpStream {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => return stream,
            Err(error) => assert!(Instant::now() < patience, "{error}"),
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_socket_is_its_users_alone() {
    let daemon = Running::start(None);
    let meta = fs::metadata(daemon.socket()).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o600);
    assert!(daemon.ask("GET /healthz").ends_with("ok\n"));
    // As anybody, by a mode that somebody has opened: the connection ends without a word.
    fs::set_permissions(daemon.socket(), Permissions::from_mode(0o666)).unwrap();
    let ask = format!("curl -s --unix-socket {} http://a/healthz", daemon.socket().display());
    let mut curl = std::process::Command::new("sh");
    common::tool("curl");
    let stranger = curl.args(["-c", &ask]).uid(STRANGER).gid(STRANGER).output().unwrap();
    assert_eq!((stranger.status.success(), stdout_raw(&stranger).as_str()), (false, ""));
    let root = std::process::Command::new("sh").args(["-c", &ask]).output().unwrap();
    assert_eq!(stdout_raw(&root), "ok\n", "the same by root is answered");
    assert!(secretfs::metrics::get().control_refused.get() > 0);
}

fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout_raw(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn what_a_dead_daemon_left_is_replaced() {
    let folder = folder();
    let path = folder.path().join("control.sock");
    drop(socket::bind(&path).unwrap());
    assert!(path.symlink_metadata().unwrap().file_type().is_socket(), "a dead daemon leaves its socket");
    let listener = socket::bind(&path).unwrap();
    assert!(matches!(socket::bind(&path), Err(BindError::Taken(_))), "one that answers is not replaced");
    UnixStream::connect(&path).unwrap();
    assert!(matches!(socket::remove(&path), Err(BindError::Taken(_))));
    drop(listener);
    socket::remove(&path).unwrap();
    assert!(!path.exists());
}

/// Anybody may open the folder, and hold a lock on it for good.
#[test]
fn nobody_else_can_hold_the_daemon_up() {
    let folder = folder();
    let path = folder.path().join("control.sock");
    let held = fs::File::open(folder.path()).unwrap();
    held.lock().unwrap();
    let start = Instant::now();
    drop(socket::bind(&path).unwrap());
    assert!(start.elapsed() < Duration::from_secs(2));
    let lock = folder.path().join("control.sock.lock");
    assert_eq!(lock.metadata().unwrap().mode() & 0o777, 0o600);
    // One that root holds is waited for, but not for good.
    let held = fs::File::open(&lock).unwrap();
    held.lock().unwrap();
    let refused = socket::bind(&path).unwrap_err();
    assert!(matches!(refused, BindError::Locked(ref it) if *it == lock), "{refused}");
}

#[test]
fn what_is_not_ours_is_refused_and_stays() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("file"), "x").unwrap();
    fs::create_dir(at("folder")).unwrap();
    drop(UnixListener::bind(at("foreign")).unwrap());
    chown(at("foreign"), Some(STRANGER), Some(STRANGER)).unwrap();
    drop(UnixListener::bind(at("own")).unwrap());
    symlink("own", at("link")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    for name in ["file", "folder", "link", "dangling"] {
        let refused = socket::bind(&at(name));
        assert!(matches!(refused, Err(BindError::NotASocket { .. })), "{name}: {refused:?}");
        assert!(at(name).symlink_metadata().is_ok(), "{name} stays");
    }
    let refused = socket::bind(&at("foreign"));
    assert!(matches!(refused, Err(BindError::Foreign { uid: STRANGER, .. })), "{refused:?}");
    assert!(at("foreign").exists() && at("own").exists());
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let folder = folder();
    let path = folder.path().join("control.sock");
    for (mode, is_fit) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
        fs::set_permissions(folder.path(), Permissions::from_mode(mode)).unwrap();
        match socket::bind(&path) {
            Ok(_) => assert!(is_fit, "{mode:o}"),
            Err(BindError::Folder(_)) => assert!(!is_fit, "{mode:o}"),
            Err(error) => panic!("{mode:o}: {error}"),
        }
    }
    let missing = folder.path().join("new/control.sock");
    socket::bind(&missing).unwrap();
    fs::DirBuilder::new().mode(0o700).create(folder.path().join("theirs")).unwrap();
    chown(folder.path().join("theirs"), Some(STRANGER), None).unwrap();
    assert!(matches!(socket::bind(&folder.path().join("theirs/c.sock")), Err(BindError::Folder(_))));
}

#[test]
fn the_loopback_address_tells_figures_and_health_only() {
    let address = free_address();
    let daemon = Running::start(Some(address));
    let get = |target: &str| exchange(connected(address), &format!("GET {target}"));
    assert!(get("/healthz").contains("200 OK"));
    let figures = get("/metrics");
    assert!(figures.contains("secretfs_mounts 1") && figures.ends_with("# EOF\n"), "{figures}");
    assert!(figures.contains("content-type: application/openmetrics-text"), "{figures}");
    let unready = get("/readyz");
    assert!(unready.contains("503") && !unready.contains("db-password"), "{unready}");
    assert!(daemon.ask("GET /readyz").contains("db-password"), "who may ask for all is told why");
    daemon.daemon.is_ready.store(true, Ordering::Relaxed);
    assert!(get("/readyz").contains("200 OK"));
    for target in ["/status", "/readers", "/explain?file=/run/app/key.pem"] {
        assert!(get(target).contains("404"), "{target}");
        assert!(daemon.ask(&format!("GET {target}")).contains("200 OK"), "{target}");
    }
    assert!(exchange(connected(address), "POST /reload").contains("404"));
}

#[test]
fn only_a_loopback_address_is_listened_on() {
    let port = free_address().port();
    let _daemon = Running::start(Some(SocketAddr::from(([0, 0, 0, 0], port))));
    thread::sleep(Duration::from_millis(300));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn an_address_that_a_predecessor_still_has_is_waited_for() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let daemon = Running::start(Some(address));
    assert!(daemon.ask("GET /healthz").contains("200 OK"), "the socket does not wait for it");
    drop(held);
    assert!(exchange(connected(address), "GET /healthz").contains("200 OK"));
}

/// Idle connections and one request that is never answered: others are served.
#[test]
fn nobody_can_use_up_the_connections_for_long() {
    let address = free_address();
    let daemon = Running::of(StandIn { hangs: true, ..StandIn::default() }, Some(address));
    let idle: Vec<_> = (0..80).map(|_| connected(address)).collect();
    let hanging = UnixStream::connect(daemon.socket()).unwrap();
    write!(&hanging, "POST /reload HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    assert!(daemon.ask("GET /healthz").contains("200 OK"));
    let own = fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(own < 80 + 2 * 40 + 60, "{own} descriptors");
    let start = Instant::now();
    assert!(exchange(connected(address), "GET /healthz").contains("200 OK"));
    assert!(start.elapsed() < Duration::from_secs(30));
    drop(idle);
}

#[test]
fn the_commands_say_what_the_daemon_says() {
    let daemon = Running::start(None);
    let status = daemon.run(&["status"]);
    assert_eq!(status.status.code(), Some(1), "not ready");
    let text = stdout_raw(&status);
    for words in ["not ready: the secret db-password", "generation 3", "pid 11", "/run/app", "sealed"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    daemon.daemon.is_ready.store(true, Ordering::Relaxed);
    assert!(stdout_of(&daemon.run(&["status"])).starts_with("secretfs 0.1.0, ready\n"));
    let json: Status = serde_json::from_str(&stdout_of(&daemon.run(&["status", "--json"]))).unwrap();
    assert_eq!((json.worker, json.generation), (11, 3));

    let all = stdout_of(&daemon.run(&["readers"]));
    assert!(all.contains("nginx.service") && all.lines().count() == 3, "{all}");
    let stale = stdout_of(&daemon.run(&["readers", "--stale"]));
    assert!(stale.contains("stale") && stale.lines().count() == 2, "{stale}");

    let reload = daemon.run(&["reload"]);
    assert_eq!(reload.status.code(), Some(78));
    let said = stderr_of(&reload);
    assert!(said.contains("config.yaml:3:1") && said.contains("try: did you mean `mounts`?"), "{said}");
    let sync = daemon.run(&["sync", "--now", "vault", "etcd"]);
    assert_eq!((sync.status.code(), stdout_raw(&sync).lines().count()), (Some(75), 3));
    assert!(stderr_of(&sync).contains("provider `etcd`: no answer"), "{}", stderr_of(&sync));
    let upgrade = daemon.run(&["upgrade"]);
    assert_eq!(upgrade.status.code(), Some(75));
    assert!(stderr_of(&upgrade).contains("no such file"));

    let explained = daemon.run(&["explain", "/run/app/key.pem"]);
    assert_eq!(explained.status.code(), Some(1), "it cannot be read");
    assert!(stdout_raw(&explained).contains("ENOKEY: there is no such secret"));
    let nowhere = daemon.run(&["explain", "/etc/a b&c"]);
    assert_eq!(nowhere.status.code(), Some(66));
    assert!(stderr_of(&nowhere).contains("/etc/a b&c is in no mount"), "the path arrives as it is");
}

#[test]
fn without_a_daemon_one_is_told_what_to_do() {
    let store = TestStore::new();
    for args in
        [&["status"][..], &["reload"], &["sync", "--now"], &["upgrade"], &["readers"], &["explain", "/a"]]
    {
        let missing = store.run(&[args, &["--socket", "/nonexistent/control.sock"]].concat());
        assert_eq!(missing.status.code(), Some(69), "{args:?}");
        let said = stderr_of(&missing);
        assert!(said.contains("no daemon answers") && said.contains("systemctl start secretfs"), "{said}");
    }
    // A config that is broken does not keep anybody from asking.
    fs::write(store.folder().join("secretfs.yaml"), "mnts: []\n").unwrap();
    let said = stderr_of(&store.run(&["--config", "secretfs.yaml", "status"]));
    assert!(said.contains("unknown") && said.contains("no daemon answers"), "{said}");
}
