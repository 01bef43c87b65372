//! A real etcd as a child of the test, and a line to it that can be cut.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::served::{Served, free_port};
use super::{stdout_of, tool};

const PATIENCE: Duration = Duration::from_secs(30);

pub struct Etcd {
    server: Served,
    folder: TempDir,
    port: u16,
    peers: u16,
    options: Vec<String>,
    scheme: &'static str,
}

impl Etcd {
    pub fn start() -> Self {
        Self::start_with("http", &[])
    }

    /// With these options more.
    pub fn start_with(scheme: &'static str, options: &[&str]) -> Self {
        Self::start_of(&tool("etcd"), scheme, options)
    }

    /// Another one than the system's.
    pub fn start_of(program: &Path, scheme: &'static str, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let folder = TempDir::with_prefix("secretfs-etcd-").unwrap();
        let server = Served::of(program, folder.path().join("log"));
        let etcd = Self { server, folder, port: free_port(), peers: free_port(), options, scheme };
        etcd.run();
        etcd
    }

    /// Runs it, on the data that it has.
    #[track_caller]
    pub fn run(&self) {
        let (url, peers) = (self.url(), format!("http://127.0.0.1:{}", self.peers));
        let options = [
            format!("--data-dir={}", self.folder.path().join("data").display()),
            "--unsafe-no-fsync".to_owned(),
            format!("--listen-client-urls={url}"),
            format!("--advertise-client-urls={url}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=default={peers}"),
        ];
        // Who speaks TLS is not asked here.
        let is_healthy = || self.try_ask("GET", "/health", "").is_some_and(|it| it.contains("\"true\""));
        self.server.run(options.iter().chain(&self.options), || self.scheme != "http" || is_healthy());
    }

    pub fn stop(&self) {
        self.server.stop();
    }

    /// Another one in its place, with nothing in it.
    pub fn run_empty(&self) {
        self.stop();
        fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.run();
    }

    pub fn signal(&self, signal: Signal) {
        self.server.signal(signal);
    }

    /// A file beside its data.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme, self.port)
    }

    /// Its own command; the judge of what we make of its keys. It waits as long as a busy machine needs.
    pub fn ctl(&self, args: &[&str], stdin: &[u8]) -> Output {
        let mut command = Command::new(tool("etcdctl"));
        command.env("ETCDCTL_API", "3").args(["--dial-timeout", "60s", "--command-timeout", "60s"]);
        command.arg("--endpoints").arg(self.url()).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("etcdctl can be started");
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap()
    }

    #[track_caller]
    fn ask(&self, route: &str, body: &Value) -> Value {
        let answer = self.try_ask("POST", route, &body.to_string()).expect("it answers");
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"))
    }

    fn try_ask(&self, method: &str, route: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let length = body.len();
        let head =
            format!("{method} {route} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8(answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Returns when it is written, with its revision.
    #[track_caller]
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) -> u64 {
        let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        revision(&self.ask("/v3/kv/put", &body))
    }

    /// All of them in one transaction.
    #[track_caller]
    pub fn put_all(&self, pairs: &[(String, String)]) -> u64 {
        let put = |(key, value): &(String, String)| json!({ "request_put": { "key": STANDARD.encode(key), "value": STANDARD.encode(value) } });
        revision(&self.ask("/v3/kv/txn", &json!({ "success": Vec::from_iter(pairs.iter().map(put)) })))
    }

    pub fn delete(&self, key: &str) -> u64 {
        revision(&self.ask("/v3/kv/deleterange", &json!({ "key": STANDARD.encode(key) })))
    }

    pub fn compact(&self, revision: u64) {
        self.ask("/v3/kv/compaction", &json!({ "revision": revision.to_string(), "physical": true }));
    }

    /// How many calls of this method it has answered so far.
    pub fn calls(&self, method: &str) -> usize {
        let metrics = self.try_ask("GET", "/metrics", "").expect("it answers");
        let name = format!("grpc_method=\"{method}\"");
        let of = |line: &str| line.starts_with("grpc_server_handled_total") && line.contains(&name);
        let counts = metrics.lines().filter(|line| of(line)).filter_map(|line| line.rsplit(' ').next());
        counts.map(|count| count.parse::<f64>().unwrap() as usize).sum()
    }

    /// Users and rights: `root`, and `app` with this password, who may read keys below `prefix`.
    pub fn enable_auth(&self, password: &str, prefix: &str) {
        for args in [
            &["user", "add", "root:root"][..],
            &["user", "grant-role", "root", "root"],
            &["role", "add", "reader"],
            &["role", "grant-permission", "reader", "--prefix=true", "read", prefix],
            &["user", "add", &format!("app:{password}")],
            &["user", "grant-role", "app", "reader"],
            &["auth", "enable"],
        ] {
            stdout_of(&self.ctl(args, b""));
        }
    }
}

impl Etcd {
    /// Where only `root` may do such things.
    pub fn as_root(&self, args: &[&str]) {
        stdout_of(&self.ctl(&[&["--user", "root:root"], args].concat(), b""));
    }

    pub fn set_password(&self, user: &str, password: &str) {
        let told = self.ctl(
            &["--user", "root:root", "user", "passwd", user, "--interactive=false"],
            password.as_bytes(),
        );
        stdout_of(&told);
    }
}

fn revision(answer: &Value) -> u64 {
    answer["header"]["revision"].as_str().unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

/// A line to a port of this machine that can be cut.
pub struct Relay {
    port: u16,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    connections: Arc<AtomicUsize>,
}

impl Relay {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let relay = Self {
            port: listener.local_addr().unwrap().port(),
            is_cut: Arc::default(),
            open: Arc::default(),
            connections: Arc::default(),
        };
        let (is_cut, open, connections) =
            (relay.is_cut.clone(), relay.open.clone(), relay.connections.clone());
        thread::spawn(move || {
            for here in listener.incoming().map_while(Result::ok) {
                if is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                open.lock().unwrap().extend([here.try_clone().unwrap(), there.try_clone().unwrap()]);
                pour(here.try_clone().unwrap(), there.try_clone().unwrap());
                pour(there, here);
            }
        });
        relay
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Ends all connections; new ones end at once.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

fn pour(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
