//! What the tcp lane takes from a connection, and when: apart from requests,
//! since connections that the process opened have none.

use super::Conn;

/// A connection is looked at no more often than this, nanoseconds. A round
/// trip on loopback takes less than a request, so that the rule of one sample
/// a round trip would be none there; a thousand samples a second tell as much.
pub const SAMPLE_NS: u64 = 1_000_000;

/// Segments that must have been delivered before the smoothed round-trip time
/// is worth a sample. Each acknowledgement gives one measurement; the mean
/// deviation begins at half the first one and needs about eight to forget it.
pub const MIN_DELIVERED: u32 = 8;

/// The longest accept wait that is believed of a connection that was accepted
/// before its first data came, nanoseconds: see [`Conn::accept_wait`].
pub const ACCEPT_ESTIMATE_NS: u64 = 10_000_000;

/// Stands for an accept wait that cannot be told.
pub const NO_WAIT: u64 = u64::MAX;

/// How long data waited until it fitted into the peer's window, by the socket's
/// own clock: what `ss -ti` prints as `rwnd_limited`. In ticks of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowWait {
    /// All such time, the wait that goes on included.
    pub ticks: u32,
    /// That of the wait that goes on; 0 if none does.
    pub current: u32,
    /// When the one that goes on began.
    pub began: u32,
    /// Whether one goes on and the window is zero. (A window that is small, or
    /// far away, is waited for as well, in between segments that arrive.)
    pub is_zero: bool,
}

/// What a look found of waits for a window of zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stall {
    /// Whether it found one that was not known.
    pub is_new: bool,
    /// How far they came since the last look, ticks.
    pub ticks: u32,
}

impl Conn {
    /// Data segments sent since this was asked last, from the socket's count.
    #[inline(always)]
    pub fn take_segments(&mut self, count: u32) -> u32 {
        let new = grown(count, self.segments_counted);
        self.segments_counted = self.segments_counted.wrapping_add(new);
        new
    }

    /// Segments sent again since this was asked last, from the socket's count.
    #[inline(always)]
    pub fn take_retransmits(&mut self, count: u32) -> u32 {
        let new = grown(count, self.retransmits_counted);
        self.retransmits_counted = self.retransmits_counted.wrapping_add(new);
        new
    }

    /// Segments that came out of order since this was asked last, from the
    /// socket's count.
    #[inline(always)]
    pub fn take_out_of_order(&mut self, count: u32) -> u32 {
        let new = grown(count, self.out_of_order_counted);
        self.out_of_order_counted = self.out_of_order_counted.wrapping_add(new);
        new
    }

    /// Stalls, and the time they took, since this was asked last.
    ///
    /// The socket has one clock for every wait for the window. Its time is a
    /// stall's where the window is zero at this look, as far as that wait
    /// reaches back, or was zero at the last. So a stall that ends before any
    /// look comes is not seen, and one that was seen has all of its time.
    #[inline(always)]
    pub fn take_stall(&mut self, wait: &WindowWait) -> Stall {
        let new = grown(wait.ticks, self.window_ticks);
        self.window_ticks = self.window_ticks.wrapping_add(new);
        let before = self.stall;
        // 0 stands for none.
        let began = if wait.began == 0 { 1 } else { wait.began };
        self.stall = if wait.is_zero { began } else { 0 };
        let is_new = wait.is_zero && began != before;
        let ticks = if before != 0 {
            new
        } else if is_new && new > wait.current {
            wait.current
        } else if is_new {
            new
        } else {
            0
        };
        Stall { is_new, ticks }
    }

    /// Whether [`SAMPLE_NS`] have passed since the last look.
    #[inline(always)]
    #[must_use]
    pub const fn may_sample(&self, now_ns: u64) -> bool {
        self.sampled_ns == 0 || now_ns >= self.sampled_ns + SAMPLE_NS
    }

    /// Whether a round trip has passed since the last look as well.
    #[inline(always)]
    #[must_use]
    pub const fn is_sample_due(&self, now_ns: u64, srtt_us: u32) -> bool {
        self.may_sample(now_ns)
            && (self.sampled_ns == 0 || now_ns >= self.sampled_ns + srtt_us as u64 * 1_000)
    }

    /// Whether the round-trip time says anything, and anything new: enough
    /// segments were delivered, and some since the last sample. (An idle
    /// connection would else repeat its last value for ever.)
    #[inline(always)]
    pub const fn take_round_trip(&mut self, delivered: u32, srtt_us: u32) -> bool {
        if srtt_us == 0 || delivered < MIN_DELIVERED || delivered == self.delivered_sampled {
            return false;
        }
        self.delivered_sampled = delivered;
        true
    }

    /// Time from established to accepted, or [`NO_WAIT`].
    ///
    /// Exact with `accepted_ns`, the time of the accept call's exit. A time
    /// before the connection belongs to an older socket at the same address,
    /// 0 is none. Without it, estimated at the first read or write, `io_ns` (0
    /// if there was none yet):
    /// - not accepted when its first data came, or no data came yet: until the
    ///   first read or write, which servers make at once;
    /// - accepted before its first data came: the read may have blocked for as
    ///   long as the client was silent, so the first data is the bound. If that
    ///   came after more than [`ACCEPT_ESTIMATE_NS`] nothing can be said, and
    ///   no request waited for the accept.
    #[inline(always)]
    #[must_use]
    pub const fn accept_wait(&self, accepted_ns: u64, io_ns: u64) -> u64 {
        if self.opened_ns == 0 {
            return NO_WAIT;
        }
        if accepted_ns >= self.opened_ns {
            return accepted_ns - self.opened_ns;
        }
        if io_ns < self.opened_ns {
            return NO_WAIT;
        }
        let until_io_ns = io_ns - self.opened_ns;
        if self.is_accepted_at_ready == 0 || self.ready_ns < self.opened_ns {
            return until_io_ns;
        }
        let until_data_ns = self.ready_ns - self.opened_ns;
        let bound_ns = if until_data_ns < until_io_ns { until_data_ns } else { until_io_ns };
        if bound_ns > ACCEPT_ESTIMATE_NS { NO_WAIT } else { bound_ns }
    }
}

/// How far a 32-bit count that wraps has come since `counted`; 0 if it was read
/// before another reader counted further.
#[inline(always)]
const fn grown(count: u32, counted: u32) -> u32 {
    let new = count.wrapping_sub(counted);
    if new > u32::MAX / 2 { 0 } else { new }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::{ROLE_CLIENT, ROLE_SERVER};
    use proptest::prelude::*;

    fn accepted_at(opened_ns: u64) -> Conn {
        Conn { opened_ns, ..Conn::new(1, ROLE_SERVER) }
    }

    #[test]
    fn counts_go_on_over_the_wrap() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        conn.segments_counted = u32::MAX - 1;
        assert_eq!(conn.take_segments(3), 5);
        assert_eq!(conn.take_segments(3), 0);
    }

    #[test]
    fn a_reader_that_comes_second_takes_nothing_back() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        assert_eq!(conn.take_retransmits(12), 12);
        assert_eq!(conn.take_retransmits(10), 0);
        assert_eq!(conn.take_retransmits(13), 1);
    }

    /// A wait that began at `began`, seen at `now`, after `earlier` ticks of others.
    fn waits(earlier: u32, began: u32, now: u32, is_zero: bool) -> WindowWait {
        let current = now.wrapping_sub(began);
        WindowWait { ticks: earlier.wrapping_add(current), current, began, is_zero }
    }

    fn over(ticks: u32) -> WindowWait {
        WindowWait { ticks, ..WindowWait::default() }
    }

    #[test]
    fn a_stall_is_counted_once_and_has_all_of_its_time() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        // 40 ticks before it waited for a window that was small.
        let first = conn.take_stall(&waits(40, 1_000, 1_030, true));
        assert_eq!(first, Stall { is_new: true, ticks: 30 });
        let second = conn.take_stall(&waits(40, 1_000, 1_280, true));
        assert_eq!(second, Stall { is_new: false, ticks: 250 });
        assert_eq!(conn.take_stall(&over(340)), Stall { is_new: false, ticks: 20 });
        assert_eq!(conn.take_stall(&over(400)), Stall::default(), "a wait for a small window");
    }

    #[test]
    fn the_next_stall_is_another_though_no_look_came_between() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        assert!(conn.take_stall(&waits(0, 1_000, 1_010, true)).is_new);
        let next = conn.take_stall(&waits(50, 1_200, 1_230, true));
        assert_eq!(next, Stall { is_new: true, ticks: 70 });
        // The ticks of the kernel wrap, and one that begins at 0 is one too.
        assert!(conn.take_stall(&waits(80, 0, 5, true)).is_new);
    }

    #[test]
    fn a_window_that_is_not_zero_stalls_nobody() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        for now in (1_000..2_000).step_by(50) {
            assert_eq!(conn.take_stall(&waits(7, 900, now, false)), Stall::default());
        }
        // It got full only now: what was waited before stays out.
        let stall = conn.take_stall(&waits(7, 900, 2_050, true));
        assert_eq!(stall, Stall { is_new: true, ticks: 100 });
    }

    #[test]
    fn a_socket_that_is_cut_off_in_a_stall_takes_nothing_back() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        conn.take_stall(&waits(0, 1_000, 1_500, true));
        // The kernel does not add a wait that it cut off.
        assert_eq!(conn.take_stall(&over(0)), Stall::default());
    }

    #[test]
    fn at_most_one_sample_a_round_trip_and_a_millisecond() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        assert!(conn.is_sample_due(5, 30_000), "the first look is never too early");
        conn.sampled_ns = 1_000_000_000;
        assert!(!conn.is_sample_due(1_029_999_999, 30_000));
        assert!(conn.is_sample_due(1_030_000_000, 30_000));
        assert!(!conn.is_sample_due(1_000_999_999, 20));
        assert!(conn.is_sample_due(1_001_000_000, 20));
    }

    #[test]
    fn no_round_trip_sample_before_eight_segments_or_twice_of_the_same() {
        let mut conn = Conn::new(1, ROLE_CLIENT);
        assert!(!conn.take_round_trip(7, 100));
        assert!(!conn.take_round_trip(8, 0));
        assert!(conn.take_round_trip(8, 100));
        assert!(!conn.take_round_trip(8, 100));
        assert!(conn.take_round_trip(9, 100));
    }

    #[test]
    fn the_accept_call_says_the_wait_exactly() {
        assert_eq!(accepted_at(1_000).accept_wait(1_500, 9_000), 500);
        assert_eq!(accepted_at(1_000).accept_wait(1_500, 0), 500);
    }

    #[test]
    fn the_accept_of_an_older_socket_at_the_address_is_not_taken() {
        assert_eq!(accepted_at(1_000).accept_wait(999, 3_000), 2_000);
        assert_eq!(accepted_at(1_000).accept_wait(999, 0), NO_WAIT);
    }

    #[test]
    fn data_that_waits_for_the_accept_does_not_shorten_the_wait() {
        let mut conn = accepted_at(1_000);
        conn.ready_ns = 1_100;
        assert_eq!(conn.accept_wait(0, 1_000_001_000), 1_000_000_000);
    }

    #[test]
    fn a_silent_client_of_an_accepted_connection_is_no_accept_wait() {
        let mut conn = accepted_at(1_000);
        conn.is_accepted_at_ready = 1;
        conn.ready_ns = 51_000;
        assert_eq!(conn.accept_wait(0, 90_000), 50_000);
        conn.ready_ns = 10_000_000_000;
        assert_eq!(conn.accept_wait(0, 10_000_050_000), NO_WAIT);
    }

    #[test]
    fn a_connection_from_before_the_agent_has_no_wait() {
        assert_eq!(Conn::new(1, ROLE_SERVER).accept_wait(5, 6), NO_WAIT);
    }

    proptest! {
        #[test]
        fn all_that_is_sent_is_counted_once(
            start in any::<u32>(),
            steps in proptest::collection::vec(0u32..1_000_000, 0..50),
        ) {
            let mut conn = Conn::new(1, ROLE_CLIENT);
            conn.segments_counted = start;
            let mut count = start;
            let mut taken = 0u64;
            for step in &steps {
                count = count.wrapping_add(*step);
                taken += u64::from(conn.take_segments(count));
            }
            prop_assert_eq!(taken, steps.iter().map(|step| u64::from(*step)).sum::<u64>());
        }

        #[test]
        fn stalls_take_no_more_than_all_waits_for_the_window(
            looks in proptest::collection::vec((0u32..200, 0u32..200, any::<bool>()), 0..50),
        ) {
            let mut conn = Conn::new(1, ROLE_CLIENT);
            let (mut now, mut earlier, mut taken) = (5u32, 0u32, 0u64);
            for (idle, wait, is_zero) in looks {
                now += idle;
                let seen = waits(earlier, now, now + wait, is_zero);
                taken += u64::from(conn.take_stall(&seen).ticks);
                now += wait;
                earlier += wait;
                prop_assert!(taken <= u64::from(earlier));
            }
        }

        #[test]
        fn an_estimate_never_exceeds_the_time_until_the_first_io(
            ready_ns in 0u64..1 << 40,
            io_ns in 1_000u64..1 << 40,
            is_accepted_at_ready in 0u8..2,
        ) {
            let mut conn = accepted_at(1_000);
            conn.ready_ns = ready_ns;
            conn.is_accepted_at_ready = is_accepted_at_ready;
            let wait_ns = conn.accept_wait(0, io_ns);
            prop_assert!(wait_ns == NO_WAIT || wait_ns <= io_ns - 1_000);
        }
    }
}
