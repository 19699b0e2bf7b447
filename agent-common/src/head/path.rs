//! Where a request's path ends, and a hash by which ignored paths are found.

use super::word::{ONES, bytes_below, low, zero_bytes};
use super::{Bytes, Opened};
use crate::limits::PATH_BYTES;

/// Finds the end of a request's path, and its hash.
#[inline(never)]
pub fn path<B: Bytes + ?Sized>(bytes: &B, opened: &mut Opened) {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let mut words = 0;
    while words < PATH_BYTES / 8 {
        let word = bytes.word(opened.target_at as usize + words * 8);
        let ends = bytes_below(word, b'!')
            | zero_bytes(word ^ (ONES * b'?' as u64))
            | zero_bytes(word ^ (ONES * b'#' as u64));
        if ends != 0 {
            let at = ends.trailing_zeros() / 8;
            opened.path_hash = mix(hash, word & low(at & 7));
            opened.path_len = (words * 8) as u8 + at as u8;
            return;
        }
        hash = mix(hash, word);
        words += 1;
    }
    opened.path_hash = 0;
    opened.path_len = PATH_BYTES as u8;
}

#[inline(always)]
fn mix(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 29)
}

/// The hash that [`path`] finds for a path given whole, as configuration does;
/// 0 for one that is too long to be told from others.
#[must_use]
pub fn path_hash(bytes: &[u8]) -> u64 {
    let mut opened = Opened::new();
    path(bytes, &mut opened);
    opened.path_hash
}
