//! How `secretfs mount` in the foreground ends: by any of the signals that mean it, however often
//! the key is pressed, and with nothing left mounted.

mod common;

use std::fs;

use common::{Keyboard, TestMount, TestStore};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[test]
fn every_signal_that_ends_it_takes_the_mount_away() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        let mut mounted =
            TestMount::new().secret("pw", "hunter2").template("f.tpl", "<< secrets.pw >>").start();
        assert_eq!(mounted.read("f"), "hunter2");
        // An open file must not keep it.
        let _open = fs::File::open(mounted.path("f")).unwrap();
        let pid = Pid::from_raw(mounted.pid() as i32);
        // The second one comes while the first is being heeded.
        kill(pid, signal).unwrap();
        let _ = kill(pid, signal);
        assert_eq!(mounted.wait().code(), Some(0), "{signal}");
        assert!(!is_mounted(&mounted.point()), "{signal}");
    }
}

#[test]
fn keys_pressed_twice_end_it_once() {
    for keys in ["\x03\x03", "\x1c\x1c", "\x03\x1c\x03"] {
        let store = TestStore::new();
        for folder in ["templates", "mnt"] {
            fs::create_dir(store.folder().join(folder)).unwrap();
        }
        let mut terminal = Keyboard::start(store.command(&["mount", "templates", "mnt"]));
        terminal.expect("ready:");
        terminal.press(keys);
        assert_eq!(terminal.wait().code(), Some(0), "{keys:?}: {}", terminal.screen());
        assert!(!is_mounted(&store.folder().join("mnt")), "{keys:?}");
    }
}

fn is_mounted(at: &std::path::Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    mounts.contains(at.to_str().unwrap())
}
