//! The real kube-apiserver over a real etcd, as `tests/apiserver` has built it. Asked with curl, so that nothing of
//! ours vouches for ours. Where it was not built, what needs it is skipped, and says so.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::Cluster;
use crate::common::etcd::Etcd;
use crate::common::served::{Served, free_port};
use crate::common::tool;

/// The server goes before its etcd: without one it does not end.
pub struct Real {
    server: Served,
    etcd: Etcd,
    folder: TempDir,
    port: u16,
}

const ADMIN: &str = "canary-admin-4711";

/// Where it and its etcd lie, if they were built.
fn built() -> Option<(PathBuf, PathBuf)> {
    let told =
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apiserver")).arg("--path").output().unwrap();
    let text = String::from_utf8(told.stdout).unwrap();
    if let (true, Some((server, etcd))) = (told.status.success(), text.trim().split_once('\n')) {
        return Some((server.into(), etcd.into()));
    }
    assert!(
        std::env::var_os("SECRETFS_REQUIRE_SERVERS").is_none(),
        "there is no kube-apiserver: tests/apiserver builds it"
    );
    println!("SKIPPED kubernetes-real: no kube-apiserver; tests/apiserver builds it, once, in 15 minutes");
    None
}

impl Real {
    /// The one that all tests of this process share.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Real>> = OnceLock::new();
        let begin = || {
            let (tell, told) = mpsc::channel();
            // It ends with the thread that has started it.
            thread::spawn(move || {
                tell.send(Self::start()).unwrap();
                loop {
                    thread::park();
                }
            });
            told.recv().unwrap()
        };
        SHARED.get_or_init(begin).as_ref()
    }

    /// One that can be stopped.
    pub fn start() -> Option<Self> {
        let (server, etcd) = built()?;
        let folder = TempDir::with_prefix("secretfs-apiserver-").unwrap();
        let run = |program: &str, args: &[&str]| {
            let done = Command::new(tool(program)).args(args).current_dir(folder.path()).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        };
        run("openssl", &["genrsa", "-out", "sa.key", "2048"]);
        let client = [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-keyout",
            "client-ca.key",
            "-out",
            "client-ca.pem",
        ];
        run("openssl", &[&client[..], &["-subj", "/CN=clients", "-days", "2"]].concat());
        fs::write(folder.path().join("tokens.csv"), format!("{ADMIN},admin,admin,system:masters\n")).unwrap();
        fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
        let server = Served::of(&server, folder.path().join("log"));
        let real = Self { server, etcd: Etcd::start_of(&etcd, "http", &[]), folder, port: free_port() };
        real.run();
        Some(real)
    }

    fn run(&self) {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let options = [
            ("etcd-servers", self.etcd.url()),
            ("bind-address", "127.0.0.1".to_owned()),
            ("advertise-address", "127.0.0.1".to_owned()),
            ("secure-port", self.port.to_string()),
            ("cert-dir", at("certs")),
            ("client-ca-file", at("client-ca.pem")),
            ("service-account-key-file", at("sa.key")),
            ("service-account-signing-key-file", at("sa.key")),
            ("service-account-issuer", "https://kubernetes.default.svc".to_owned()),
            ("token-auth-file", at("tokens.csv")),
            ("authorization-mode", "RBAC".to_owned()),
            ("service-cluster-ip-range", "10.0.0.0/24".to_owned()),
            ("disable-admission-plugins", "ServiceAccount".to_owned()),
            ("audit-policy-file", at("policy.yaml")),
            ("audit-log-path", at("audit")),
        ];
        let options = options.map(|(option, value)| format!("--{option}={value}"));
        self.server.run(&options, || self.call("GET", "/readyz", None).0 == 200);
    }

    pub fn stop(&self) {
        self.server.stop();
    }

    pub fn start_again(&self) {
        self.run();
    }

    /// What has happened so far cannot be told any more, once it is started anew.
    pub fn compact(&self) {
        let now = self.etcd.put("/nobody/compacts", "x");
        self.etcd.compact(now);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("certs/apiserver.crt")
    }

    /// A certificate of this user, and its key (PEM).
    pub fn certificate(&self, user: &str) -> (String, String) {
        let make = format!(
            "openssl req -newkey rsa:2048 -nodes -keyout {user}.key -out {user}.csr -subj /CN={user} && \
             echo extendedKeyUsage=clientAuth >{user}.ext && openssl x509 -req -in {user}.csr -extfile {user}.ext \
             -CA client-ca.pem -CAkey client-ca.key -CAcreateserial -days 1 -out {user}.pem"
        );
        let made = Command::new("sh").args(["-c", &make]).current_dir(self.folder.path()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let read = |name: String| fs::read_to_string(self.folder.path().join(name)).unwrap();
        (read(format!("{user}.pem")), read(format!("{user}.key")))
    }

    /// Status and answer.
    pub fn call(&self, method: &str, route: &str, body: Option<&Value>) -> (u16, Value) {
        let mut curl = Command::new(tool("curl"));
        curl.args(["--silent", "--max-time", "20", "-w", "\n%{http_code}", "-X", method]);
        curl.args(["-H", &format!("Authorization: Bearer {ADMIN}")]).arg("--cacert").arg(self.ca());
        if body.is_some() {
            curl.args(["-H", "Content-Type: application/json", "--data-binary", "@-"]);
        }
        curl.arg(format!("https://127.0.0.1:{}{route}", self.port));
        let mut asking =
            curl.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdin = asking.stdin.take().unwrap();
        let _ = stdin.write_all(body.map(Value::to_string).unwrap_or_default().as_bytes());
        drop(stdin);
        let said = String::from_utf8(asking.wait_with_output().unwrap().stdout).unwrap();
        let (body, status) = said.rsplit_once('\n').unwrap_or(("", "0"));
        (status.parse().unwrap_or(0), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// What must succeed, or be there already.
    #[track_caller]
    pub fn make(&self, route: &str, body: &Value) -> Value {
        let (status, answer) = self.call("POST", route, Some(body));
        assert!(matches!(status, 200..=299 | 409), "{route}: {status} {answer}");
        answer
    }

    pub fn make_namespace(&self, name: &str) {
        self.make("/api/v1/namespaces", &json!({"metadata": {"name": name}}));
    }

    /// How often secrets of this namespace were asked for so (`get`, `watch`, `list`), by its own audit.
    pub fn asked(&self, verb: &str, namespace: &str) -> usize {
        let audit = fs::read_to_string(self.folder.path().join("audit")).unwrap_or_default();
        let lines = audit.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let is_it = |line: &Value| {
            let object = &line["objectRef"];
            line["verb"] == verb && object["resource"] == "secrets" && object["namespace"] == namespace
        };
        lines.filter(is_it).count()
    }

    /// May get and watch these secrets, whoever it is: a `User` or a `ServiceAccount`.
    pub fn allow(&self, namespace: &str, subject: Value, names: &[&str]) {
        let name = names.join(".");
        let rule = json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": names, "verbs": ["get", "watch"]});
        let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
        self.make(&format!("{rbac}/roles"), &json!({"metadata": {"name": name}, "rules": [rule]}));
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name});
        let binding = json!({"metadata": {"name": name}, "roleRef": role, "subjects": [subject]});
        self.make(&format!("{rbac}/rolebindings"), &binding);
    }

    /// A token of this service account, which comes to be.
    pub fn account(&self, namespace: &str, name: &str, audiences: &[&str]) -> String {
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        self.make(&accounts, &json!({"metadata": {"name": name}}));
        let spec = match audiences {
            [] => json!({"expirationSeconds": 3600}),
            _ => json!({"expirationSeconds": 3600, "audiences": audiences}),
        };
        let made = self.make(&format!("{accounts}/{name}/token"), &json!({ "spec": spec }));
        made["status"]["token"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned()
    }
}

/// Who has asked for which object, in which way.
const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: Metadata, resources: [{group: '', resources: [secrets]}]}
- {level: None}
";

impl Cluster for Real {
    fn apply(&self, object: Value) {
        let of = |name: &str| object["metadata"][name].as_str().unwrap();
        let kind = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
        let all = format!("/api/v1/namespaces/{}/{kind}", of("namespace"));
        let (mut status, mut answer) = self.call("POST", &all, Some(&object));
        if status == 404 {
            self.make_namespace(of("namespace"));
            (status, answer) = self.call("POST", &all, Some(&object));
        }
        if status == 409 {
            (status, answer) = self.call("PUT", &format!("{all}/{}", of("name")), Some(&object));
        }
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    fn delete(&self, kind: &str, namespace: &str, name: &str) {
        let (status, answer) =
            self.call("DELETE", &format!("/api/v1/namespaces/{namespace}/{kind}/{name}"), None);
        assert!((200..300).contains(&status), "{status} {answer}");
    }

    fn server(&self) -> Value {
        json!({"server": format!("https://127.0.0.1:{}", self.port), "certificate-authority": self.ca()})
    }

    fn token_for(&self, namespace: &str, names: &[&str]) -> String {
        self.make_namespace(namespace);
        let token = self.account(namespace, "app", &[]);
        self.allow(
            namespace,
            json!({"kind": "ServiceAccount", "name": "app", "namespace": namespace}),
            names,
        );
        token
    }

    fn admin(&self) -> String {
        ADMIN.to_owned()
    }

    fn folder(&self) -> &Path {
        self.folder.path()
    }
}
