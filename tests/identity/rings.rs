//! io_uring: the kernel reads for a process, by threads of that process.

use std::os::unix::process::CommandExt;

use crate::common::{STRANGER, USER};
use crate::stage::{Stage, VALUE};

const MODES: [&str; 3] = ["inline", "async", "sqpoll"];

/// As this user; the program makes the ring itself.
fn said(stage: &Stage, mode: &str, file: &str, uid: u32) -> String {
    let output = stage.command("ring", &[mode, &stage.file(file)]).uid(uid).gid(uid).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn case_07_a_ring_reads_as_who_made_it() {
    let stage = Stage::new();
    for mode in MODES {
        assert_eq!(said(&stage, mode, "own", USER), format!("ring: {VALUE}\n"), "{mode}");
        assert_eq!(said(&stage, mode, "own", STRANGER), "ring: errno EACCES\n", "{mode}: the control");
        assert_eq!(said(&stage, mode, "reader", USER), format!("ring: {USER}|{VALUE}\n"), "{mode}");
    }
}

/// A thread of the kernel's that polls has the rights of who made the ring: whoever hands such a
/// ring on has handed his rights on.
#[test]
fn case_08_an_inherited_ring_reads_as_who_uses_it_unless_it_is_polled() {
    let stage = Stage::new();
    let by = |mode: &str, uid: u32| stage.run("ring", &[mode, &stage.file("own"), &uid.to_string()]);
    for mode in ["inline", "async"] {
        assert_eq!(by(mode, STRANGER), "ring: errno EACCES\n", "{mode}");
        assert_eq!(by(mode, USER), format!("ring: {VALUE}\n"), "{mode}: the control");
    }
    assert_eq!(by("sqpoll", STRANGER), format!("ring: {VALUE}\n"), "documented, and nothing prevents it");
}
