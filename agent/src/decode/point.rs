//! Points of captured threads.

use agent_common::go::GoWait;
use agent_common::record::point::{PointKind, PointRecord};

use super::field::field;
use crate::event::Malformed;
use crate::event::point::{LeftLast, Point};

/// Reads a record of a point.
pub(super) fn decode(bytes: &[u8]) -> Result<Point, Malformed> {
    if bytes.len() != size_of::<PointRecord>() {
        return Err(Malformed::Length);
    }
    let what = field!(bytes, PointRecord, what: u8);
    let left = field!(bytes, PointRecord, left: u64);
    Ok(Point {
        what: PointKind::from_raw(what).ok_or(Malformed::Value)?,
        service: field!(bytes, PointRecord, service: u16),
        off: field!(bytes, PointRecord, off: u8),
        nr: field!(bytes, PointRecord, nr: u16),
        tgid: field!(bytes, PointRecord, tgid: u32),
        tid: field!(bytes, PointRecord, tid: u32),
        at_ns: field!(bytes, PointRecord, at_ns: u64),
        in_ns: field!(bytes, PointRecord, in_ns: u64),
        since_ns: field!(bytes, PointRecord, since_ns: u64),
        goid: field!(bytes, PointRecord, goid: u64),
        is_go: field!(bytes, PointRecord, is_go: u8) != 0,
        seq: field!(bytes, PointRecord, seq: u8),
        reason: GoWait::from_raw(field!(bytes, PointRecord, reason: u8)),
        left: (left != 0).then(|| LeftLast {
            goid: left,
            seq: field!(bytes, PointRecord, left_seq: u8),
            reason: GoWait::from_raw(field!(bytes, PointRecord, left_reason: u8)),
            is_waiting: field!(bytes, PointRecord, left_is_waiting: u8) != 0,
        }),
    })
}
