//! Memory for keys: pages that the kernel takes out of its own view (memfd_secret), so that no debugger,
//! no core dump and no fault in the kernel shows them; where that is not to be had, pages that are not
//! swapped. What is made of a key while it is used, like the rounds of a cipher, lies elsewhere.

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap, mmap_anonymous};
use nix::unistd::{Pid, ftruncate, geteuid, getpid};

use super::own;
use crate::poison::EvenPoisoned;

/// Keys are of one size.
pub const KEY: usize = 32;
/// In bytes: 512 keys.
const PIECE: NonZeroUsize = NonZeroUsize::new(16 * 1024).expect("it is not zero");

/// What keeps keys from others than this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keeping {
    /// Not even the kernel reads them by mistake.
    Hidden,
    /// No disk gets them.
    Locked,
    /// Nothing but the rights of this process.
    Plain,
}

impl Keeping {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hidden => "hidden",
            Self::Locked => "locked",
            Self::Plain => "plain",
        }
    }
}

/// A key in such memory. Wiped when it is dropped.
pub struct Held(NonNull<[u8; KEY]>);

// SAFETY: the place belongs to this value alone, as a `Box` does.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// All zeros, to be filled.
    pub fn new() -> Self {
        Self(places().take())
    }

    pub fn expose(&self) -> &[u8; KEY] {
        // SAFETY: the place is mapped for good and initialised, and nobody else has it.
        unsafe { self.0.as_ref() }
    }

    pub fn fill(&mut self) -> &mut [u8; KEY] {
        // SAFETY: as above.
        unsafe { self.0.as_mut() }
    }
}

impl Default for Held {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut places = places();
        // A child that was forked shares the place with its parent, who goes on using it.
        if places.are_ours(self.0) {
            // SAFETY: the place is ours alone. explicit_bzero is not optimised away (bzero(3)).
            unsafe { libc::explicit_bzero(self.0.as_ptr().cast(), KEY) };
            places.free.push(self.0);
        }
    }
}

/// How the keys of this process are kept: the worst of all, if there are any.
pub fn keeping() -> Keeping {
    let mut places = places();
    if places.pieces.is_empty() {
        places.grow();
    }
    places.worst
}

struct Places {
    /// Who has mapped them.
    owner: Option<Pid>,
    pieces: Vec<NonNull<c_void>>,
    free: Vec<NonNull<[u8; KEY]>>,
    worst: Keeping,
}

// SAFETY: the addresses are those of mappings that every thread has.
unsafe impl Send for Places {}

static PLACES: Mutex<Places> =
    Mutex::new(Places { owner: None, pieces: Vec::new(), free: Vec::new(), worst: Keeping::Hidden });

fn places() -> MutexGuard<'static, Places> {
    PLACES.lock().even_poisoned()
}

impl Places {
    fn take(&mut self) -> NonNull<[u8; KEY]> {
        if self.owner != Some(getpid()) {
            // What is free here, a parent may use at any time.
            (self.free, self.pieces, self.owner) = (Vec::new(), Vec::new(), Some(getpid()));
        }
        if self.free.is_empty() {
            self.grow();
        }
        self.free.pop().expect("a piece has places")
    }

    fn are_ours(&self, place: NonNull<[u8; KEY]>) -> bool {
        let within = |piece: &NonNull<c_void>| {
            let start = piece.addr().get();
            (start..start + PIECE.get()).contains(&place.addr().get())
        };
        self.owner == Some(getpid()) && self.pieces.iter().any(within)
    }

    fn grow(&mut self) {
        self.owner.get_or_insert_with(getpid);
        // Its pages keep a machine from hibernating, which is a user's to decide.
        let hidden = if geteuid().is_root() { hidden() } else { Err(io::ErrorKind::Unsupported.into()) };
        let (piece, keeping) = hidden
            .map(|piece| (piece, Keeping::Hidden))
            .unwrap_or_else(|_| locked().expect("memory for keys"));
        self.worst = self.worst.max(keeping);
        self.pieces.push(piece);
        let places = (0..PIECE.get() / KEY).rev();
        // SAFETY: within the mapping.
        self.free.extend(places.map(|number| unsafe { piece.byte_add(number * KEY) }.cast()));
    }
}

const READ_WRITE: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// Of the kernel's secret memory, which is locked, and left out of core dumps.
fn hidden() -> io::Result<NonNull<c_void>> {
    // SAFETY: takes flags only, and gives a descriptor that belongs to nobody else.
    let descriptor = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    let file = own(descriptor as i32);
    ftruncate(&file, PIECE.get() as libc::off_t)?;
    // SAFETY: a new mapping at a place of the kernel's choice, which takes no other's away.
    Ok(unsafe { mmap(None, PIECE, READ_WRITE, MapFlags::MAP_SHARED, &file, 0) }?)
}

fn locked() -> io::Result<(NonNull<c_void>, Keeping)> {
    // SAFETY: as above.
    let piece = unsafe { mmap_anonymous(None, PIECE, READ_WRITE, MapFlags::MAP_PRIVATE) }?;
    // SAFETY: the whole mapping, and advice that changes no content.
    unsafe { madvise(piece, PIECE.get(), MmapAdvise::MADV_DONTDUMP) }?;
    // SAFETY: the whole mapping.
    let is_locked = unsafe { mlock(piece, PIECE.get()) }.is_ok();
    Ok((piece, if is_locked { Keeping::Locked } else { Keeping::Plain }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use nix::sys::wait::waitpid;
    use nix::unistd::{ForkResult, fork};

    use super::*;

    /// Whether what the kernel shows of this process has this address.
    fn is_shown(at: usize) -> bool {
        let memory = File::open("/proc/self/mem").unwrap();
        memory.read_exact_at(&mut [0; KEY], at as u64).is_ok()
    }

    fn flags_at(start: usize) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let own = maps.lines().skip_while(|line| !line.starts_with(&format!("{start:x}-")));
        own.filter_map(|line| line.strip_prefix("VmFlags:")).next().unwrap().to_owned()
    }

    #[test]
    fn a_key_is_kept_and_wiped() {
        let mut held = Held::new();
        assert_eq!(*held.expose(), [0; KEY]);
        held.fill().fill(7);
        let other = Held::new();
        assert_eq!((*held.expose(), *other.expose()), ([7; KEY], [0; KEY]));
        let at = held.0;
        drop(held);
        // SAFETY: it stays mapped; another test may have taken it, and has it zeroed or filled with 9.
        assert_ne!(unsafe { at.read_volatile() }, [7; KEY]);
    }

    #[test]
    fn no_other_way_leads_to_a_hidden_key() {
        let (hidden, (locked, keeping)) =
            (hidden().expect("this kernel has secret memory"), locked().unwrap());
        for piece in [hidden, locked] {
            // SAFETY: it is mapped.
            unsafe { piece.cast::<[u8; KEY]>().write([5; KEY]) };
            let flags = flags_at(piece.addr().get());
            assert!(flags.contains(" dd"), "no core dump has it: {flags}");
            assert_eq!(flags.contains(" lo"), piece == hidden || keeping == Keeping::Locked, "{flags}");
        }
        assert!(!is_shown(hidden.addr().get()));
        assert!(is_shown(locked.addr().get()), "the control");
    }

    #[test]
    fn a_forked_child_takes_no_key_away() {
        let mut held = Held::new();
        held.fill().fill(9);
        // SAFETY: the child makes no use of what other threads may hold but the places, which no test
        // keeps locked while it waits; it ends at once.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                drop(held);
                let mut own = Held::new();
                own.fill().fill(8);
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => drop(waitpid(child, None).unwrap()),
        }
        assert_eq!(*held.expose(), [9; KEY]);
        let next = Held::new();
        assert_eq!(*next.expose(), [0; KEY], "what a child has made is its own");
    }
}
