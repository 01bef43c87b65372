//! A real systemd: PID 1 of its own namespaces, with our units in its /run and nothing else of the
//! machine's. Files and programs are the machine's own. Needs root.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;

use super::{STRANGER, USER, tool};

/// Mounts what systemd expects and becomes it. $1 is the folder of the machine. Propagation is
/// shared as on any booted machine: else nobody sees the mounts and credentials that units get.
const BOOT: &str = "set -e
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs -o mode=0755 tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mount --bind \"$1\"/passwd /etc/passwd
mount --bind \"$1\"/console /dev/console
mkdir -p /run/systemd/system
# What a unit with default dependencies would start: it cleans /tmp, which is that of us all.
for unit in systemd-tmpfiles-setup systemd-tmpfiles-setup-dev systemd-tmpfiles-clean systemd-sysctl \\
    systemd-udevd systemd-udev-trigger systemd-modules-load systemd-random-seed systemd-sysusers; do
    ln -s /dev/null /run/systemd/system/$unit.service
done
# It would bring up the network, which is that of us all.
ln -s /dev/null /run/systemd/system/network-online.target
cp -r \"$1\"/units/* /run/systemd/system
exec env -i container=docker PATH=/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=script.service --log-target=console --log-level=warning
";

/// `!` does not trip `sh -e`.
const PRELUDE: &str = "fails() { if \"$@\"; then echo \"should have failed: $*\"; exit 1; fi; }\n";

/// Ends the machine with the script's status; its limit ends a machine that hangs.
const SCRIPT_UNIT: &str = "[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
TimeoutStartSec=60
ExecStart=/bin/sh -e FOLDER/script
StandardOutput=append:FOLDER/output
StandardError=append:FOLDER/output
";

/// A machine to be booted.
pub struct Machine {
    folder: TempDir,
}

/// What the script wrote, and what systemd said.
pub struct Transcript {
    pub succeeded: bool,
    pub output: String,
    pub journal: String,
}

impl Machine {
    #[track_caller]
    pub fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "a systemd as PID 1 needs root: ./tests/run as root");
        tool("systemctl");
        let folder = TempDir::with_prefix("secretfs-machine-").expect("a temporary folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        fs::create_dir(folder.path().join("units")).expect("a folder");
        fs::write(folder.path().join("console"), "").expect("a file");
        fs::write(folder.path().join("passwd"), passwd()).expect("a file");
        let machine = Self { folder };
        let script = SCRIPT_UNIT.replace("FOLDER", &machine.folder().display().to_string());
        machine.unit("script.service", &script)
    }

    /// A folder that its units see under the same path.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A unit, or a drop-in: `UNIT.d/NAME`.
    pub fn unit(self, name: &str, text: &str) -> Self {
        let path = self.folder().join("units").join(name);
        fs::create_dir_all(path.parent().expect("a folder of units")).expect("a folder");
        fs::write(path, text).expect("a unit");
        self
    }

    /// A unit that runs a command line of sh as this user, once.
    pub fn reader(self, name: &str, user: &str, command: &str) -> Self {
        let output = self.folder().join(name).display().to_string();
        let text = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nUser={user}\n\
             StandardOutput=append:{output}.output\nStandardError=append:{output}.output\n\
             ExecStart=/bin/sh -c '{command}'\n"
        );
        self.unit(&format!("{name}.service"), &text)
    }

    /// What a `reader` of this name has written.
    pub fn output_of(&self, name: &str) -> String {
        self.text(&format!("{name}.output"))
    }

    /// All that units have written, for a test that failed.
    fn outputs(&self) -> String {
        let files = fs::read_dir(self.folder()).expect("our folder").map_while(Result::ok);
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        let names = names.filter(|name| name.ends_with(".output"));
        names.map(|name| format!("== {name}\n{}", self.text(&name))).collect()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    /// Boots, runs the script (`sh -e`, with systemctl and `fails COMMAND`), and ends with it.
    /// One machine at a time: they share a control group, and would take each other's units for
    /// their own.
    pub fn boot(&self, script: &str) -> Transcript {
        fs::write(self.folder().join("script"), PRELUDE.to_owned() + script).expect("a script");
        let mut command = Command::new(tool("unshare"));
        command.args("--mount --pid --fork --kill-child --uts --ipc --cgroup".split(' '));
        command.args(["--propagation", "private", "sh", "-c", BOOT, "boot"]).arg(self.folder());
        let one_at_a_time = fs::File::create(env::temp_dir().join("secretfs-machine.lock")).expect("a file");
        one_at_a_time.lock().expect("a lock");
        let output = command.output().expect("unshare can be started");
        let boot = String::from_utf8_lossy(&output.stderr);
        Transcript {
            succeeded: output.status.success(),
            output: self.text("output"),
            journal: format!("{boot}{}{}", self.text("console"), self.outputs()),
        }
    }
}

/// The machine's users and two more: `app` and `stranger`.
fn passwd() -> String {
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let user = |name: &str, uid: u32| format!("{name}:x:{uid}:{uid}::/:/bin/sh\n");
    users + &user("app", USER) + &user("stranger", STRANGER)
}

impl Transcript {
    #[track_caller]
    pub fn expect_success(&self) -> &Self {
        assert!(self.succeeded, "output:\n{}\nsystemd:\n{}", self.output, self.journal);
        self
    }
}
