//! What the kernel keeps for us: payloads of keys of the type `user`, in a keyring of the caller's
//! session or user (keyrings(7)). Given to who possesses the keyring, never to others. Uses libc.

use std::ffi::{CStr, CString, c_long, c_ulong};
use std::io;
use std::time::Duration;

use libc::{
    KEY_SPEC_SESSION_KEYRING, KEY_SPEC_THREAD_KEYRING, KEY_SPEC_USER_KEYRING, KEYCTL_GET_KEYRING_ID,
    KEYCTL_GET_PERSISTENT, KEYCTL_INVALIDATE, KEYCTL_LINK, KEYCTL_READ, KEYCTL_SEARCH, KEYCTL_SET_TIMEOUT,
    KEYCTL_UNLINK,
};
use zeroize::Zeroizing;

const TYPE: &CStr = c"user";

/// Which of the caller's keyrings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyring {
    /// Of what was started from one login.
    Session,
    /// Of all processes of the user.
    User,
    /// Of the user, also while none of their processes is there; emptied when it was not asked for days.
    Persistent,
}

impl Keyring {
    pub const ALL: [Self; 3] = [Self::Session, Self::User, Self::Persistent];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Persistent => "persistent",
        }
    }

    /// Keeps a payload under this name, in the place of one that is there.
    pub fn put(self, name: &str, payload: &[u8], lifetime: Option<Duration>) -> io::Result<()> {
        let held = Held::of(self)?;
        let name = CString::new(name)?;
        // SAFETY: two C strings, and bytes with their number; the kernel copies all of them.
        let key = check(unsafe {
            let (name, keyring) = (name.as_ptr(), c_long::from(held.keyring));
            libc::syscall(libc::SYS_add_key, TYPE.as_ptr(), name, payload.as_ptr(), payload.len(), keyring)
        })?;
        match lifetime {
            Some(lifetime) => {
                control(KEYCTL_SET_TIMEOUT, [as_word(key), lifetime.as_secs() as c_ulong]).map(drop)
            }
            None => Ok(()),
        }
    }

    /// The payload of this name, of at most `N` bytes; `None` if there is none.
    pub fn get<const N: usize>(self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let held = Held::of(self)?;
        let Some(key) = held.find(name)? else { return Ok(None) };
        let mut payload = Zeroizing::new(vec![0; N]);
        let length = control(KEYCTL_READ, [as_word(key), payload.as_mut_ptr() as c_ulong, N as c_ulong])?;
        match usize::try_from(length) {
            Ok(length) if length <= N => payload.truncate(length),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(Some(payload))
    }

    /// Takes the payload of this name away. False if there is none.
    pub fn remove(self, name: &str) -> io::Result<bool> {
        let held = Held::of(self)?;
        let Some(key) = held.find(name)? else { return Ok(false) };
        control(KEYCTL_INVALIDATE, [as_word(key)]).map(|_| true)
    }
}

/// A keyring that is linked to this thread's own while this lives: only then does the thread possess
/// what is in it, whatever its session is made of.
struct Held {
    keyring: i32,
}

impl Held {
    fn of(keyring: Keyring) -> io::Result<Self> {
        let own = as_word(KEY_SPEC_THREAD_KEYRING);
        // By its number: named by what it is to us, one would be made that ends with this process.
        let numbered = |special| control(KEYCTL_GET_KEYRING_ID, [as_word(special), 0]);
        let keyring = match keyring {
            Keyring::Session => numbered(KEY_SPEC_SESSION_KEYRING)?,
            Keyring::User => numbered(KEY_SPEC_USER_KEYRING)?,
            Keyring::Persistent => control(KEYCTL_GET_PERSISTENT, [c_ulong::MAX, own])?,
        };
        control(KEYCTL_LINK, [as_word(keyring), own])?;
        Ok(Self { keyring })
    }

    fn find(&self, name: &str) -> io::Result<Option<i32>> {
        let name = CString::new(name)?;
        let place = as_word(self.keyring);
        match control(KEYCTL_SEARCH, [place, TYPE.as_ptr() as c_ulong, name.as_ptr() as c_ulong, 0]) {
            Err(error) if error.raw_os_error() == Some(libc::ENOKEY) => Ok(None),
            found => found.map(Some),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = control(KEYCTL_UNLINK, [as_word(self.keyring), as_word(KEY_SPEC_THREAD_KEYRING)]);
    }
}

/// A serial number as the system call takes it.
fn as_word(serial: i32) -> c_ulong {
    serial as c_ulong
}

fn control<const N: usize>(operation: u32, arguments: [c_ulong; N]) -> io::Result<i32> {
    let argument = |at: usize| arguments.get(at).copied().unwrap_or(0);
    let (first, second, third, fourth) = (argument(0), argument(1), argument(2), argument(3));
    // SAFETY: the pointers among the arguments are those of our callers above: C strings that are
    // only read, and for `KEYCTL_READ` a buffer with its length.
    check(unsafe { libc::syscall(libc::SYS_keyctl, operation as c_ulong, first, second, third, fourth) })
}

fn check(outcome: c_long) -> io::Result<i32> {
    match outcome {
        -1 => Err(io::Error::last_os_error()),
        serial => i32::try_from(serial).map_err(|_| io::ErrorKind::InvalidData.into()),
    }
}
