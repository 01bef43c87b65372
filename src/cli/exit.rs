//! The exit statuses, documented in the README. `EX_*` of sysexits.h where it has a fitting one.

pub const OK: u8 = 0;
/// A question was answered with no (`exists`), or `check` has findings.
pub const NO: u8 = 1;
/// Wrong use of the command line.
pub const USAGE: u8 = 64;
/// Input that is wrong: a template, a value, a name.
pub const DATA: u8 = 65;
/// A secret or a file that is not there.
pub const NO_INPUT: u8 = 66;
/// Something that this machine does not offer: /dev/fuse, user namespaces.
pub const UNAVAILABLE: u8 = 69;
/// A fault of ours.
pub const SOFTWARE: u8 = 70;
pub const OS: u8 = 71;
pub const CANNOT_CREATE: u8 = 73;
/// Disk full, store corrupt or busy.
pub const IO: u8 = 74;
/// Try again later: busy, deadline.
pub const TEMPORARY: u8 = 75;
/// No key, a wrong key, a key file with wide permissions.
pub const NO_PERMISSION: u8 = 77;
pub const CONFIG: u8 = 78;
