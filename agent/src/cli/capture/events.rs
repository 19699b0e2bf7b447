//! Trace events as they are written: the format that Chrome and Perfetto read.
//!
//! Separate from what is drawn, because this is where a format of others is met:
//! one JSON object, times in microseconds, a track for each `tid`, slices that
//! lie within each other, arrows between them.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

/// Where slices are drawn: a group, and a track of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    pid: u32,
    tid: u32,
}

/// Writes events.
pub(super) struct Events<W> {
    out: W,
    /// Times are written from here on.
    origin_ns: u64,
    groups: u32,
    tracks: u32,
    arrows: u64,
    has_any: bool,
}

/// Nanoseconds as microseconds, without a rounding.
struct Micros(u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

#[derive(Serialize)]
struct Name<'a> {
    name: &'a str,
}

impl<W: Write> Events<W> {
    /// Begins a trace; times are told from `origin_ns` on.
    pub(super) fn begin(mut out: W, origin_ns: u64) -> io::Result<Self> {
        out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
        Ok(Self { out, origin_ns, groups: 0, tracks: 0, arrows: 0, has_any: false })
    }

    /// Ends it, with words about it.
    pub(super) fn end(mut self, about: &impl Serialize) -> io::Result<W> {
        self.out.write_all(b"\n],\"otherData\":")?;
        serde_json::to_writer(&mut self.out, about)?;
        self.out.write_all(b"}\n")?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// A group of tracks.
    pub(super) fn group(&mut self, name: &str) -> io::Result<Track> {
        self.groups += 1;
        let group = Track { pid: self.groups, tid: 0 };
        self.metadata(group, "process_name", &Name { name })?;
        self.metadata(group, "process_sort_index", &Sort { sort_index: self.groups })?;
        Ok(group)
    }

    /// A track of a group, below those that it has.
    pub(super) fn track(&mut self, group: Track, name: &str) -> io::Result<Track> {
        self.tracks += 1;
        let track = Track { tid: self.tracks, ..group };
        self.metadata(track, "thread_name", &Name { name })?;
        self.metadata(track, "thread_sort_index", &Sort { sort_index: self.tracks })?;
        Ok(track)
    }

    /// A slice. Slices of a track begin in order, and lie within each other or
    /// apart.
    pub(super) fn slice(
        &mut self,
        track: Track,
        name: &str,
        (from_ns, until_ns): (u64, u64),
        args: &impl Serialize,
    ) -> io::Result<()> {
        let dur = Micros(until_ns.saturating_sub(from_ns));
        let ts = self.micros(from_ns);
        self.next()?;
        let Track { pid, tid } = track;
        write!(
            self.out,
            "{{\"ph\":\"X\",\"pid\":{pid},\"tid\":{tid},\"ts\":{ts},\"dur\":{dur},\"name\":"
        )?;
        serde_json::to_writer(&mut self.out, name)?;
        self.out.write_all(b",\"args\":")?;
        serde_json::to_writer(&mut self.out, args)?;
        self.out.write_all(b"}")
    }

    /// An arrow between two slices, each found by its track and a time in it.
    pub(super) fn arrow(
        &mut self,
        name: &str,
        from: (Track, u64),
        to: (Track, u64),
    ) -> io::Result<()> {
        self.arrows += 1;
        for (phase, (Track { pid, tid }, at_ns)) in [("\"s\"", from), ("\"f\",\"bp\":\"e\"", to)] {
            let (ts, id) = (self.micros(at_ns), self.arrows);
            self.next()?;
            write!(
                self.out,
                "{{\"ph\":{phase},\"cat\":\"flow\",\"id\":{id},\"pid\":{pid},\"tid\":{tid},\"ts\":{ts},\"name\":"
            )?;
            serde_json::to_writer(&mut self.out, name)?;
            self.out.write_all(b"}")?;
        }
        Ok(())
    }

    fn metadata(&mut self, track: Track, name: &str, args: &impl Serialize) -> io::Result<()> {
        self.next()?;
        let Track { pid, tid } = track;
        write!(
            self.out,
            "{{\"ph\":\"M\",\"pid\":{pid},\"tid\":{tid},\"name\":\"{name}\",\"args\":"
        )?;
        serde_json::to_writer(&mut self.out, args)?;
        self.out.write_all(b"}")
    }

    fn next(&mut self) -> io::Result<()> {
        self.out.write_all(if self.has_any { b",\n" } else { b"\n" })?;
        self.has_any = true;
        Ok(())
    }

    const fn micros(&self, at_ns: u64) -> Micros {
        Micros(at_ns.saturating_sub(self.origin_ns))
    }
}

#[derive(Serialize)]
struct Sort {
    sort_index: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn times_are_microseconds_from_the_origin_and_names_are_escaped() {
        let mut events = Events::begin(Vec::new(), 1_000_000).unwrap();
        let group = events.group("a \"b\"").unwrap();
        let track = events.track(group, "t\n").unwrap();
        events.slice(track, "x", (1_001_234, 1_001_239), &json!({"k": 1})).unwrap();
        events.arrow("calls", (track, 1_001_235), (track, 1_001_236)).unwrap();
        let text = String::from_utf8(events.end(&json!({})).unwrap()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let events = value["traceEvents"].as_array().unwrap();
        let found = |phase: &str| events.iter().find(|event| event["ph"] == phase).unwrap();
        assert_eq!(found("X")["ts"], 1.234);
        assert_eq!(found("X")["dur"], 0.005);
        assert_eq!(found("s")["id"], found("f")["id"]);
        assert_eq!(events[0]["args"]["name"], "a \"b\"");
        assert_eq!(events[2]["args"]["name"], "t\n");
        assert!(text.contains("\"ts\":1.234,\"dur\":0.005"), "no rounding: {text}");
    }
}
