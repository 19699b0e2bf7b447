//! Event loops: whose turn it is, and what a request waits for between turns.
//!
//! A loop's thread serves many requests, and what it sends to a peer is of the
//! one whose bytes, or reply, it read last: Node, nginx and most others handle
//! what they read before they read on. Some read all that is there first and
//! handle it then (asyncio); so where two were read with nothing sent between,
//! whose the next call is cannot be told, and it is nobody's.
//!
//! Separate because nothing here is exact: all that it books is estimated.

use super::{Line, NOT_OPEN, Parked, Run, UNANSWERED, estimate};
use crate::parts::Part;

/// Something was read since the thread last looked for work.
const READ: u8 = 1;
/// Something was sent since the last read.
const SENT: u8 = 2;
/// What was read is of several requests.
const MIXED: u8 = 4;

/// The key of a loop's request among those of its process: its socket's address
/// without what does not tell sockets apart, in the width of a goroutine's id.
#[inline(always)]
#[must_use]
pub const fn unit(owner: u64) -> u64 {
    owner >> 6
}

impl Line {
    /// The thread has read something of the request that `owner` has open since
    /// `request_ns`, or, if `owner` is 0, of nobody's that is known.
    #[inline(always)]
    pub fn turns_to(&mut self, owner: u64, request_ns: u64, now_ns: u64) {
        self.reads(owner);
        self.restart(owner, now_ns);
        self.request_ns = request_ns;
        self.is_goroutine = 0;
        self.has_parked = 0;
        self.point_ns = now_ns;
        self.open = if owner != 0 { UNANSWERED } else { NOT_OPEN };
    }

    /// Notes a read, before its owner becomes the line's.
    #[inline(always)]
    pub(super) fn reads(&mut self, owner: u64) {
        let mut turn = self.turn;
        if turn & SENT != 0 {
            turn = 0;
        } else if turn & READ != 0 && self.owner != owner {
            turn |= MIXED;
        }
        self.turn = (turn & MIXED) | READ;
    }

    /// The thread has sent something.
    #[inline(always)]
    pub fn sends(&mut self) {
        self.turn |= SENT;
    }

    /// Whether what the thread sends to a peer is its owner's.
    #[inline(always)]
    #[must_use]
    pub const fn is_calling_for_owner(&self) -> bool {
        self.is_loop != 0 && self.open != NOT_OPEN && self.turn & MIXED == 0
    }

    /// The thread looks for work.
    #[inline(always)]
    pub const fn turn_over(&mut self) {
        self.turn = 0;
    }
}

impl Parked {
    /// The loop has made a call for this request, or begun to connect for one.
    /// What the loop does for it while it waits is part of the wait.
    #[inline(always)]
    pub fn leave_to_wait(&mut self, line: &mut Line, now_ns: u64) {
        if self.parked_ns != 0 {
            line.forget(now_ns);
            return;
        }
        line.book(now_ns, Run::Estimated, &mut self.parts);
        self.parked_ns = now_ns;
        self.booked_ns = now_ns;
        self.called_ns = 0;
        self.loss_ns = 0;
        self.unread_ns = 0;
        self.parts.stops = self.parts.stops.wrapping_add(1);
    }

    /// Books the wait until now. It goes on if calls are outstanding.
    #[inline(always)]
    pub fn book_wait(&mut self, now_ns: u64) {
        let parked_ns = self.parked_ns;
        if parked_ns == 0 {
            return;
        }
        let mut left_ns = now_ns.saturating_sub(parked_ns);
        let mut called_ns = self.called_ns;
        let is_calling = self.is_calling();
        if is_calling && self.calling_ns != 0 {
            let from_ns = if self.calling_ns > parked_ns { self.calling_ns } else { parked_ns };
            called_ns += now_ns.saturating_sub(from_ns);
        }
        let called_ns = if called_ns < left_ns { called_ns } else { left_ns };
        left_ns -= called_ns;
        let lost_ns = if self.loss_ns < called_ns { self.loss_ns } else { called_ns };
        estimate(&mut self.parts, Part::Downstream, called_ns - lost_ns);
        estimate(&mut self.parts, Part::Loss, lost_ns);
        let unread_ns = if self.unread_ns < left_ns { self.unread_ns } else { left_ns };
        estimate(&mut self.parts, Part::Sched, unread_ns);
        self.called_ns = 0;
        self.loss_ns = 0;
        self.unread_ns = 0;
        self.booked_ns = now_ns;
        self.parked_ns = if is_calling { now_ns } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::request::RequestParts;

    fn a_loop() -> Line {
        Line { is_loop: 1, ..Line::new() }
    }

    #[test]
    fn what_is_sent_is_of_what_was_read_last() {
        let mut line = a_loop();
        assert!(!line.is_calling_for_owner(), "nothing was read");
        line.turns_to(64, 1, 1);
        assert!(line.is_calling_for_owner());
        line.sends();
        line.turns_to(128, 2, 2);
        assert!(line.is_calling_for_owner(), "each was handled before the next was read");
        line.turns_to(0, 0, 3);
        assert!(!line.is_calling_for_owner(), "the last read was nobody's");
    }

    #[test]
    fn after_reads_of_several_it_is_nobodys_until_something_was_sent() {
        let mut line = a_loop();
        line.turns_to(64, 1, 1);
        line.turns_to(128, 2, 2);
        assert!(!line.is_calling_for_owner());
        line.sends();
        assert!(!line.is_calling_for_owner(), "the other's call may come now");
        line.turns_to(192, 3, 3);
        assert!(line.is_calling_for_owner());
        line.turns_to(256, 4, 4);
        line.turn_over();
        line.turns_to(64, 5, 5);
        assert!(line.is_calling_for_owner(), "a new turn");
    }

    #[test]
    fn a_call_is_waited_for_from_its_send_to_its_reply() {
        let (mut line, mut waits) = (a_loop(), Parked::new());
        line.turns_to(64, 100, 100);
        waits.leave_to_wait(&mut line, 130);
        waits.calls_sent += 1;
        waits.call_sent(130);
        waits.calls_done += 1;
        waits.call_ready(530, 0);
        waits.call_read(530, 540);
        waits.book_wait(540);
        let of = |part: Part| waits.parts.ns[part as usize];
        assert_eq!((of(Part::Cpu), of(Part::Downstream), of(Part::Sched)), (30, 400, 10));
        assert_eq!(waits.parked_ns, 0);
        assert_ne!(waits.parts.estimated & Part::Downstream.bit(), 0);
    }

    /// What can happen to a request of a loop.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Turn,
        Call,
        Reply,
        Book,
    }

    proptest! {
        #[test]
        fn no_more_is_booked_than_there_was(
            steps in proptest::collection::vec(
                (1u64..1_000, prop_oneof![
                    Just(Step::Turn), Just(Step::Call), Just(Step::Reply), Just(Step::Book),
                ]),
                0..40,
            ),
            losses in 0u64..2_000,
        ) {
            let (mut line, mut waits) = (a_loop(), Parked::new());
            let start_ns = 1_000;
            let mut now_ns = start_ns;
            line.turns_to(64, now_ns, now_ns);
            for (after_ns, step) in steps {
                now_ns += after_ns;
                match step {
                    Step::Turn => line.turns_to(64, start_ns, now_ns),
                    Step::Call => {
                        waits.leave_to_wait(&mut line, now_ns);
                        waits.calls_sent += 1;
                        waits.call_sent(now_ns);
                    }
                    Step::Reply if waits.is_calling() => {
                        waits.calls_done += 1;
                        waits.call_ready(now_ns, losses);
                        now_ns += 3;
                        waits.call_read(now_ns - 3, now_ns);
                        line.turns_to(64, start_ns, now_ns);
                    }
                    Step::Reply => {}
                    Step::Book => {
                        waits.book_wait(now_ns);
                        if line.since_ns < waits.booked_ns {
                            line.forget(waits.booked_ns);
                        }
                        let mut parts = RequestParts::new();
                        line.book(now_ns, Run::Estimated, &mut parts);
                        super::super::merge(&mut waits.parts, &parts);
                    }
                }
            }
            let booked_ns: u64 = waits.parts.ns.iter().sum();
            prop_assert!(booked_ns <= now_ns - start_ns, "{booked_ns} of {}", now_ns - start_ns);
        }
    }
}
