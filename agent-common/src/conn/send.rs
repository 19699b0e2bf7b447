//! What a write says about responses.

use super::{
    BEGIN_PIPELINED, CUT, Conn, END, END_AFTER, IDLE, LATE, NOTHING, Protocol, READING, RESPONDING,
};
use crate::head::{self, Bytes, Method};
use crate::record::request::{FLAG_PIPELINED, FLAG_STREAM, FLAG_UNPARSED};

/// The last interim status; 101 among them is final.
const LAST_INTERIM: u16 = 199;
/// Switching protocols.
const SWITCHING: u16 = 101;

impl Conn {
    /// Whether [`Conn::on_send`] needs the bytes that were written.
    #[inline(always)]
    #[must_use]
    pub fn wants_sent(&self) -> bool {
        if !self.is(Protocol::Http1) {
            return false;
        }
        match self.phase {
            READING => true,
            RESPONDING | IDLE => self.head.pipelined != 0 || self.head.may_have_more != 0,
            _ => false,
        }
    }

    /// `len` bytes were handed to TCP. `bytes` holds their beginning if
    /// `has_bytes`, which is asked for by [`Conn::wants_sent`].
    #[inline(always)]
    pub fn on_send<B: Bytes + ?Sized>(
        &mut self,
        bytes: &B,
        has_bytes: bool,
        len: u64,
        now_ns: u64,
        retransmits: u32,
    ) -> u32 {
        match self.phase {
            READING => {
                if self.is_head_pending != 0 {
                    // Answered before its head could be told: not HTTP, or
                    // HTTP in pieces that were never joined.
                    self.is_head_pending = 0;
                    self.drop_stash();
                    if self.is(Protocol::Unknown) {
                        self.protocol = Protocol::Opaque as u8;
                    } else {
                        self.method = Method::Other as u8;
                        self.flags |= FLAG_UNPARSED;
                    }
                }
                self.bytes_out += len;
                let mut action = NOTHING;
                if self.is(Protocol::Http1) {
                    let status =
                        if has_bytes { head::status(bytes.word(0), bytes.word(8)) } else { 0 };
                    if status == 0 {
                        self.flags |= FLAG_UNPARSED;
                    } else if status <= LAST_INTERIM && status != SWITCHING {
                        return NOTHING;
                    }
                    self.status = status;
                    action = self.cut_off(bytes, has_bytes);
                }
                self.sent(now_ns, retransmits);
                action
            }
            RESPONDING => {
                if self.is_next_response(bytes, has_bytes) {
                    return END | BEGIN_PIPELINED;
                }
                self.bytes_out += len;
                self.sent(now_ns, retransmits);
                NOTHING
            }
            IDLE => {
                self.has_server_sent = 1;
                if self.is_next_response(bytes, has_bytes) {
                    return BEGIN_PIPELINED;
                }
                let is_late = self.is(Protocol::Http1) && self.is_streaming == 0;
                if is_late { LATE } else { NOTHING }
            }
            _ => NOTHING,
        }
    }

    /// The next of several requests that were read together is answered.
    #[inline(always)]
    pub fn begin_pipelined<B: Bytes + ?Sized>(
        &mut self,
        bytes: &B,
        len: u64,
        now_ns: u64,
        retransmits: u32,
    ) {
        self.arrival_ns = self.end_ns;
        self.read_ns = self.end_ns;
        self.flags = FLAG_PIPELINED;
        self.bytes_in = 0;
        self.bytes_out = len;
        self.retransmits_at_start = self.retransmits_at_end;
        self.opened.path_len = 0;
        self.opened.path_hash = 0;
        self.method = Method::Other as u8;
        if self.head.pipelined > 0 {
            self.head.pipelined -= 1;
            self.method = (self.head.pipelined_methods & 15) as u8;
            self.head.pipelined_methods >>= 4;
        }
        self.status = head::status(bytes.word(0), bytes.word(8));
        self.sent(now_ns, retransmits);
    }

    #[inline(always)]
    fn sent(&mut self, now_ns: u64, retransmits: u32) {
        self.phase = RESPONDING;
        self.end_ns = now_ns;
        self.retransmits_at_end = retransmits;
    }

    #[inline(always)]
    fn is_next_response<B: Bytes + ?Sized>(&self, bytes: &B, has_bytes: bool) -> bool {
        has_bytes
            && (self.head.pipelined != 0 || self.head.may_have_more != 0)
            && head::status(bytes.word(0), bytes.word(8)) != 0
    }

    /// An upgrade or an event stream is cut off at its head: what follows is
    /// not the response to a request.
    #[inline(always)]
    fn cut_off<B: Bytes + ?Sized>(&mut self, bytes: &B, has_bytes: bool) -> u32 {
        if self.status == SWITCHING {
            self.flags |= FLAG_STREAM;
            return END_AFTER;
        }
        let is_stream = (self.head.wants_stream != 0 && self.status < 300)
            || (has_bytes && head::names_event_stream(bytes));
        if is_stream {
            self.flags |= FLAG_STREAM;
            self.is_streaming = 1;
            return END_AFTER;
        }
        NOTHING
    }

    /// After `END_AFTER` was carried out: an upgraded connection has no more
    /// requests.
    #[inline(always)]
    pub fn after_cut(&mut self) {
        if self.status == SWITCHING {
            self.phase = CUT;
        }
    }
}
