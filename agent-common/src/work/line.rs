//! One thread's line: whose work it does, and where its time went since that
//! was last booked.

use super::{CULPRIT_NS, TIGHT_NS, add};
use crate::counter::cpu::OFF_CPU_REASONS;
use crate::parts::Part;
use crate::record::request::RequestParts;

/// Why a thread that does a request's work is off the CPU: the reasons of
/// [`crate::counter::cpu::OffCpu`] by their index, and those that only a
/// request gives a meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Off {
    /// As [`Part::Receive`].
    Receive = OFF_CPU_REASONS as u8,
    /// As [`Part::Send`].
    Send = OFF_CPU_REASONS as u8 + 1,
    /// As [`Part::Downstream`].
    Downstream = OFF_CPU_REASONS as u8 + 2,
    /// As [`Part::Loss`].
    Loss = OFF_CPU_REASONS as u8 + 3,
    /// Blocked on something that cannot be told.
    Other = OFF_CPU_REASONS as u8 + 4,
    /// As [`Part::Lock`], after the first byte of the response: of the request
    /// if more of that follows, else idle.
    LateLock = OFF_CPU_REASONS as u8 + 5,
    /// As [`Part::Sleep`], likewise.
    LateSleep = OFF_CPU_REASONS as u8 + 6,
}

/// Number of reasons, those of `OffCpu` included; the array is larger so that
/// an index can be masked.
pub const OFFS: usize = 16;

/// The part of each reason.
const PART_OF: [Part; OFFS] = [
    Part::Runqueue,
    Part::Throttled,
    Part::Lock,
    Part::Disk,
    Part::Memory,
    Part::Sleep,
    Part::Receive,
    Part::Send,
    Part::Downstream,
    Part::Loss,
    Part::Unknown,
    Part::Lock,
    Part::Sleep,
    Part::Unknown,
    Part::Unknown,
    Part::Unknown,
];

/// No request is open.
pub const NOT_OPEN: u8 = 0;
/// One is, and nothing of its response was sent.
pub const UNANSWERED: u8 = 1;
/// One is, and was answered, at least in part.
pub const ANSWERED: u8 = 2;

/// How well it is known that a run was one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Run {
    /// The work did not stop.
    Exact,
    /// It ran, give or take a few microseconds.
    Estimated,
    /// Beyond the last moment that it was known to run it may have, or not.
    Doubtful,
}

/// What is kept of a thread. `off_ns` and what follows it are of `owner`, since
/// `since_ns`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Whose work it does: a goroutine's id, or the address of a request's
    /// socket where threads serve requests; 0 if none is known.
    pub owner: u64,
    /// Which of the owner's requests is open: when it was read.
    pub request_ns: u64,
    /// Up to when the owner's time is booked.
    pub since_ns: u64,
    /// The last point, whoever's; a switch-in counts.
    pub point_ns: u64,
    /// The last switch-in.
    pub in_ns: u64,
    /// The wake-up or preemption before it.
    pub ready_ns: u64,
    /// The owner was here then, beyond doubt.
    pub known_ns: u64,
    /// Of the time until then: what another goroutine may have had.
    pub doubt_ns: u64,
    /// Time off the CPU.
    pub off_ns: u64,
    /// The same by reason, see [`Off`].
    pub offs_ns: [u64; OFFS],
    /// Time on the CPU in system calls that are over.
    pub kernel_ns: u64,
    /// `off_ns` when the system call began.
    pub kernel_off_ns: u64,
    /// The longest wait for a peer that a loss may explain: until TCP took more,
    /// or in a call.
    pub peer_worst_ns: u64,
    /// When it was over.
    pub peer_worst_end_ns: u64,
    /// The longest wait for a CPU.
    pub runqueue_worst_ns: u64,
    /// Who ran in it.
    pub culprit_comm: [u8; 16],
    /// Its process.
    pub culprit_tgid: u32,
    /// The epoch in which the open request began.
    pub epoch: u32,
    /// Samples that found the owner here since `known_ns`.
    pub samples: u16,
    /// The same in `doubt_ns`.
    pub doubt_samples: u16,
    /// Times that the owner stopped and came back unseen.
    pub stops: u16,
    /// Calls to downstreams that began.
    pub calls: u16,
    /// The owner's `trackingSeq` at its last point here.
    pub seq: u8,
    /// Its wait reason there (a `GoWait`).
    pub reason: u8,
    /// [`NOT_OPEN`], [`UNANSWERED`] or [`ANSWERED`]: the owner's request.
    pub open: u8,
    /// 1 if there may be a `Parked` of the owner.
    pub has_parked: u8,
    /// 1 once the thread was seen to turn from one open request to another.
    pub is_loop: u8,
    /// Calls of this thread's own that wait for their reply.
    pub calls_open: u8,
    /// 1 while the body of the open request is still arriving.
    pub is_receiving: u8,
    /// 1 if the last switch-in followed an idle time.
    pub was_idle: u8,
    /// 1 if `owner` is a goroutine.
    pub is_goroutine: u8,
    /// While its stretch on the CPU is counted in the process's: the epoch that
    /// this began in, as one byte that is not 0.
    pub counted: u8,
    /// 1 if the owner lost its thread and got it back since `since_ns`.
    pub was_lost: u8,
    /// Of an event loop: what was read and sent in this turn.
    pub turn: u8,
    /// Why `peer_worst_ns` was waited, see [`Off`].
    pub peer_worst_reason: u8,
    /// Zero.
    pub _pad: [u8; 3],
    /// The goroutine that was found to have left the thread at its last idle
    /// time.
    pub left: u64,
}

impl Line {
    /// A thread of which nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            owner: 0,
            request_ns: 0,
            since_ns: 0,
            point_ns: 0,
            in_ns: 0,
            ready_ns: 0,
            known_ns: 0,
            doubt_ns: 0,
            off_ns: 0,
            offs_ns: [0; OFFS],
            kernel_ns: 0,
            kernel_off_ns: 0,
            peer_worst_ns: 0,
            peer_worst_end_ns: 0,
            runqueue_worst_ns: 0,
            culprit_comm: [0; 16],
            culprit_tgid: 0,
            samples: 0,
            doubt_samples: 0,
            stops: 0,
            calls: 0,
            seq: 0,
            reason: 0,
            open: NOT_OPEN,
            has_parked: 0,
            is_loop: 0,
            calls_open: 0,
            is_receiving: 0,
            was_idle: 0,
            is_goroutine: 0,
            counted: 0,
            epoch: 0,
            was_lost: 0,
            turn: 0,
            peer_worst_reason: 0,
            _pad: [0; 3],
            left: 0,
        }
    }

    /// The time off the CPU that ends now, of the open request.
    #[inline(always)]
    pub fn off(&mut self, reason: u8, ns: u64) {
        self.off_ns += ns;
        self.offs_ns[usize::from(reason) & (OFFS - 1)] += ns;
    }

    /// A wait of `ns` for a peer has ended; [`Line::off`] has it too.
    #[inline(always)]
    pub fn waited_for_peer(&mut self, reason: u8, ns: u64, now_ns: u64) {
        if ns > self.peer_worst_ns {
            self.peer_worst_ns = ns;
            self.peer_worst_end_ns = now_ns;
            self.peer_worst_reason = reason;
        }
    }

    /// The thread has sent, and something was sent again at `resent_ns`:
    /// without that, the wait in which it was would have been over after a
    /// round trip.
    #[inline(always)]
    pub fn lost_in_sending(&mut self, resent_ns: u64, round_trip_ns: u64) {
        let waited_ns = self.peer_worst_ns;
        let from_ns = self.peer_worst_end_ns.saturating_sub(waited_ns);
        if resent_ns <= from_ns || resent_ns > self.peer_worst_end_ns {
            return;
        }
        self.peer_worst_ns = 0;
        self.lost(self.peer_worst_reason, waited_ns.saturating_sub(round_trip_ns));
    }

    /// Of the time off the CPU for a reason, so much was waited because of loss.
    #[inline(always)]
    pub fn lost(&mut self, reason: u8, ns: u64) {
        let of_ns = &mut self.offs_ns[usize::from(reason) & (OFFS - 1)];
        let lost_ns = if ns < *of_ns { ns } else { *of_ns };
        *of_ns -= lost_ns;
        self.offs_ns[Off::Loss as usize] += lost_ns;
    }

    /// A system call of the open request is over, or is cut at `now_ns` by a
    /// booking; it began at `began_ns`.
    #[inline(always)]
    pub fn kernel(&mut self, began_ns: u64, now_ns: u64) {
        let (from_ns, off_ns) = if began_ns > self.since_ns {
            (began_ns, self.off_ns.saturating_sub(self.kernel_off_ns))
        } else {
            (self.since_ns, self.off_ns)
        };
        let took_ns = now_ns.saturating_sub(from_ns);
        self.kernel_ns += took_ns.saturating_sub(off_ns);
    }

    /// Begins to book for `owner`, with nothing booked yet.
    #[inline(always)]
    pub fn restart(&mut self, owner: u64, now_ns: u64) {
        self.owner = owner;
        self.forget(now_ns);
    }

    /// What is not booked by now is nobody's.
    #[inline(always)]
    pub fn forget(&mut self, now_ns: u64) {
        self.since_ns = now_ns;
        self.known_ns = now_ns;
        if self.off_ns != 0 {
            self.off_ns = 0;
            self.offs_ns = [0; OFFS];
            self.runqueue_worst_ns = 0;
            self.peer_worst_ns = 0;
        }
        self.doubt_ns = 0;
        self.kernel_ns = 0;
        self.kernel_off_ns = 0;
        self.samples = 0;
        self.doubt_samples = 0;
        self.stops = 0;
        self.calls = 0;
        self.was_lost = 0;
    }

    /// The owner, a goroutine, is here. If its count moved it has stopped since
    /// it was last known to be: where a reason was written for that, others may
    /// have had the thread meanwhile; else it only lost it.
    #[inline(always)]
    pub fn see(&mut self, now_ns: u64, seq: u8, reason: u8) {
        let moves = seq.wrapping_sub(self.seq);
        if moves != 0 {
            let unknown_ns = now_ns.saturating_sub(self.known_ns);
            if reason == self.reason || unknown_ns <= TIGHT_NS {
                self.was_lost = 1;
            } else {
                self.doubt_ns += unknown_ns;
                self.doubt_samples = self.doubt_samples.wrapping_add(self.samples);
            }
            self.stops = self.stops.wrapping_add(moves as u16);
            self.seq = seq;
            self.reason = reason;
        }
        self.samples = 0;
        self.known_ns = now_ns;
    }

    /// Books the owner's time until `now_ns`.
    #[inline(always)]
    pub fn book(&mut self, now_ns: u64, run: Run, parts: &mut RequestParts) {
        let all_ns = now_ns.saturating_sub(self.since_ns);
        let on_ns = all_ns.saturating_sub(self.off_ns);
        let mut is_exact = run as u8 == Run::Exact as u8 && self.was_lost == 0;
        if run as u8 == Run::Doubtful as u8 {
            let unknown_ns = now_ns.saturating_sub(self.known_ns);
            if unknown_ns <= TIGHT_NS {
                is_exact = false;
            } else {
                self.doubt_ns += unknown_ns;
                self.doubt_samples = self.doubt_samples.wrapping_add(self.samples);
            }
        }
        let doubt_ns = if self.doubt_ns < on_ns { self.doubt_ns } else { on_ns };
        parts.zone_ns += doubt_ns;
        parts.samples = parts.samples.wrapping_add(self.doubt_samples);
        let ran_ns = on_ns - doubt_ns;
        let kernel_ns = if self.kernel_ns < ran_ns { self.kernel_ns } else { ran_ns };
        add(parts, Part::Cpu, ran_ns - kernel_ns);
        add(parts, Part::OsCpu, kernel_ns);
        if !is_exact && ran_ns != 0 {
            parts.estimated |= Part::Cpu.bit() | Part::OsCpu.bit();
        }
        if self.off_ns != 0 {
            self.book_off(all_ns, parts);
        }
        parts.calls = parts.calls.wrapping_add(self.calls);
        parts.stops = parts.stops.wrapping_add(self.stops);
        self.forget(now_ns);
    }

    /// Apart, because most bookings have none.
    #[inline(always)]
    fn book_off(&mut self, all_ns: u64, parts: &mut RequestParts) {
        let mut left_ns = all_ns;
        let mut i = 0;
        while i < OFFS {
            let ns = if self.offs_ns[i] < left_ns { self.offs_ns[i] } else { left_ns };
            add(parts, PART_OF[i], ns);
            left_ns -= ns;
            i += 1;
        }
        if self.offs_ns[Off::Loss as usize] != 0 {
            parts.estimated |= Part::Loss.bit();
        }
        if self.runqueue_worst_ns > parts.runqueue_worst_ns {
            parts.runqueue_worst_ns = self.runqueue_worst_ns;
            parts.culprit_tgid = 0;
            if self.runqueue_worst_ns >= CULPRIT_NS {
                parts.culprit_tgid = self.culprit_tgid;
                parts.culprit_comm = self.culprit_comm;
            }
        }
    }

    /// Splits the time from arrival to read: the reading thread's own wait for
    /// a CPU, else the runtime's or the kernel's way to the read.
    #[inline(always)]
    pub fn book_unread(
        &self,
        arrival_ns: u64,
        read_ns: u64,
        is_thread: bool,
        parts: &mut RequestParts,
    ) {
        let all_ns = read_ns.saturating_sub(arrival_ns);
        let mut left_ns = all_ns;
        if self.in_ns > arrival_ns && self.in_ns <= read_ns {
            let from_ns = if self.ready_ns > arrival_ns { self.ready_ns } else { arrival_ns };
            let queued_ns = self.in_ns.saturating_sub(from_ns);
            let queued_ns = if queued_ns < left_ns { queued_ns } else { left_ns };
            add(parts, Part::Runqueue, queued_ns);
            if queued_ns > parts.runqueue_worst_ns {
                parts.runqueue_worst_ns = queued_ns;
            }
            left_ns -= queued_ns;
            if is_thread {
                // From there the kernel carries the read out.
                let ran_ns = read_ns - self.in_ns;
                let ran_ns = if ran_ns < left_ns { ran_ns } else { left_ns };
                add(parts, Part::OsCpu, ran_ns);
                left_ns -= ran_ns;
            }
        }
        add(parts, Part::Sched, left_ns);
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!((Off::LateSleep as usize) < OFFS);

#[cfg(test)]
mod tests {
    use super::*;

    const SEND: u8 = Off::Send as u8;

    fn waited(line: &mut Line, from_ns: u64, to_ns: u64) {
        line.off(SEND, to_ns - from_ns);
        line.waited_for_peer(SEND, to_ns - from_ns, to_ns);
    }

    /// Time of sending and of loss.
    fn split(line: &Line) -> (u64, u64) {
        (line.offs_ns[Off::Send as usize], line.offs_ns[Off::Loss as usize])
    }

    #[test]
    fn the_wait_in_which_something_was_sent_again_is_loss_but_for_a_round_trip() {
        let mut line = Line::new();
        waited(&mut line, 1_000, 1_300);
        waited(&mut line, 2_000, 7_000);
        waited(&mut line, 8_000, 8_100);
        line.lost_in_sending(6_500, 40);
        assert_eq!(split(&line), (440, 4_960));
        // It is told once.
        line.lost_in_sending(6_500, 40);
        assert_eq!(split(&line), (440, 4_960));
        let mut parts = RequestParts::new();
        line.book(10_000, Run::Exact, &mut parts);
        assert_eq!(parts.ns[Part::Loss as usize], 4_960);
        assert_eq!(parts.estimated, Part::Loss.bit());
    }

    #[test]
    fn what_was_sent_again_outside_of_a_wait_made_nobody_wait() {
        let mut line = Line::new();
        waited(&mut line, 2_000, 7_000);
        for resent_ns in [0, 1_500, 2_000, 7_001] {
            line.lost_in_sending(resent_ns, 40);
        }
        assert_eq!(split(&line), (5_000, 0));
        line.lost_in_sending(7_000, 6_000);
        assert_eq!(split(&line), (5_000, 0), "a peer that is farther away than that");
    }
}
