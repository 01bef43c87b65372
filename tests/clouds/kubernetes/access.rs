//! Who we are: tokens that end, a certificate that lies in no file, a program that tells, and the account of a pod.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{ASKED, Cluster, Fake, Real, mount_at, prepared, reason, started};
use crate::common::kubernetes::Rights;
use crate::common::programmed::eventually;
use crate::common::{TestDaemon, tool};

const FILE: (&str, &str) = ("f", "<< secret('p:db#password') >>");

fn with_secret() -> Fake {
    let fake = Fake::start();
    fake.put("n", "db", &[("password", b"v")]);
    fake
}

/// The kubelet writes a new one before the old one ends, and nobody has to be told.
#[test]
fn a_token_is_read_anew() {
    let fake = with_secret();
    let file = fake.folder().join("token");
    let kubeconfig = fake.kubeconfig("k", "n", json!({"tokenFile": "token"}));
    let know = |token: &str| {
        fake.know(token, Rights::All);
        fs::write(&file, format!("{token}\n")).unwrap();
    };
    know("hunter2-a");
    let mount = mount_at(&kubeconfig, ASKED, &[FILE]);
    assert_eq!(mount.read("f"), "v");
    know("hunter2-b");
    fake.forget("hunter2-a");
    fake.put("n", "db", &[("password", b"w")]);
    eventually("it is asked by the new one", || mount.read("f") == "w");
    fake.forget("hunter2-b");
    fake.put("n", "db", &[("password", b"v")]);
    eventually("it is refused", || fs::read(mount.path("f")).is_err());
    assert!(reason(&mount, "f").contains("refuses our token"), "{}", reason(&mount, "f"));
    know("hunter2-c");
    eventually("it heals", || fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    assert!(!mount.stderr().contains("hunter2"), "{}", mount.stderr());
}

/// A kubeconfig that changes is taken up; one that is broken leaves the one before in force.
#[test]
fn a_kubeconfig_is_read_anew() {
    let fake = with_secret();
    fake.put("m", "db", &[("password", b"of m")]);
    let user = json!({ "token": fake.admin() });
    let kubeconfig = fake.kubeconfig("k", "n", user.clone());
    let mount = mount_at(&kubeconfig, ASKED, &[FILE]);
    assert_eq!(mount.read("f"), "v");
    fs::write(&kubeconfig, "{").unwrap();
    eventually("it is said", || {
        assert_eq!(mount.read("f"), "v");
        mount.stderr().contains("the one before stays in force")
    });
    fake.kubeconfig("k", "m", user);
    eventually("the new one", || mount.read("f") == "of m");
}

/// It prints a token, and is asked for another one when that is refused.
#[test]
fn a_program_tells_who_we_are() {
    let fake = with_secret();
    fake.know("hunter2-a", Rights::All);
    let script = "#!/bin/sh\ncd ${0%/*}; echo >> calls; [ \"$KIND:$1\" = a:b ] || exit 3\n\
        case $KUBERNETES_EXEC_INFO in *ExecCredential*) cat credential;; *) exit 4;; esac\n";
    let at = |name: &str| fake.folder().join(name);
    fs::write(at("program"), script).unwrap();
    fs::set_permissions(at("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let tell = |token: &str| {
        let status = json!({"token": token, "expirationTimestamp": "2099-01-01T00:00:00Z"});
        let told = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status});
        fs::write(at("credential"), told.to_string()).unwrap();
    };
    tell("hunter2-a");
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "./program", "args": ["b"],
        "env": [{"name": "KIND", "value": "a"}], "interactiveMode": "IfAvailable"});
    let kubeconfig = fake.kubeconfig("k", "n", json!({ "exec": exec }));
    let mount = mount_at(&kubeconfig, ASKED, &[FILE]);
    for _ in 0..5 {
        assert_eq!(mount.read("f"), "v", "{}", reason(&mount, "f"));
    }
    let calls = || fs::read(at("calls")).unwrap().len();
    assert_eq!(calls(), 1, "once is enough");
    fake.know("hunter2-b", Rights::All);
    tell("hunter2-b");
    fake.forget("hunter2-a");
    fake.put("n", "db", &[("password", b"w")]);
    eventually("it is asked by another one", || mount.read("f") == "w");
    assert_eq!(calls(), 2);
    assert!(!mount.stderr().contains("hunter2"), "{}", mount.stderr());
}

/// Slower than a question may be: it goes on, and those who ask later have its token.
#[test]
fn a_program_that_is_slow_gets_through() {
    let fake = with_secret();
    fake.know("hunter2-a", Rights::All);
    let told = json!({"kind": "ExecCredential", "status": {"token": "hunter2-a"}});
    let at = |name: &str| fake.folder().join(name);
    fs::write(at("program"), format!("#!/bin/sh\ncd ${{0%/*}}; echo >> calls; sleep 3; echo '{told}'\n"))
        .unwrap();
    fs::set_permissions(at("program"), fs::Permissions::from_mode(0o755)).unwrap();
    let exec = json!({"apiVersion": "client.authentication.k8s.io/v1", "command": "./program"});
    let kubeconfig = fake.kubeconfig("k", "n", json!({ "exec": exec }));
    let mount = mount_at(&kubeconfig, "timeout: 1s, cache: {ttl: 1ms}", &[FILE]);
    assert!(fs::read(mount.path("f")).is_err(), "the control: it is too slow");
    eventually("its token", || fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    assert_eq!(fs::read(at("calls")).unwrap().len(), 1);
}

/// From the kubeconfig straight into TLS: no file has it but that.
#[test]
fn a_certificate_that_lies_in_no_file() {
    let Some(real) = Real::shared() else { return };
    real.put("certs", "db", &[("password", b"v")]);
    let user = json!({"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "carol"});
    real.allow("certs", user, &["db"]);
    let (cert, key) = real.certificate("carol");
    let data =
        json!({"client-certificate-data": STANDARD.encode(&cert), "client-key-data": STANDARD.encode(&key)});
    let kubeconfig = real.kubeconfig("certs.yaml", "certs", data);
    let text = fs::read_to_string(&kubeconfig).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let ca = fs::read(real.ca()).unwrap();
    file["clusters"][0]["cluster"] = json!({"server": format!("https://127.0.0.1:{}", real.port()),
        "certificate-authority-data": STANDARD.encode(ca)});
    fs::write(&kubeconfig, file.to_string()).unwrap();
    let mount = mount_at(&kubeconfig, ASKED, &[FILE, ("other", "<< secret('p:other') >>")]);
    eventually("rights are taken up", || fs::read(mount.path("f")).is_ok_and(|it| it == b"v"));
    assert_eq!(mount.errno("other"), libc::EIO);
    assert!(reason(&mount, "other").contains("no right"), "{}", reason(&mount, "other"));
    // The control: nobody is somebody whom it does not know.
    let nobody = mount_at(&real.kubeconfig("nobody.yaml", "certs", json!({})), ASKED, &[FILE]);
    assert_eq!(nobody.errno("f"), libc::EIO);
    // Nor are the system's authorities believed where one is named: this one is none of its own.
    file["clusters"][0]["cluster"]["certificate-authority-data"] = STANDARD.encode(&cert).into();
    let wrong = kubeconfig.with_file_name("wrong-ca.yaml");
    fs::write(&wrong, file.to_string()).unwrap();
    let wrong = mount_at(&wrong, ASKED, &[FILE]);
    assert_eq!(wrong.errno("f"), libc::EIO);
    assert!(reason(&wrong, "f").contains("authority that is not known"), "{}", reason(&wrong, "f"));
}

/// With what the kubelet puts into a pod, at its place there: for this daemon alone.
#[test]
fn the_account_of_a_pod() {
    const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let Some(real) = Real::shared() else { return };
    real.put("pods", "db", &[("password", b"v")]);
    let account = real.folder().join("account");
    fs::create_dir(&account).unwrap();
    fs::write(account.join("token"), real.token_for("pods", &["db"])).unwrap();
    fs::copy(real.ca(), account.join("ca.crt")).unwrap();
    fs::write(account.join("namespace"), "pods").unwrap();
    let config = "providers: {p: {type: kubernetes}}\nmounts: [{at: mnt, templates: templates}]\n";
    let daemon = TestDaemon::new().template("f.tpl", FILE.1).config(config);
    let daemon = daemon.env("KUBERNETES_SERVICE_HOST", "127.0.0.1");
    let daemon = daemon.env("KUBERNETES_SERVICE_PORT", &real.port().to_string());
    let folder = daemon.folder().to_owned();
    let daemon = daemon.start_with(|command| within(command, &folder, &account, ACCOUNT));
    let read = || {
        let mut read = Command::new(tool("nsenter"));
        read.args(["--mount", "--target", &daemon.pid().to_string(), "cat"]).arg(daemon.path("f"));
        String::from_utf8(read.output().unwrap().stdout).unwrap()
    };
    eventually("it reads", || read() == "v");
    real.put("pods", "db", &[("password", b"new")]);
    eventually("it hears", || read() == "new");
    // Where there is no cluster around.
    let outside = started(ASKED, &[FILE]);
    assert_eq!(outside.errno("f"), libc::EIO);
    assert!(reason(&outside, "f").contains("this is no pod"), "{}", reason(&outside, "f"));
}

/// The command, where this account lies there.
fn within(command: &mut Command, folder: &Path, account: &Path, there: &str) {
    const RUN: &str = "mkdir -p \"$2\" && mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";
    let mut inside = Command::new(tool("unshare"));
    inside.args(["--mount", "sh", "-c", RUN, "sh"]).arg(account).arg(there);
    inside.arg(command.get_program()).args(command.get_args());
    inside.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        inside.current_dir(folder);
    }
    inside.stdout(fs::File::create(folder.join("output")).unwrap());
    let stderr = fs::File::options().create(true).append(true).open(folder.join("stderr"));
    inside.stderr(stderr.unwrap());
    *command = inside;
}

/// What cannot be used is said before anybody is asked.
#[test]
fn what_is_not_known_is_refused_in_words() {
    let fake = with_secret();
    let kubeconfig = fake.kubeconfig("k", "n", json!({"auth-provider": {"name": "gcp"}}));
    let mount = mount_at(&kubeconfig, ASKED, &[FILE]);
    assert_eq!(mount.errno("f"), libc::EIO);
    assert!(reason(&mount, "f").contains("`auth-provider`"), "{}", reason(&mount, "f"));
    let missing = prepared("kubeconfig: nowhere", &[FILE]).start();
    assert_eq!(missing.errno("f"), libc::EIO);
    assert!(reason(&missing, "f").contains("nowhere"), "{}", reason(&missing, "f"));
}
