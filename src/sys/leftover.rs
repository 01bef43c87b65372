//! What is left of values on a thread that sleeps, where a debugger and a core file find it: the vector
//! registers keep what was copied last, the stack what the last calls had moved.

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::mem::MaybeUninit;

use super::weakness::{self, Weakness};

/// As deep as our calls go, in bytes.
const DEPTH: usize = 128 << 10;

/// Does it, and wipes the stack on which it was done.
pub fn wiped<T>(work: impl FnOnce() -> T) -> T {
    /// Begins where [`wipe_stack`] does.
    #[inline(never)]
    fn apart<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    let done = apart(work);
    wipe_stack();
    done
}

/// What the caller's last calls have left there.
#[inline(never)]
pub fn wipe_stack() {
    if weakness::has(Weakness::Unwiped) {
        return;
    }
    let mut left = MaybeUninit::<[u8; DEPTH]>::uninit();
    // SAFETY: writes as many bytes as there are. explicit_bzero is not optimised away (bzero(3)).
    unsafe { libc::explicit_bzero(left.as_mut_ptr().cast(), DEPTH) }
}

/// Empties the vector registers: nobody expects anything there across a call (System V ABI). Other
/// processors than this keep what they have.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
pub(super) fn wipe_registers() {
    if !is_x86_feature_detected!("avx") {
        // SAFETY: zeros to where nobody expects anything. All of these processors have SSE2.
        unsafe {
            asm!(
                "pxor xmm0, xmm0",
                "pxor xmm1, xmm1",
                "pxor xmm2, xmm2",
                "pxor xmm3, xmm3",
                "pxor xmm4, xmm4",
                "pxor xmm5, xmm5",
                "pxor xmm6, xmm6",
                "pxor xmm7, xmm7",
                "pxor xmm8, xmm8",
                "pxor xmm9, xmm9",
                "pxor xmm10, xmm10",
                "pxor xmm11, xmm11",
                "pxor xmm12, xmm12",
                "pxor xmm13, xmm13",
                "pxor xmm14, xmm14",
                "pxor xmm15, xmm15",
                clobber_abi("sysv64"),
                options(nomem, nostack, preserves_flags)
            );
        }
    } else if !is_x86_feature_detected!("avx512vl") {
        // SAFETY: the same, and this processor has it.
        unsafe { asm!("vzeroall", clobber_abi("sysv64"), options(nomem, nostack, preserves_flags)) };
    } else {
        // SAFETY: the same. What is copied to a part of a register clears the rest.
        unsafe {
            asm!(
                "vzeroall",
                "vmovdqa32 xmm16, xmm0",
                "vmovdqa32 xmm17, xmm0",
                "vmovdqa32 xmm18, xmm0",
                "vmovdqa32 xmm19, xmm0",
                "vmovdqa32 xmm20, xmm0",
                "vmovdqa32 xmm21, xmm0",
                "vmovdqa32 xmm22, xmm0",
                "vmovdqa32 xmm23, xmm0",
                "vmovdqa32 xmm24, xmm0",
                "vmovdqa32 xmm25, xmm0",
                "vmovdqa32 xmm26, xmm0",
                "vmovdqa32 xmm27, xmm0",
                "vmovdqa32 xmm28, xmm0",
                "vmovdqa32 xmm29, xmm0",
                "vmovdqa32 xmm30, xmm0",
                "vmovdqa32 xmm31, xmm0",
                clobber_abi("sysv64"),
                options(nomem, nostack, preserves_flags)
            );
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn wipe_registers() {}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    extern "C" fn nothing() {}

    extern "C" fn emptied() {
        wipe_registers();
    }

    /// What a call leaves of bytes that lie in the first and the last registers of each kind.
    fn left_by(call: extern "C" fn()) -> usize {
        let (bytes, mut left) = ([0x5a_u8; 32], [0_u8; 128]);
        assert!(is_x86_feature_detected!("avx"), "what the test looks with");
        // SAFETY: 32 bytes are read and 64 written, where there are as many; the call may change what
        // any call may.
        unsafe {
            asm!(
                "vmovdqu ymm0, [{from}]",
                "vmovdqu ymm15, [{from}]",
                "call {call}",
                "vmovdqu [r12], ymm0",
                "vmovdqu [r12 + 32], ymm15",
                from = in(reg) bytes.as_ptr(), call = in(reg) call, in("r12") left.as_mut_ptr(),
                clobber_abi("sysv64")
            );
        }
        if is_x86_feature_detected!("avx512vl") {
            // SAFETY: the same, and the other half of the place.
            unsafe {
                asm!(
                    "vmovdqu32 ymm16, [{from}]",
                    "vmovdqu32 ymm31, [{from}]",
                    "call {call}",
                    "vmovdqu32 [r12 + 64], ymm16",
                    "vmovdqu32 [r12 + 96], ymm31",
                    from = in(reg) bytes.as_ptr(), call = in(reg) call, in("r12") left.as_mut_ptr(),
                    clobber_abi("sysv64")
                );
            }
        }
        left.iter().filter(|byte| **byte != 0).count()
    }

    #[test]
    fn nothing_is_left_in_a_register() {
        assert!(left_by(nothing) >= 64, "the control");
        assert_eq!(left_by(emptied), 0);
    }

    /// How many bytes of a piece that was moved are still below, where the next call will write.
    fn left_below(doing: impl FnOnce(fn() -> usize) -> usize) -> usize {
        #[inline(never)]
        fn moved() -> usize {
            let piece = std::hint::black_box([0x5a_u8; 4096]);
            std::hint::black_box(&piece).as_ptr().addr()
        }
        let at = std::hint::black_box(doing(moved));
        let byte = |offset: usize| {
            // SAFETY: below this frame, on pages that the call before has touched.
            unsafe { std::ptr::with_exposed_provenance::<u8>(at + offset).read_volatile() }
        };
        (0..4096).filter(|offset| byte(*offset) == 0x5a).count()
    }

    #[test]
    fn nothing_is_left_on_the_stack() {
        assert!(left_below(|moved| moved()) > 1024, "the control");
        assert_eq!(left_below(wiped), 0);
    }
}
