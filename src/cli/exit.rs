//! The exit statuses, documented in the README and the manual page. `EX_*` of sysexits.h where it
//! has a fitting one.

pub const OK: u8 = 0;
/// A question was answered with no (`exists`), `check` has findings, or `store repair` could not save
/// everything.
pub const NO: u8 = 1;
/// `policy test`: the caller would get a placeholder.
pub const PLACEHOLDER: u8 = 2;
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

/// The table of the README, and of the manual page.
pub const TABLE: [(&str, &str); 14] = [
    ("0", "done"),
    (
        "1",
        "a question was answered with no; `check` found something missing; `store repair` saved, but not all; \
         `policy test`: denied",
    ),
    ("2", "`policy test`: the caller would get a placeholder"),
    ("64", "wrong use of the command line"),
    ("65", "input that is wrong: a template, a value, a name"),
    ("66", "a secret or a file that is not there"),
    ("69", "something that this machine does not offer: `/dev/fuse`, namespaces"),
    ("70, 71", "a fault of ours, or of the system"),
    ("73, 74", "cannot be created; disk full, store damaged"),
    ("75", "try again later: busy, deadline"),
    ("77", "no key, a wrong key, permissions that are too wide, denied"),
    ("78", "the config"),
    ("126, 127", "`exec`: the command cannot be run, or is not found"),
    ("else", "`exec`: the command's own"),
];
