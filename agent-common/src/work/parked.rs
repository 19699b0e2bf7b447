//! A goroutine that left its thread with a request open.

use super::{TIGHT_NS, add, estimate};
use crate::go::GoWait;
use crate::parts::Part;
use crate::record::request::RequestParts;

/// What is kept of it until its request is in hand again.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Parked {
    /// What was booked for it meanwhile.
    pub parts: RequestParts,
    /// Which of its requests is open: when it was read.
    pub request_ns: u64,
    /// Up to when its time is booked, where it ran last.
    pub booked_ns: u64,
    /// When it was first found on a thread that it had come to unseen, while the
    /// time before that is not booked; else 0.
    pub came_ns: u64,
    /// Since when it does not run, at the latest; 0 while it runs.
    pub parked_ns: u64,
    /// `time.Sleep` lets it go on then; 0 if it does not sleep.
    pub deadline_ns: u64,
    /// Of this stop: time that a call was outstanding.
    pub called_ns: u64,
    /// Of this stop: time of `called_ns` that sending again explains.
    pub loss_ns: u64,
    /// Of this stop: time that a reply lay unread.
    pub unread_ns: u64,
    /// Since when calls are outstanding; 0 if none is.
    pub calling_ns: u64,
    /// The process's run time when it stopped, see [`super::Busy`].
    pub busy_ns: u64,
    /// Calls that it made, of which replies are waited for.
    pub calls_sent: u64,
    /// Those of them that were replied to, or given up.
    pub calls_done: u64,
    /// `trackingSeq` that the stop is counted from.
    pub seq: u8,
    /// The reason of the stop if it was seen, else that of the one before.
    pub reason: u8,
    /// Of this stop: samples that found it running all the same.
    pub samples: u16,
    /// 1 if the goroutine was read after it had stopped: `seq` and `reason` are
    /// those of this stop.
    pub is_seen: u8,
    /// Zero.
    pub _pad: [u8; 3],
}

/// How a goroutine stopped.
#[derive(Clone, Copy, Debug)]
pub struct Stop {
    /// See [`Parked::seq`].
    pub seq: u8,
    /// See [`Parked::reason`].
    pub reason: u8,
    /// See [`Parked::is_seen`].
    pub is_seen: u8,
    /// See [`Parked::deadline_ns`].
    pub deadline_ns: u64,
}

/// How a goroutine was found running again.
#[derive(Clone, Copy, Debug)]
pub struct Resume {
    /// Now.
    pub now_ns: u64,
    /// It ran on this thread no earlier than then.
    pub earliest_ns: u64,
    /// The process's run time now.
    pub busy_ns: u64,
    /// Its `trackingSeq`.
    pub seq: u8,
    /// Its wait reason (a `GoWait`): that of its last stop.
    pub reason: u8,
    /// 1 if the thread had been idle until `earliest_ns`: what ran first is
    /// taken to be this goroutine.
    pub was_idle: u8,
    /// 1 if its own body, which it waited for, arrived at `ready_ns`; 2 if the
    /// client had not taken what it sent; 3 if it is a reply to a call of its
    /// own that was sent at `sent_ns`; else 0.
    pub why: u8,
    /// See `why`.
    pub sent_ns: u64,
    /// See `why`.
    pub ready_ns: u64,
}

/// [`Resume::why`]
pub const WHY_RECEIVED: u8 = 1;
/// [`Resume::why`]
pub const WHY_SENT: u8 = 2;
/// [`Resume::why`]
pub const WHY_REPLIED: u8 = 3;

impl Parked {
    /// Nothing known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            parts: RequestParts::new(),
            request_ns: 0,
            booked_ns: 0,
            came_ns: 0,
            parked_ns: 0,
            deadline_ns: 0,
            called_ns: 0,
            loss_ns: 0,
            unread_ns: 0,
            calling_ns: 0,
            busy_ns: 0,
            calls_sent: 0,
            calls_done: 0,
            seq: 0,
            reason: 0,
            samples: 0,
            is_seen: 0,
            _pad: [0; 3],
        }
    }

    /// It stopped, by `now_ns` at the latest.
    #[inline(always)]
    pub fn park(&mut self, now_ns: u64, busy_ns: u64, stop: &Stop) {
        self.parked_ns = now_ns;
        self.booked_ns = now_ns;
        self.busy_ns = busy_ns;
        self.seq = stop.seq;
        self.reason = stop.reason;
        self.is_seen = stop.is_seen;
        self.deadline_ns = stop.deadline_ns;
        self.called_ns = 0;
        self.loss_ns = 0;
        self.unread_ns = 0;
        self.samples = 0;
        self.parts.stops = self.parts.stops.wrapping_add(1);
    }

    /// Whether calls are outstanding.
    #[inline(always)]
    #[must_use]
    pub const fn is_calling(&self) -> bool {
        self.calls_sent > self.calls_done
    }

    /// A call that it made was handed to TCP. `calls_sent` went up before, as
    /// an addition that others on other CPUs do not undo.
    #[inline(always)]
    pub fn call_sent(&mut self, now_ns: u64) {
        if self.calling_ns == 0 {
            self.calling_ns = now_ns;
        }
    }

    /// The first byte of a reply is readable; `loss_ns` of the wait is
    /// explained by data that had to be sent again. `calls_done` went up
    /// before, as above.
    #[inline(always)]
    pub fn call_ready(&mut self, now_ns: u64, loss_ns: u64) {
        let calling_ns = self.calling_ns;
        if self.is_calling() || calling_ns == 0 {
            return;
        }
        self.calling_ns = 0;
        if self.parked_ns == 0 {
            return;
        }
        let from_ns = if calling_ns > self.parked_ns { calling_ns } else { self.parked_ns };
        let waited_ns = now_ns.saturating_sub(from_ns);
        self.called_ns += waited_ns;
        self.loss_ns += if loss_ns < waited_ns { loss_ns } else { waited_ns };
    }

    /// That reply was read.
    #[inline(always)]
    pub fn call_read(&mut self, ready_ns: u64, now_ns: u64) {
        if !self.is_calling() && self.parked_ns != 0 {
            let from_ns = if ready_ns > self.parked_ns { ready_ns } else { self.parked_ns };
            self.unread_ns += now_ns.saturating_sub(from_ns);
        }
    }

    /// It stopped until TCP took more, and something was sent again at
    /// `resent_ns`: see [`super::Line::lost_in_sending`].
    #[inline(always)]
    pub const fn lost_in_sending(&mut self, resent_ns: u64, round_trip_ns: u64, now_ns: u64) {
        if self.parked_ns != 0 && resent_ns > self.parked_ns {
            self.loss_ns = now_ns.saturating_sub(self.parked_ns + round_trip_ns);
        }
    }

    /// It runs again: books the stop, and the run until now.
    #[inline(always)]
    pub fn resume(&mut self, resume: &Resume) {
        let parked_ns = self.parked_ns;
        self.parked_ns = 0;
        self.booked_ns = resume.now_ns;
        if parked_ns == 0 || resume.now_ns < parked_ns {
            return;
        }
        let resumed_ns =
            if resume.earliest_ns > parked_ns { resume.earliest_ns } else { parked_ns };
        let resumed_ns = if resumed_ns < resume.now_ns { resumed_ns } else { resume.now_ns };
        let ran_ns = resume.now_ns - resumed_ns;
        if resume.was_idle != 0 || ran_ns <= TIGHT_NS {
            estimate(&mut self.parts, Part::Cpu, ran_ns);
        } else {
            self.parts.zone_ns += ran_ns;
            self.parts.samples = self.parts.samples.wrapping_add(self.samples);
            self.samples = 0;
        }
        let left_ns = self.book_known(parked_ns, resumed_ns, resume);
        let busy_ns = resume.busy_ns.wrapping_sub(self.busy_ns);
        self.book_rest(left_ns, busy_ns.saturating_sub(ran_ns), resumed_ns, resume);
    }

    /// Books what of the stop has a reason outside of the runtime; gives the
    /// rest.
    #[inline(always)]
    fn book_known(&mut self, parked_ns: u64, resumed_ns: u64, resume: &Resume) -> u64 {
        let mut left_ns = resumed_ns - parked_ns;
        if resume.why != 0 {
            let from_ns = if resume.why == WHY_REPLIED && resume.sent_ns > parked_ns {
                resume.sent_ns
            } else {
                parked_ns
            };
            let to_ns = if resume.why == WHY_SENT || resume.ready_ns > resumed_ns {
                resumed_ns
            } else {
                resume.ready_ns
            };
            let ns = to_ns.saturating_sub(from_ns);
            let ns = if ns < left_ns { ns } else { left_ns };
            left_ns -= ns;
            let lost_ns = if self.loss_ns < ns { self.loss_ns } else { ns };
            let part = match resume.why {
                WHY_RECEIVED => Part::Receive,
                WHY_SENT => Part::Send,
                _ => Part::Downstream,
            };
            add(&mut self.parts, part, ns - lost_ns);
            estimate(&mut self.parts, Part::Loss, lost_ns);
            let unread_ns = resumed_ns.saturating_sub(to_ns);
            let unread_ns = if unread_ns < left_ns { unread_ns } else { left_ns };
            left_ns -= unread_ns;
            add(&mut self.parts, Part::Sched, unread_ns);
            return left_ns;
        }
        let mut called_ns = self.called_ns;
        let calling_ns = self.calling_ns;
        if self.is_calling() && calling_ns != 0 {
            let from_ns = if calling_ns > parked_ns { calling_ns } else { parked_ns };
            called_ns += resumed_ns.saturating_sub(from_ns);
        }
        if called_ns != 0 {
            let called_ns = if called_ns < left_ns { called_ns } else { left_ns };
            left_ns -= called_ns;
            let lost_ns = if self.loss_ns < called_ns { self.loss_ns } else { called_ns };
            add(&mut self.parts, Part::Downstream, called_ns - lost_ns);
            estimate(&mut self.parts, Part::Loss, lost_ns);
        }
        if self.unread_ns != 0 {
            let unread_ns = if self.unread_ns < left_ns { self.unread_ns } else { left_ns };
            left_ns -= unread_ns;
            add(&mut self.parts, Part::Sched, unread_ns);
        }
        left_ns
    }

    /// Books the rest of a stop to its reason. If there may have been more
    /// than one, it may have run in between: for no longer than the process
    /// did, which was `busy_ns`.
    ///
    /// A preemption leaves the reason of the stop before. So does a stop for
    /// the same reason; but who was preempted is ready, and is left waiting
    /// only while the process has no processor free, that is, runs.
    #[inline(always)]
    fn book_rest(&mut self, left_ns: u64, busy_ns: u64, resumed_ns: u64, resume: &Resume) {
        let leaves = resume.seq.wrapping_sub(self.seq);
        let is_one = leaves == 1 - self.is_seen;
        let reason = if self.is_seen != 0 && (is_one || resume.reason == 0) {
            self.reason
        } else if is_one && resume.reason == self.reason && busy_ns > left_ns / 2 {
            GoWait::Preempted as u8
        } else {
            resume.reason
        };
        let mut left_ns = left_ns;
        if !is_one {
            let hidden_ns = if busy_ns < left_ns { busy_ns } else { left_ns };
            self.parts.zone_ns += hidden_ns;
            self.parts.samples = self.parts.samples.wrapping_add(self.samples);
            left_ns -= hidden_ns;
        }
        let is_told = is_one
            && reason != GoWait::Preempted as u8
            && (self.is_seen != 0 || resume.reason != self.reason);
        let mut waited_ns = left_ns;
        if reason == GoWait::Sleep as u8 && self.deadline_ns != 0 && self.deadline_ns < resumed_ns {
            let late_ns = resumed_ns - self.deadline_ns;
            let late_ns = if late_ns < waited_ns { late_ns } else { waited_ns };
            waited_ns -= late_ns;
            add(&mut self.parts, Part::Sched, late_ns);
        }
        let part = GoWait::part(reason);
        if !is_told {
            estimate(&mut self.parts, part, waited_ns);
        } else {
            add(&mut self.parts, part, waited_ns);
        }
        if waited_ns > self.parts.wait_worst_ns {
            self.parts.wait_worst_ns = waited_ns;
            self.parts.wait_reason = reason;
        }
    }
}

impl Default for Parked {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn sent(parked: &mut Parked, now_ns: u64) {
        parked.calls_sent += 1;
        parked.call_sent(now_ns);
    }

    fn ready(parked: &mut Parked, now_ns: u64, loss_ns: u64) {
        parked.calls_done += 1;
        parked.call_ready(now_ns, loss_ns);
    }

    proptest! {
        /// Against a sweep over the moments at which any call is outstanding.
        #[test]
        fn calls_at_once_are_waited_for_once(
            spans in proptest::collection::vec((1u64..500, 1u64..500), 1..8),
            parked_ns in 1u64..500,
        ) {
            let mut events: Vec<(u64, bool)> = Vec::new();
            for (from_ns, length_ns) in &spans {
                events.push((*from_ns, true));
                events.push((from_ns + length_ns, false));
            }
            // What is sent at the same time as another is answered comes first.
            events.sort_by_key(|(at_ns, is_sent)| (*at_ns, !is_sent));
            let mut parked = Parked::new();
            parked.parked_ns = parked_ns;
            for (at_ns, is_sent) in events {
                if is_sent { sent(&mut parked, at_ns) } else { ready(&mut parked, at_ns, 0) }
            }
            let is_waited = |at_ns: &u64| {
                spans.iter().any(|(from_ns, length_ns)| {
                    (*from_ns..from_ns + length_ns).contains(at_ns)
                })
            };
            let union_ns = (parked_ns..1_000).filter(is_waited).count() as u64;
            prop_assert_eq!(parked.called_ns, union_ns);
            prop_assert!(!parked.is_calling());
        }
    }

    #[test]
    fn the_same_reason_again_is_a_preemption_only_of_a_process_that_runs() {
        let stopped = |ran_ns: u64| {
            let mut parked = Parked::new();
            let reason = GoWait::Sleep as u8;
            let stop = Stop { seq: 1, reason, is_seen: 0, deadline_ns: 0 };
            parked.park(1_000_000, 0, &stop);
            parked.resume(&Resume {
                now_ns: 11_000_000,
                earliest_ns: 11_000_000,
                busy_ns: ran_ns,
                seq: 2,
                reason,
                was_idle: 1,
                why: 0,
                sent_ns: 0,
                ready_ns: 0,
            });
            let of = |part: Part| parked.parts.ns[part as usize];
            (of(Part::Wait), of(Part::Sched), parked.parts.estimated)
        };
        assert_eq!(stopped(1_000_000), (10_000_000, 0, Part::Wait.bit()));
        assert_eq!(stopped(9_000_000), (0, 10_000_000, Part::Sched.bit()));
    }

    #[test]
    fn loss_is_no_more_than_what_was_waited() {
        let mut parked = Parked::new();
        parked.parked_ns = 100;
        sent(&mut parked, 50);
        ready(&mut parked, 400, 1_000);
        assert_eq!((parked.called_ns, parked.loss_ns), (300, 300));
    }

    #[test]
    fn a_stop_until_more_was_taken_is_loss_if_something_was_sent_again_in_it() {
        let split = |resent_ns| {
            let mut parked = Parked::new();
            parked.parked_ns = 1_000;
            parked.lost_in_sending(resent_ns, 100, 9_000);
            parked.resume(&Resume {
                now_ns: 9_000,
                earliest_ns: 9_000,
                busy_ns: 0,
                seq: 1,
                reason: 0,
                was_idle: 1,
                why: WHY_SENT,
                sent_ns: 0,
                ready_ns: 0,
            });
            (parked.parts.ns[Part::Send as usize], parked.parts.ns[Part::Loss as usize])
        };
        assert_eq!(split(5_000), (100, 7_900));
        assert_eq!(split(900), (8_000, 0));
    }
}
