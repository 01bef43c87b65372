//! The key sources and `init` through the real binary: each refusal and the command that mends it.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{TestStore, stdout_of, tool};

/// `secretfs` on this store without a key of ours.
fn bare(store: &TestStore, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    command.env_clear().env("HOME", store.folder()).current_dir(store.folder()).stdin(Stdio::null());
    command.arg("--store").arg(store.path()).args(args);
    command
}

#[track_caller]
fn refusal(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// What is made is there after a loss of power, too: each folder by the names in the one above.
#[test]
fn new_folders_of_a_key_and_a_store_are_synced() {
    let store = TestStore::new();
    let folder = store.folder().canonicalize().unwrap();
    let mut strace = Command::new(tool("strace"));
    strace.args(["-f", "-y", "-qq", "-e", "trace=fsync", "-o"]).arg(folder.join("log"));
    strace.args([env!("CARGO_BIN_EXE_secretfs"), "--store", "x/y/store", "--key-file", "k/l/key", "init"]);
    stdout_of(&strace.env_clear().env("HOME", &folder).current_dir(&folder).output().unwrap());
    let log = fs::read_to_string(folder.join("log")).unwrap();
    let is_synced = |path: &str| {
        let path = folder.join(path);
        let path = path.display().to_string();
        log.contains(&format!("<{}>) = 0", path.trim_end_matches('/')))
    };
    for path in ["", "x", "x/y", "x/y/store", "k", "k/l", "x/y/store/store.db"] {
        assert!(is_synced(path), "{path}: {log}");
    }
}

fn key_text(store: &TestStore) -> String {
    fs::read_to_string(store.key_file()).unwrap().trim().to_owned()
}

#[test]
fn init_says_where_everything_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command.current_dir(folder.path()).env("HOME", folder.path()).env_remove("SECRETFS_STORE").args(args);
        command.output().unwrap()
    };
    let said = stdout_of(&run(&["init", "--key-file", "k"]));
    assert!(said.contains(&folder.path().join(".secretfs").display().to_string()), "{said}");
    assert!(said.contains(&folder.path().join("k").display().to_string()), "{said}");
    assert_eq!(fs::read_to_string(folder.path().join(".secretfs/.gitignore")).unwrap(), "*\n");
    let mode = |path: &str| folder.path().join(path).metadata().unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(".secretfs"), mode("k")), (0o700, 0o400));
    for file in [".gitignore", "FORMAT", "store.db", "sequence"] {
        assert_eq!(mode(&format!(".secretfs/{file}")), 0o600, "{file}");
    }
    let again = refusal(&run(&["init", "--key-file", "k"]), 73);
    assert!(again.contains("already a store"), "{again}");
    let inside = refusal(&run(&["--store", "s", "init", "--key-file", "s/k"]), 64);
    assert!(inside.contains("inside the store") && !folder.path().join("s").exists(), "{inside}");
    let with_same_key = stdout_of(&run(&["--store", "second", "--json", "init", "--key-file", "k"]));
    assert!(with_same_key.contains("/k\",\n"), "{with_same_key}");
    let key = fs::read_to_string(folder.path().join("k")).unwrap();
    let mut given = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    given.args(["--store", "third", "--json", "init"]).current_dir(folder.path());
    let given = stdout_of(&given.env("SECRETFS_MASTER_KEY", key.trim()).output().unwrap());
    assert!(given.contains("\"key_file\": null"), "{given}");
    fs::write(folder.path().join("file"), "").unwrap();
    refusal(&run(&["--store", "file/store", "init", "--key-file", "other"]), 74);
    assert!(!folder.path().join("other").exists(), "no store, no key");
}

#[test]
fn a_store_without_a_key_says_so() {
    let store = TestStore::new();
    store.set("a", "v");
    let said = refusal(&bare(&store, &["get", "a"]).output().unwrap(), 77);
    assert!(
        said.contains("the store is sealed") && said.contains("--key-file FILE or SECRETFS_MASTER_KEY"),
        "{said}"
    );
    let nowhere = refusal(&bare(&store, &["get", "a", "--store", "/nowhere"]).output().unwrap(), 66);
    assert!(nowhere.contains("no store at /nowhere") && nowhere.contains("secretfs init"), "{nowhere}");
}

#[test]
fn a_wrong_key_is_named() {
    let (store, other) = (TestStore::new(), TestStore::new());
    store.set("a", "v");
    let key = other.key_file().display().to_string();
    let said = refusal(&bare(&store, &["--key-file", &key, "get", "a"]).output().unwrap(), 77);
    assert!(said.contains(&format!("skipped {key}: it is not the key of this store")), "{said}");
    // The next source is asked.
    let mut command = bare(&store, &["--key-file", &key, "get", "a"]);
    assert_eq!(stdout_of(&command.env("SECRETFS_MASTER_KEY", key_text(&store)).output().unwrap()), "v");
}

#[test]
fn a_wide_key_file_is_refused_until_it_is_mended() {
    let store = TestStore::new();
    store.set("a", "v");
    for mode in [0o644, 0o440, 0o604] {
        fs::set_permissions(store.key_file(), fs::Permissions::from_mode(mode)).unwrap();
        let said = refusal(&store.run(&["get", "a"]), 77);
        let mend = said.lines().find_map(|line| line.trim().strip_prefix("try: ")).unwrap();
        assert!(said.contains("lets others read the key") && mend.starts_with("chmod 0400"), "{said}");
        assert!(Command::new("sh").args(["-c", mend]).status().unwrap().success());
        assert_eq!(stdout_of(&store.run(&["get", "a"])), "v");
    }
    let wide = store.path().join("store.db");
    fs::set_permissions(&wide, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refusal(&store.run(&["get", "a"]), 77).contains(&format!("chmod 0600 {}", wide.display())));
}

#[test]
fn a_credential_of_systemd_is_a_key() {
    let store = TestStore::new();
    store.set("a", "v");
    let credentials = store.folder().join("credentials");
    fs::create_dir(&credentials).unwrap();
    fs::copy(store.key_file(), credentials.join("secretfs.key")).unwrap();
    let mut command = bare(&store, &["get", "a"]);
    assert_eq!(stdout_of(&command.env("CREDENTIALS_DIRECTORY", &credentials).output().unwrap()), "v");
}

#[test]
fn a_user_finds_the_key_in_the_config_folder() {
    const BINARY: &str = env!("CARGO_BIN_EXE_secretfs");
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(common::USER), Some(common::USER))
        .expect("this test becomes another user: run it as root");
    common::copy_program(BINARY, &folder.path().join("secretfs"));
    let run = |args: &[&str]| {
        let mut command = Command::new(folder.path().join("secretfs"));
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path()).args(args);
        command.stdin(Stdio::null()).uid(common::USER).gid(common::USER).output().unwrap()
    };
    let made: serde_json::Value = serde_json::from_str(&stdout_of(&run(&["--json", "init"]))).unwrap();
    let expected = folder.path().join(format!(".config/secretfs/keys/{}.key", made["id"].as_str().unwrap()));
    assert_eq!(made["key_file"], expected.display().to_string());
    stdout_of(&run(&["set", "a", "--value", "v"]));
    assert_eq!(stdout_of(&run(&["get", "a"])), "v");
    // Another user, root too, does not take this store for its own.
    let mut command = Command::new(BINARY);
    command.env_clear().current_dir(folder.path()).args(["get", "a", "--key-file"]).arg(&expected);
    let said = refusal(&command.output().unwrap(), 77);
    assert!(said.contains(&format!("belongs to uid {}", common::USER)), "{said}");
}

/// While a command waits for its value, its own environment no longer has the key.
#[test]
fn the_key_is_wiped_from_the_environment() {
    let store = TestStore::new();
    let key = key_text(&store);
    let mut command = bare(&store, &["set", "a"]);
    command.env("SECRETFS_MASTER_KEY", &key).env("SECRETFS_MASTER_KEY_NOT", "kept");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let environ = || fs::read(format!("/proc/{}/environ", child.id())).unwrap();
    let holds =
        |environ: &[u8], text: &str| environ.windows(text.len()).any(|window| window == text.as_bytes());
    // Before its exec the child still has our own environment.
    let end = Instant::now() + Duration::from_secs(5);
    let is_wiped = |left: &[u8]| holds(left, "SECRETFS_MASTER_KEY_NOT=kept") && !holds(left, &key);
    while !is_wiped(&environ()) {
        assert!(Instant::now() < end, "the key is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.stdin.take().unwrap().write_all(b"value").unwrap();
    assert!(child.wait().unwrap().success());
    let mut wrong = bare(&store, &["get", "a"]);
    let said = refusal(&wrong.env("SECRETFS_MASTER_KEY", "not a key").output().unwrap(), 77);
    assert!(said.contains("SECRETFS_MASTER_KEY is no key") && !said.contains("not a key\n"), "{said}");
}

/// `--store`, then `SECRETFS_STORE`, then the config, then `./.secretfs`.
#[test]
fn the_store_is_found_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let run = |args: &[&str], variable: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secretfs"));
        command.env_clear().env("HOME", folder.path()).current_dir(folder.path()).args(args);
        command.args(["--key-file", "k"]).stdin(Stdio::null());
        variable.map(|path| command.env("SECRETFS_STORE", path));
        command.output().unwrap()
    };
    for store in ["given", "variable", "config", ".secretfs"] {
        stdout_of(&run(&["init", "--store", store], None));
        stdout_of(&run(&["set", "a", "--value", store, "--store", store], None));
    }
    assert_eq!(stdout_of(&run(&["get", "a"], None)), ".secretfs");
    fs::write(folder.path().join("secretfs.yaml"), "store: ./config\n").unwrap();
    assert_eq!(stdout_of(&run(&["get", "a"], None)), "config");
    assert_eq!(stdout_of(&run(&["get", "a"], Some("variable"))), "variable");
    assert_eq!(stdout_of(&run(&["get", "a"], Some(""))), "config", "an empty variable is none");
    assert_eq!(stdout_of(&run(&["get", "a", "--store", "given"], Some("variable"))), "given");
    fs::create_dir(folder.path().join("below")).unwrap();
    let mut below = Command::new(env!("CARGO_BIN_EXE_secretfs"));
    below.env_clear().current_dir(folder.path().join("below")).args(["get", "a", "--key-file", "../k"]);
    assert_eq!(stdout_of(&below.output().unwrap()), "config", "relative to the config, not to us");
}
