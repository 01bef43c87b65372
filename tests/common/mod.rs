//! What several test files share: a store and a mount through the real binary, and the programs
//! that tests need. Each test file compiles its own copy, hence the allowance for unused parts.
#![allow(dead_code, unused_imports, unused_macros, unreachable_pub)]

/// Runs each of these on both backends of the store.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { super::$test("sqlite") })+
        }
        mod file {
            $(#[test] fn $test() { super::$test("file") })+
        }
    };
}

pub mod aws;
pub mod azure;
pub mod bao;
pub mod contract;
pub mod covered;
pub mod daemon;
pub mod etcd;
pub mod failing;
pub mod gcp;
pub mod hostile;
pub mod http;
mod keyboard;
pub mod kubernetes;
mod manager;
mod map;
mod mount;
pub mod nginx;
pub mod onepassword;
pub mod programmed;
pub mod programs;
mod reading;
pub mod ready;
mod running;
pub mod served;
mod shared_node;
mod store;
mod systemd;
pub mod template;
pub mod terminal;
mod tools;
pub mod transcript;
pub mod typing;
mod user;
mod writer;

pub use daemon::{Daemon, Readers, TestDaemon, eventually};
pub use keyboard::Keyboard;
pub use manager::Manager;
pub use map::Map;
pub use mount::{Mounted, TestMount, is_judged_good};
pub use reading::Reading;
pub use running::Running;
pub use shared_node::{SharedNode, serve};
pub use store::{TestStore, copy_program};
pub use systemd::{Machine, Transcript};
pub use tools::{go, library, long, node_modules, python, tool, tools};
pub use user::become_user;
pub use writer::Writer;

use std::process::Output;

/// An unprivileged user without a name; nothing else on a machine runs under it.
pub const USER: u32 = 64_741;
/// Another one.
pub const STRANGER: u32 = 64_742;
/// One that each Debian knows by a name (`news`), which fusermount3 insists on.
pub const NAMED: u32 = 9;

/// The outcome of a command that must succeed, as its stdout.
#[track_caller]
pub fn stdout_of(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\nstderr: {stderr}", output.status);
    String::from_utf8(output.stdout.clone()).expect("stdout is UTF-8")
}
