//! The log where systemd has started the program: as fields to journald, if there is one that takes
//! them, and no reader waits for it or fails because of it. In a mount namespace with a /run of its own.

mod common;

use std::fs;
use std::process::{Command, Output};

use common::{TestStore, python, tool};

/// Takes datagrams and writes each as one line of Python.
const JOURNALD: &str = "
import os, socket, sys
os.makedirs('/run/systemd/journal', exist_ok=True)
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind('/run/systemd/journal/socket')
open(sys.argv[1] + '/bound', 'w').close()
while sys.argv[2] == 'takes':
    open(sys.argv[1] + '/journal', 'ab').write(repr(s.recv(65536)).encode() + b'\\n')
import time
time.sleep(60)
";

const FILES: usize = 600;

/// Mounts, reads many files that cannot be rendered and one that can, and stops.
fn run(store: &TestStore, journald: &str) -> Output {
    let folder = store.folder();
    for name in ["templates", "mnt"] {
        fs::create_dir_all(folder.join(name)).unwrap();
    }
    // More than a socket's queue takes (net.unix.max_dgram_qlen).
    for number in 0..FILES {
        fs::write(folder.join(format!("templates/bad{number}.tpl")), "<< secrets.nothing >>\n").unwrap();
    }
    fs::write(folder.join("templates/good.tpl"), "good\n").unwrap();
    let script = format!(
        "set -e; journald=; cd {folder}
         mount -t tmpfs tmpfs /run
         case {journald} in
         none) ;;
         *) {python} -c \"$JOURNALD\" . {journald} & journald=$!; until [ -e bound ]; do sleep 0.01; done ;;
         esac
         : > stderr
         exec 2> stderr
         JOURNAL_STREAM=$(stat -c %d:%i stderr) $SECRETFS mount templates mnt > ready & mounted=$!
         until grep -q ready ready 2>/dev/null; do sleep 0.01; done
         for file in mnt/bad*; do cat $file || true; done
         cat mnt/good
         kill $mounted; wait $mounted || true
         [ -z \"$journald\" ] || kill $journald",
        folder = folder.display(),
        python = python().display(),
    );
    let command = store.command(&[]);
    let line: Vec<_> = [command.get_program()]
        .into_iter()
        .chain(command.get_args())
        .map(|it| it.to_string_lossy())
        .collect();
    let mut unshare = Command::new(tool("unshare"));
    unshare.args(["--mount", "--propagation", "private", "timeout", "30", "sh", "-c", &script]);
    unshare.env("JOURNALD", JOURNALD).env("SECRETFS", line.join(" "));
    unshare.output().unwrap()
}

#[test]
fn journald_gets_each_field() {
    let store = TestStore::new();
    let output = run(&store, "takes");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "good\n");
    let journal = fs::read_to_string(store.folder().join("journal")).unwrap_or_default();
    let line = journal.lines().find(|line| line.contains("SECRETFS_FILE=bad7\\n")).expect("it is told");
    for part in [
        "PRIORITY=4\\n",
        "SYSLOG_IDENTIFIER=secretfs\\n",
        "MESSAGE=cannot be rendered id=",
        "SECRETFS_FILE=bad7\\n",
        "SECRETFS_ERRNO=ENOKEY\\n",
        "SECRETFS_UID=0\\n",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let stderr = fs::read_to_string(store.folder().join("stderr")).unwrap();
    assert!(!stderr.contains("cannot be rendered"), "it is told once: {stderr}");
}

#[test]
fn without_journald_or_with_one_that_takes_nothing_all_goes_on() {
    for journald in ["none", "hangs"] {
        let store = TestStore::new();
        let output = run(&store, journald);
        assert!(output.status.success(), "{journald}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "good\n", "{journald}");
    }
}
