//! The first bytes of a response: its status, and whether it is a stream.

use super::Bytes;
use super::scan::{LINES_PER_WORD, NEWLINES};
use super::word::{LOWER_CASE, low, word_of, zero_bytes};

/// Status of a response by its first 16 bytes; 0 if they are not a response's.
#[inline(always)]
pub fn status(first: u64, second: u64) -> u16 {
    if first & low(7) != word_of(b"HTTP/1.\0") {
        return 0;
    }
    let digits = [(second >> 8) as u8, (second >> 16) as u8, (second >> 24) as u8];
    let mut value = 0u16;
    let mut i = 0;
    while i < 3 {
        let digit = digits[i].wrapping_sub(b'0');
        if digit > 9 {
            return 0;
        }
        value = value * 10 + u16::from(digit);
        i += 1;
    }
    value
}

/// True if the first 64 bytes of a response say `Content-Type:
/// text/event-stream`.
#[inline(always)]
pub fn names_event_stream<B: Bytes + ?Sized>(bytes: &B) -> bool {
    // The status line has 15 bytes or more, and the value needs 23 more.
    let mut base = 8;
    while base < 40 {
        let mut hits = zero_bytes(bytes.word(base) ^ NEWLINES);
        let mut lines = 0;
        while lines < LINES_PER_WORD && hits != 0 {
            let at = base + (hits.trailing_zeros() / 8) as usize + 1;
            hits &= hits - 1;
            lines += 1;
            if bytes.word(at) | LOWER_CASE == word_of(b"content-")
                && bytes.word(at + 8) | LOWER_CASE == word_of(b"type: te")
                && bytes.word(at + 16) | LOWER_CASE == word_of(b"xt/event")
            {
                return true;
            }
        }
        base += 8;
    }
    false
}
