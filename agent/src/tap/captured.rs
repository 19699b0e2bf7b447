//! Points of a capture as they cross the socket: the types of both ends.
//!
//! Separate from requests because there are many more of them: a point is a row
//! of numbers, some hundred bytes of JSON, and rows come together.

use agent_common::go::GoWait;
use agent_common::record::point::PointKind;
use serde::{Deserialize, Serialize};

use crate::event::point::{LeftLast, Point};

/// Shortest and longest capture, nanoseconds.
pub const CAPTURE_NS: (u64, u64) = (100_000_000, 60_000_000_000);
/// Bytes of lines of points that one capture may make; it ends there.
pub const MAX_CAPTURE_BYTES: u64 = 64 << 20;

/// A point as a row of numbers: what it is, process, thread, when, how long
/// before that its thread got the CPU (0: unknown), how long before became ready
/// or began its call, goroutine, the goroutine that left, and what is known of
/// the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Row([u64; 9]);

/// A process that is captured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Process {
    /// Its number where the agent runs.
    pub pid: u32,
    /// Identity label.
    pub namespace: String,
    /// Identity label.
    pub pod: String,
    /// Identity label.
    pub container: String,
    /// Identity label.
    pub workload: String,
}

/// What was captured. Times are `CLOCK_MONOTONIC` nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Window {
    /// It began.
    pub from_ns: u64,
    /// It ended.
    pub until_ns: u64,
    /// Points that were sent.
    pub points: u64,
    /// Points that the kernel could not hand over.
    pub lost: u64,
    /// Points that the agent discarded, because it or who captures was too slow.
    pub dropped: u64,
    /// It ended early, at its bound in bytes.
    pub is_full: bool,
}

impl From<&Point> for Row {
    fn from(point: &Point) -> Self {
        let before = |ns: u64| if ns == 0 { 0 } else { point.at_ns.saturating_sub(ns).max(1) };
        let head = point.what as u64 | u64::from(point.off) << 8 | u64::from(point.nr) << 16;
        let known = u64::from(point.seq)
            | (point.reason as u64) << 8
            | u64::from(point.is_go) << 16
            | point.left.map_or(0, |left| {
                u64::from(left.seq) << 24
                    | (left.reason as u64) << 32
                    | u64::from(left.is_waiting) << 40
            });
        Self([
            head,
            u64::from(point.tgid),
            u64::from(point.tid),
            point.at_ns,
            before(point.in_ns),
            before(point.since_ns),
            point.goid,
            point.left.map_or(0, |left| left.goid),
            known,
        ])
    }
}

impl Row {
    /// The point; `None` if it is of a kind that only a newer agent knows. Its
    /// service is not sent, and 0.
    #[must_use]
    pub fn point(&self) -> Option<Point> {
        let [head, tgid, tid, at_ns, ran_ns, since_ns, goid, left, known] = self.0;
        let [what, off, nr_low, nr_high, ..] = head.to_le_bytes();
        let [seq, reason, is_go, left_seq, left_reason, left_is_waiting, ..] = known.to_le_bytes();
        let before = |ns: u64| if ns == 0 { 0 } else { at_ns.saturating_sub(ns) };
        Some(Point {
            what: PointKind::from_raw(what)?,
            service: 0,
            off,
            nr: u16::from_le_bytes([nr_low, nr_high]),
            tgid: u32::try_from(tgid).ok()?,
            tid: u32::try_from(tid).ok()?,
            at_ns,
            in_ns: before(ran_ns),
            since_ns: before(since_ns),
            goid,
            is_go: is_go != 0,
            seq,
            reason: GoWait::from_raw(reason),
            left: (left != 0).then(|| LeftLast {
                goid: left,
                seq: left_seq,
                reason: GoWait::from_raw(left_reason),
                is_waiting: left_is_waiting != 0,
            }),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_point_survives_the_way(
            (what, off, nr, seq) in (1u8..4, any::<u8>(), any::<u16>(), any::<u8>()),
            ids in any::<(u32, u32, u64)>(),
            (at_ns, ran_ns, since_ns) in (1u64 << 40..1 << 50, 1u64..1 << 35, 1u64..1 << 36),
            left in proptest::option::of((1u64.., any::<u8>(), 0u8..15, any::<bool>())),
        ) {
            let point = Point {
                what: PointKind::from_raw(what).unwrap(),
                service: 0,
                off,
                nr,
                tgid: ids.0,
                tid: ids.1,
                at_ns,
                in_ns: at_ns - ran_ns,
                since_ns: at_ns - since_ns,
                goid: ids.2,
                is_go: seq & 1 != 0,
                seq,
                reason: GoWait::Sleep,
                left: left.map(|(goid, seq, reason, is_waiting)| LeftLast {
                    goid, seq, reason: GoWait::from_raw(reason), is_waiting,
                }),
            };
            let json = serde_json::to_vec(&Row::from(&point)).unwrap();
            let back: Row = serde_json::from_slice(&json).unwrap();
            prop_assert_eq!(back.point(), Some(point));
        }

        #[test]
        fn hostile_rows_do_no_harm(numbers in any::<[u64; 9]>()) {
            let _ = Row(numbers).point();
        }
    }
}
