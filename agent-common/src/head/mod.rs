//! Reading the head of an HTTP/1 message without keeping it.
//!
//! Separate from the connection's state because it is a parser of foreign
//! bytes: pure, bounded, tested on the host against hostile input, and run by
//! the kernel programs on at most [`HEAD_BYTES`] bytes. It looks for ends of
//! lines eight bytes at a time, since most bytes of a head say nothing.

use crate::limits::{HEAD_BYTES, MAX_PIPELINED, PATH_BYTES};

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
}

/// Request methods, by the number that a record carries (four bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Method {
    /// Not HTTP.
    None = 0,
    /// `GET`
    Get = 1,
    /// `HEAD`
    Head = 2,
    /// `POST`
    Post = 3,
    /// `PUT`
    Put = 4,
    /// `DELETE`
    Delete = 5,
    /// `CONNECT`
    Connect = 6,
    /// `OPTIONS`
    Options = 7,
    /// `TRACE`
    Trace = 8,
    /// `PATCH`
    Patch = 9,
    /// `QUERY`
    Query = 10,
    /// Any other, or one whose name was not seen.
    Other = 15,
}

impl Method {
    /// The method with this number; unknown numbers are [`Method::Other`].
    #[must_use]
    pub const fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Get,
            2 => Self::Head,
            3 => Self::Post,
            4 => Self::Put,
            5 => Self::Delete,
            6 => Self::Connect,
            7 => Self::Options,
            8 => Self::Trace,
            9 => Self::Patch,
            10 => Self::Query,
            _ => Self::Other,
        }
    }

    /// The value of `http_request_method` (OpenTelemetry: unknown is `_OTHER`).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Query => "QUERY",
            Self::Other => "_OTHER",
        }
    }
}

const fn word_of(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

const fn low(bytes: u32) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

/// A known method at the start of `word`, with the length of its name; a
/// length of 0 says that none is there.
#[inline(always)]
fn known_method(word: u64) -> (u8, usize) {
    let four = word & low(4);
    if four == word_of(b"GET \0\0\0\0") {
        return (Method::Get as u8, 3);
    }
    if four == word_of(b"PUT \0\0\0\0") {
        return (Method::Put as u8, 3);
    }
    let five = word & low(5);
    if five == word_of(b"POST \0\0\0") {
        return (Method::Post as u8, 4);
    }
    if five == word_of(b"HEAD \0\0\0") {
        return (Method::Head as u8, 4);
    }
    if word & low(7) == word_of(b"DELETE \0") {
        return (Method::Delete as u8, 6);
    }
    let six = word & low(6);
    if six == word_of(b"PATCH \0\0") {
        return (Method::Patch as u8, 5);
    }
    if six == word_of(b"QUERY \0\0") {
        return (Method::Query as u8, 5);
    }
    if six == word_of(b"TRACE \0\0") {
        return (Method::Trace as u8, 5);
    }
    if word == word_of(b"OPTIONS ") {
        return (Method::Options as u8, 7);
    }
    if word == word_of(b"CONNECT ") {
        return (Method::Connect as u8, 7);
    }
    (0, 0)
}

/// Longest name of a method that is not in the list.
const METHOD_NAME_BYTES: usize = 20;

/// What the first bytes of a message are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opening {
    /// Nothing known.
    Opaque = 0,
    /// The start of an HTTP/1 request.
    Request = 1,
    /// The HTTP/2 connection preface.
    Http2 = 2,
    /// A TLS record.
    Tls = 3,
    /// Could be a request; too short to tell.
    Short = 4,
}

/// What a message opens with; for a request also its method, where its target
/// begins, and the path in it.
///
/// Like [`Head`] a part of the connection's state, and filled by functions
/// that are not inlined: what they found is then one state to the verifier,
/// and not one for each way to find it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// An [`Opening`] by number.
    pub opening: u8,
    /// A [`Method`] by number.
    pub method: u8,
    /// Where the request target begins.
    pub target_at: u8,
    /// Length of the path up to `?`, a space or the end of the line;
    /// [`PATH_BYTES`] if that is not within so many bytes.
    pub path_len: u8,
    /// Zero.
    pub _pad: u32,
    /// Hash of the path, by which ignored ones are found; 0 if it is cut.
    pub path_hash: u64,
}

impl Opened {
    /// Nothing seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { opening: 0, method: 0, target_at: 0, path_len: 0, _pad: 0, path_hash: 0 }
    }

    #[inline(always)]
    fn set(&mut self, opening: Opening, method: u8, target_at: usize) {
        self.opening = opening as u8;
        self.method = method;
        self.target_at = target_at as u8;
    }

    /// Whether it is this opening.
    #[inline(always)]
    #[must_use]
    pub fn is(&self, opening: Opening) -> bool {
        self.opening == opening as u8
    }
}

/// Fewest bytes with which a request can be told from everything else.
pub const TELLING_BYTES: usize = 16;

/// Looks at the first bytes of a message.
#[inline(never)]
pub fn open<B: Bytes + ?Sized>(bytes: &B, opened: &mut Opened) {
    let len = bytes.total();
    let word = bytes.word(0);
    let (method, name_len) = known_method(word);
    if name_len != 0 {
        let target = bytes.byte(name_len + 1);
        // Origin form, absolute form, asterisk form, authority form.
        let is_target = target == b'/'
            || target == b'h'
            || target == b'*'
            || (method == Method::Connect as u8 && target > b' ');
        if is_target && len > name_len as u64 + 1 {
            opened.set(Opening::Request, method, name_len + 1);
            return;
        }
    }
    if word & 0x00ff == 0x16 && (len < 2 || word & 0xff00 == 0x0300) {
        opened.set(Opening::Tls, 0, 0);
        return;
    }
    if len >= 8 && word == word_of(b"PRI * HT") {
        opened.set(Opening::Http2, 0, 0);
        return;
    }
    if !((word & 0xff) as u8).is_ascii_uppercase() {
        opened.set(Opening::Opaque, 0, 0);
        return;
    }
    if len < TELLING_BYTES as u64 {
        opened.set(Opening::Short, 0, 0);
        return;
    }
    // A token that is not in the list: capitals, a space, a path.
    let mut at = 1;
    while at < METHOD_NAME_BYTES {
        let byte = bytes.byte(at);
        if byte == b' ' {
            if at > 1 && bytes.byte(at + 1) == b'/' {
                opened.set(Opening::Request, Method::Other as u8, at + 1);
                return;
            }
            break;
        }
        if !byte.is_ascii_uppercase() && byte != b'-' {
            break;
        }
        at += 1;
    }
    opened.set(Opening::Opaque, 0, 0);
}

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
    /// Zero.
    pub _pad: u32,
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
            _pad: 0,
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
const NEWLINES: u64 = ONES * b'\n' as u64;
const LOWER_CASE: u64 = ONES * 0x20;

/// Ends of lines that are looked at in eight bytes. Three could only be blank
/// lines, and the first of those ends the head.
const LINES_PER_WORD: u32 = 2;

/// Bytes of `word` that are zero have their high bit set; bytes above a zero
/// byte may be set wrongly, so each is checked again.
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

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
        if bytes.byte(at) == b'\n' && line(bytes, at + 1, head) {
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
    if head.is_complete != 0 {
        // Headers of pipelined requests: only their ends matter.
        return false;
    }
    let folded = word | LOWER_CASE;
    if folded == word_of(b"content-") {
        if (bytes.word(at + 8) | LOWER_CASE) & low(7) == word_of(b"length:\0") {
            head.body_left = number(bytes, at + 15);
        }
    } else if folded == word_of(b"transfer") {
        if (bytes.word(at + 8) | LOWER_CASE) == word_of(b"-encodin") {
            head.body_left = BODY_UNKNOWN;
        }
    } else if folded == word_of(b"accept: ")
        && (bytes.word(at + 8) | LOWER_CASE) == word_of(b"text/eve")
    {
        head.wants_stream = 1;
    }
    false
}

/// The blank line: `at` is where the body, or the next request, begins.
#[inline(always)]
fn end_of_head<B: Bytes + ?Sized>(bytes: &B, at: usize, head: &mut Head) -> bool {
    let rest = bytes.total().saturating_sub(at as u64);
    if head.is_complete == 0 {
        head.is_complete = 1;
        if head.body_left == BODY_UNKNOWN {
            return true;
        }
        if head.body_left > 0 {
            // What follows is the body; requests behind it are not looked for.
            head.may_have_more = u32::from(rest > head.body_left);
            head.body_left = head.body_left.saturating_sub(rest);
            return true;
        }
    }
    if rest == 0 {
        return true;
    }
    if at >= HEAD_BYTES || head.pipelined >= MAX_PIPELINED {
        head.may_have_more = 1;
        return true;
    }
    let (method, name_len) = known_method(bytes.word(at));
    let method = if name_len == 0 { Method::Other as u8 } else { method };
    head.pipelined_methods |= u64::from(method) << (4 * (head.pipelined & 15));
    head.pipelined += 1;
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

/// Bytes of `word` below `limit` (at most 0x80) have their high bit set; the
/// lowest is right, those above it may not be.
#[inline(always)]
fn bytes_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

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

#[cfg(test)]
mod tests;
