//! Points for tests.

use agent_common::go::GoWait;
use agent_common::record::point::{NO_CALL, PointKind};
use proptest::prelude::*;

use crate::event::point::{LeftLast, Point};
use crate::tap::captured::Window;

/// A capture between these times of which nothing is missing.
pub(super) fn window(from_ns: u64, until_ns: u64) -> Window {
    Window { from_ns, until_ns, ..Window::default() }
}

fn point(what: PointKind, at_ns: u64, in_ns: u64, since_ns: u64) -> Point {
    Point {
        what,
        service: 0,
        off: 0,
        nr: NO_CALL,
        tgid: 1,
        tid: 1,
        at_ns,
        in_ns,
        since_ns,
        goid: 0,
        is_go: false,
        seq: 0,
        reason: GoWait::Unknown,
        left: None,
    }
}

/// The thread leaves the CPU, in this system call.
pub(super) fn left(at_ns: u64, in_ns: u64, ready_ns: u64, off: u8, nr: u16) -> Point {
    Point { off, nr, ..point(PointKind::Left, at_ns, in_ns, ready_ns) }
}

/// A system call is over.
pub(super) fn call(at_ns: u64, in_ns: u64, began_ns: u64, nr: u16) -> Point {
    Point { nr, ..point(PointKind::Call, at_ns, in_ns, began_ns) }
}

/// The same, with a goroutine that has slept.
pub(super) fn on(goid: u64, seq: u8, point: Point) -> Point {
    Point { goid, seq, is_go: true, reason: GoWait::Sleep, ..point }
}

/// A Go thread has nothing to run.
pub(super) fn idle(
    at_ns: u64,
    in_ns: u64,
    ready_ns: u64,
    nr: u16,
    last: Option<LeftLast>,
) -> Point {
    let off = agent_common::work::Off::Other as u8;
    Point { is_go: true, left: last, ..left(at_ns, in_ns, ready_ns, off, nr) }
}

/// Any points, in any order, of a few threads and goroutines.
pub(super) fn points() -> impl Strategy<Value = Vec<Point>> {
    let one = (
        (1u8..4, 0u8..16, 0u16..400, 1u32..3),
        (0u64..3_000, 0u64..3_000, 0u64..3_000),
        (0u64..4, any::<bool>(), 0u8..3, 0u8..15),
        proptest::option::of((1u64..4, 0u8..3, 0u8..15, any::<bool>())),
    );
    let one = one.prop_map(|((what, off, nr, tid), times, (goid, is_go, seq, reason), last)| {
        let what = PointKind::from_raw(what).unwrap_or(PointKind::Left);
        Point {
            off,
            nr,
            tid,
            goid,
            is_go,
            seq,
            reason: GoWait::from_raw(reason),
            left: last.map(|(goid, seq, reason, is_waiting)| LeftLast {
                goid,
                seq,
                reason: GoWait::from_raw(reason),
                is_waiting,
            }),
            ..point(what, times.0, times.1, times.2)
        }
    });
    proptest::collection::vec(one, 0..60)
}
