//! Takes a variable out of this process's environment, its bytes included.

use std::ffi::CStr;
use std::os::unix::ffi::OsStringExt;

use zeroize::{Zeroize, Zeroizing};

/// The variable's value. Afterwards neither a child nor `/proc/PID/environ` has it, unless there
/// already are other threads, which might be reading the environment: then it stays.
pub fn take(name: &str) -> Option<Zeroizing<Vec<u8>>> {
    let value = Zeroizing::new(std::env::var_os(name)?.into_vec());
    if is_single_threaded() {
        wipe(name);
        // SAFETY: there is no other thread that could read the environment meanwhile.
        unsafe { std::env::remove_var(name) };
    }
    Some(value)
}

pub(super) fn is_single_threaded() -> bool {
    std::fs::read_dir("/proc/self/task").is_ok_and(|tasks| tasks.count() == 1)
}

fn wipe(name: &str) {
    // SAFETY: single-threaded, so nobody changes `environ`; it ends with a null pointer, and each
    // entry is a C string in memory that the process may write to.
    unsafe {
        let mut entry = libc::environ;
        while !entry.is_null() && !(*entry).is_null() {
            let bytes = CStr::from_ptr(*entry).to_bytes();
            if let Some(b"=") = bytes.strip_prefix(name.as_bytes()).and_then(|rest| rest.get(..1)) {
                let (start, length) = (name.len() + 1, bytes.len());
                std::slice::from_raw_parts_mut((*entry).cast::<u8>().add(start), length - start).zeroize();
            }
            entry = entry.add(1);
        }
    }
}
