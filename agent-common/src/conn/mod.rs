//! One connection's state: where one request ends and the next begins.
//!
//! Pure, so that every order of events can be tried on the host; the kernel
//! programs keep a [`Conn`] in each socket's storage and feed it what they
//! see. A request begins with the first read after the last response, and its
//! end is the last send before the evidence that it is over: the handler's own
//! `EAGAIN`, the next request's first read, end of file, close, or a sweep.

mod recv;
mod send;
mod tcp;

use crate::head::{Head, Opened};
use crate::limits::PATH_BYTES;
use crate::record::request::{FLAG_ABORTED, RequestParts, RequestRecord, TraceContext};

pub use tcp::{ACCEPT_ESTIMATE_NS, MIN_DELIVERED, NO_WAIT, SAMPLE_NS, Stall, WindowWait};

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// Nothing was read yet that tells.
    Unknown = 0,
    /// HTTP/1.0 or 1.1.
    Http1 = 1,
    /// Bytes in, bytes out.
    Opaque = 2,
    /// TLS; turns are estimated.
    Tls = 3,
    /// HTTP/2: no turns.
    Http2 = 4,
}

impl Protocol {
    /// The protocol with this number.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        Some(match raw {
            0 => Self::Unknown,
            1 => Self::Http1,
            2 => Self::Opaque,
            3 => Self::Tls,
            4 => Self::Http2,
            _ => return None,
        })
    }
}

/// Between requests.
pub const IDLE: u8 = 0;
/// A request was read, in part or whole; nothing was sent yet.
pub const READING: u8 = 1;
/// Response bytes were sent.
pub const RESPONDING: u8 = 2;
/// No requests can be told apart on it (HTTP/2, after an upgrade).
pub const CUT: u8 = 3;

/// A call whose reply its caller waits for.
pub const CALL_SENT: u8 = 1;
/// A call whose reply is readable, and not read.
pub const CALL_READY: u8 = 2;

/// Not known which end this is.
pub const ROLE_UNKNOWN: u8 = 0;
/// The end that accepted.
pub const ROLE_SERVER: u8 = 1;
/// The end that connected.
pub const ROLE_CLIENT: u8 = 2;

/// Nothing to do.
pub const NOTHING: u32 = 0;
/// The open request is over: emit it, then call [`Conn::close_request`].
pub const END: u32 = 1;
/// A request begins: after `END` if both are set, call [`Conn::begin`].
pub const BEGIN: u32 = 2;
/// The next pipelined request begins: call [`Conn::begin_pipelined`].
pub const BEGIN_PIPELINED: u32 = 4;
/// The open request is over, with this send as its last.
pub const END_AFTER: u32 = 8;
/// Response bytes came after their request was taken as ended.
pub const LATE: u32 = 16;
/// Bytes came that are not a request.
pub const UNPARSED: u32 = 32;

/// Bytes of a head that are kept while they are too few to tell.
pub const STASH_BYTES: usize = 16;

/// Who reads or writes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Who {
    /// Process.
    pub tgid: u32,
    /// Thread.
    pub tid: u32,
    /// Goroutine; 0 where the process is not Go.
    pub goid: u64,
    /// Cgroup of the thread.
    pub cgroup_id: u64,
}

/// State of a connection, as it lies in the socket's storage.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Conn {
    /// Service that the connection belongs to.
    pub service: u16,
    /// `ROLE_*`.
    pub role: u8,
    /// A [`Protocol`] by number.
    pub protocol: u8,
    /// [`IDLE`], [`READING`], [`RESPONDING`] or [`CUT`].
    pub phase: u8,
    /// Method of the open request.
    pub method: u8,
    /// Status of its response.
    pub status: u16,
    /// `FLAG_*` bits of the record.
    pub flags: u32,
    /// Who read the request.
    pub tgid: u32,
    /// Its thread.
    pub tid: u32,
    /// Bytes in `stash`.
    pub stash_len: u8,
    /// 1 while the head of the open request lies in `stash`, too short to tell.
    pub is_head_pending: u8,
    /// Zero.
    pub _pad0: u8,
    /// 1 after an event stream: what is sent until the next request is its.
    pub is_streaming: u8,
    /// Its goroutine.
    pub goid: u64,
    /// Its cgroup.
    pub cgroup_id: u64,
    /// When unread data became readable; 0 if there is none.
    pub ready_ns: u64,
    /// Arrival, read and last send of the open (or last) request.
    pub arrival_ns: u64,
    /// See `arrival_ns`.
    pub read_ns: u64,
    /// See `arrival_ns`.
    pub end_ns: u64,
    /// Bytes of the request.
    pub bytes_in: u64,
    /// Bytes of the response.
    pub bytes_out: u64,
    /// The connection's count of retransmits when the request arrived.
    pub retransmits_at_start: u32,
    /// The same at its last send.
    pub retransmits_at_end: u32,
    /// TLS: 1 after the server's first flight.
    pub has_server_sent: u8,
    /// TLS: 1 if the handshake looks like TLS 1.3.
    pub is_tls13: u8,
    /// TLS: application records seen in the handshake.
    pub tls_records: u8,
    /// TLS: 1 once the handshake is over.
    pub is_handshake_done: u8,
    /// 1 once the accept wait was taken, or found that it cannot be.
    pub is_accepted: u8,
    /// 1 if the process had accepted it when its first data came.
    pub is_accepted_at_ready: u8,
    /// Zero.
    pub _pad1: [u8; 2],
    /// What its head says; also what is read of its body and of the requests
    /// that came with it.
    pub head: Head,
    /// What its first bytes say.
    pub opened: Opened,
    /// When the stashed bytes became readable.
    pub stash_ready_ns: u64,
    /// First bytes of a head.
    pub stash: [u8; STASH_BYTES],
    /// When the handshake began (client) or the connection was established.
    pub opened_ns: u64,
    /// Last time that segments and round-trip time were looked at; 0 if never.
    pub sampled_ns: u64,
    /// The socket's count of data segments sent, as far as it is in counters.
    pub segments_counted: u32,
    /// Its count of retransmitted segments, as far as it is in counters.
    pub retransmits_counted: u32,
    /// Its count of delivered segments at the last round-trip sample.
    pub delivered_sampled: u32,
    /// Generation of the policies under which this was last checked.
    pub generation: u32,
    /// A [`crate::counter::tcp::Scope`] by number.
    pub scope: u8,
    /// Zero.
    pub _pad: [u8; 3],
    /// Epoch of the connections in which this was made.
    pub epoch: u32,
    /// The path, cut at `?`, where paths are kept; as words for the kernel.
    /// `opened.path_len` bytes have meaning.
    pub path: [u64; PATH_BYTES / 8],
    /// What its head says of its trace, where spans are on.
    pub trace: TraceContext,
    /// Where the time of the open request went, as far as it is booked.
    pub parts: RequestParts,
    /// What its socket is told by while it lives: where it is.
    pub id: u64,
    /// Up to when the time of the open request is booked.
    pub booked_ns: u64,
    /// When the connection was accepted, if that was not before the open
    /// request began; else 0.
    pub accepted_ns: u64,
    /// Of a call: when the first byte of its reply became readable.
    pub reply_ready_ns: u64,
    /// Of a call: last byte of it handed to TCP.
    pub sent_ns: u64,
    /// Of a call: how its caller is known, `CALLER_*`.
    pub caller: u8,
    /// 1 after the send buffer was found full.
    pub is_send_full: u8,
    /// Of a call whose caller's wait it is part of: [`CALL_SENT`], then
    /// [`CALL_READY`] until the reply is read; else 0.
    pub call: u8,
    /// Of a call by an event loop: 1 from where it is known whose it will be to
    /// its first send.
    pub is_announced: u8,
    /// The smoothed round trip at `resent_ns`, microseconds.
    pub resent_rtt_us: u32,
    /// When something was first sent again since bytes were last handed to TCP;
    /// 0 if nothing was.
    pub resent_ns: u64,
    /// Of a call: time of the wait for its reply that sending again explains.
    pub loss_ns: u64,
    /// Of a call by an event loop: [`Conn::id`] of the request that it is for;
    /// 0 if that is not known.
    pub owner: u64,
    /// When that request was read.
    pub owner_read_ns: u64,
    /// The socket's count of segments that came out of order, as far as it is
    /// in counters.
    pub out_of_order_counted: u32,
    /// Its ticks of waiting for the peer's window, as far as they were looked at.
    pub window_ticks: u32,
    /// The wait with a window of zero that was going on at the last look, by the
    /// tick that it began in; 0 if there was none.
    pub stall: u32,
    /// What the last look found, until it is counted: segments out of order.
    pub new_out_of_order: u32,
    /// The same: stalls that began.
    pub new_stalls: u32,
    /// The same: ticks of stalls.
    pub new_stall_ticks: u32,
}

impl Conn {
    /// State of a connection of which nothing is known.
    #[must_use]
    pub const fn new(service: u16, role: u8) -> Self {
        Self {
            service,
            role,
            protocol: Protocol::Unknown as u8,
            phase: IDLE,
            method: 0,
            status: 0,
            flags: 0,
            tgid: 0,
            tid: 0,
            stash_len: 0,
            is_head_pending: 0,
            _pad0: 0,
            is_streaming: 0,
            goid: 0,
            cgroup_id: 0,
            ready_ns: 0,
            arrival_ns: 0,
            read_ns: 0,
            end_ns: 0,
            bytes_in: 0,
            bytes_out: 0,
            retransmits_at_start: 0,
            retransmits_at_end: 0,
            has_server_sent: 0,
            is_tls13: 0,
            tls_records: 0,
            is_handshake_done: 0,
            is_accepted: 0,
            is_accepted_at_ready: 0,
            _pad1: [0; 2],
            head: Head::new(),
            opened: Opened::new(),
            stash_ready_ns: 0,
            stash: [0; STASH_BYTES],
            opened_ns: 0,
            sampled_ns: 0,
            segments_counted: 0,
            retransmits_counted: 0,
            delivered_sampled: 0,
            generation: 0,
            scope: 0,
            _pad: [0; 3],
            epoch: 0,
            path: [0; PATH_BYTES / 8],
            trace: TraceContext::new(),
            parts: RequestParts::new(),
            id: 0,
            booked_ns: 0,
            accepted_ns: 0,
            reply_ready_ns: 0,
            sent_ns: 0,
            caller: 0,
            is_send_full: 0,
            call: 0,
            is_announced: 0,
            resent_rtt_us: 0,
            resent_ns: 0,
            loss_ns: 0,
            owner: 0,
            owner_read_ns: 0,
            out_of_order_counted: 0,
            window_ticks: 0,
            stall: 0,
            new_out_of_order: 0,
            new_stalls: 0,
            new_stall_ticks: 0,
        }
    }

    /// The socket has something to read.
    #[inline(always)]
    pub fn on_ready(&mut self, now_ns: u64) {
        if self.ready_ns == 0 {
            self.ready_ns = now_ns;
        }
    }

    /// Something is sent again.
    #[inline(always)]
    pub const fn on_resent(&mut self, now_ns: u64, srtt_us: u32) {
        if self.resent_ns == 0 {
            self.resent_ns = now_ns;
            self.resent_rtt_us = srtt_us;
        }
    }

    /// The round trip that what was sent again would have taken, nanoseconds.
    #[inline(always)]
    #[must_use]
    pub const fn resent_rtt_ns(&self) -> u64 {
        self.resent_rtt_us as u64 * 1_000
    }

    /// Of a call: the first byte of its reply is readable. Without loss it
    /// would have been answered a round trip after it was sent, or later.
    #[inline(always)]
    pub const fn on_reply(&mut self, now_ns: u64) {
        self.reply_ready_ns = now_ns;
        if self.resent_ns != 0 {
            self.loss_ns = now_ns.saturating_sub(self.sent_ns + self.resent_rtt_ns());
            self.resent_ns = 0;
        }
    }

    /// The connection closes: ends what is open.
    ///
    /// A request without a response is emitted as aborted if it was HTTP; a
    /// turn without an answer was no turn.
    #[inline(always)]
    pub fn on_close(&mut self, now_ns: u64) -> u32 {
        if self.phase == RESPONDING {
            return END;
        }
        if self.phase == READING
            && self.protocol == Protocol::Http1 as u8
            && self.is_head_pending == 0
        {
            self.end_ns = now_ns;
            self.flags |= FLAG_ABORTED;
            return END;
        }
        NOTHING
    }

    /// The sweep looks at the connection: a request whose last send is
    /// `idle_ns` ago or more is over, though nothing has said so.
    #[inline(always)]
    #[must_use]
    pub fn on_sweep(&self, now_ns: u64, idle_ns: u64) -> u32 {
        let is_over = self.phase == RESPONDING && now_ns > self.end_ns + idle_ns;
        if is_over { END } else { NOTHING }
    }

    /// The open request was emitted (or counted): back to idle.
    #[inline(always)]
    pub fn close_request(&mut self) {
        self.phase = IDLE;
        self.is_head_pending = 0;
        self.flags = 0;
        self.head.body_left = 0;
    }

    /// Writes everything but the path, addresses and round-trip times into a
    /// record.
    #[inline(always)]
    pub fn fill(&self, retransmits_now: u32, record: &mut RequestRecord) {
        record.method = self.method;
        record.protocol = self.protocol;
        record.status = self.status;
        record.service = self.service;
        record.flags = self.flags;
        record.tgid = self.tgid;
        record.tid = self.tid;
        let during = self.retransmits_at_end.wrapping_sub(self.retransmits_at_start);
        let after = retransmits_now.wrapping_sub(self.retransmits_at_end);
        record.retransmits_during = if during > 0xffff { 0xffff } else { during as u16 };
        record.retransmits_after = if after > 0xffff { 0xffff } else { after as u16 };
        record.arrival_ns = self.arrival_ns;
        record.read_ns = self.read_ns;
        record.end_ns = self.end_ns;
        record.bytes_in = self.bytes_in;
        record.bytes_out = self.bytes_out;
        record.goid = self.goid;
        record.cgroup_id = self.cgroup_id;
    }

    #[inline(always)]
    fn is(&self, protocol: Protocol) -> bool {
        self.protocol == protocol as u8
    }

    /// A goroutine other than the one that serves the open request.
    #[inline(always)]
    fn is_other_goroutine(&self, goid: u64) -> bool {
        goid != 0 && self.goid != 0 && goid != self.goid
    }
}

const _: () = assert!(size_of::<Conn>() <= 632);

#[cfg(test)]
mod tests;
