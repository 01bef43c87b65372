//! What a program of ours keeps of what this process may do in its user namespace (capabilities(7)).

use std::io;

/// A user's namespace gives these to its first process alone, and a program that is started there has
/// none, unless it is said: to mount, and to reach what its user owns.
const KEPT: [u32; 3] = [CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_SYS_ADMIN];
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_ADMIN: u32 = 21;

/// _LINUX_CAPABILITY_VERSION_3: two words of each set.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// For this thread, which is about to become a program. Those that it has not are left out.
pub(super) fn keep_over_exec() -> io::Result<()> {
    let mut header = Header { version: 0x2008_0522, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: the kernel reads the header and fills two elements, as this version has them.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) })?;
    let kept: Vec<u32> = KEPT.into_iter().filter(|number| sets[0].permitted >> number & 1 == 1).collect();
    sets[0].inheritable |= kept.iter().map(|number| 1 << number).sum::<u32>();
    // SAFETY: the kernel reads the header and both elements.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw mut header, sets.as_ptr()) })?;
    for number in kept {
        let (raise, number) = (libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, libc::c_ulong::from(number));
        // SAFETY: takes integers only.
        check(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, raise, number, 0, 0) }.into())?;
    }
    Ok(())
}

fn check(answer: libc::c_long) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
