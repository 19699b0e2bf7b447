//! The goroutine that runs on a thread, read from the runtime's memory.

use agent_common::go::{GO_REASONS, GoLayout};
use agent_common::work::Goroutine;
use aya_ebpf::helpers::generated::bpf_probe_read_user;

use super::arch::read_user_word;
use super::task::Task;

/// `_Gwaiting` and its kind (runtime/runtime2.go).
const WAITING: u32 = 4;
/// No goroutine's `g` lies below this: the first 4 GiB hold the program.
const LOWEST_G: u64 = 1 << 32;
/// Offsets from `g.goid` of what lies around it, the same in Go 1.21 to 1.26:
/// `atomicstatus` is two words of four bytes before it.
const BEFORE_GOID: u64 = 8;
/// Words read at once, from `atomicstatus` on.
const WORDS: usize = 6;

/// Id of the goroutine that `task`, the current one, runs; 0 if unknown.
///
/// A static Go program keeps its `g` at a fixed place below the thread
/// pointer; system calls are made on the goroutine's own `g`.
#[inline(always)]
pub(crate) fn goroutine_id(task: Task, g_tls_offset: i32, goid_offset: u32) -> u64 {
    if goid_offset == 0 {
        return 0;
    }
    match g_of(task.thread_pointer(), g_tls_offset) {
        Some(g) if g != 0 => read_user_word(g + u64::from(goid_offset)).unwrap_or(0),
        _ => 0,
    }
}

/// The goroutine that the current thread runs.
#[inline(always)]
pub(crate) fn current(thread_pointer: u64, layout: &GoLayout) -> Goroutine {
    match g_of(thread_pointer, layout.g_tls_offset) {
        Some(g) if g != 0 => read(g, layout),
        _ => Goroutine::unknown(1),
    }
}

/// The goroutine that left `task`, the current one, last, when that is idle in
/// its scheduler at `g0`: `mcall` leaves it on the scheduling stack, one word
/// below its base. What else may lie there is no address of a goroutine, or
/// one that has not moved since: the caller sees by its `trackingSeq`.
#[inline(always)]
pub(crate) fn last_left(g0: u64, layout: &GoLayout) -> Goroutine {
    let Some(base) = read_user_word(g0 + u64::from(layout.sched_sp)) else {
        return Goroutine::unknown(1);
    };
    match read_user_word(base.wrapping_sub(8)) {
        Some(g) if g >= LOWEST_G => read(g, layout),
        _ => Goroutine::unknown(1),
    }
}

/// When a sleeping goroutine is to go on, `CLOCK_MONOTONIC` nanoseconds; 0 if
/// not known.
#[inline(always)]
pub(crate) fn sleep_deadline(g: u64, layout: &GoLayout) -> u64 {
    if layout.sleep_when == 0 {
        return 0;
    }
    read_user_word(g + u64::from(layout.sleep_when)).unwrap_or(0)
}

/// The goroutine that started the one at `g`; 0 if that is not known.
#[inline(always)]
pub(crate) fn parent(g: u64, layout: &GoLayout) -> u64 {
    if layout.parent_goid == 0 {
        return 0;
    }
    read_user_word(g + u64::from(layout.parent_goid)).unwrap_or(0)
}

/// The descriptor of the connection that a `net/http.persistConn` is about to
/// use, by `found`, which says what is behind a number.
///
/// Its `conn` is an interface, two words. The second points to a `net.TCPConn`,
/// whose first word is its `netFD`, which begins with the `poll.FD`: a mutex of
/// sixteen bytes, and the number. (The same since Go 1.9.) In a `tls.Conn` the
/// first field is again an interface, which holds the `net.TCPConn`.
#[inline(always)]
pub(crate) fn client_socket(
    persist_conn: u64,
    layout: &GoLayout,
    found: impl Fn(u64) -> Option<u64>,
) -> Option<u64> {
    let conn = read_user_word(persist_conn + u64::from(layout.persist_conn_conn) + 8)?;
    let descriptor = |tcp: u64| {
        let net_fd = read_user_word(tcp)?;
        read_user_word(net_fd + 16)
    };
    if let Some(sk) = descriptor(conn).and_then(&found) {
        return Some(sk);
    }
    descriptor(read_user_word(conn + 8)?).and_then(&found)
}

/// Whether the collector is stopping the world.
#[inline(always)]
pub(crate) fn is_world_stopping(layout: &GoLayout) -> bool {
    layout.gcwaiting_at != 0
        && read_user_word(layout.gcwaiting_at).is_some_and(|word| word & 0xff != 0)
}

#[inline(always)]
fn g_of(thread_pointer: u64, g_tls_offset: i32) -> Option<u64> {
    read_user_word(thread_pointer.wrapping_add_signed(i64::from(g_tls_offset)))
}

/// Reads what lies around `g.goid` at once.
#[inline(always)]
fn read(g: u64, layout: &GoLayout) -> Goroutine {
    let mut words = [0u64; WORDS];
    let from = (g + u64::from(layout.goid)).wrapping_sub(BEFORE_GOID);
    // SAFETY: as many bytes as the array has.
    let result = unsafe {
        bpf_probe_read_user(
            core::ptr::from_mut(&mut words).cast(),
            size_of::<[u64; WORDS]>() as u32,
            from as *const _,
        )
    };
    if result != 0 {
        return Goroutine::unknown(1);
    }
    // The agent hands over only layouts where both lie in these words.
    let start = layout.goid.wrapping_sub(BEFORE_GOID as u32);
    let reason = byte(words[4], layout.wait_reason.wrapping_sub(start));
    let seq = byte(words[5], layout.tracking_seq.wrapping_sub(start));
    Goroutine {
        id: words[1],
        at: g,
        seq,
        reason: layout.reasons[usize::from(reason) & (GO_REASONS - 1)],
        is_waiting: u8::from((words[0] as u32) & 0xfff == WAITING),
        is_followed: 1,
        _pad: 0,
    }
}

/// The byte of a word at an offset of the structure that the word is from.
#[inline(always)]
const fn byte(word: u64, offset: u32) -> u8 {
    (word >> ((offset & 7) * 8)) as u8
}
