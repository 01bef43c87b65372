//! Each cause has its errno, through the real mount: the table that a reader of ours can rely on.
//! And whatever a template or a value is like, the mount goes on serving.

mod common;

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Mounted, TestMount, stdout_of, tool};

/// What `user.secretfs.error` says about a file that failed.
#[track_caller]
fn reason(mount: &Mounted, name: &str) -> String {
    let mut ask = Command::new(tool("getfattr"));
    ask.args(["--absolute-names", "--only-values", "-n", "user.secretfs.error"]).arg(mount.path(name));
    stdout_of(&ask.output().unwrap())
}

/// The file fails with this errno and a reason that says each of these, and never the value.
#[track_caller]
fn fails(mount: &Mounted, name: &str, errno: i32, says: &[&str]) {
    assert_eq!(mount.errno(name), errno, "{name}");
    let reason = reason(mount, name);
    for part in says {
        assert!(reason.contains(part), "{name}: `{part}` is not in: {reason}");
    }
    assert!(!reason.contains("hunter2"), "{name}: {reason}");
}

#[test]
fn a_missing_secret_field_or_version_is_enokey() {
    let mount = TestMount::new()
        .secret("db", "hunter2")
        .template("secret.tpl", "<< secrets.bd >>")
        .template("field.tpl", "<< secrets.db.password >>")
        .template("version.tpl", "<< secret(\"db\", version=9) >>")
        .template("default.tpl", "<< secrets.bd | default('none') >>")
        .template("fallback.tpl", "<< secrets.bd | fallback(secrets.db) >>")
        .start();
    fails(&mount, "secret", libc::ENOKEY, &["secret.tpl:1:4", "bd"]);
    fails(&mount, "field", libc::ENOKEY, &["field.tpl:1:4", "password"]);
    fails(&mount, "version", libc::ENOKEY, &["version.tpl:1:4", "9"]);
    assert_eq!(mount.read("default"), "none");
    assert_eq!(mount.read("fallback"), "hunter2");
}

#[test]
fn an_expired_version_is_ekeyexpired_and_no_default_hides_it() {
    let mount = TestMount::new().template("f.tpl", "<< secrets.key | default('none') >>").start();
    assert_eq!(mount.read("f"), "none");
    stdout_of(&mount.store().run_with(&["set", "key", "--expires", "1s"], "hunter2"));
    assert_eq!(mount.read("f"), "hunter2");
    // Nothing changes but the time.
    std::thread::sleep(Duration::from_millis(1_100));
    fails(&mount, "f", libc::EKEYEXPIRED, &["expired"]);
}

#[test]
fn a_tampered_record_is_ebadmsg_and_no_other_file_suffers() {
    let mount = TestMount::new()
        .secret("key", "hunter2")
        .secret("other", "fine")
        .template("f.tpl", "<< secrets.key >>")
        .template("other.tpl", "<< secrets.other >>")
        .start();
    tamper(&mount);
    // Nothing was rendered yet, so the first open finds it.
    let outcomes =
        ["f", "other"].map(|name| fs::read(mount.path(name)).map_err(|error| error.raw_os_error()));
    assert!(outcomes.contains(&Err(Some(libc::EBADMSG))), "{outcomes:?}");
    assert!(outcomes.iter().flatten().all(|bytes| bytes == b"fine" || bytes == b"hunter2"), "{outcomes:?}");
}

/// One bit of one record, behind the store's back.
fn tamper(mount: &Mounted) {
    let database = rusqlite::Connection::open(mount.store().path().join("store.db")).unwrap();
    let mut record: Vec<u8> =
        database.query_row("SELECT record FROM versions LIMIT 1", [], |row| row.get(0)).unwrap();
    let original = record.clone();
    let last = record.len() - 1;
    record[last] ^= 1;
    let changed =
        database.execute("UPDATE versions SET record = ?1 WHERE record = ?2", (&record, &original)).unwrap();
    assert_eq!(changed, 1);
}

#[test]
fn awkward_values_are_served_whole_or_refused() {
    let megabyte = "m".repeat(1 << 20);
    let mount = TestMount::new()
        .secret("empty", "")
        .secret("nul", b"hunter2\0x")
        .secret("newline", "hunter2\nline two\n")
        .secret("binary", b"hunter2\xff\xfe")
        .secret("large", &megabyte)
        .template("empty.txt.tpl", "[<< secrets.empty >>]")
        .template("nul.txt.tpl", "<< secrets.nul >>")
        .template("nul-raw.txt.tpl", "<< secrets.nul | raw >>")
        .template("nul-base64.txt.tpl", "<< secrets.nul | b64encode >>")
        .template("newline.txt.tpl", "<< secrets.newline >>")
        .template("newline.env.tpl", "KEY=<< secrets.newline >>\n")
        .template("binary.txt.tpl", "<< secrets.binary >>")
        .template("binary.json.tpl", "{\"key\": << secrets.binary >>}")
        .template("large.txt.tpl", "<< secrets.large >>")
        .start();
    assert_eq!(mount.read("empty.txt"), "[]", "empty is not missing");
    fails(&mount, "nul.txt", libc::EIO, &["NUL"]);
    assert_eq!(fs::read(mount.path("nul-raw.txt")).unwrap(), b"hunter2\0x");
    assert_eq!(mount.read("nul-base64.txt"), "aHVudGVyMgB4");
    assert_eq!(mount.read("newline.txt"), "hunter2\nline two\n");
    assert_eq!(mount.read("newline.env"), "KEY='hunter2\nline two\n'\n");
    assert_eq!(fs::read(mount.path("binary.txt")).unwrap(), b"hunter2\xff\xfe");
    fails(&mount, "binary.json", libc::EIO, &["UTF-8"]);
    assert_eq!(mount.read("large.txt"), megabyte);
}

/// How long a process has had a processor: what others do to the machine is no part of it.
fn worked(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

/// That each answer is EIO says that it came before the deadline.
#[test]
fn hostile_templates_are_answered_and_the_mount_goes_on() {
    let loops = format!("{}x{}", "<% for a in [1,2,3,4,5,6,7,8,9] %>".repeat(9), "<% endfor %>".repeat(9));
    let hostile = [
        ("loop", loops),
        ("times", "<< secrets.key * 1000000000 >>".to_owned()),
        ("indent", "<< secrets.key | indent(1000000000) >>".to_owned()),
        ("all", "<< secrets >>".to_owned()),
        ("include", "<% include '/etc/passwd' %>".to_owned()),
        ("open", "<< secrets.key".to_owned()),
        ("deep", format!("<< {}secrets.key{} >>", "(".repeat(50_000), ")".repeat(50_000))),
        ("syntax", "<% if %>".to_owned()),
    ];
    let mut mount = TestMount::new().secret("key", "hunter2").template("good.tpl", "<< secrets.key >>");
    for (name, text) in &hostile {
        mount = mount.template(&format!("{name}.tpl"), text);
    }
    let mount = mount.start();
    for (name, _) in &hostile {
        let before = worked(mount.pid());
        let outcome = fs::read(mount.path(name)).map_err(|error| error.raw_os_error());
        assert_eq!(outcome, Err(Some(libc::EIO)), "{name}");
        let work = worked(mount.pid()) - before;
        assert!(work < Duration::from_secs(2), "{name}: {work:?}");
        assert_eq!(mount.read("good"), "hunter2", "after {name}");
    }
}

#[test]
fn slow_files_delay_no_other_file_and_meet_their_deadline() {
    let config = "mounts:\n  - {at: mnt, templates: templates, deadline: 300ms}\n";
    let mut mount =
        TestMount::new().secret("key", "hunter2").config(config).template("good.tpl", "<< secrets.key >>");
    for number in 0..12 {
        let slow = "<< secrets.key | bcrypt(12) >>".to_owned();
        mount = mount.template(&format!("slow{number}.tpl"), slow);
    }
    let mount = mount.start();
    std::thread::scope(|scope| {
        for number in 0..12 {
            let path = mount.path(&format!("slow{number}"));
            scope.spawn(move || {
                let start = Instant::now();
                let outcome = fs::read(path).map_err(|error| error.raw_os_error());
                assert!(matches!(outcome, Ok(_) | Err(Some(libc::ETIMEDOUT))), "{outcome:?}");
                assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
            });
        }
        std::thread::sleep(Duration::from_millis(50));
        for _ in 0..20 {
            assert_eq!(mount.read("good"), "hunter2");
        }
    });
}
