//! Containers that read the mount: a folder of it or a single file is bound in, the reader has a uid
//! of its own, and the daemon outside is killed and upgraded. And the daemon inside of one.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{Daemon, Manager, STRANGER, TestDaemon, TestStore, USER, eventually, stdout_of, tool};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a container is made of, besides a root with busybox alone in it.
struct Bundle {
    folder: TempDir,
    config: Value,
}

impl Bundle {
    fn new(uid: u32) -> Self {
        let folder = TempDir::with_prefix("secretfs-container-").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let programs = folder.path().join("rootfs/bin");
        fs::create_dir_all(&programs).unwrap();
        common::copy_program(tool("busybox"), &programs.join("busybox"));
        stdout_of(&Command::new(tool("runc")).arg("spec").current_dir(folder.path()).output().unwrap());
        let text = fs::read_to_string(folder.path().join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        config["process"]["terminal"] = false.into();
        config["process"]["user"] = json!({"uid": uid, "gid": uid});
        // Each line is a command; a line after it says that it is done.
        let script = "while read -r line; do eval \"$line\" 2>&1; echo; echo done; done";
        config["process"]["args"] = json!(["/bin/busybox", "sh", "-c", script]);
        Self { folder, config }
    }

    fn bind(mut self, source: &Path, at: &str, propagation: &str) -> Self {
        let options =
            if propagation.is_empty() { json!(["rbind", "ro"]) } else { json!(["rbind", propagation]) };
        let bind = json!({"destination": at, "type": "bind", "source": source, "options": options});
        self.config["mounts"].as_array_mut().unwrap().push(bind);
        self
    }

    fn start(self) -> Container {
        fs::write(self.folder.path().join("config.json"), self.config.to_string()).unwrap();
        let id = self.folder.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut runc = Command::new(tool("runc"));
        runc.args(["run", "--bundle"]).arg(self.folder.path()).arg(&id);
        let mut child = runc.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut container = Container { _folder: self.folder, id, child, said };
        assert_eq!(container.ask("echo it runs"), "it runs\n");
        container
    }
}

struct Container {
    _folder: TempDir,
    id: String,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Container {
    fn tell(&mut self, command: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// What the command says.
    #[track_caller]
    fn hear(&mut self) -> String {
        let mut said = String::new();
        while !said.ends_with("\ndone\n") {
            assert_ne!(self.said.read_line(&mut said).unwrap(), 0, "the container has ended: {said}");
        }
        said.strip_suffix("\ndone\n").unwrap().to_owned()
    }

    #[track_caller]
    fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.hear()
    }

    fn cat(&mut self, path: &str) -> String {
        self.ask(&format!("busybox cat {path}"))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = Command::new(tool("runc")).args(["delete", "--force", &self.id]).output();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A value whose length tells its number.
fn value(number: usize) -> String {
    format!("v{number}{}", "+".repeat(number * 100))
}

fn daemon() -> Daemon {
    daemon_of(TestDaemon::new())
}

fn daemon_of(daemon: TestDaemon) -> Daemon {
    daemon
        .config(&format!("mounts:\n- {{at: mnt, templates: templates, owner: {USER}}}\n"))
        .secret("k", value(1))
        .template("app/f.tpl", "<< secrets.k >>")
        .start()
}

fn bound(daemon: &Daemon, uid: u32) -> Container {
    let folder = daemon.folder().join("mnt/app");
    Bundle::new(uid).bind(&folder, "/app", "").bind(&folder.join("f"), "/single", "").start()
}

#[test]
fn a_container_reads_as_its_own_user_and_sees_each_rotation() {
    let daemon = daemon();
    let (mut container, mut stranger) = (bound(&daemon, USER), bound(&daemon, STRANGER));
    for number in 2..6 {
        daemon.store().set("k", value(number));
        assert_eq!(container.cat("/app/f"), value(number), "a folder");
        assert_eq!(container.cat("/single"), value(number), "a single file");
        assert!(stranger.cat("/app/f").contains("Permission denied"));
        assert!(stranger.cat("/single").contains("Permission denied"));
    }
    assert_eq!(
        container.ask("busybox stat -c '%u %a %s' /app/f"),
        format!("{USER} 400 {}\n", value(5).len())
    );
    assert!(container.ask("echo x >/app/f").contains("Read-only file system"));
}

/// Both bind the one file, and so the one node of it: each opens it with its own view, as long as
/// nobody has it open with the other.
#[test]
fn two_containers_with_one_single_file_each_see_their_own_view() {
    let rules = format!("access: [{{allow: {{uid: {USER}}}}}, {{placeholder: {{uid: [0, {STRANGER}]}}}}]");
    let daemon = TestDaemon::new()
        .config(&format!("mounts:\n- {{at: mnt, templates: templates, mode: \"0444\", {rules}}}\n"))
        .secret("k", value(1))
        .template("app/f.tpl", "<< secrets.k >>")
        .start();
    let (mut real, mut masked) = (bound(&daemon, USER), bound(&daemon, STRANGER));
    let harmless = masked.cat("/app/f");
    assert!(!harmless.is_empty() && !harmless.contains("++"), "{harmless}");
    for number in 2..8 {
        daemon.store().set("k", value(number));
        assert_eq!((real.cat("/single"), real.cat("/app/f")), (value(number), value(number)));
        let (single, folder) = (masked.cat("/single"), masked.cat("/app/f"));
        assert!(single == folder && !single.contains("++"), "{single}");
    }
    real.ask("exec 3</single");
    assert!(masked.cat("/single").contains("Permission denied"), "the node holds the other view");
    assert!(!masked.cat("/app/f").contains("++"), "by its path there is another node");
    assert_eq!(real.ask("busybox cat <&3; exec 3<&-"), value(7));
    // A moment after the close nobody has it open.
    let again =
        eventually("its view again", || Some(masked.cat("/single")).filter(|it| !it.contains("denied")));
    assert!(!again.contains("++"), "{again}");
    assert_eq!(real.cat("/single"), value(7));
}

/// What is read meanwhile is right, and nothing fails.
#[test]
fn a_container_reads_on_while_the_daemon_is_killed_upgraded_and_restarted() {
    let manager = Manager::new();
    let mut daemon = daemon_of(TestDaemon::new().of(&manager));
    let mut container = bound(&daemon, USER);
    container.tell(
        "n=0; bad=0; while ! [ -e /app/stop ]; do for f in /app/f /single; do \
         case $(busybox cat $f 2>&1) in v[0-9]*) n=$((n+1));; *) bad=$((bad+1));; esac; done; done; \
         [ $n -gt 50 ] && echo $bad failed",
    );
    for number in 2..5 {
        daemon.kill_worker();
        daemon.await_log("the worker serves", number);
        daemon.store().set("k", value(number));
    }
    daemon.signal(Signal::SIGUSR2);
    daemon.await_log("the worker serves", 5);
    assert!(daemon.leave().success());
    daemon.start_again_by(&manager);
    daemon.kill();
    daemon.start_again_by(&manager);
    daemon.await_log("the worker serves", 7);
    std::thread::sleep(std::time::Duration::from_millis(500));
    daemon.template("app/stop.tpl", "");
    assert_eq!(container.hear(), "0 failed\n");
    assert_eq!((container.cat("/app/f"), container.cat("/single")), (value(4), value(4)));
}

/// A mount that ends takes its binds with it; the folder above shows the next one, if mounts
/// propagate into the container.
#[test]
fn a_container_with_the_folder_above_sees_the_mount_of_another_daemon() {
    let shared = Shared::new();
    let config =
        format!("mounts:\n- {{at: {}/app, templates: templates, mode: \"0444\"}}\n", shared.at().display());
    let mut daemon =
        TestDaemon::new().config(&config).secret("k", "one").template("f.tpl", "<< secrets.k >>").start();
    let mut container = Bundle::new(USER).bind(&shared.at(), "/run/secrets", "rslave").start();
    assert_eq!(container.cat("/run/secrets/app/f"), "one");
    assert!(daemon.stop().success());
    assert!(container.cat("/run/secrets/app/f").contains("No such file"));
    daemon.store().set("k", "two");
    daemon.start_again();
    assert_eq!(container.cat("/run/secrets/app/f"), "two");
}

/// A folder whose mounts are seen by who binds it.
struct Shared(TempDir);

impl Shared {
    fn new() -> Self {
        let folder = TempDir::with_prefix("secretfs-shared-").unwrap();
        let mount = |words: &[&str]| {
            stdout_of(&Command::new(tool("mount")).args(words).arg(folder.path()).output().unwrap());
        };
        mount(&["-t", "tmpfs", "-o", "mode=755", "x"]);
        mount(&["--make-shared"]);
        fs::create_dir(folder.path().join("app")).unwrap();
        Self(folder)
    }

    fn at(&self) -> PathBuf {
        self.0.path().to_owned()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let umount = Command::new(tool("umount")).args(["--lazy", "--recursive"]).arg(self.0.path()).output();
        assert!(umount.is_ok_and(|it| it.status.success()));
    }
}

/// The daemon's container: the device, the capability to mount, and a place whose mounts are seen
/// outside. With the host's pids, or without.
fn daemon_inside(store: &TestStore, shared: &Shared, has_pids: bool) -> Container {
    let at = |name: &str| store.folder().join(name);
    fs::create_dir(at("templates")).unwrap();
    fs::write(at("templates/f.tpl"), "<< secrets.k >>").unwrap();
    fs::create_dir(at("control")).unwrap();
    fs::set_permissions(at("control"), fs::Permissions::from_mode(0o700)).unwrap();
    let config = "control: {socket: /etc/secretfs/control/socket}\nmounts:\n\
                  - {at: /run/secrets/app, templates: /etc/secretfs/templates, mode: \"0444\"}\n";
    fs::write(at("secretfs.yaml"), config).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_secretfs"));
    let mut bundle = Bundle::new(0)
        .bind(&shared.at(), "/run/secrets", "rshared")
        .bind(store.folder(), "/etc/secretfs", "rprivate")
        .bind(program, "/bin/secretfs", "");
    for folder in ["/usr", "/lib", "/lib64"].map(Path::new).iter().filter(|folder| folder.exists()) {
        bundle = bundle.bind(&folder.canonicalize().unwrap(), folder.to_str().unwrap(), "");
    }
    let config = &mut bundle.config;
    config["linux"]["rootfsPropagation"] = "shared".into();
    config["linux"]["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 0, "gid": 0}]);
    config["linux"]["resources"]["devices"]
        .as_array_mut()
        .unwrap()
        .push(json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}));
    for kind in ["bounding", "effective", "permitted"] {
        let capabilities = config["process"]["capabilities"][kind].as_array_mut().unwrap();
        capabilities.push("CAP_SYS_ADMIN".into());
    }
    if has_pids {
        config["linux"]["namespaces"].as_array_mut().unwrap().retain(|it| it["type"] != "pid");
    }
    bundle.start()
}

const SERVE: &str = "/bin/secretfs --store /etc/secretfs/store --key-file /etc/secretfs/master.key \
     --config /etc/secretfs/secretfs.yaml daemon >/etc/secretfs/said 2>&1 &";

fn serve_inside(has_pids: bool, then: impl FnOnce(&TestStore, &str, Container)) {
    let (store, shared) = (TestStore::new(), Shared::new());
    store.set("k", "one");
    let mut server = daemon_inside(&store, &shared, has_pids);
    server.ask(SERVE);
    let said = || fs::read_to_string(store.folder().join("said")).unwrap_or_default();
    eventually("it is ready, or has ended", || said().contains("secretfs: ").then_some(()));
    assert!(said().contains("secretfs: ready"), "{}", said());
    let reader = Bundle::new(USER).bind(&shared.at(), "/run/secrets", "rslave").start();
    then(&store, &said(), reader);
    server.ask("kill %1; wait");
}

#[test]
fn a_daemon_in_a_container_serves_another_container() {
    serve_inside(true, |store, said, mut reader| {
        assert!(!said.contains("pid namespace"), "{said}");
        assert_eq!(reader.cat("/run/secrets/app/f"), "one");
        store.set("k", "two");
        assert_eq!(reader.cat("/run/secrets/app/f"), "two");
    });
}

/// Nothing is known there of who reads, and so nothing is read.
#[test]
fn a_daemon_with_pids_of_its_own_warns_and_denies_whom_it_cannot_know() {
    serve_inside(false, |_, said, mut reader| {
        assert!(said.contains("pid namespace of its own") && said.contains("--pid=host"), "{said}");
        assert!(reader.cat("/run/secrets/app/f").contains("Permission denied"));
    });
}
