//! `traceparent` of W3C Trace Context: found among the lines of a head, parsed.
//!
//! Separate because it is the one header whose value is kept, and so the one
//! whose value must be exactly what it should be: nothing else ever gets into a
//! [`TraceContext`]. Read only where spans are on ([`Bytes::reads_trace`]).

use super::word::{LOWER_CASE, ONES, low, word_of};
use super::{Bytes, Head};
use crate::limits::HEAD_BYTES;
use crate::record::request::{FLAG_TRACE, FLAG_TRACE_REFUSED, FLAG_TRACE_UNSEEN, TraceContext};

/// `VV-TTTTTTTTTTTTTTTTTTTTTTTTTTTTTTTT-PPPPPPPPPPPPPPPP-FF`
const VALUE_BYTES: usize = 55;
/// Spaces and tabs that are passed over before and behind a value.
const MAX_BLANKS: usize = 3;
/// The high bits of eight bytes.
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// Looks at a line of the first head, whose first eight bytes are `word`. Nothing
/// may stand between the header's name and its colon.
#[inline(always)]
pub(super) fn line<B: Bytes + ?Sized>(bytes: &B, at: usize, word: u64, head: &mut Head) {
    if word as u8 == b'\n' {
        head.is_trace_over = 1;
    } else if word | LOWER_CASE == word_of(b"tracepar")
        && (bytes.word(at + 8) | 0x0020_2020) & low(4) == word_of(b"ent:\0\0\0\0")
        && head.is_complete == 0
        && head.is_trace_over == 0
    {
        head.trace_at = (at + b"traceparent:".len()) as u16;
        head.trace_lines += 1;
    }
}

/// Reads the value, after [`super::scan()`], and says how that went.
///
/// Two headers are as good as none: which of them is meant cannot be told.
#[inline(never)]
pub fn trace<B: Bytes + ?Sized>(bytes: &B, head: &Head, to: &mut TraceContext) {
    let unseen = if head.is_complete == 0 { FLAG_TRACE_UNSEEN } else { 0 };
    if head.trace_lines == 0 {
        to.outcome = unseen;
        return;
    }
    let at = after_blanks(bytes, usize::from(head.trace_at) & (HEAD_BYTES - 1));
    let first = bytes.word(at);
    let last = bytes.word(at + 48);
    let mut bad = 0;
    let ends = first & 0xffff | (last >> 40 & 0xffff) << 16 | word_of(b"\0\0\0\x000000");
    let ends = hex(ends, &mut bad);
    let (version, flags) = (ends & 0xff, ends >> 8 & 0xff);
    to.trace_id[0] = hex(bytes.word(at + 3), &mut bad) | hex(bytes.word(at + 11), &mut bad) << 32;
    to.trace_id[1] = hex(bytes.word(at + 19), &mut bad) | hex(bytes.word(at + 27), &mut bad) << 32;
    to.parent_id = hex(bytes.word(at + 36), &mut bad) | hex(bytes.word(at + 44), &mut bad) << 32;
    to.flags = flags as u32;
    bad |= (first >> 16 & 0xff) ^ u64::from(b'-');
    bad |= u64::from(bytes.byte(at + 35) ^ b'-');
    bad |= (last >> 32 & 0xff) ^ u64::from(b'-');
    let after = bytes.byte(at + VALUE_BYTES);
    let end = bytes.word(after_blanks(bytes, at + VALUE_BYTES));
    // A later version may go on behind another dash; this one may not.
    let is_over = end as u8 == b'\n' || end as u16 == 0x0a0d || (after == b'-' && version != 0);
    let is_good = bad == 0
        && is_over
        && version != 0xff
        && head.trace_lines == 1
        && to.trace_id[0] | to.trace_id[1] != 0
        && to.parent_id != 0;
    if is_good {
        to.outcome = FLAG_TRACE;
        return;
    }
    // What was read of it may be anything.
    *to = TraceContext::new();
    to.outcome = if unseen != 0 { unseen } else { FLAG_TRACE_REFUSED };
}

/// Where what follows a few blanks begins.
#[inline(always)]
fn after_blanks<B: Bytes + ?Sized>(bytes: &B, at: usize) -> usize {
    let mut at = at;
    let mut i = 0;
    while i < MAX_BLANKS {
        let byte = bytes.byte(at);
        if byte != b' ' && byte != b'\t' {
            break;
        }
        at += 1;
        i += 1;
    }
    at
}

/// The four bytes that eight digits make, the first in the lowest byte. Sets a
/// bit of `bad` for anything but `0` to `9` and `a` to `f`.
///
/// All eight at once: a loop with a comparison for each digit would be a state
/// of the verifier for each way through it.
#[inline(always)]
fn hex(word: u64, bad: &mut u64) -> u64 {
    // The high bit of each byte: whether it is at least so much. Of bytes that
    // have it set already the sums run over, and `bad` is set for those anyway.
    let at_least = |limit: u8| word.wrapping_add(ONES * u64::from(0x80 - limit));
    let digits = at_least(b'0') & !at_least(b'9' + 1);
    let letters = at_least(b'a') & !at_least(b'f' + 1);
    *bad |= word & HIGHS | !(digits | letters) & HIGHS;
    let values = (word & (ONES * 0x0f)) + (word >> 6 & ONES) * 9;
    let pairs = (values << 4 | values >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | pairs >> 8) & 0x0000_ffff_0000_ffff;
    (fours | fours >> 16) & 0xffff_ffff
}

#[cfg(test)]
mod tests;
