//! What a listener captures: points of threads, for a time.
//!
//! Separate from requests, which every listener hears of: points are many, there
//! for one listener at a time, and end by themselves whatever that one does.

use std::collections::HashSet;

use super::captured::{CAPTURE_NS, MAX_CAPTURE_BYTES, Process, Row, Window};
use super::filter::Fit;
use super::listener::{Listener, MAX_QUEUED_BYTES};
use super::traced::Notice;
use crate::attribution::services::Service;
use crate::event::point::Point;

/// Threads say for so much longer than was asked for what they do: what a thread
/// did by then is known as it leaves the CPU.
const GRACE_NS: u64 = 150_000_000;
/// From then until all that they said has come here: longer than the reader
/// sleeps.
const DRAIN_NS: u64 = 250_000_000;
/// Rows that are sent as one line.
const ROWS: usize = 256;
/// Bytes of points that wait for who captures: what is left is for requests.
const MAX_WAITING_BYTES: usize = MAX_QUEUED_BYTES / 2;
/// Processes whose names are told.
const MAX_PROCESSES: usize = 1_024;

/// Points that never came here, in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// The kernel could not hand them over.
    pub lost: u64,
    /// The agent's queue was half full.
    pub dropped: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Capture {
    window: Window,
    /// `Unseen` as it began.
    before: Unseen,
    rows: Vec<Row>,
    told: HashSet<u32>,
    bytes: u64,
}

impl Listener {
    /// Captures from now on.
    pub(super) fn capture(&mut self, time_ns: u64, now_ns: u64, before: Unseen) {
        let until_ns = now_ns + time_ns.clamp(CAPTURE_NS.0, CAPTURE_NS.1);
        let window = Window { from_ns: now_ns, until_ns, ..Window::default() };
        self.capture = Some(Box::new(Capture {
            window,
            before,
            rows: Vec::new(),
            told: HashSet::new(),
            bytes: 0,
        }));
    }

    /// Whether it captures, or ends to.
    pub(super) const fn has_capture(&self) -> bool {
        self.capture.is_some()
    }

    /// Whether threads are to say what they do.
    pub(super) fn is_capturing(&self, now_ns: u64) -> bool {
        self.capture.as_ref().is_some_and(|capture| now_ns < capture.window.until_ns + GRACE_NS)
    }

    /// Whether a service is meant, or one of its processes is.
    pub(super) fn means(&mut self, index: u16, service: &Service) -> bool {
        self.fit(index, Some(service)) != Fit::No
    }

    /// A point came.
    pub(super) fn point(&mut self, point: &Point, service: Option<&Service>) {
        if self.capture.is_none() || !self.means_process(point, service) {
            return;
        }
        let has_room = self.waiting_bytes() < MAX_WAITING_BYTES;
        let Some(capture) = &mut self.capture else { return };
        if capture.bytes >= MAX_CAPTURE_BYTES && !capture.window.is_full {
            capture.window.is_full = true;
            capture.window.until_ns = capture.window.until_ns.min(point.at_ns);
        }
        if capture.window.is_full || !has_room {
            // After the end of the window they are not missed.
            capture.window.dropped += u64::from(point.at_ns < capture.window.until_ns);
            return;
        }
        capture.window.points += 1;
        capture.rows.push(Row::from(point));
        let is_new = capture.told.len() < MAX_PROCESSES && capture.told.insert(point.tgid);
        if capture.rows.len() >= ROWS {
            self.write_rows();
        }
        if is_new {
            self.tell(&Notice::Process(process(point.tgid, service)));
        }
    }

    fn means_process(&mut self, point: &Point, service: Option<&Service>) -> bool {
        match self.fit(point.service, service) {
            Fit::No => false,
            Fit::All => true,
            // Of a point no port is known.
            Fit::Some => {
                let targets = &self.query().targets;
                !targets.ports.is_empty() || targets.pids.contains(&point.tgid)
            }
        }
    }

    fn write_rows(&mut self) {
        let Some(capture) = &mut self.capture else { return };
        if capture.rows.is_empty() {
            return;
        }
        let rows = std::mem::take(&mut capture.rows);
        let before = self.waiting_bytes();
        self.tell(&Notice::Points { rows });
        let bytes = self.waiting_bytes().saturating_sub(before);
        if let Some(capture) = &mut self.capture {
            capture.bytes += bytes as u64;
        }
    }

    /// Nothing more is wanted: a capture ends now, with what was by now.
    pub(super) fn asked_to_finish(&mut self, now_ns: u64, offset_ns: u64) {
        match &mut self.capture {
            Some(capture) => capture.window.until_ns = capture.window.until_ns.min(now_ns),
            None => self.finish(offset_ns),
        }
    }

    /// Sends what was captured so far; ends it when all has come.
    pub(super) fn tick_capture(&mut self, now_ns: u64, offset_ns: u64, unseen: Unseen) {
        self.write_rows();
        let Some(capture) = &self.capture else { return };
        let Capture { mut window, before, .. } = **capture;
        if now_ns < window.until_ns + GRACE_NS + DRAIN_NS {
            return;
        }
        window.lost += unseen.lost.saturating_sub(before.lost);
        window.dropped += unseen.dropped.saturating_sub(before.dropped);
        self.tell(&Notice::Captured(window));
        self.finish(offset_ns);
    }
}

fn process(pid: u32, service: Option<&Service>) -> Process {
    let Some(identity) = service.and_then(|service| service.identity.as_ref()) else {
        return Process { pid, ..Process::default() };
    };
    Process {
        pid,
        namespace: identity.namespace.to_string(),
        pod: identity.pod.to_string(),
        container: identity.container.to_string(),
        workload: identity.workload.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use agent_common::go::GoWait;
    use agent_common::record::point::PointKind;

    use super::super::query::{Query, Targets};
    use super::super::tests::{identity, lines, services};
    use super::*;

    const MS: u64 = 1_000_000;

    fn point(tgid: u32, at_ns: u64) -> Point {
        Point {
            what: PointKind::Left,
            service: 0,
            off: 0,
            nr: 1,
            tgid,
            tid: tgid,
            at_ns,
            in_ns: at_ns - 10,
            since_ns: at_ns - 20,
            goid: 0,
            is_go: false,
            seq: 0,
            reason: GoWait::Unknown,
            left: None,
        }
    }

    /// A capture of a second that begins at a second.
    fn capture(targets: Targets) -> (Listener, super::super::Stream) {
        let query = Query { capture_ns: 1000 * MS, targets, ..Query::default() };
        let (mut listener, stream) = Listener::new(1, &query).unwrap();
        let before = Unseen { lost: 5, dropped: 7 };
        listener.capture(query.capture_ns, 1000 * MS, before);
        (listener, stream)
    }

    #[test]
    fn it_ends_by_itself_with_what_is_missing() {
        let services = services(identity("process/api"), "");
        let (mut listener, mut stream) = capture(Targets::default());
        for at_ms in 1001..1011 {
            listener.point(&point(9, at_ms * MS), services.get(0));
        }
        assert!(listener.is_capturing(2100 * MS), "what has begun is seen to its end");
        assert!(!listener.is_capturing(2200 * MS));
        let unseen = Unseen { lost: 6, dropped: 9 };
        listener.tick_capture(2200 * MS, 0, unseen);
        assert!(listener.send(), "it is not over");
        listener.tick_capture(2500 * MS, 0, unseen);
        assert!(!listener.send());
        let (_, notices) = lines(&mut stream);
        let [
            Notice::Begin,
            Notice::Process(process),
            Notice::Points { rows },
            Notice::Captured(window),
            Notice::End { .. },
        ] = notices.as_slice()
        else {
            panic!("{notices:?}");
        };
        assert_eq!((process.pid, process.workload.as_str()), (9, "process/api"));
        assert_eq!(rows.len(), 10);
        let expected = Window {
            from_ns: 1000 * MS,
            until_ns: 2000 * MS,
            points: 10,
            lost: 1,
            dropped: 2,
            is_full: false,
        };
        assert_eq!(*window, expected);
    }

    #[test]
    fn who_has_enough_gets_what_was_by_then() {
        let (mut listener, mut stream) = capture(Targets::default());
        listener.asked_to_finish(1500 * MS, 0);
        listener.tick_capture(1600 * MS, 0, Unseen::default());
        assert!(listener.send());
        listener.tick_capture(1900 * MS, 0, Unseen::default());
        assert!(!listener.send());
        let (_, notices) = lines(&mut stream);
        assert!(
            matches!(notices[1], Notice::Captured(Window { until_ns, .. }) if until_ns == 1500 * MS)
        );
    }

    #[test]
    fn only_processes_that_are_meant_are_captured() {
        let services = services(identity("process/api"), "");
        let (mut listener, _stream) = capture(Targets { pids: vec![9], ..Targets::default() });
        for tgid in [8, 9, 10] {
            listener.point(&point(tgid, 1100 * MS), services.get(0));
        }
        assert_eq!(listener.capture.as_ref().map(|capture| capture.window.points), Some(1));
    }

    #[test]
    fn points_of_who_does_not_read_are_dropped_and_leave_room_for_requests() {
        let services = services(identity("process/api"), "");
        let (mut listener, stream) = capture(Targets::default());
        for n in 0..200_000 {
            listener.point(&point(9, 1001 * MS + n), services.get(0));
            if n % 1000 == 0 {
                listener.tick_capture(1100 * MS, 0, Unseen::default());
                listener.send();
            }
        }
        let window = listener.capture.as_ref().map(|capture| capture.window).unwrap();
        assert_eq!(window.points + window.dropped, 200_000);
        assert!(window.dropped > 0 && !window.is_full, "{window:?}");
        let waiting = listener.waiting_bytes();
        assert!(waiting < MAX_QUEUED_BYTES * 3 / 5, "{waiting}");
        drop(stream);
    }
}
