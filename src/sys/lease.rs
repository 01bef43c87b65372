//! Whether somebody is writing a file right now, by way of a read lease (fcntl(2), F_SETLEASE).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// Answers false while the file is open for writing anywhere. The lease ends when the file is
/// closed; a writer that opens it meanwhile waits for that. SIGIO must be ignored by then.
/// Where leases do not exist (a network filesystem, a file of somebody else) the answer is true.
pub fn nobody_writes(file: &File) -> io::Result<bool> {
    // SAFETY: the descriptor is open as long as `file` is; F_SETLEASE takes an integer.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::EAGAIN) => Ok(false),
        _ => Ok(true),
    }
}

/// Leases are broken by SIGIO, whose default is to end the process.
pub fn ignore_lease_breaks() {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_noticed() {
        ignore_lease_breaks();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let writer = File::create(&path).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!nobody_writes(&reader).unwrap());
        drop(writer);
        assert!(nobody_writes(&reader).unwrap());
    }
}
