//! sshd with StrictModes: host key and authorized_keys; ssh: the key to log in with.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::common::programs::{self, Row, version_of};
use crate::common::{Mounted, TestStore, USER, stdout_of, tool};
use crate::server::{Server, free_port};
use crate::{mount_of, mount_on, set_secrets};

/// Becomes sshd on a machine that has the user `app`, and the folder that sshd wants. $1 is the
/// folder with the user files, the rest sshd's command line.
const MACHINE: &str = "set -e
mount --bind \"$1\"/passwd /etc/passwd
mount --bind \"$1\"/shadow /etc/shadow
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir /run/sshd
shift
exec \"$@\"
";

const FILES: &[(&str, &str)] = &[
    ("sshd/host_key", "{}"),
    ("sshd/authorized_keys", "{owner: 64741}"),
    ("ssh/id_ed25519", "{}"),
    ("open_host_key", "{template: templates/host_key.tpl, mode: \"0444\"}"),
    ("open_key", "{template: templates/id_ed25519.tpl, mode: \"0444\"}"),
];

struct Key {
    private: String,
    public: String,
}

impl Key {
    fn make(folder: &Path, name: &str) -> Self {
        let file = folder.join(name);
        let mut command = Command::new(tool("ssh-keygen"));
        command.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&file);
        stdout_of(&command.output().unwrap());
        let [private, public] =
            [file.clone(), file.with_extension("pub")].map(|f| fs::read_to_string(f).unwrap());
        Self { private, public }
    }

    fn fields(&self) -> Value {
        json!({"private": self.private, "public": self.public})
    }
}

/// The machine's users and one who may log in.
fn add_user(folder: &Path) {
    for (file, line) in
        [("passwd", format!("app:x:{USER}:{USER}::/:/bin/sh\n")), ("shadow", "app:*:1::::::\n".to_owned())]
    {
        let users = fs::read_to_string(Path::new("/etc").join(file)).unwrap();
        fs::write(folder.join(file), users + &line).unwrap();
    }
}

fn sshd(folder: &Path, mounted: &Mounted, port: u16) -> Server {
    add_user(folder);
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {mnt}/host_key\nAuthorizedKeysFile {mnt}/authorized_keys\n\
         StrictModes yes\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nPidFile none\n",
        mnt = mounted.point().display()
    );
    fs::write(folder.join("sshd_config"), config).unwrap();
    let mut command = Command::new(tool("setpriv"));
    command.args(["--pdeathsig", "TERM", "unshare", "--mount", "sh", "-c", MACHINE, "sh"]).arg(folder);
    command.arg(tool("sshd")).args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
    let log = folder.join("sshd.log");
    Server::start(&mut command, &log).when(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok())
}

/// Logs in as `app` with a key of the mount, and runs a command there. Trusts one host key.
fn ssh(folder: &Path, key: &Path, port: u16, host: &Key) -> Output {
    let known = folder.join("known_hosts");
    fs::write(&known, format!("[127.0.0.1]:{port} {}", host.public)).unwrap();
    let mut command = Command::new(tool("ssh"));
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o"]);
    command.arg(format!("UserKnownHostsFile={}", known.display()));
    command.args(["-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "ConnectTimeout=10", "-i"]);
    command.arg(key).args(["-p", &port.to_string(), "app@127.0.0.1", "id -u"]);
    command.output().expect("ssh can be started")
}

#[track_caller]
fn refused(output: &Output, words: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(words), "{words}: {said}");
}

#[test]
fn sshd_and_ssh_know_each_other_by_keys_from_the_mount() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let [host, new_host, key, new_key] =
        ["host", "new-host", "key", "new-key"].map(|name| Key::make(place, name));
    let secrets = json!({"host_key": host.fields(), "deploy_key": key.fields()});
    let mounted = mount_on(TestStore::below("/var/lib"), FILES, &secrets);
    let port = free_port();
    let server = sshd(place, &mounted, port);
    let log_in = |host: &Key| ssh(place, &mounted.path("id_ed25519"), port, host);
    let user = format!("{USER}\n");
    assert_eq!(stdout_of(&log_in(&host)), user, "{}", server.said());
    refused(&log_in(&new_host), "Host key verification failed");
    let with_open_key = ssh(place, &mounted.path("open_key"), port, &host);
    refused(&with_open_key, "UNPROTECTED PRIVATE KEY FILE");

    set_secrets(mounted.store(), &json!({"host_key": new_host.fields()}));
    assert_eq!(stdout_of(&log_in(&new_host)), user, "the next connection, without a reload");
    refused(&log_in(&host), "REMOTE HOST IDENTIFICATION HAS CHANGED");

    set_secrets(mounted.store(), &json!({"deploy_key": new_key.fields()}));
    assert_eq!(stdout_of(&log_in(&new_host)), user, "both halves are new");
    mounted.template("authorized_keys.tpl", &key.public);
    refused(&log_in(&new_host), "Permission denied (publickey)");

    programs::row(Row {
        program: "sshd",
        version: version_of("ssh", &["-V"]),
        read: "host key (as root), authorized_keys (as the user who logs in), with StrictModes",
        seen: "ssh trusts the host key, logs in and runs a command; another host key or login key is refused",
        reload: "both: the next connection, without a reload",
    });
    programs::row(Row {
        program: "ssh",
        version: version_of("ssh", &["-V"]),
        read: "the private key to log in with, under ssh's check of its owner and mode",
        seen: "a login runs a command; refused where the server has another key",
        reload: "the next connection",
    });
}

/// Why the mount lies where only root may write, and host keys have mode 0400.
#[test]
fn sshd_refuses_keys_that_others_could_read_or_replace() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let [host, key] = ["host", "key"].map(|name| Key::make(place, name));
    let secrets = json!({"host_key": host.fields(), "deploy_key": key.fields()});
    let below_tmp = mount_of(FILES, &secrets);
    let port = free_port();
    let server = sshd(place, &below_tmp, port);
    refused(&ssh(place, &below_tmp.path("id_ed25519"), port, &host), "Permission denied (publickey)");
    assert!(server.said().contains("bad ownership or modes for directory /tmp"), "{}", server.said());
    let mut test = Command::new(tool("sshd"));
    test.args(["-t", "-f", "/dev/null", "-h"]).arg(below_tmp.path("open_host_key"));
    refused(&test.output().unwrap(), "Permissions 0444 for");
}
