//! Room for what does not fit a 512-byte stack: the head being parsed.
//!
//! Nothing of a payload outlives its parse: the room is wiped when the guard
//! goes. A program that has it cannot be interrupted by another that wants it:
//! heads are parsed in process context only, where tracing programs run with
//! preemption off.

use agent_common::head::{self, Bytes, Head};
use agent_common::limits::HEAD_BYTES;
use aya_ebpf::helpers::generated::{bpf_loop, bpf_probe_read_user};
use core::arch::asm;

use crate::globals;
use crate::kernel::arch::{self, Buffer};
use crate::maps::SCRATCH;

/// Stash, head, and room for words that are read beyond its end. The second
/// [`HEAD_BYTES`] stay empty: a place within the first and a length up to them
/// are bounded apart, and the verifier adds the bounds up.
const ROOM: usize = 16 + 2 * HEAD_BYTES + 112;

/// Buffers of one call that are looked at.
const MAX_VECTORS: u32 = 4;

/// The memory of one CPU.
#[repr(C, align(8))]
pub(crate) struct Scratch {
    bytes: [u8; ROOM],
    /// Bytes of the message, those that are not at hand included.
    total: u64,
    /// Bytes that were written, to be wiped.
    used: u64,
}

/// The room, while it is in use.
pub(crate) struct Room {
    at: *mut u8,
    scratch: *mut Scratch,
}

/// Takes this CPU's room, for a message of `total` bytes.
#[inline(always)]
pub(crate) fn take(total: u64) -> Option<Room> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: a map value that belongs to this CPU.
    unsafe {
        (&raw mut (*scratch).total).write_volatile(total);
        (&raw mut (*scratch).used).write_volatile(0);
    }
    Some(Room { at: scratch.cast(), scratch })
}

impl Room {
    /// Puts the stashed first bytes of a head in front.
    #[inline(always)]
    pub(crate) fn put_stash(&mut self, stash: &[u8; 16]) {
        let words = stash.as_ptr().cast::<u64>();
        let to = self.at.cast::<u64>();
        // SAFETY: sixteen bytes on both sides, eight-aligned: `stash` follows
        // a u64 in its structure, and the room is a map value.
        unsafe {
            to.write_volatile(words.read_volatile());
            to.add(1).write_volatile(words.add(1).read_volatile());
        }
    }

    /// Copies `len` bytes of the current process to place `at` (at most 16),
    /// followed by zeroes. False if they cannot be read.
    #[inline(always)]
    pub(crate) fn fill(&mut self, at: u64, from: u64, len: u64) -> bool {
        let at = at & 31;
        let mut len = len;
        // The verifier follows this comparison only if it is made on the
        // register that the helper gets.
        bound(&mut len);
        // SAFETY: a map value that belongs to this CPU.
        unsafe { (&raw mut (*self.scratch).used).write_volatile(at + len) };
        // SAFETY: at + len is at most 31 + HEAD_BYTES, within the room.
        let result = unsafe {
            bpf_probe_read_user(self.at.add(at as usize).cast(), len as u32, from as *const _)
        };
        if len < 64 {
            // Words and paths are read past the end of a short head.
            let mut i = 0;
            while i < 10 {
                // SAFETY: 31 + 63 + 80 is within the room.
                unsafe { store(self.at.add((at + len) as usize + i * 8), 0) };
                i += 1;
            }
        }
        result == 0
    }

    /// Copies what a call read or wrote, at most `max` bytes, to place `at` (at
    /// most 16). Of several buffers the first few are looked at: a head is
    /// seldom in more. False if they cannot be read.
    #[inline(always)]
    pub(crate) fn fill_from(&mut self, at: u64, buffer: Buffer, len: u64, max: u64) -> bool {
        let wanted = if len < max { len } else { max };
        let first = if buffer.bytes < wanted { buffer.bytes } else { wanted };
        let mut is_read = self.fill(at, buffer.from, first);
        let mut done = first;
        let mut next = buffer.next_vector;
        let mut vectors = 1;
        while vectors < MAX_VECTORS && done < wanted && next != 0 {
            let Some(more) = arch::vector(next, wanted - done) else {
                return false;
            };
            is_read &= self.fill_on(at + done, more.from, more.bytes);
            done += more.bytes;
            next = more.next_vector;
            vectors += 1;
        }
        is_read
    }

    /// Copies `len` bytes more to place `at`, behind what is there already.
    /// False if they cannot be read.
    #[inline(always)]
    pub(crate) fn fill_on(&mut self, at: u64, from: u64, len: u64) -> bool {
        let mut at = at;
        bound(&mut at);
        let left = HEAD_BYTES as u64 - at;
        let mut len = if len < left { len } else { left };
        bound(&mut len);
        // SAFETY: a map value that belongs to this CPU; both are at most
        // HEAD_BYTES, and twice that is within the room.
        unsafe {
            (&raw mut (*self.scratch).used).write_volatile(at + len);
            bpf_probe_read_user(self.at.add(at as usize).cast(), len as u32, from as *const _) == 0
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: a map value that belongs to this CPU.
        let mut used = unsafe { (&raw const (*self.scratch).used).read_volatile() };
        if used == 0 {
            return;
        }
        if used > HEAD_BYTES as u64 {
            // Behind a stash the head goes on for its length.
            let mut i = 0;
            while i < 4 {
                // SAFETY: within the room.
                unsafe { store(self.at.add(HEAD_BYTES + i * 8), 0) };
                i += 1;
            }
        }
        bound(&mut used);
        // An address that no process can have makes the helper zero the
        // destination without a fault: the cheapest way to wipe it.
        // SAFETY: HEAD_BYTES is within the room.
        unsafe { bpf_probe_read_user(self.at.cast(), used as u32, u64::MAX as *const _) };
    }
}

/// Caps a length at [`HEAD_BYTES`], opaque to the optimiser so that the check
/// stays where the verifier looks for it.
#[inline(always)]
fn bound(len: &mut u64) {
    *len = core::hint::black_box(*len);
    if *len > HEAD_BYTES as u64 {
        *len = HEAD_BYTES as u64;
    }
}

/// Stores eight bytes at any alignment.
#[inline(always)]
unsafe fn store(at: *mut u8, value: u64) {
    // SAFETY: the caller's bounds; x86-64 and the verifier allow it unaligned.
    unsafe { asm!("*(u64 *)({0} + 0) = {1}", in(reg) at, in(reg) value) }
}

impl Bytes for Room {
    #[inline(always)]
    fn byte(&self, at: usize) -> u8 {
        if at >= ROOM - 8 {
            return 0;
        }
        // SAFETY: in the room, by the line above.
        unsafe { self.at.add(at).read_volatile() }
    }

    #[inline(always)]
    fn word(&self, at: usize) -> u64 {
        if at >= ROOM - 8 {
            return 0;
        }
        let word: u64;
        // SAFETY: in the room, by the line above. One load: the compiler would
        // make eight of an unaligned read.
        unsafe { asm!("{0} = *(u64 *)({1} + 0)", out(reg) word, in(reg) self.at.add(at)) };
        word
    }

    #[inline(always)]
    fn total(&self) -> u64 {
        // SAFETY: a map value that belongs to this CPU.
        unsafe { (&raw const (*self.scratch).total).read_volatile() }
    }

    #[inline(always)]
    fn reads_trace(&self) -> bool {
        globals::READS_TRACE.load() != 0
    }

    #[inline(always)]
    fn scan_words(&self, head: &mut Head) {
        let mut scan = Scan { at: self.at, scratch: self.scratch, head };
        let step: extern "C" fn(u32, *mut Scan) -> u64 = scan_step;
        // SAFETY: the helper calls `scan_step` with `scan` on this stack.
        unsafe {
            bpf_loop(
                (HEAD_BYTES / 8 / WORDS_A_TURN) as u32,
                step as *mut core::ffi::c_void,
                (&raw mut scan).cast(),
                0,
            );
        }
    }
}

/// What the turns of a scan share.
struct Scan {
    at: *mut u8,
    scratch: *mut Scratch,
    head: *mut Head,
}

/// Words of a turn: the call of a turn costs more than looking at a word.
const WORDS_A_TURN: usize = 4;

/// One turn: 1 ends the loop.
extern "C" fn scan_step(turn: u32, scan: *mut Scan) -> u64 {
    // SAFETY: `scan` lives in the caller's frame, and what it points to are
    // map values that outlive it.
    let (room, head) = unsafe {
        let scan = &*scan;
        (Room { at: scan.at, scratch: scan.scratch }, &mut *scan.head)
    };
    // The verifier does not know the number of turns in here.
    let first = (core::hint::black_box(turn as usize) * WORDS_A_TURN) & (HEAD_BYTES / 8 - 1);
    let mut is_over = false;
    let mut i = 0;
    while i < WORDS_A_TURN && !is_over {
        is_over = head::scan_word(&room, first + i, head);
        i += 1;
    }
    // The room is still in use by the caller.
    core::mem::forget(room);
    u64::from(is_over)
}
