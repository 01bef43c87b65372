//! Whom we take for a Connect server: 1Password's own client reads the same from it, and Prism holds each question of ours
//! and each answer of the server against 1Password's own description, which is not ours to have here.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Scene;
use crate::common::bao::free_port;
use crate::common::onepassword::TOKEN;
use crate::common::programmed::{attribute, eventually};
use crate::common::{python, stdout_of, tool, tools};
use crate::scene::{ASKED, configured};

const JUDGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clouds/onepassword/judge.py");
const SPEC: &str = "SECRETFS_ONEPASSWORD_SPEC";

#[test]
fn their_own_client_reads_the_same() {
    let scene = Scene::new();
    let item = scene.with_login();
    let mut judge = Command::new(python());
    judge.arg(JUDGE).args([&scene.server.url(), TOKEN, &scene.vault, &item]);
    let told: Value = serde_json::from_str(&stdout_of(&judge.output().unwrap())).unwrap();
    let files = [
        ("user name", "<< secret('op://Prod/db/user name') >>"),
        ("port", "<< secret('op://Prod/db/port') >>"),
        ("password", "<< secret('op://Prod/db/password') >>"),
        ("Admin/Token", "<< secret('op://Prod/db/Admin/Token') >>"),
        ("App/token", "<< secret('op://Prod/db/App/token') >>"),
        ("code", "<< secret('op://Prod/db/code') >>"),
    ];
    let named = files.map(|(name, text)| (name.replace(['/', ' '], "-"), text));
    let named = named.each_ref().map(|(name, text)| (&**name, *text));
    let read = scene.mount(
        "op",
        "",
        &[
            &named[..],
            &[
                ("otp", "<< secret('op://Prod/db/code?attribute=otp') >>"),
                ("version", "<< secret('op:Prod/db').version >>"),
            ],
        ]
        .concat(),
    );
    for (name, _) in files {
        assert_eq!(json!(read.read(&name.replace(['/', ' '], "-"))), told["fields"][name], "{name}");
    }
    assert_eq!(told["fields"].as_object().unwrap().len(), files.len());
    assert_eq!(json!([read.read("otp")]), told["codes"]);
    assert_eq!(read.read("version"), told["version"].to_string());
    assert_eq!(told["listed"], json!([told["version"]]));
    let hex: String = b"-----BEGIN\0\xff".iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(told["file"], json!(["key.pem", hex]));
}

/// Prism, before the server, with the description changed where it is known to be wrong: it ignores the `/v1` of its
/// `servers`, and says `uuid` of ids that have 26 characters.
struct Prism(Child, u16);

impl Prism {
    fn before(scene: &Scene) -> Option<Self> {
        let spec = described()?;
        let described = fs::read_to_string(spec).expect("a description");
        let lines = described.lines().filter(|line| !line.contains("format: uuid"));
        // Paths stand at the begin of their lines.
        let moved = |line: &str| match line.strip_prefix("  /") {
            Some(path) if path.starts_with("vaults") || path.starts_with("activity") => {
                format!("  /v1/{path}\n")
            }
            _ => format!("{line}\n"),
        };
        let lines: String = lines.map(moved).collect();
        let changed = scene.folder.path().join("spec.yaml");
        fs::write(&changed, lines).unwrap();
        let port = free_port();
        let mut command = Command::new(tool("setpriv"));
        command.args(["--pdeathsig", "KILL"]).arg(prism().expect("it is there"));
        command.args(["proxy", "--errors", "-h", "127.0.0.1", "-p", &port.to_string()]);
        command
            .arg(&changed)
            .arg(scene.server.url())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let prism = Self(command.spawn().expect("it starts"), port);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(60), "Prism does not listen");
            std::thread::sleep(Duration::from_millis(100));
        }
        Some(prism)
    }
}

impl Drop for Prism {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn prism() -> Option<PathBuf> {
    let folders = std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join("prism"))
        .collect::<Vec<_>>();
    std::iter::once(tools("node_modules/.bin/prism")).chain(folders).find(|path| path.exists())
}

/// Where the description is. Without it, or without Prism, this is not judged, and that is said.
fn described() -> Option<PathBuf> {
    let spec = std::env::var_os(SPEC).map(PathBuf::from);
    let lacks = match (&spec, prism()) {
        (Some(_), Some(_)) => return spec,
        (None, _) => format!("no {SPEC}"),
        (_, None) => {
            "no Prism (`npm i @stoplight/prism-cli@5`) in tests/.tools/node_modules or on the PATH".to_owned()
        }
    };
    assert!(std::env::var_os("SECRETFS_REQUIRE_SERVERS").is_none(), "{lacks}");
    println!("SKIPPED 1password by its description: {lacks}");
    None
}

#[test]
fn what_is_asked_and_answered_is_as_described() {
    let scene = Scene::new();
    let item = scene.with_login();
    let Some(prism) = Prism::before(&scene) else { return };
    let files = [
        ("field", "<< secret('op://Prod/db/user name') >>"),
        ("file", "<< secret('op://Prod/db/key.pem') | b64encode >>"),
        ("whole", "<< secret('op:Prod/db#port') >>"),
        ("none", "<< secret('op:Prod/none#port') | default('none') >>"),
    ];
    let token = scene.folder.path().join("token");
    let config = format!(
        "providers: {{op: {{type: 1password, address: 'http://127.0.0.1:{}', auth: {{token: 'file:{}'}}, {ASKED}}}}}\n",
        prism.1,
        token.display()
    );
    let mount = configured(&config, &files).start();
    let read = |name: &str| {
        let text = fs::read_to_string(mount.path(name));
        text.unwrap_or_else(|error| panic!("{name}: {error}: {:?}", attribute(&mount, name, "error")))
    };
    assert_eq!((read("field"), read("whole"), read("none")), ("u".into(), "5432".into(), "none".into()));
    assert!(read("file").starts_with("LS0tLS1CRUdJTg"));
    // The control: it judges.
    scene.server.edit(&scene.vault, &item, |item| item["favorite"] = json!("no"));
    eventually("an answer that is not as described", || fs::read(mount.path("field")).is_err());
}
