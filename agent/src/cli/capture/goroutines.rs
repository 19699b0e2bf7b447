//! Threads into what each goroutine did: pure.
//!
//! At some moments it is known which goroutine a thread has: as it leaves the
//! CPU, at the end of a system call, at a read or a write. Between two moments
//! that name the same goroutine, and did not see it stop, the thread's time is
//! its own. Where the goroutine changed in between, the change lies somewhere
//! between them: where they are close that is near enough, else the time in
//! between is `unseen`, for either. A thread that goes idle names the goroutine
//! that it ran last, and why that one stopped.

use std::collections::BTreeMap;

use agent_common::go::GoWait;
use agent_common::record::point::PointKind;
use agent_common::work::TIGHT_NS;

use super::state::{Call, Line, State, Stretch, within};
use super::threads::Thread;
use crate::event::point::{LeftLast, Point};
use crate::tap::captured::Window;

/// What a goroutine did.
#[derive(Debug, Default)]
pub(super) struct Goroutine {
    /// All of the window.
    pub(super) stretches: Vec<Stretch>,
    /// System calls that it made, in order.
    pub(super) calls: Vec<Call>,
}

/// What is known of a goroutine, from all threads.
#[derive(Debug, Default)]
struct Known {
    pieces: Vec<Piece>,
    parks: Vec<Park>,
    calls: Vec<Call>,
}

/// A while in which it had a thread, or may have had it.
#[derive(Clone, Copy, Debug)]
struct Piece {
    from_ns: u64,
    until_ns: u64,
    /// The thread, by its place; `None` if only that it may have had one.
    thread: Option<usize>,
    /// Its count and its last wait at the end of the piece, and at the first
    /// moment that it was seen in it.
    seen: (u8, GoWait),
}

/// It was found to have left a thread that went idle.
#[derive(Clone, Copy, Debug)]
struct Park {
    at_ns: u64,
    left: LeftLast,
}

/// Who has a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Unknown,
    Nobody,
    /// Its id, its count and its last wait as it was seen last.
    Goroutine(u64, u8, GoWait),
}

/// What every goroutine did of which a point tells, by process and id.
pub(super) fn goroutines(threads: &[Thread], window: Window) -> BTreeMap<(u32, u64), Goroutine> {
    let mut known: BTreeMap<(u32, u64), Known> = BTreeMap::new();
    for (index, thread) in threads.iter().enumerate() {
        if thread.points.iter().any(|point| point.is_go) {
            follow(index, thread, &mut known);
        }
    }
    known
        .into_iter()
        .map(|(id, known)| (id, lay(known, threads, window)))
        .filter(|(_, goroutine)| {
            goroutine.stretches.iter().any(|stretch| stretch.state != State::Unseen)
        })
        .collect()
}

/// Takes from a thread what it says of goroutines.
fn follow(index: usize, thread: &Thread, known: &mut BTreeMap<(u32, u64), Known>) {
    let tgid = thread.tgid;
    let mut owner = Owner::Unknown;
    // Up to when the thread's time is given away.
    let mut at_ns = 0;
    // What was found as the thread went idle the last time.
    let mut idle = None;
    for point in &thread.points {
        if matches!(owner, Owner::Nobody | Owner::Unknown) {
            // Nobody had it while it was idle.
            let in_ns = if point.in_ns == 0 { point.at_ns } else { point.in_ns };
            at_ns = at_ns.max(in_ns.min(point.at_ns));
        }
        let is_tight = point.at_ns.saturating_sub(at_ns) <= TIGHT_NS;
        let mut give = |goid: u64, thread: Option<usize>, seen: (u8, GoWait)| {
            let piece = Piece { from_ns: at_ns, until_ns: point.at_ns, thread, seen };
            known.entry((tgid, goid)).or_default().pieces.push(piece);
        };
        if point.goid != 0 {
            let seen = (point.seq, point.reason);
            match owner {
                Owner::Goroutine(before, seq, reason) if before == point.goid => {
                    // If it stopped and no reason was written for that, it only
                    // lost its thread.
                    let is_whole = seq == point.seq || reason == point.reason || is_tight;
                    give(point.goid, is_whole.then_some(index), seen);
                }
                Owner::Goroutine(before, seq, _) => {
                    give(before, is_tight.then_some(index), (seq, GoWait::Unknown));
                    // From when on is not known: it is seen now.
                    if is_tight {
                        at_ns = point.at_ns;
                    }
                    give_now(known, (tgid, point.goid), (at_ns, point), index, is_tight);
                }
                Owner::Nobody => give(point.goid, Some(index), seen),
                Owner::Unknown => give(point.goid, is_tight.then_some(index), seen),
            }
            owner = Owner::Goroutine(point.goid, point.seq, point.reason);
        } else if is_idle(point) {
            let fresh = point.left.filter(|left| idle != Some((left.goid, left.seq)));
            match (owner, fresh) {
                (Owner::Goroutine(before, ..), Some(left)) if before == left.goid => {
                    give(before, Some(index), (left.seq, left.reason));
                }
                (Owner::Goroutine(before, seq, _), _) => {
                    give(before, is_tight.then_some(index), (seq, GoWait::Unknown));
                }
                (Owner::Nobody, Some(left)) => {
                    give(left.goid, Some(index), (left.seq, left.reason))
                }
                (Owner::Nobody | Owner::Unknown, _) => {}
            }
            if let Some(left) = fresh {
                let park = Park { at_ns: point.at_ns, left };
                known.entry((tgid, left.goid)).or_default().parks.push(park);
                idle = Some((left.goid, left.seq));
            }
            owner = Owner::Nobody;
        } else {
            // The runtime's work, for whoever has the thread.
            continue;
        }
        at_ns = point.at_ns;
        if point.what == PointKind::Call && point.goid != 0 {
            let call = Call { from_ns: point.since_ns, until_ns: point.at_ns, nr: point.nr };
            known.entry((tgid, point.goid)).or_default().calls.push(call);
        }
    }
}

/// A goroutine that was seen on the thread of another's: it has it now, and may
/// have had it since `from_ns`.
fn give_now(
    known: &mut BTreeMap<(u32, u64), Known>,
    id: (u32, u64),
    (from_ns, point): (u64, &Point),
    index: usize,
    is_tight: bool,
) {
    let thread = is_tight.then_some(index);
    let seen = (point.seq, point.reason);
    let piece = Piece { from_ns, until_ns: point.at_ns, thread, seen };
    known.entry(id).or_default().pieces.push(piece);
}

/// Whether the thread leaves the CPU in its scheduler, with nothing to run.
const fn is_idle(point: &Point) -> bool {
    matches!(point.what, PointKind::Left)
        && matches!(State::off(point.off, point.nr), State::Blocked { .. })
}

/// Lays a goroutine's pieces one after the other, and says what lies between.
fn lay(mut known: Known, threads: &[Thread], window: Window) -> Goroutine {
    known.pieces.sort_by_key(|piece| (piece.from_ns, piece.until_ns));
    known.parks.sort_by_key(|park| park.at_ns);
    let mut line = Line::new(window);
    let mut last: Option<Piece> = None;
    for piece in &known.pieces {
        if piece.until_ns < line.at_ns() && last.is_some() {
            continue;
        }
        line.until(piece.from_ns, between(last, Some(piece), &known.parks), 0);
        match piece.thread.and_then(|index| threads.get(index)) {
            Some(thread) => {
                for stretch in within(&thread.stretches, line.at_ns(), piece.until_ns) {
                    line.until(stretch.until_ns, stretch.state, thread.tid);
                }
            }
            None => line.until(piece.until_ns, State::Unseen, 0),
        }
        last = Some(*piece);
    }
    known.calls.sort_by_key(|call| call.from_ns);
    Goroutine { stretches: line.end(between(last, None, &known.parks), 0), calls: known.calls }
}

/// What a goroutine did between two pieces, or after the last one.
fn between(last: Option<Piece>, next: Option<&Piece>, parks: &[Park]) -> State {
    let Some(last) = last else { return State::Unseen };
    let first = parks.partition_point(|park| park.at_ns < last.until_ns);
    let until_ns = next.map_or(u64::MAX, |next| next.from_ns);
    let park = parks.get(first).filter(|park| park.at_ns <= until_ns);
    match (park, next) {
        (Some(Park { left, .. }), _) if left.is_waiting => State::Waiting(left.reason),
        // It is ready, or has ended: then it never comes again.
        (Some(_), Some(_)) => State::Ready,
        // The reason that it came back with is the one of the wait, if it has
        // stopped since.
        (None, Some(Piece { seen: (seq, reason), .. })) if *seq != last.seen.0 => match reason {
            GoWait::Unknown => State::Unseen,
            reason => State::Waiting(*reason),
        },
        (None, Some(_)) => State::Ready,
        (_, None) => State::Unseen,
    }
}

#[cfg(test)]
mod tests {
    use agent_common::counter::cpu::OffCpu;
    use proptest::prelude::*;

    use super::super::sample::{call, idle, left, on, points, window};
    use super::super::threads::threads;
    use super::*;

    const EPOLL: u16 = 281;

    fn told(points: &[Point], until_ns: u64, goid: u64) -> Vec<(&'static str, u64)> {
        let window = window(0, until_ns);
        let threads = threads(points, window);
        let found = goroutines(&threads, window);
        let goroutine = found.iter().find(|((_, id), _)| *id == goid).unwrap().1;
        goroutine.stretches.iter().map(|stretch| (stretch.state.name(), stretch.ns())).collect()
    }

    fn parked(goid: u64, seq: u8, reason: GoWait) -> LeftLast {
        LeftLast { goid, seq, reason, is_waiting: true }
    }

    #[test]
    fn a_handler_that_sleeps_and_computes_is_seen_to() {
        const MS: u64 = 1_000_000;
        let points = [
            idle(MS, 0, 0, EPOLL, None),
            // Woken by data: reads, sleeps.
            on(7, 1, call(10 * MS + 20_000, 10 * MS, 10 * MS + 10_000, 0)),
            idle(10 * MS + 50_000, 10 * MS, 10 * MS, EPOLL, Some(parked(7, 2, GoWait::Sleep))),
            // Computes for 5 ms, and is preempted once.
            on(7, 3, left(33 * MS, 30 * MS + 50_000, 30 * MS + 50_000, OffCpu::Runqueue as u8, 1)),
            on(7, 3, call(36 * MS, 34 * MS, 36 * MS - 9_000, 1)),
            idle(36 * MS + 20_000, 34 * MS, 33 * MS, EPOLL, Some(parked(7, 4, GoWait::IoWait))),
        ];
        let expected = [
            ("unseen", 10 * MS),
            ("running", 50_000),
            ("sleep", 20 * MS),
            ("running", 2 * MS + 950_000),
            ("run queue", MS),
            ("running", 2 * MS + 20_000),
            ("IO wait", 14 * MS - 20_000),
        ];
        assert_eq!(told(&points, 50 * MS, 7), expected);
    }

    #[test]
    fn a_change_between_distant_moments_is_unseen_for_both() {
        const MS: u64 = 1_000_000;
        let points = [
            on(7, 1, call(10 * MS, MS, 9 * MS, 0)),
            on(8, 5, call(12 * MS, MS, 11 * MS, 0)),
            on(8, 5, call(13 * MS, MS, 12 * MS, 0)),
            idle(13 * MS + 10, MS, MS, EPOLL, Some(parked(8, 6, GoWait::Select))),
        ];
        let window = window(0, 20 * MS);
        let found = goroutines(&threads(&points, window), window);
        assert!(found.keys().all(|(_, id)| *id == 8), "of the first nothing is known: {found:?}");
        let expected = [("unseen", 12 * MS), ("running", MS + 10), ("select", 7 * MS - 10)];
        assert_eq!(told(&points, 20 * MS, 8), expected);
    }

    #[test]
    fn a_goroutine_that_moves_waits_for_the_reason_that_it_comes_with() {
        const MS: u64 = 1_000_000;
        let elsewhere = |point: Point| Point { tid: 2, ..point };
        let points = [
            idle(MS, 0, 0, EPOLL, None),
            on(7, 1, call(2 * MS, 2 * MS - 50_000, 2 * MS - 20_000, 0)),
            // The thread has another one soon.
            on(9, 1, call(2 * MS + 50_000, 2 * MS - 50_000, 2 * MS + 20_000, 0)),
            elsewhere(idle(MS, 0, 0, EPOLL, None)),
            elsewhere(on(7, 2, call(8 * MS + 9_000, 8 * MS, 8 * MS + 1_000, 1))),
        ];
        let told = told(&points, 8 * MS + 9_000, 7);
        assert_eq!(
            told[1..],
            [("running", 100_000), ("sleep", 6 * MS - 50_000), ("running", 9_000)]
        );
    }

    proptest! {
        #[test]
        fn every_line_fills_its_window_without_a_gap(
            points in points(),
            (from_ns, ns) in (0u64..500, 1u64..2_000),
        ) {
            let window = window(from_ns, from_ns + ns);
            let threads = threads(&points, window);
            for goroutine in goroutines(&threads, window).values() {
                let mut at_ns = from_ns;
                for stretch in &goroutine.stretches {
                    prop_assert_eq!(stretch.from_ns, at_ns);
                    prop_assert!(stretch.from_ns < stretch.until_ns);
                    at_ns = stretch.until_ns;
                }
                prop_assert_eq!(at_ns, from_ns + ns);
            }
        }
    }
}
