//! Points into what each thread did: pure.
//!
//! A point says since when its thread had the CPU; the one at which it leaves
//! also says since when it was ready before that. So each run stands for itself,
//! and what lies between two of them is known from the first one's end.

use std::collections::BTreeMap;

use agent_common::record::point::{OFF_NAP, PointKind};

use super::state::{Call, Line, State, Stretch};
use crate::event::point::Point;
use crate::tap::captured::Window;

/// What a thread did.
#[derive(Debug)]
pub(super) struct Thread {
    /// Its process.
    pub(super) tgid: u32,
    /// Its number.
    pub(super) tid: u32,
    /// All of the window.
    pub(super) stretches: Vec<Stretch>,
    /// System calls that it made, in order.
    pub(super) calls: Vec<Call>,
    /// Its points, in order.
    pub(super) points: Vec<Point>,
}

/// What every thread did of which there is a point, by process and number.
pub(super) fn threads(points: &[Point], window: Window) -> Vec<Thread> {
    let mut by_thread: BTreeMap<(u32, u32), Vec<Point>> = BTreeMap::new();
    for point in points {
        by_thread.entry((point.tgid, point.tid)).or_default().push(*point);
    }
    by_thread
        .into_iter()
        .map(|((tgid, tid), mut points)| {
            // Points of one thread come in order but for what another CPU said.
            points.sort_by_key(|point| point.at_ns);
            let stretches = stretches(&points, window, tid);
            let calls = points
                .iter()
                .filter(|point| point.what == PointKind::Call)
                .map(|point| Call {
                    from_ns: point.since_ns.max(window.from_ns),
                    until_ns: point.at_ns.min(window.until_ns),
                    nr: point.nr,
                })
                .filter(|call| call.from_ns < call.until_ns)
                .collect();
            Thread { tgid, tid, stretches, calls, points }
        })
        .collect()
}

fn stretches(points: &[Point], window: Window, tid: u32) -> Vec<Stretch> {
    let ready = ready_times(points);
    let mut line = Line::new(window);
    // What it was in when it left the CPU last.
    let mut state = State::Unseen;
    let mut is_running = false;
    for (index, (point, ready_ns)) in points.iter().zip(ready).enumerate() {
        let in_ns = match point.in_ns {
            0 => point.at_ns,
            // Of a nap that came before it was looked at nothing is known.
            _ if index == 0 && point.off == OFF_NAP => point.at_ns,
            in_ns => in_ns.min(point.at_ns),
        };
        if !is_running {
            let queued = if state == State::Throttled { state } else { State::RunQueue };
            line.until(ready_ns.min(in_ns), state, tid);
            line.until(in_ns, queued, tid);
        } else if in_ns > line.at_ns() {
            // That it left the CPU since is known, and no more.
            line.until(in_ns, State::Unseen, tid);
        }
        line.until(point.at_ns, State::Running, tid);
        is_running = point.what != PointKind::Left;
        if !is_running {
            state = State::off(point.off, point.nr);
        }
    }
    let missed = window.lost + window.dropped;
    let last = match is_running {
        // It would have said so if it had left since.
        true if missed == 0 => State::Running,
        true => State::Unseen,
        false => state,
    };
    line.end(last, tid)
}

/// Since when the thread was ready before the run of each point: the point at
/// which it left the CPU says so for all of the run.
fn ready_times(points: &[Point]) -> Vec<u64> {
    let mut ready = Vec::with_capacity(points.len());
    let mut run = (0, u64::MAX);
    for point in points.iter().rev() {
        if point.what == PointKind::Left {
            run = (point.in_ns, if point.in_ns == 0 { u64::MAX } else { point.since_ns });
        }
        ready.push(if run.0 == point.in_ns { run.1 } else { u64::MAX });
    }
    ready.reverse();
    ready
}

#[cfg(test)]
mod tests {
    use agent_common::counter::cpu::OffCpu;
    use agent_common::work::Off;
    use proptest::prelude::*;

    use super::super::sample::{call, left, window};
    use super::*;

    const FUTEX: u16 = 202;

    fn told(points: &[Point]) -> Vec<(State, u64)> {
        let threads = threads(points, window(0, 100));
        assert_eq!(threads.len(), 1);
        threads[0].stretches.iter().map(|stretch| (stretch.state, stretch.ns())).collect()
    }

    #[test]
    fn a_thread_runs_waits_is_woken_and_runs() {
        let blocked = State::off(Off::Other as u8, FUTEX);
        let points = [
            left(20, 5, 5, Off::Other as u8, FUTEX),
            // A system call in the next run, which began at 50; ready at 40.
            call(60, 50, 55, 1),
            left(70, 50, 40, OffCpu::Runqueue as u8, FUTEX),
            left(90, 80, 70, Off::Other as u8, FUTEX),
        ];
        let expected = [
            (State::Unseen, 5),
            (State::Running, 15),
            (blocked, 20),
            (State::RunQueue, 10),
            (State::Running, 20),
            (State::RunQueue, 10),
            (State::Running, 10),
            (blocked, 10),
        ];
        assert_eq!(told(&points), expected);
    }

    #[test]
    fn what_began_before_the_window_is_cut_and_what_ends_after_it_too() {
        let points = [
            left(1_020, 900, 890, Off::Other as u8, FUTEX),
            left(1_400, 1_050, 1_040, Off::Other as u8, FUTEX),
        ];
        let threads = threads(&points, window(1_000, 1_100));
        let told: Vec<_> = threads[0].stretches.iter().map(|s| (s.state, s.ns())).collect();
        let blocked = State::off(Off::Other as u8, FUTEX);
        let expected =
            [(State::Running, 20), (blocked, 20), (State::RunQueue, 10), (State::Running, 50)];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_run_whose_end_is_missing_is_not_made_longer() {
        let points = [call(20, 10, 15, 1), left(60, 50, 45, Off::Other as u8, FUTEX)];
        let blocked = State::off(Off::Other as u8, FUTEX);
        let expected = [
            (State::Unseen, 10),
            (State::Running, 10),
            (State::Unseen, 30),
            (State::Running, 10),
            (blocked, 40),
        ];
        assert_eq!(told(&points), expected);
    }

    proptest! {
        #[test]
        fn every_line_fills_its_window_without_a_gap(
            points in super::super::sample::points(),
            (from_ns, ns) in (0u64..500, 1u64..2_000),
        ) {
            for thread in threads(&points, window(from_ns, from_ns + ns)) {
                let mut at_ns = from_ns;
                for stretch in &thread.stretches {
                    prop_assert_eq!(stretch.from_ns, at_ns);
                    prop_assert!(stretch.from_ns < stretch.until_ns);
                    at_ns = stretch.until_ns;
                }
                prop_assert_eq!(at_ns, from_ns + ns);
            }
        }
    }
}
