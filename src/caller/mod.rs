//! The process that asks, as the kernel knows it: what the request says of it, and all that may be
//! found out while it waits. Uses std only.

mod facts;
mod identity;

pub use facts::{Facts, Inquiry};
pub use identity::{Exe, Fact, Identity, Level, Namespace, ProcessId, Refusal, UserUnit};

/// Who asks. `pid` is the asking thread's id in our pid namespace; 0 means that it lives in a
/// foreign one, and then nothing that needs the process may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
    pub pid: u32,
}
