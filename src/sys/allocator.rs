//! The heap of the program: every block is wiped when it is freed, with the registers through which
//! it was filled, and nothing grows in place and leaves its old bytes behind. Values pass through
//! libraries that know nothing of wiping.

use std::alloc::{GlobalAlloc, Layout, System};

use super::leftover;
use super::weakness::{self, Weakness};

/// The system's allocator, with a wipe before each free. `realloc` keeps its default, which is
/// allocate, copy, free: so the old place is wiped, too.
pub struct Wiping;

// SAFETY: every call goes to the system's allocator with the arguments it came with; the wipe
// writes only inside the block that is being freed.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract is passed on, and the block is as large as it says.
        unsafe {
            let block = System.alloc_zeroed(layout);
            if layout.size() >= REQUESTS && !block.is_null() {
                keep_ready(block, layout.size());
            }
            block
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if weakness::has(Weakness::Unwiped) {
            // SAFETY: the caller's contract is passed on.
            return unsafe { System.dealloc(block, layout) };
        }
        // SAFETY: the caller owns `layout.size()` bytes at `block` until this call ends.
        unsafe {
            if layout.size() < LARGE {
                wipe(block, layout.size());
            } else {
                wipe_touched(block, layout.size());
            }
            System.dealloc(block, layout);
        }
        leftover::wipe_registers();
    }
}

/// Keeps a server that lives long from growing: all threads share a few heaps, where each would
/// have its own, up to eight for a CPU, and what is free in one is of no use to another; and what is
/// large is mapped for itself and given back, where glibc would raise that bound with each use and
/// leave holes. Before the first thread starts; glibc alone knows this (mallopt(3)).
pub fn stay_small() {
    #[cfg(target_env = "gnu")]
    {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        // SAFETY: take two numbers each.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, processors.clamp(2, MOST_HEAPS) as libc::c_int);
            libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED);
        }
    }
}

/// As many threads can allocate at the same moment, where there are as many processors. Each heap stays
/// as large as it once was: what is locked cannot be given back piece by piece.
#[cfg(target_env = "gnu")]
const MOST_HEAPS: usize = 4;
/// In bytes; where glibc begins.
#[cfg(target_env = "gnu")]
const MAPPED: libc::c_int = 128 << 10;

/// From here on the pages that nobody has touched are left out: a buffer that is large just in
/// case would otherwise become resident by being wiped.
const LARGE: usize = 1 << 20;
/// Pages that are asked for at once.
const PAGES: usize = 256;

/// As large as the buffers are into which the kernel hands requests over, and nothing else of ours.
const REQUESTS: usize = 16 << 20;

/// Makes the kernel find such a buffer there and its own, whatever happens: if it had to make or copy
/// a page for a request at the moment when this process is killed, the reader would get EIO, and
/// nobody else the request (fuse_dev_do_read in the kernel). So the first pages are touched, and no
/// fork shares them, which would make each of them be copied at its next use.
///
/// # Safety
/// The caller owns `length` bytes of zeros at `start`.
unsafe fn keep_ready(start: *mut u8, length: usize) {
    // SAFETY: takes a number only.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let first = start.addr() & !(page - 1);
    // SAFETY: so large a block has its pages for itself (mmap(2)), but for the allocator's word before
    // it, and a child of ours uses neither before its exec. Where it fails, all is as it was.
    unsafe { libc::madvise(start.with_addr(first).cast(), length, libc::MADV_DONTFORK) };
    // More than the longest request has.
    for at in [0, page, 2 * page] {
        // SAFETY: as the caller says.
        unsafe { start.add(at).write_volatile(0) }
    }
}

/// # Safety
/// The caller owns `length` bytes at `start`.
unsafe fn wipe(start: *mut u8, length: usize) {
    // SAFETY: as the caller says. explicit_bzero is not optimised away (bzero(3)).
    unsafe { libc::explicit_bzero(start.cast(), length) }
}

/// # Safety
/// The caller owns `length` bytes at `start`.
unsafe fn wipe_touched(start: *mut u8, length: usize) {
    // SAFETY: takes a number only.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let end = start.addr() + length;
    let mut at = start.addr() & !(page - 1);
    while at < end {
        let next = (at + PAGES * page).min(end.next_multiple_of(page));
        let mut touched = [1; PAGES];
        // SAFETY: these pages are mapped, since the block lies on them; one byte of `touched` is
        // written for each. Where it fails, all count as touched.
        unsafe { libc::mincore(start.with_addr(at).cast(), next - at, touched.as_mut_ptr()) };
        for (number, _) in touched[..(next - at) / page].iter().enumerate().filter(|(_, is)| **is & 1 == 1) {
            let from = (at + number * page).max(start.addr());
            let to = (at + (number + 1) * page).min(end);
            // SAFETY: within the block.
            unsafe { wipe(start.with_addr(from), to - from) };
        }
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wipes all but the first and the last byte of a block, of which every third page is in use.
    #[test]
    fn what_was_touched_is_wiped_and_nothing_beside_it() {
        let layout = Layout::from_size_align(3 * LARGE + 123, 1).unwrap();
        // SAFETY: the layout has a size.
        let block = unsafe { System.alloc_zeroed(layout) };
        let touch = |at: usize, value: u8| {
            // SAFETY: within the block.
            unsafe { block.add(at).write_volatile(value) };
        };
        (0..layout.size()).step_by(3 * 4096).for_each(|at| touch(at, 7));
        [0, 1, layout.size() - 2, layout.size() - 1].into_iter().for_each(|at| touch(at, 7));
        let before = resident(block, layout.size());
        // SAFETY: within the block.
        unsafe { wipe_touched(block.add(1), layout.size() - 2) };
        assert_eq!(resident(block, layout.size()), before, "the wipe has touched what nobody had");
        // SAFETY: the block is initialised.
        let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
        assert_eq!((bytes[0], bytes[layout.size() - 1]), (7, 7), "the neighbours");
        assert!(bytes[1..layout.size() - 1].iter().all(|&byte| byte == 0));
        // SAFETY: it came from this allocator with this layout.
        unsafe { System.dealloc(block, layout) };
    }

    /// How many pages of a block are there. (What the process has, other tests change meanwhile.)
    fn resident(block: *mut u8, length: usize) -> usize {
        let first = block.addr() & !4095;
        let mut touched = vec![0_u8; (block.addr() + length - first).div_ceil(4096)];
        // SAFETY: the block lies on these pages, and there is a byte for each.
        let asked = unsafe {
            libc::mincore(block.with_addr(first).cast(), touched.len() * 4096, touched.as_mut_ptr())
        };
        assert_eq!(asked, 0, "mincore");
        touched.iter().filter(|it| **it & 1 == 1).count()
    }
}
