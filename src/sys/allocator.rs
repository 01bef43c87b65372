//! The heap of the program: every block is wiped when it is freed, and nothing grows in place and
//! leaves its old bytes behind. Values pass through libraries that know nothing of wiping.

use std::alloc::{GlobalAlloc, Layout, System};

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
        // SAFETY: the caller's contract is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller owns `layout.size()` bytes at `block` until this call ends.
        // explicit_bzero is not optimised away (bzero(3)).
        unsafe {
            libc::explicit_bzero(block.cast(), layout.size());
            System.dealloc(block, layout);
        }
    }
}
