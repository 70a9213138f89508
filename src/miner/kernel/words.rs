//! The operations of SHA-256 on plain integers, in the form in which a device with shifted operands
//! (ARM) needs one instruction less for each sum of rotations.

pub(super) use crate::sha256::portable::{add, ch, small_sigma0, small_sigma1, splat};

pub(super) const fn maj(a: u32, b: u32, c: u32) -> u32 {
    // The two differences are shared with the rounds before and after.
    b ^ ((a ^ b) & (b ^ c))
}

pub(super) const fn big_sigma0(a: u32) -> u32 {
    (a ^ a.rotate_right(11) ^ a.rotate_right(20)).rotate_right(2)
}

pub(super) const fn big_sigma1(e: u32) -> u32 {
    (e ^ e.rotate_right(5) ^ e.rotate_right(19)).rotate_right(6)
}

/// Hides a value from the compiler: zeros that it knows it would have written by a call.
pub(super) fn kept<T>(value: T) -> T {
    core::hint::black_box(value)
}
