//! The one table from a failure to the errno that a reader sees. Uses the broker's error classes.

use std::fmt;

use crate::broker::Class;

/// An errno on its way to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    pub const IO: Self = Self(libc::EIO);
    pub const ACCES: Self = Self(libc::EACCES);
    pub const NOENT: Self = Self(libc::ENOENT);
    pub const NOTDIR: Self = Self(libc::ENOTDIR);
    pub const ISDIR: Self = Self(libc::EISDIR);
    pub const ROFS: Self = Self(libc::EROFS);
    pub const STALE: Self = Self(libc::ESTALE);
    pub const NODATA: Self = Self(libc::ENODATA);
    pub const RANGE: Self = Self(libc::ERANGE);
    pub const BADF: Self = Self(libc::EBADF);
    pub const NXIO: Self = Self(libc::ENXIO);
    pub const INVAL: Self = Self(libc::EINVAL);
    pub const TIMEDOUT: Self = Self(libc::ETIMEDOUT);
    pub const NOTTY: Self = Self(libc::ENOTTY);
}

impl From<Class> for Errno {
    fn from(class: Class) -> Self {
        Self(match class {
            Class::Denied => libc::EACCES,
            Class::NoKey => libc::ENOKEY,
            Class::Expired => libc::EKEYEXPIRED,
            Class::Revoked => libc::EKEYREVOKED,
            Class::Tampered => libc::EBADMSG,
            Class::Timeout => libc::ETIMEDOUT,
            Class::TooLarge => libc::EFBIG,
            Class::Failed => libc::EIO,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&nix::errno::Errno::from_raw(self.0), f)
    }
}
