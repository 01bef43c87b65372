//! A read-only mapping of a whole file.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;

pub struct Map {
    start: *mut libc::c_void,
    length: usize,
}

impl Map {
    /// `kind` is MAP_PRIVATE or MAP_SHARED.
    pub fn of(file: &File, kind: libc::c_int) -> io::Result<Self> {
        let length = file.metadata()?.len() as usize;
        // SAFETY: a fresh mapping at an address of the kernel's choice; unmapped in `drop`.
        let start =
            unsafe { libc::mmap(std::ptr::null_mut(), length, libc::PROT_READ, kind, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { start, length }) }
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped readable for `length` bytes as long as `self` lives; never written.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.length) }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what `of` has mapped.
        unsafe { libc::munmap(self.start, self.length) };
    }
}
