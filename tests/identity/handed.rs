//! Descriptors, memory and credentials that go from one process to another.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::common::{Map, STRANGER, USER};
use crate::stage::{Stage, VALUE};

fn uid(uid: u32) -> String {
    uid.to_string()
}

fn lines(who: &[(&str, &str)]) -> String {
    who.iter().map(|(name, said)| format!("{name}: {said}\n")).collect()
}

/// The open has decided: a descriptor that a shell or systemd hands on must work.
#[test]
fn case_01_another_program_of_the_same_user_reads_on() {
    let stage = Stage::new();
    let own = stage.program("reader");
    let said = stage.run("reader", &["exec", &stage.file("all"), own.to_str().unwrap(), "nine"]);
    assert_eq!(said, lines(&[("nine", VALUE)]));
}

#[test]
fn case_02_another_user_gets_nothing_from_a_descriptor() {
    let stage = Stage::new();
    let to = |other: u32| stage.run("reader", &["hand-on", &stage.file("all"), &uid(other)]);
    let refused = "errno EACCES";
    let expected = [("sent", refused), ("inherited", refused), ("mapped", "errno EFAULT"), ("own", VALUE)];
    assert_eq!(to(STRANGER), lines(&expected));
    let granted = [("sent", VALUE), ("inherited", VALUE), ("mapped", VALUE), ("own", VALUE)];
    assert_eq!(to(0), lines(&granted), "the control: the same user");
}

#[test]
fn case_03_a_child_is_what_its_parent_is() {
    let stage = Stage::new();
    let own = stage.file("own");
    let said = |command: &mut Command| {
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let mut lines: Vec<_> = output.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let as_user = |id: u32| said(stage.command("reader", &["fork", &own]).uid(id).gid(id));
    assert_eq!(as_user(USER), [format!("child: {VALUE}"), format!("parent: {VALUE}")]);
    assert_eq!(as_user(STRANGER), ["child: errno EACCES", "parent: errno EACCES"], "the control");
}

#[test]
fn case_04_each_thread_has_the_rights_that_it_has() {
    let stage = Stage::new();
    let said = |file: &str, other: u32| stage.run("reader", &["threads", &stage.file(file), &uid(other)]);
    let refused = "errno EACCES";
    // Root's main thread and a thread of a stranger: of one process, with one table of descriptors.
    let expected =
        [("thread", refused), ("thread on the other's", refused), ("main", VALUE), ("vforked", refused)];
    assert_eq!(said("own", STRANGER), lines(&expected));
    let expected =
        [("thread", VALUE), ("thread on the other's", refused), ("main", VALUE), ("vforked", VALUE)];
    assert_eq!(said("own", USER), lines(&expected), "the control: the thread of whom it is for");
}

/// In memory, where the kernel would not ask us: one node for each view.
#[test]
fn case_09_who_maps_a_file_first_never_sees_another_reader() {
    let stage = Stage::new();
    let mapped = Map::of(&File::open(stage.mount.path("reader")).unwrap(), libc::MAP_SHARED).unwrap();
    assert!(mapped.starts_with(b"0|"));
    for other in [USER, STRANGER] {
        let said = stage.run("reader", &["as", &stage.file("reader"), &uid(other)]);
        assert_eq!(said, format!("read: {other}|{VALUE}\n"));
        assert!(mapped.starts_with(b"0|"), "the mapping of another");
    }
}
