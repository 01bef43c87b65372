//! `secretfs doctor` on machines that lack something: each lack is made on purpose, told with what
//! to do, and decides the exit status.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

use common::{TestStore, USER, stdout_of, tool};
use serde_json::Value;

/// What it says about each thing: the state, and everything in words.
struct Diagnosis {
    status: Option<i32>,
    report: Value,
}

impl Diagnosis {
    fn of(output: &Output) -> Self {
        let report = serde_json::from_slice(&output.stdout);
        Self { status: output.status.code(), report: report.unwrap_or_else(|_| panic!("JSON: {output:?}")) }
    }

    #[track_caller]
    fn says(&self, what: &str, state: &str, words: &[&str]) {
        let findings = self.report["findings"].as_array().unwrap();
        let fits = |finding: &&Value| {
            finding["what"] == what
                && finding["state"] == state
                && words.iter().all(|it| finding.to_string().contains(it))
        };
        assert!(findings.iter().any(|finding| fits(&finding)), "{what} {state} {words:?}: {:#}", self.report);
    }

    #[track_caller]
    fn works(&self, works: bool) {
        assert_eq!(self.report["works"], works, "{:#}", self.report);
        assert_eq!(self.status, Some(if works { 0 } else { 69 }));
    }
}

fn doctor(store: &TestStore, more: &[&str]) -> Diagnosis {
    Diagnosis::of(&store.run(&[&["--json", "doctor"], more].concat()))
}

/// In a shell in namespaces of its own (`unshare FLAGS`), where things can be broken. `$DOCTOR` is the command.
fn broken(store: &TestStore, flags: &str, script: &str) -> Diagnosis {
    let command = format!(
        "{} --store {} --key-file {} --json doctor",
        env!("CARGO_BIN_EXE_secretfs"),
        store.path().display(),
        store.key_file().display()
    );
    let mut unshare = Command::new(tool("unshare"));
    unshare.arg(flags).args(["sh", "-ec", script]).env("DOCTOR", command).current_dir("/");
    Diagnosis::of(&unshare.output().unwrap())
}

/// The control of all that follows.
#[test]
fn here_it_works() {
    let store = TestStore::new();
    store.set("a", "the-canary-value");
    let diagnosis = doctor(&store, &[]);
    diagnosis.works(true);
    for what in ["kernel", "/dev/fuse", "mounting", "clock", "config", "store"] {
        diagnosis.says(what, "ok", &[]);
    }
    diagnosis.says("store", "ok", &["mode 0700, 1 secret)"]);
    diagnosis.says("key", "ok", &["master.key"]);
    let text = stdout_of(&store.run(&["doctor"]));
    assert!(text.contains("ok       kernel") && text.ends_with("see what is weak\n"), "{text}");
    assert!(!text.contains("the-canary-value"));
}

#[test]
fn without_the_device_nothing_is_mounted() {
    let store = TestStore::new();
    let diagnosis = broken(&store, "-m", "mount -t tmpfs none /dev; $DOCTOR");
    diagnosis.works(false);
    diagnosis.says("/dev/fuse", "missing", &["modprobe fuse", "--device /dev/fuse"]);
    diagnosis.says("mounting", "missing", &["exec"]);
}

#[test]
fn a_device_that_is_closed_to_the_user_is_told() {
    let store = TestStore::of(USER);
    let binary = store.folder().join("secretfs");
    let script = format!(
        "mount -t tmpfs none /dev; mknod -m 600 /dev/fuse c 10 229; \
         exec setpriv --reuid {USER} --regid {USER} --clear-groups {} ${{DOCTOR#* }}",
        binary.display()
    );
    let diagnosis = broken(&store, "-m", &script);
    diagnosis.works(false);
    diagnosis.says("/dev/fuse", "missing", &["chmod 0666 /dev/fuse"]);
}

/// fusermount3 refuses such a user.
#[test]
fn a_user_without_a_name_mounts_for_one_command_only() {
    let store = TestStore::of(USER);
    let script = format!(
        "mount -t tmpfs none /dev; mknod -m 666 /dev/fuse c 10 229; \
         exec setpriv --reuid {USER} --regid {USER} --clear-groups {} ${{DOCTOR#* }}",
        store.folder().join("secretfs").display()
    );
    let diagnosis = broken(&store, "-m", &script);
    diagnosis.says("/dev/fuse", "ok", &[]);
    diagnosis.says("mounting", "ok", &["for one command at a time"]);
}

#[test]
fn forbidden_namespaces_are_told() {
    let store = TestStore::new();
    let diagnosis = broken(&store, "-Ur", "echo 0 >/proc/sys/user/max_user_namespaces; $DOCTOR");
    diagnosis.says("namespaces", "weak", &["user.max_user_namespaces"]);
    doctor(&store, &[]).says("namespaces", "ok", &[]);
}

/// A user with nothing but exec: no helper, no namespaces.
#[test]
fn a_user_without_any_way_to_mount_is_told() {
    let store = TestStore::of(USER);
    let mut command = store.command(&["--json", "doctor"]);
    let diagnosis = Diagnosis::of(&command.env("PATH", "/nowhere").output().unwrap());
    diagnosis.says("fusermount3", "weak", &["install the package fuse3"]);
    let fuse = fs::metadata("/dev/fuse").unwrap().permissions().mode() & 0o006 == 0o006;
    if fuse {
        diagnosis.says("mounting", "ok", &["-- COMMAND"]);
    } else {
        diagnosis.says("mounting", "missing", &["/dev/fuse"]);
    }
}

#[test]
fn a_low_limit_on_locked_memory_is_told() {
    let store = TestStore::of(USER);
    let mut command = store.command(&["--json", "doctor"]);
    let limit =
        || nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK, 65_536, 65_536);
    // SAFETY: between fork and exec this makes one system call and allocates nothing.
    unsafe { command.pre_exec(move || Ok(limit()?)) };
    let diagnosis = Diagnosis::of(&command.output().unwrap());
    diagnosis.says("memory", "weak", &["64 KiB", "LimitMEMLOCK=infinity"]);
    doctor(&TestStore::new(), &[]).says("memory", "ok", &[]);
}

#[test]
fn core_dumps_are_told() {
    let store = TestStore::new();
    let said = |limit: u64| {
        let mut command = store.command(&["--json", "doctor"]);
        let set =
            move || nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, limit, 1 << 20);
        // SAFETY: between fork and exec this makes one system call and allocates nothing.
        unsafe { command.pre_exec(move || Ok(set()?)) };
        Diagnosis::of(&command.output().unwrap())
    };
    said(1 << 20).says("core dumps", "weak", &["ulimit -c 0"]);
}

#[test]
fn the_store_and_its_key() {
    let store = TestStore::new();
    let key = store.key_file();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let diagnosis = doctor(&store, &[]);
    diagnosis.works(false);
    diagnosis.says("store", "ok", &[]);
    diagnosis.says("key", "missing", &["chmod 0400"]);
    fs::remove_file(&key).unwrap();
    let diagnosis = doctor(&store, &[]);
    diagnosis.works(false);
    diagnosis.says("key", "missing", &["is not there"]);
    fs::set_permissions(store.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let diagnosis = doctor(&store, &[]);
    diagnosis.works(false);
    diagnosis.says("store", "missing", &["chmod 0700"]);
    fs::remove_dir_all(store.path()).unwrap();
    let diagnosis = doctor(&store, &[]);
    diagnosis.works(true);
    diagnosis.says("store", "weak", &["secretfs init"]);
}

#[test]
fn a_key_in_a_bad_place_is_told() {
    let store = TestStore::new();
    doctor(&store, &[]).says("key's place", "weak", &["beside the store"]);
    fs::create_dir(store.folder().join(".git")).unwrap();
    doctor(&store, &[]).says("key's place", "weak", &["git work tree"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let key = elsewhere.path().join("key");
    fs::rename(store.key_file(), &key).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.arg("--store").arg(store.path()).arg("--key-file").arg(&key).args(["--json", "doctor"]);
    let diagnosis = Diagnosis::of(&command.current_dir("/").output().unwrap());
    diagnosis.works(true);
    let said = diagnosis.report.to_string();
    assert!(!said.contains("key's place"), "{said}");
}

#[test]
fn the_source_of_the_key_is_named() {
    let store = TestStore::new();
    let key = fs::read_to_string(store.key_file()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.arg("--store").arg(store.path()).args(["--json", "doctor"]).current_dir("/");
    let diagnosis = Diagnosis::of(&command.env("SECRETFS_MASTER_KEY", key.trim()).output().unwrap());
    diagnosis.says("key", "ok", &["SECRETFS_MASTER_KEY"]);
}

#[test]
fn a_wrong_config_is_told() {
    let store = TestStore::new();
    fs::write(store.folder().join("secretfs.yaml"), "mounts: [{at: x}]\n").unwrap();
    let diagnosis = doctor(&store, &[]);
    diagnosis.works(false);
    diagnosis.says("config", "missing", &["secretfs.yaml:1:10", "`templates` is missing"]);
    fs::write(store.folder().join("secretfs.yaml"), "mounts: []\n").unwrap();
    doctor(&store, &[]).says("config", "ok", &["is sound"]);
}

#[test]
fn a_store_in_memory_is_told() {
    let store = TestStore::new();
    let at = store.folder().join("memory");
    fs::create_dir(&at).unwrap();
    let (at, kept, key) = (at.display(), store.path(), store.key_file());
    let script = format!(
        "mount -t tmpfs none {at}; cp -a {} {at}/store; exec ${{DOCTOR%% *}} --store {at}/store --key-file {} --json doctor",
        kept.display(),
        key.display()
    );
    broken(&store, "-m", &script).says("store's disk", "weak", &["tmpfs"]);
}
