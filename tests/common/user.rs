//! Threads that read as other users.

/// Of this thread alone: the kernel asks the filesystem with the fsuid of the thread.
pub fn become_user(uid: u32) {
    // SAFETY: both calls take integers and change this thread's credentials only.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, uid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}
