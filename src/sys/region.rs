//! Memory that outlives the process that uses it: a file on no disk and out of swap, named by its
//! descriptor alone. Atomic words only, since another process may have it mapped. Uses `unswapped`.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mlock, mmap, munmap};
use nix::sys::stat::fstat;
use nix::unistd::ftruncate;

use super::unswapped::{self, Kind};

/// It grows, and gives memory back, in pieces of so many bytes.
pub const PIECE: usize = 256 * 1024;
pub const PIECE_WORDS: usize = PIECE / size_of::<u64>();
/// More than this it never holds. Only addresses are taken in advance.
const MOST: NonZeroUsize = NonZeroUsize::new(1 << 30).expect("it is not zero");

pub struct Region {
    file: OwnedFd,
    kind: Kind,
    start: NonNull<libc::c_void>,
    /// How many words have memory behind them, or had.
    words: AtomicUsize,
}

// SAFETY: the memory is shared by nature, and is only ever reached as atomic words.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// A new one, all zeros, of one piece.
    pub fn create() -> io::Result<Self> {
        let (file, kind) = unswapped::file(MOST.get())?;
        Self::begin(file, kind)
    }

    fn begin(file: OwnedFd, kind: Kind) -> io::Result<Self> {
        let region = Self::map(file, kind)?;
        region.grow()?;
        Ok(region)
    }

    /// The one behind a descriptor that another process has made: as much of it as can be kept out
    /// of swap.
    pub fn adopt(file: OwnedFd) -> io::Result<Self> {
        let size = usize::try_from(fstat(&file)?.st_size).unwrap_or(0);
        if size == 0 || size > MOST.get() || !size.is_multiple_of(PIECE) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "is no shared region"));
        }
        let kind = unswapped::kind_of(&file)?;
        let region = Self::map(file, kind)?;
        let pieces = (0..size / PIECE).take_while(|&piece| region.hold(piece).is_ok()).count();
        region.words.store(pieces * PIECE_WORDS, Ordering::Release);
        ftruncate(&region.file, (pieces * PIECE) as libc::off_t)?;
        if pieces == 0 { Err(Errno::ENOMEM.into()) } else { Ok(region) }
    }

    fn map(file: OwnedFd, kind: Kind) -> io::Result<Self> {
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
        // SAFETY: a new mapping at a place of the kernel's choice, which takes no other's away.
        let start = unsafe { mmap(None, MOST, protection, flags, &file, 0) }?;
        let region = Self { file, kind, start, words: AtomicUsize::new(0) };
        // SAFETY: the whole mapping, and advice that changes no content: no core dump shows it.
        unsafe { madvise(region.start, MOST.get(), MmapAdvise::MADV_DONTDUMP) }?;
        Ok(region)
    }

    pub fn words(&self) -> &[AtomicU64] {
        let words = self.words.load(Ordering::Acquire);
        // SAFETY: so many words lie within the mapping, aligned to a page, and it lives as long as
        // `self`. Others may change them at any time, which atomics allow.
        unsafe { slice::from_raw_parts(self.start.as_ptr().cast::<AtomicU64>(), words) }
    }

    /// One more piece, of zeros. One caller at a time.
    pub fn grow(&self) -> io::Result<()> {
        let words = self.words.load(Ordering::Acquire);
        let size = words * size_of::<u64>() + PIECE;
        if size > MOST.get() {
            return Err(Errno::ENOSPC.into());
        }
        ftruncate(&self.file, size as libc::off_t)?;
        self.hold(words / PIECE_WORDS)?;
        self.words.store(words + PIECE_WORDS, Ordering::Release);
        Ok(())
    }

    /// Sees to it that a piece has memory, which is not swapped: then no access can fail.
    pub fn hold(&self, piece: usize) -> io::Result<()> {
        let offset = piece * PIECE;
        match fallocate(&self.file, FallocateFlags::empty(), offset as libc::off_t, PIECE as libc::off_t) {
            // A ramfs knows no such call.
            Ok(()) | Err(Errno::EOPNOTSUPP) => {}
            Err(errno) => return Err(errno.into()),
        }
        if self.kind == Kind::Locked {
            // SAFETY: the piece lies within the mapping and, by now, within the file.
            unsafe { mlock(self.start.byte_add(offset), PIECE) }?;
        }
        Ok(())
    }

    /// Gives the memory of a piece back to the system: it reads as zeros. Not every kind can;
    /// then it stays as it is.
    pub fn release(&self, piece: usize) -> bool {
        let flags = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        let offset = (piece * PIECE) as libc::off_t;
        fallocate(&self.file, flags, offset, PIECE as libc::off_t).is_ok()
    }
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: exactly what `map` has mapped, and nobody has a reference into it any more.
        let _ = unsafe { munmap(self.start, MOST.get()) };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sys::memfd::{MFdFlags, memfd_create};

    use super::*;

    fn memfd() -> Region {
        Region::begin(memfd_create(c"secretfs", MFdFlags::MFD_CLOEXEC).unwrap(), Kind::Locked).unwrap()
    }

    /// What `/proc/self/smaps` says of the mapping of this region.
    fn seen(region: &Region, field: &str) -> String {
        let start = format!("{:x}-", region.start.as_ptr().addr());
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        // A part that is locked is listed by itself, as the first.
        let own = maps.lines().skip_while(|line| !line.starts_with(&start));
        own.filter_map(|line| line.strip_prefix(field)).next().unwrap().trim().to_owned()
    }

    #[test]
    fn what_one_has_written_the_next_finds() {
        for region in [Region::create().unwrap(), memfd()] {
            region.grow().unwrap();
            region.words()[7].store(1, Ordering::Relaxed);
            region.words()[PIECE_WORDS + 7].store(2, Ordering::Relaxed);
            let next = Region::adopt(region.as_fd().try_clone_to_owned().unwrap()).unwrap();
            assert_eq!(next.words().len(), 2 * PIECE_WORDS);
            let word = |at: usize| next.words()[at].load(Ordering::Relaxed);
            assert_eq!((word(7), word(PIECE_WORDS + 7), word(8)), (1, 2, 0));
        }
    }

    #[test]
    fn no_core_dump_shows_it_and_nothing_of_it_is_swapped() {
        let root = nix::unistd::geteuid().is_root();
        for region in [Region::create().unwrap(), memfd()] {
            region.words()[7].store(1, Ordering::Relaxed);
            let flags = seen(&region, "VmFlags:");
            assert!(flags.split(' ').any(|flag| flag == "dd"), "{flags}");
            match region.kind {
                Kind::Filesystem => assert!(root, "only root has a filesystem of its own"),
                Kind::Locked => assert!(flags.split(' ').any(|flag| flag == "lo"), "{flags}"),
            }
        }
    }

    #[test]
    fn memory_that_was_given_back_is_gone_and_comes_back_as_zeros() {
        for region in [Region::create().unwrap(), memfd()] {
            region.grow().unwrap();
            region.words().iter().for_each(|word| word.store(7, Ordering::Relaxed));
            let blocks = || fstat(&region).unwrap().st_blocks;
            let before = blocks();
            assert!(region.release(1));
            assert!(blocks() <= before - (PIECE / 512) as i64);
            region.hold(1).unwrap();
            assert!(region.words()[PIECE_WORDS..].iter().all(|word| word.load(Ordering::Relaxed) == 0));
        }
    }

    #[test]
    fn what_is_no_region_is_refused() {
        let file = |size: u64| {
            let file = tempfile::tempfile().unwrap();
            file.set_len(size).unwrap();
            OwnedFd::from(file)
        };
        for descriptor in [
            file(0),
            file(100),
            file(PIECE as u64 * 2 + 8),
            file(1 << 40),
            fs::File::open("/dev/null").unwrap().into(),
        ] {
            assert!(Region::adopt(descriptor).is_err());
        }
    }
}
