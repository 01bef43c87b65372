//! A journald that is slow, or refuses: with a stand-in for its socket.

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

use super::super::journal::Journal;
use super::*;

struct StandIn {
    dir: TempDir,
    socket: UnixDatagram,
}

impl StandIn {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        Self { dir, socket }
    }

    fn journal(&self) -> Journal {
        Journal::at(&self.dir.path().join("socket")).unwrap()
    }
}

#[test]
fn a_queue_that_is_full_is_waited_for() {
    let (stand_in, soon) = (StandIn::new(), Duration::from_millis(100));
    let journal = stand_in.journal();
    while journal.send(&event(1), "{}", None).is_ok() {}
    let begun = Instant::now();
    assert!(journal.send(&event(1), "{}", None).is_err(), "the control: it is full");
    assert!(begun.elapsed() < soon);
    assert!(journal.send(&event(1), "{}", Some(begun + soon)).is_err());
    assert!(begun.elapsed() >= soon && begun.elapsed() < 10 * soon, "no longer than that");
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(soon);
            stand_in.socket.recv(&mut [0; 4096]).unwrap();
        });
        journal.send(&event(1), "{}", Some(Instant::now() + 50 * soon)).unwrap();
    });
}

#[test]
fn a_line_of_any_length_arrives() {
    let stand_in = StandIn::new();
    let line = format!("{{\"a\":\"{}\"}}", "x".repeat(1 << 20));
    stand_in.journal().send(&event(1), &line, None).unwrap();
    let (mut bytes, mut room) = ([0; 4096], nix::cmsg_space!([std::os::fd::RawFd; 1]));
    let (mut parts, fd) = ([IoSliceMut::new(&mut bytes)], stand_in.socket.as_raw_fd());
    let got = recvmsg::<()>(fd, &mut parts, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    assert_eq!(got.bytes, 0, "it is too long for the socket");
    let Some(ControlMessageOwned::ScmRights(files)) = got.cmsgs().unwrap().next() else { panic!("no file") };
    let path = format!("/proc/self/fd/{}", files[0]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.ends_with(&format!("SECRETFS_AUDIT={line}\n")), "{}", text.len());
    assert!(fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).is_err(), "it is sealed");
    nix::unistd::close(files[0]).unwrap();
}

#[test]
fn a_line_that_is_refused_refuses_no_other() {
    let mut sinks = Sinks::new(&AuditConfig::default(), PATIENT, Box::new(SystemClock));
    let batch = [Waiting::new(event(1)), Waiting::new(event(2))];
    let refused = || Err(AuditError::NoKey);
    assert!(sinks.judge(None, &batch, vec![Ok(()), refused()]).is_ok());
    assert!(batch[0].outcome().is_none() && matches!(batch[1].outcome(), Some(Err(_))));
    assert_eq!(sinks.refused, 1);
    assert!(sinks.judge(None, &batch, vec![refused(), refused()]).is_err(), "if it takes nothing, it is all");
}
