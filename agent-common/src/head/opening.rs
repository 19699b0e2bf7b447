//! What a message opens with: a request, another protocol, too little to tell.

use super::Bytes;
use super::method::{Method, known_method};
use super::word::word_of;

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
/// Like [`Head`](super::Head) a part of the connection's state, and filled by functions
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
    /// [`PATH_BYTES`](crate::limits::PATH_BYTES) if that is not within so many bytes.
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
