//! The change of files, cut off before each of its steps: by a kill, or by a disk that takes nothing.
//! Whatever is left of it, `verify` is right about it, and no file goes that was not told of.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::{TestStore, stdout_of, tool};

const NAMES: [&str; 4] = ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3"];

/// Each call of a change of files, and the how manieth of them.
const STEPS: [(&str, u32); 8] = [
    ("write", 1),
    ("write", 2),
    ("fdatasync", 1),
    ("unlink", 1),
    ("rename", 1),
    ("rename", 2),
    ("openat", 2),
    ("ftruncate", 1),
];
const ENDS: [&str; 3] = ["signal=KILL", "error=ENOSPC", "error=EIO"];

struct Place {
    store: TestStore,
    /// A log whose next line begins a file.
    full: Vec<(PathBuf, Vec<u8>)>,
}

impl Place {
    fn new() -> Self {
        let store = TestStore::new();
        store.set("pw", "hunter2");
        let config = "audit: {file: audit.log, size: 4KiB, keep: 2}\n";
        fs::write(store.folder().join("secretfs.yaml"), config).unwrap();
        let place = Self { store, full: Vec::new() };
        let size = |name: &str| fs::metadata(place.path(name)).map_or(0, |meta| meta.len());
        while size("audit.log.2") == 0 || size("audit.log") < 4096 {
            place.get();
        }
        let there = NAMES.iter().map(|name| place.path(name)).filter(|path| path.exists());
        let full = there.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
        Self { full, ..place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.store.folder().join(name)
    }

    fn get(&self) {
        assert_eq!(stdout_of(&self.store.run(&["get", "pw"])), "hunter2");
    }

    /// As it was before the change.
    fn put_back(&self) {
        NAMES.iter().for_each(|name| drop(fs::remove_file(self.path(name))));
        for (path, bytes) in &self.full {
            fs::write(path, bytes).unwrap();
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
    }

    /// One line more, cut off at that step. Whether it came so far.
    fn cut(&self, call: &str, number: u32, end: &str) -> bool {
        let get = self.store.command(&["get", "pw"]);
        let mut strace = Command::new(tool("strace"));
        strace.args(["-f", "-qq", "-e", &format!("trace={call}"), "-o"]).arg(self.path("trace"));
        strace.args(["-e", &format!("inject={call}:{end}:when={number}")]);
        for name in NAMES {
            strace.arg("-P").arg(self.path(name));
        }
        strace.arg(get.get_program()).args(get.get_args()).current_dir(self.store.folder());
        strace.envs(get.get_envs().filter_map(|(key, value)| Some((key, value?))));
        strace.output().unwrap();
        let trace = fs::read_to_string(self.path("trace")).unwrap();
        trace.contains("(INJECTED)") || trace.contains("killed by SIGKILL")
    }

    #[track_caller]
    fn verify(&self, what: &str) {
        let verified = self.store.run(&["audit", "verify"]);
        assert!(verified.status.success(), "{what}: {}", String::from_utf8_lossy(&verified.stdout));
    }

    fn numbers(&self) -> Vec<u64> {
        let text = stdout_of(&self.store.run(&["audit", "query", "--json"]));
        let number = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["seq"].as_u64();
        text.lines().filter_map(number).collect()
    }
}

#[test]
fn a_change_of_files_that_is_cut_off_anywhere_is_no_change_of_the_log() {
    let place = Place::new();
    let of = |text: &[u8]| text.split(|byte| *byte == b'\n').count() as u64 - 1;
    let oldest = of(&place.full[2].1);
    let first = place.numbers()[0];
    let mut came = 0;
    for (call, number) in STEPS {
        for end in ENDS {
            let what = format!("{call} {number} {end}");
            place.put_back();
            came += u32::from(place.cut(call, number, end));
            place.verify(&what);
            place.get();
            place.verify(&format!("after {what}"));
            let now = place.numbers()[0];
            assert!(
                now == first || now == first + oldest,
                "{what}: {now} after {first}, {oldest} in the oldest"
            );
            (0..12).for_each(|_| place.get());
            place.verify(&format!("long after {what}"));
        }
    }
    assert!(came >= 20, "the control: so many steps were really cut off: {came}");
    place.put_back();
    fs::remove_file(place.path("audit.log.2")).unwrap();
    assert_eq!(place.store.run(&["audit", "verify"]).status.code(), Some(1), "the control: nobody has told");
}
