//! What a read says about requests.

use super::{
    BEGIN, CUT, Conn, END, IDLE, NOTHING, Protocol, READING, RESPONDING, STASH_BYTES, UNPARSED, Who,
};
use crate::head::{self, BODY_UNKNOWN, Bytes, Head, Method, Opening};
use crate::limits::PATH_BYTES;
use crate::record::request::{FLAG_NO_ARRIVAL, FLAG_PIPELINED, FLAG_UNPARSED};

/// TLS record types.
const TLS_CHANGE_CIPHER_SPEC: u8 = 20;
const TLS_APPLICATION_DATA: u8 = 23;

impl Conn {
    /// Whether [`Conn::on_recv`] needs the `len` bytes that were read.
    #[inline(always)]
    #[must_use]
    pub fn wants_received(&self, len: u64) -> bool {
        if self.phase == CUT || self.is(Protocol::Opaque) {
            return false;
        }
        // In the middle of a request only a head that is still too short, or
        // the background reader's byte, matters.
        self.phase != READING || self.is_head_pending != 0 || (len == 1 && self.goid != 0)
    }

    /// `len` bytes were read. `bytes` holds what is stashed, then what was
    /// read (its beginning, at least); it is looked at only if
    /// [`Conn::wants_received`].
    #[inline(always)]
    pub fn on_recv<B: Bytes + ?Sized>(&mut self, bytes: &B, len: u64, who: &Who) -> u32 {
        if self.phase == CUT {
            return NOTHING;
        }
        if len == 1
            && self.is(Protocol::Http1)
            && self.phase != IDLE
            && self.is_head_pending == 0
            && self.is_other_goroutine(who.goid)
        {
            // net/http's background reader: the head of the next request.
            self.stash[0] = bytes.byte(0);
            self.stash_len = 1;
            self.stash_ready_ns = self.ready_ns;
            return NOTHING;
        }
        if self.phase == READING {
            self.bytes_in += len;
            if self.is_head_pending != 0 {
                head::open(bytes, &mut self.opened);
                self.read_head(bytes);
                return NOTHING;
            }
            self.take_body(len);
            return NOTHING;
        }
        if self.phase == RESPONDING
            && self.head.body_left > 0
            && self.head.body_left != BODY_UNKNOWN
        {
            // A server that answered before it had read the whole body.
            self.bytes_in += len;
            self.take_body(len);
            return NOTHING;
        }
        let ends = if self.phase == RESPONDING { END } else { NOTHING };
        if self.is(Protocol::Opaque) {
            return ends | BEGIN;
        }
        if self.is(Protocol::Tls) {
            return self.on_tls_recv(bytes.byte(0), ends);
        }
        head::open(bytes, &mut self.opened);
        if self.opened.is(Opening::Request) {
            self.protocol = Protocol::Http1 as u8;
            return ends | BEGIN;
        }
        if self.opened.is(Opening::Short) {
            if self.phase == RESPONDING && self.head.body_left == BODY_UNKNOWN {
                self.bytes_in += len;
                return NOTHING;
            }
            return ends | BEGIN;
        }
        if self.is(Protocol::Http1) {
            // The rest of a chunked body, or requests beyond what was looked
            // at when they were read.
            self.bytes_in += len;
            self.head.may_have_more = 1;
            return if self.phase == IDLE { UNPARSED } else { NOTHING };
        }
        if self.opened.is(Opening::Http2) {
            self.protocol = Protocol::Http2 as u8;
            self.phase = CUT;
            return NOTHING;
        }
        if self.opened.is(Opening::Tls) {
            self.protocol = Protocol::Tls as u8;
            return NOTHING;
        }
        self.protocol = Protocol::Opaque as u8;
        ends | BEGIN
    }

    /// The read failed with `EAGAIN`: there is nothing more to read. If that
    /// was the handler's own read, after it had responded, the request is over.
    #[inline(always)]
    #[must_use]
    pub fn on_recv_again(&self, who: &Who) -> u32 {
        if self.phase == RESPONDING && !self.is_other_goroutine(who.goid) { END } else { NOTHING }
    }

    /// End of file. A client that has only shut down its own side still waits
    /// for a response, so this ends a request only after one was sent.
    #[inline(always)]
    #[must_use]
    pub fn on_recv_eof(&self, who: &Who) -> u32 {
        self.on_recv_again(who)
    }

    /// A request begins with the read that [`Conn::on_recv`] was told of.
    #[inline(always)]
    pub fn begin<B: Bytes + ?Sized>(
        &mut self,
        bytes: &B,
        len: u64,
        who: &Who,
        now_ns: u64,
        retransmits: u32,
    ) {
        let stashed = u64::from(self.stash_len);
        let ready_ns = if stashed > 0 { self.stash_ready_ns } else { self.ready_ns };
        let previous_end_ns = self.end_ns;
        self.phase = READING;
        self.flags = 0;
        self.status = 0;
        self.method = 0;
        self.read_ns = now_ns;
        self.arrival_ns = ready_ns;
        if ready_ns == 0 || ready_ns > now_ns {
            self.flags |= FLAG_NO_ARRIVAL;
            self.arrival_ns = now_ns;
        }
        if self.arrival_ns < previous_end_ns && previous_end_ns <= now_ns {
            self.flags |= FLAG_PIPELINED;
            self.arrival_ns = previous_end_ns;
        }
        self.end_ns = 0;
        self.tgid = who.tgid;
        self.tid = who.tid;
        self.goid = who.goid;
        self.cgroup_id = who.cgroup_id;
        self.bytes_in = stashed + len;
        self.bytes_out = 0;
        self.head = Head::new();
        self.retransmits_at_start = retransmits;
        self.retransmits_at_end = retransmits;
        self.is_streaming = 0;
        self.opened.path_len = 0;
        self.opened.path_hash = 0;
        self.is_head_pending = 0;
        if self.is(Protocol::Http1) || self.is(Protocol::Unknown) {
            self.read_head(bytes);
        } else {
            self.drop_stash();
        }
    }

    /// The stashed bytes are parsed, or not needed: nothing of them is kept.
    #[inline(always)]
    pub(super) fn drop_stash(&mut self) {
        if self.stash_len != 0 {
            self.stash_len = 0;
            self.stash = [0; STASH_BYTES];
        }
    }

    /// Reads the head of the open request, as far as it is there, after
    /// [`head::open`].
    #[inline(always)]
    fn read_head<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        if self.opened.is(Opening::Short) && bytes.total() < STASH_BYTES as u64 {
            let mut i = 0;
            while i < STASH_BYTES {
                self.stash[i] = bytes.byte(i);
                i += 1;
            }
            self.stash_len = bytes.total() as u8;
            self.is_head_pending = 1;
            return;
        }
        self.drop_stash();
        self.is_head_pending = 0;
        if self.opened.is(Opening::Request) {
            self.protocol = Protocol::Http1 as u8;
            self.method = self.opened.method;
            head::path(bytes, &mut self.opened);
            head::scan(bytes, &mut self.head);
            if bytes.reads_trace() {
                head::trace(bytes, &self.head, &mut self.trace);
                self.flags |= self.trace.outcome;
            }
        } else if self.is(Protocol::Http1) {
            self.method = Method::Other as u8;
            self.flags |= FLAG_UNPARSED;
        } else {
            self.protocol = Protocol::Opaque as u8;
        }
    }

    /// Copies the path, and nothing that follows it.
    #[inline(always)]
    pub fn keep_path<B: Bytes + ?Sized>(&mut self, bytes: &B) {
        let mut i = 0;
        while i < PATH_BYTES / 8 {
            let left = u32::from(self.opened.path_len).saturating_sub(i as u32 * 8);
            let mask = if left >= 8 { u64::MAX } else { (1u64 << (8 * left)) - 1 };
            self.path[i] = bytes.word(usize::from(self.opened.target_at) + i * 8) & mask;
            i += 1;
        }
    }

    #[inline(always)]
    fn take_body(&mut self, len: u64) {
        if self.head.body_left != BODY_UNKNOWN {
            self.head.body_left -=
                if len > self.head.body_left { self.head.body_left } else { len };
        }
    }

    /// TLS: only application data, after the handshake, begins a turn.
    ///
    /// In TLS 1.3 the client's `Finished` travels as application data too; it
    /// follows a compatibility `change_cipher_spec` and is left out.
    #[inline(always)]
    fn on_tls_recv(&mut self, record_type: u8, ends: u32) -> u32 {
        if record_type == TLS_CHANGE_CIPHER_SPEC && self.has_server_sent != 0 {
            self.is_tls13 = 1;
            return NOTHING;
        }
        if record_type != TLS_APPLICATION_DATA {
            return NOTHING;
        }
        if self.is_handshake_done == 0 {
            self.tls_records += 1;
            if self.is_tls13 != 0 && self.tls_records < 2 {
                return NOTHING;
            }
            self.is_handshake_done = 1;
        }
        ends | BEGIN
    }
}
