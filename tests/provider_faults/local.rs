//! What goes wrong with a program and with files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{Daemon, TestDaemon, eventually};
use crate::document;
use crate::scene::{BUSY, DEADLINE, Seen, told};

/// A provider of the config, in the folder of the test.
const EXEC: &str = "type: exec, command: [./it]";
const FOLDER: &str = "type: file, path: it";
const TREE: &str = "type: file, path: it.json";

struct Local {
    name: &'static str,
    provider: &'static str,
    is_wrong: fn(&Path),
}

const ALL: [Local; 13] = [
    Local { name: "`exec`: the program is not there", provider: EXEC, is_wrong: |_| {} },
    Local {
        name: "`exec`: nobody may run it",
        provider: EXEC,
        is_wrong: |it| {
            fs::write(it, "").unwrap();
            allow(it, 0o644);
        },
    },
    Local { name: "`exec`: it ends with status 1", provider: EXEC, is_wrong: |it| program(it, "exit 1") },
    Local { name: "`exec`: it is killed", provider: EXEC, is_wrong: |it| program(it, "kill -9 $$") },
    Local { name: "`exec`: it hangs", provider: EXEC, is_wrong: |it| program(it, "exec sleep 4302") },
    Local {
        name: "`exec`: it prints without an end",
        provider: EXEC,
        is_wrong: |it| program(it, "exec cat /dev/zero"),
    },
    Local {
        name: "`exec` with `fields: json`: it prints no JSON",
        provider: "type: exec, command: [./it], fields: json",
        is_wrong: |it| program(it, "echo 31337"),
    },
    Local { name: "`file`: the folder is gone", provider: FOLDER, is_wrong: |_| {} },
    Local {
        name: "`file`: a pipe in the file's place",
        provider: FOLDER,
        is_wrong: |it| {
            fs::create_dir(it).unwrap();
            nix::unistd::mkfifo(&it.join("a"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        },
    },
    Local {
        name: "`file`: a file of 1 GiB",
        provider: FOLDER,
        is_wrong: |it| {
            fs::create_dir(it).unwrap();
            fs::File::create(it.join("a")).unwrap().set_len(1 << 30).unwrap();
        },
    },
    Local { name: "`file` with JSON: it is gone", provider: TREE, is_wrong: |_| {} },
    Local {
        name: "`file` with JSON: it is cut",
        provider: TREE,
        is_wrong: |it| fs::write(it, "{\"a\": \"31337").unwrap(),
    },
    Local {
        name: "`file` with JSON: a member is there twice",
        provider: TREE,
        is_wrong: |it| fs::write(it, "{\"a\": \"31337\", \"a\": \"1\"}").unwrap(),
    },
];

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn program(path: &Path, script: &str) {
    fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    allow(path, 0o755);
}

impl Local {
    fn put(&self, it: &Path, value: &str) {
        match self.provider {
            TREE => fs::write(it, format!("{{\"a\": \"{value}\"}}")).unwrap(),
            FOLDER => {
                fs::create_dir(it).unwrap();
                fs::write(it.join("a"), value).unwrap();
            }
            _ if self.provider.contains("json") => program(it, &format!("echo '{{\"value\": \"{value}\"}}'")),
            _ => program(it, &format!("echo {value}")),
        }
    }

    fn take_away(it: &Path) {
        let _ = fs::remove_file(it);
        let _ = fs::remove_dir_all(it);
    }

    fn played(&self) -> Seen {
        let daemon = TestDaemon::new().secret("own", "own").template("own.tpl", "<< secrets.own >>");
        let it = daemon.folder().join(if self.provider == TREE { "it.json" } else { "it" });
        self.put(&it, "hunter2-before");
        let config = format!(
            "providers: {{p: {{{}, timeout: 2s, cache: {{ttl: 50ms, negative_ttl: 50ms}}}}}}\n\
             mounts: [{{at: mnt, templates: templates}}]\n",
            self.provider
        );
        let daemon = daemon.template("f.tpl", "<< secret('p:a') | default('d') >>").config(&config).start();
        eventually("the control", || (read(&daemon)? == "hunter2-before").then_some(()));
        let before = daemon.stderr().len();
        Self::take_away(&it);
        (self.is_wrong)(&it);
        thread::sleep(Duration::from_millis(200));
        let start = Instant::now();
        let errno = daemon.errno("f");
        assert!(start.elapsed() < DEADLINE + BUSY, "{}: {:?}", self.name, start.elapsed());
        assert_eq!(daemon.read("own"), "own", "{}: others are left alone", self.name);
        let kind = eventually(self.name, || told(&daemon, before));
        let seen = Seen { errno: Some(errno), kind: Some(kind) };
        Self::take_away(&it);
        self.put(&it, "hunter2-after");
        eventually(self.name, || (read(&daemon)? == "hunter2-after").then_some(()));
        let log = daemon.stderr();
        assert!(!log.contains("hunter2") && !log.contains("31337"), "{}: {log}", self.name);
        seen
    }
}

fn read(daemon: &Daemon) -> Option<String> {
    fs::read_to_string(daemon.path("f")).ok()
}

#[test]
fn of_programs_and_files() {
    let seen: Vec<_> = ALL.iter().map(|local| (local.name, Some(local.played()))).collect();
    document::judge(&document::LOCAL, "seen", &seen);
}
