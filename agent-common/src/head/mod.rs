//! Reading the head of an HTTP/1 message without keeping it.
//!
//! Separate from the connection's state because it is a parser of foreign
//! bytes: pure, bounded, tested on the host against hostile input, and run by
//! the kernel programs on at most [`HEAD_BYTES`] bytes. It looks for ends of
//! lines eight bytes at a time, since most bytes of a head say nothing.

mod method;
mod opening;
mod path;
mod response;
mod scan;
mod trace;
mod word;

pub use method::Method;
pub use opening::{Opened, Opening, TELLING_BYTES, open};
pub use path::{path, path_hash};
pub use response::{names_event_stream, status};
pub use scan::{BODY_UNKNOWN, Head, scan, scan_word};
pub use trace::trace;

use crate::limits::HEAD_BYTES;

/// Access to the bytes of a head. Reads outside of it give zeroes.
///
/// The kernel implements it with single loads, which safe code cannot say.
pub trait Bytes {
    /// The byte at `at`.
    fn byte(&self, at: usize) -> u8;
    /// The eight bytes from `at` on, the first in the lowest byte.
    fn word(&self, at: usize) -> u64;
    /// Bytes of the message, of which the first [`HEAD_BYTES`] are at hand.
    ///
    /// A method and not an argument, so that the kernel loads it anew each
    /// time: the verifier would otherwise follow what every comparison says
    /// about it, through every turn of the scan.
    fn total(&self) -> u64;

    /// Whether `traceparent` is looked for.
    ///
    /// A constant to the verifier, which leaves the search out where no spans
    /// are made.
    fn reads_trace(&self) -> bool;

    /// Calls [`scan_word`] for every word at hand until it returns true.
    ///
    /// The kernel does this with `bpf_loop`, whose body is verified once and
    /// not once a turn.
    #[inline(always)]
    fn scan_words(&self, head: &mut Head) {
        let mut word = 0;
        while word < HEAD_BYTES / 8 {
            if scan_word(self, word, head) {
                break;
            }
            word += 1;
        }
    }
}

impl Bytes for [u8] {
    fn byte(&self, at: usize) -> u8 {
        self.get(at).copied().unwrap_or(0)
    }

    fn word(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        for (i, byte) in word.iter_mut().enumerate() {
            *byte = self.byte(at + i);
        }
        u64::from_le_bytes(word)
    }

    fn total(&self) -> u64 {
        self.len() as u64
    }

    fn reads_trace(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
