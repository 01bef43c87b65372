//! AWS as moto has it (`aws_server.py`), a client's way to it that counts what is asked and can be cut, and keys of a
//! user who may read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::contract::Source;
use super::http::{Request, Response, pass_on, serve_tcp};
use super::python;

pub struct Moto {
    pub port: u16,
    child: Mutex<(Child, ChildStdin, BufReader<ChildStdout>)>,
}

impl Moto {
    pub fn start() -> Self {
        Self::at(0)
    }

    /// With nothing in it.
    pub fn at(port: u16) -> Self {
        let mut command = Command::new(python());
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/aws_server.py")).arg(port.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A region is what a test calls so.
        command.env("MOTO_ALLOW_NONEXISTENT_REGION", "true");
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        let mut child = command.spawn().expect("python can be started");
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("moto is installed: ./tests/run does that");
        let address = ready["address"].as_str().unwrap();
        let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
        Self { port, child: Mutex::new((child, stdin, stdout)) }
    }

    /// One for all tests of this process. It ends with it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Moto> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// What boto3 is answered, as an administrator.
    pub fn try_call(&self, service: &str, region: &str, call: &str, args: &Value) -> Value {
        let mut child = self.child.lock().unwrap();
        let (_, stdin, stdout) = &mut *child;
        let asked = json!({"service": service, "region": region, "call": call, "args": args});
        writeln!(stdin, "{asked}").unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{call}: {error}: {line}"))
    }

    #[track_caller]
    pub fn call(&self, service: &str, region: &str, call: &str, args: &Value) -> Value {
        let answer = self.try_call(service, region, call, args);
        assert!(answer.get("error").is_none(), "{call}: {answer}");
        answer
    }

    /// Keys of a new user who may do this: an id and a secret.
    pub fn user(&self, name: &str, actions: &[&str]) -> (String, String) {
        let made = self.call("iam", GLOBAL, "create_user", &json!({ "UserName": name }));
        assert!(made["User"].is_object());
        self.allow(name, actions);
        self.key_of(name)
    }

    pub fn key_of(&self, name: &str) -> (String, String) {
        let key = &self.call("iam", GLOBAL, "create_access_key", &json!({ "UserName": name }))["AccessKey"];
        let text = |name: &str| key[name].as_str().unwrap().to_owned();
        (text("AccessKeyId"), text("SecretAccessKey"))
    }

    pub fn allow(&self, name: &str, actions: &[&str]) {
        let statement = json!({"Effect": "Allow", "Action": actions, "Resource": "*"});
        let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
        let args = json!({"UserName": name, "PolicyName": "app", "PolicyDocument": policy});
        self.call("iam", GLOBAL, "put_user_policy", &args);
    }

    pub fn put_secret(&self, region: &str, name: &str, value: &[u8]) {
        let (key, value) = match std::str::from_utf8(value) {
            Ok(text) => ("SecretString", text.to_owned()),
            Err(_) => {
                ("SecretBinary", base64::Engine::encode(&base64::engine::general_purpose::STANDARD, value))
            }
        };
        let made =
            self.try_call("secretsmanager", region, "create_secret", &json!({"Name": name, key: value}));
        if made["error"] == "ResourceExistsException" {
            self.call("secretsmanager", region, "put_secret_value", &json!({"SecretId": name, key: value}));
        }
    }

    pub fn put_parameter(&self, region: &str, name: &str, value: &str) {
        let args = json!({"Name": name, "Value": value, "Type": "SecureString", "Overwrite": true});
        self.call("ssm", region, "put_parameter", &args);
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let (child, ..) = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Where users are.
pub const GLOBAL: &str = "us-east-1";
pub const READS: [&str; 4] = ["secretsmanager:*", "ssm:*", "kms:Decrypt", "sts:*"];

type Answers = dyn Fn(&Request) -> Option<Response> + Send + Sync;

/// Between a client and moto: counts what is asked by its action, and answers itself where it is told to.
#[derive(Clone)]
pub struct Front {
    pub address: String,
    counts: Arc<Mutex<BTreeMap<String, usize>>>,
    own: Arc<Mutex<Option<Box<Answers>>>>,
}

impl Front {
    pub fn before(port: u16) -> Self {
        let (counts, own) =
            (Arc::<Mutex<BTreeMap<String, usize>>>::default(), Arc::<Mutex<Option<Box<Answers>>>>::default());
        let (count, answers) = (counts.clone(), own.clone());
        let address = serve_tcp(move |request| {
            let action =
                request.header("x-amz-target").map_or("", |target| target.rsplit('.').next().unwrap());
            *count.lock().unwrap().entry(action.to_owned()).or_default() += 1;
            let own = answers.lock().unwrap().as_ref().and_then(|answer| answer(request));
            own.unwrap_or_else(|| pass_on(request, port))
        });
        Self { address, counts, own }
    }

    pub fn asked(&self, action: &str) -> usize {
        self.counts.lock().unwrap().get(action).copied().unwrap_or_default()
    }

    /// From now on these are answered so.
    pub fn answer(&self, answer: impl Fn(&Request) -> Option<Response> + Send + Sync + 'static) {
        *self.own.lock().unwrap() = Some(Box::new(answer));
    }

    /// As moto does.
    pub fn pass(&self) {
        *self.own.lock().unwrap() = None;
    }
}

/// A region of moto's that nobody else has, since what is in one server is there for all tests; and one of its two places
/// for secrets.
pub struct InAws {
    pub region: String,
    kind: Kind,
    pub front: Front,
    pub folder: TempDir,
    /// The id of a key; its secret is in a file.
    pub id: String,
    pub secret: String,
}

/// Keys of a session as machines and containers are told them: id, secret, token.
pub fn told(keys: &[impl AsRef<str>; 3]) -> String {
    let [id, secret, token] = keys.each_ref().map(AsRef::as_ref);
    let told = json!({"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-11-23T00:00:00Z", "AccessKeyId": id,
        "SecretAccessKey": secret, "Token": token, "Expiration": "2099-01-01T00:00:00Z"});
    told.to_string()
}

/// What tells a machine of AWS about itself, as IMDSv2 does: nothing without a token.
pub struct Machine {
    pub address: String,
    asked: Arc<AtomicUsize>,
}

impl Machine {
    pub const TOKEN: &str = "hunter2-imds-token";

    pub fn with(keys: &[impl AsRef<str>; 3], region: &str) -> Self {
        const ROLES: &str = "/latest/meta-data/iam/security-credentials/";
        const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
        let asked = Arc::<AtomicUsize>::default();
        let (count, keys, region) = (asked.clone(), told(keys), region.to_owned());
        let address = serve_tcp(move |request| match (&*request.method, &*request.target) {
            ("PUT", "/latest/api/token") => match request.header(TTL) {
                // AWS' own library wants to be told how long it is good.
                Some(ttl) => Response::new(200, Self::TOKEN).header(&format!("{TTL}: {ttl}")),
                None => Response::new(400, ""),
            },
            _ if request.header("x-aws-ec2-metadata-token") != Some(Self::TOKEN) => Response::new(401, ""),
            ("GET", ROLES) => Response::new(200, "app-role"),
            ("GET", target) if target.strip_prefix(ROLES) == Some("app-role") => {
                count.fetch_add(1, Ordering::SeqCst);
                Response::new(200, keys.clone())
            }
            ("GET", "/latest/meta-data/placement/region") => Response::new(200, region.clone()),
            _ => Response::new(404, ""),
        });
        Self { address, asked }
    }

    /// How often it was asked for the keys.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Secrets,
    Parameters,
}

impl InAws {
    pub fn new(kind: Kind) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let region = format!("test-{}", NEXT.fetch_add(1, Ordering::SeqCst));
        let moto = Moto::shared();
        let (id, secret) = moto.user(&format!("app-{region}"), &READS);
        let folder = TempDir::with_prefix("secretfs-aws-").unwrap();
        fs::write(folder.path().join("secret"), &secret).unwrap();
        fs::write(folder.path().join("wrong"), "hunter2/wrong").unwrap();
        Self { region, kind, front: Front::before(moto.port), folder, id, secret }
    }

    pub fn with_key(&self, file: &str) -> String {
        let secret = self.folder.path().join(file);
        let auth = format!("access_key_id: {}, secret_access_key: 'file:{}'", self.id, secret.display());
        format!("{}, auth: {{{auth}}}", self.bare())
    }

    /// Without keys.
    pub fn bare(&self) -> String {
        format!("{}, region: {}", self.anywhere(), self.region)
    }

    /// Nor a region.
    pub fn anywhere(&self) -> String {
        let kind = if self.kind == Kind::Secrets { "aws-sm" } else { "aws-ssm" };
        format!("type: {kind}, address: 'http://{}'", self.front.address)
    }

    pub fn call(&self, call: &str, args: &Value) -> Value {
        let service = if self.kind == Kind::Secrets { "secretsmanager" } else { "ssm" };
        Moto::shared().call(service, &self.region, call, args)
    }
}

impl Source for InAws {
    fn provider(&self) -> String {
        self.with_key("secret")
    }

    fn put(&self, name: &str, value: &[u8]) {
        // The real service has none, either.
        if value.is_empty() {
            return;
        }
        let moto = Moto::shared();
        match self.kind {
            Kind::Secrets => moto.put_secret(&self.region, name, value),
            Kind::Parameters => moto.put_parameter(
                &self.region,
                &format!("/{name}"),
                std::str::from_utf8(value).expect("a text"),
            ),
        }
    }

    fn delete(&self, name: &str) {
        match self.kind {
            Kind::Secrets => {
                self.call("delete_secret", &json!({"SecretId": name, "ForceDeleteWithoutRecovery": true}))
            }
            Kind::Parameters => self.call("delete_parameter", &json!({"Name": format!("/{name}")})),
        };
    }

    fn stop(&self) {
        self.front.answer(|_| Some(Response::new(503, "")));
    }

    fn start(&self) {
        self.front.pass();
    }

    fn questions(&self) -> Option<usize> {
        let actions = ["GetSecretValue", "BatchGetSecretValue", "GetParameters"];
        Some(actions.iter().map(|action| self.front.asked(action)).sum())
    }

    fn most_questions(&self, secrets: usize) -> usize {
        secrets.div_ceil(if self.kind == Kind::Secrets { 20 } else { 10 })
    }

    fn below(&self) -> &'static str {
        if self.kind == Kind::Secrets { "" } else { "/" }
    }

    fn only_texts(&self) -> Option<&'static str> {
        (self.kind == Kind::Parameters).then_some("a parameter is a text")
    }

    fn largest(&self) -> usize {
        if self.kind == Kind::Secrets { 64 << 10 } else { 4 << 10 }
    }

    fn no_empty_value(&self) -> Option<&'static str> {
        Some("AWS takes no value without a byte")
    }

    fn takes(&self, name: &str) -> bool {
        let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-".contains(&byte);
        let is_flat = self.kind == Kind::Secrets || !name.contains("//");
        is_flat && !name.is_empty() && name.bytes().all(is_fit)
    }

    fn fields(&self) -> Option<&'static str> {
        Some("")
    }

    fn intruder(&self) -> Option<(String, &'static str)> {
        Some((self.with_key("wrong"), "does not accept our keys (SignatureDoesNotMatch)"))
    }
}
