//! The lines of a request's head: its body, streams, requests that follow.

use super::method::{Method, known_method};
use super::word::{LOWER_CASE, ONES, low, word_of, zero_bytes};
use super::{Bytes, trace};
use crate::limits::{HEAD_BYTES, MAX_PIPELINED};

/// Length of a body that is sent in chunks, or is otherwise not known.
pub const BODY_UNKNOWN: u64 = u64::MAX;

/// What the lines of a request's head say.
///
/// Part of a connection's state, so that the scan writes to memory that the
/// verifier does not follow: values on its stack would multiply its states.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the body that this read did not bring; [`BODY_UNKNOWN`] for
    /// chunked bodies.
    pub body_left: u64,
    /// 1 if the client asks for an event stream.
    pub wants_stream: u32,
    /// Whole requests that follow the first in the same read.
    pub pipelined: u32,
    /// Their methods, four bits each, the next in the lowest.
    pub pipelined_methods: u64,
    /// 1 if more requests may follow than could be looked at.
    pub may_have_more: u32,
    /// 1 once the end of the first head was seen.
    pub is_complete: u32,
    /// 1 if nothing more could be learnt from what was at hand.
    pub is_scanned: u32,
    /// Where the last message that was seen whole ends: lines before it are
    /// its body's.
    pub next_at: u32,
    /// Length of the body of the request whose head is being looked at;
    /// [`BODY_UNKNOWN`] for chunked bodies.
    pub body: u64,
    /// Where what follows `traceparent:` begins, in the last such line.
    pub trace_at: u16,
    /// Such lines within the first head.
    pub trace_lines: u16,
    /// 1 after an empty line that ends with a bare newline: some take it for the
    /// end of a head, and then what follows is a body.
    pub is_trace_over: u16,
    /// Zero.
    pub _pad: u16,
}

impl Head {
    /// Nothing said yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            body_left: 0,
            wants_stream: 0,
            pipelined: 0,
            pipelined_methods: 0,
            may_have_more: 0,
            is_complete: 0,
            is_scanned: 0,
            next_at: 0,
            body: 0,
            trace_at: 0,
            trace_lines: 0,
            is_trace_over: 0,
            _pad: 0,
        }
    }
}

/// A word of ends of lines.
pub(super) const NEWLINES: u64 = ONES * b'\n' as u64;

/// Ends of lines that are looked at in eight bytes. Three could only be blank
/// lines, and the first of those ends the head.
pub(super) const LINES_PER_WORD: u32 = 2;

/// Reads the lines of a head; more than [`HEAD_BYTES`] are never looked at.
#[inline(always)]
pub fn scan<B: Bytes + ?Sized>(bytes: &B, head: &mut Head) {
    bytes.scan_words(head);
    if head.is_scanned == 0 {
        // The end was not in sight: whether more follows is not known.
        head.may_have_more = u32::from(bytes.total() > HEAD_BYTES as u64);
    }
}

/// Looks at eight bytes for ends of lines. True if the scan is over.
#[inline(always)]
pub fn scan_word<B: Bytes + ?Sized>(bytes: &B, word: usize, head: &mut Head) -> bool {
    let base = word * 8;
    if base as u64 >= bytes.total() {
        return true;
    }
    let mut hits = zero_bytes(bytes.word(base) ^ NEWLINES);
    let mut lines = 0;
    while lines < LINES_PER_WORD && hits != 0 {
        let at = base + (hits.trailing_zeros() / 8) as usize;
        hits &= hits - 1;
        lines += 1;
        let is_line = bytes.byte(at) == b'\n' && at + 1 > head.next_at as usize;
        if is_line && line(bytes, at + 1, head) {
            head.is_scanned = 1;
            return true;
        }
    }
    false
}

/// Looks at the line that begins at `at`. True if nothing more can be learnt.
#[inline(always)]
fn line<B: Bytes + ?Sized>(bytes: &B, at: usize, head: &mut Head) -> bool {
    let word = bytes.word(at);
    if word & 0xffff == 0x0a0d {
        return end_of_head(bytes, at + 2, head);
    }
    let folded = word | LOWER_CASE;
    if folded == word_of(b"content-") {
        if (bytes.word(at + 8) | LOWER_CASE) & low(7) == word_of(b"length:\0") {
            head.body = number(bytes, at + 15);
        }
    } else if folded == word_of(b"transfer") {
        if (bytes.word(at + 8) | LOWER_CASE) == word_of(b"-encodin") {
            head.body = BODY_UNKNOWN;
        }
    } else if head.is_complete == 0
        && folded == word_of(b"accept: ")
        && (bytes.word(at + 8) | LOWER_CASE) == word_of(b"text/eve")
    {
        head.wants_stream = 1;
    } else if bytes.reads_trace() {
        trace::line(bytes, at, word, head);
    }
    false
}

/// The blank line: `at` is where the body, or the next request, begins.
#[inline(always)]
fn end_of_head<B: Bytes + ?Sized>(bytes: &B, at: usize, head: &mut Head) -> bool {
    let rest = bytes.total().saturating_sub(at as u64);
    let body = head.body;
    head.body = 0;
    if head.is_complete == 0 {
        head.is_complete = 1;
        head.body_left = if body == BODY_UNKNOWN { body } else { body.saturating_sub(rest) };
        if body == BODY_UNKNOWN {
            return true;
        }
    }
    if rest <= body {
        // The body is the rest, or more than that. Of a pipelined request in
        // chunks nothing that follows can be told either.
        head.may_have_more = u32::from(body == BODY_UNKNOWN);
        return true;
    }
    // The comparison also keeps the sum below from running over.
    if body >= HEAD_BYTES as u64
        || at + body as usize >= HEAD_BYTES
        || head.pipelined >= MAX_PIPELINED
    {
        head.may_have_more = 1;
        return true;
    }
    let next = at + body as usize;
    let (method, name_len) = known_method(bytes.word(next));
    let method = if name_len == 0 { Method::Other as u8 } else { method };
    head.pipelined_methods |= u64::from(method) << (4 * (head.pipelined & 15));
    head.pipelined += 1;
    head.next_at = next as u32;
    false
}

/// The decimal number at `at`, after optional spaces; ends at anything else.
#[inline(always)]
fn number<B: Bytes + ?Sized>(bytes: &B, at: usize) -> u64 {
    let mut value = 0;
    let mut i = 0;
    while i < 16 {
        let byte = bytes.byte(at + i);
        i += 1;
        if byte == b' ' && value == 0 {
            continue;
        }
        if !byte.is_ascii_digit() {
            break;
        }
        value = value * 10 + u64::from(byte - b'0');
    }
    value
}
