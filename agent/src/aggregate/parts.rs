//! Where the time of requests went, added up in integer nanoseconds.
//!
//! Kept beside the durations of each label set, and separate from them because
//! it is what holds the books of time: what is shown of durations and what is
//! shown of parts are sums over the same label sets, so they are equal in every
//! snapshot, whatever was folded, sampled or left out.

use std::sync::LazyLock;

use agent_common::parts::{PARTS, Part, Split};

use super::labels::{Identity, OwnLabels};
use super::snapshot::{Snapshot, Value};
use crate::metrics::workload::{REQUEST_PART, REQUEST_PART_CONFIDENCE, SLOW_REQUEST_PART};

/// Series of the parts of one protocol.
pub const PART_SET: u32 = PARTS as u32;
/// Series of how well the parts are known.
pub const CONFIDENCE_SET: u32 = CONFIDENCES.len() as u32;
/// Series of the parts of slow requests: all but `sampled`.
pub const SLOW_SET: u32 = PARTS as u32 - 1;

/// How well it is known where time belongs.
const CONFIDENCES: [&str; 3] = ["exact", "estimated", "unavailable"];

/// Names of protocols that parts are told apart by, the same as those of
/// durations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartProtocol {
    /// HTTP/1.
    Http,
    /// Bytes in, bytes out.
    Tcp,
    /// TLS.
    Tls,
    /// HTTP/2.
    Http2,
    /// Turns whose label sets were folded.
    Other,
}

impl PartProtocol {
    /// Every one, in the order of its number.
    pub const ALL: [Self; 5] = [Self::Http, Self::Tcp, Self::Tls, Self::Http2, Self::Other];

    /// The value of the `protocol` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Http2 => "http2",
            Self::Other => "_other",
        }
    }
}

/// Labels from closed lists, the same for every service.
struct Labels {
    parts: [[OwnLabels; PARTS]; PartProtocol::ALL.len()],
    slow: [OwnLabels; PARTS],
    confidence: [OwnLabels; CONFIDENCES.len()],
}

static LABELS: LazyLock<Labels> = LazyLock::new(|| Labels {
    parts: PartProtocol::ALL.map(|protocol| {
        Part::ALL.map(|part| {
            let values = [protocol.as_str(), part.layer().as_str(), part.as_str()];
            OwnLabels::new(&REQUEST_PART, &values)
        })
    }),
    slow: Part::ALL
        .map(|part| OwnLabels::new(&SLOW_REQUEST_PART, &[part.layer().as_str(), part.as_str()])),
    confidence: CONFIDENCES.map(|name| OwnLabels::new(&REQUEST_PART_CONFIDENCE, &[name])),
});

/// Sums of parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PartSums {
    ns: [u64; PARTS],
    estimated_ns: u64,
}

impl PartSums {
    /// Adds a request: `estimated` has the bits of its parts that are. Sums
    /// wrap as those of durations do.
    pub fn observe(&mut self, split: &Split, estimated: u32) {
        for ((sum, ns), part) in self.ns.iter_mut().zip(split.ns).zip(Part::ALL) {
            *sum = sum.wrapping_add(ns);
            if estimated & part.bit() != 0 && !is_unavailable(part) {
                self.estimated_ns = self.estimated_ns.wrapping_add(ns);
            }
        }
    }

    /// Adds the durations of requests of which nothing else is known.
    pub const fn add_sampled(&mut self, ns: u64) {
        let [.., sampled] = &mut self.ns;
        *sampled = sampled.wrapping_add(ns);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (sum, ns) in self.ns.iter_mut().zip(other.ns) {
            *sum = sum.wrapping_add(ns);
        }
        self.estimated_ns = self.estimated_ns.wrapping_add(other.estimated_ns);
    }

    /// Puts the parts of a protocol into a snapshot, all of them.
    pub fn snapshot(&self, protocol: PartProtocol, identity: &Identity, to: &mut Snapshot) {
        let Some(labels) = LABELS.parts.get(protocol as usize) else { return };
        let family = to.family(&REQUEST_PART);
        for (labels, ns) in labels.iter().zip(self.ns) {
            family.push(labels.of(identity), Value::Nanoseconds(ns));
        }
    }

    /// Puts them into a snapshot as those of slow requests.
    pub fn snapshot_slow(&self, identity: &Identity, to: &mut Snapshot) {
        let family = to.family(&SLOW_REQUEST_PART);
        for ((labels, ns), part) in LABELS.slow.iter().zip(self.ns).zip(Part::ALL) {
            if part != Part::Sampled {
                family.push(labels.of(identity), Value::Nanoseconds(ns));
            }
        }
    }

    /// Puts into a snapshot how well they are known; the three sum up to the
    /// parts.
    pub fn snapshot_confidence(&self, identity: &Identity, to: &mut Snapshot) {
        let (mut known_ns, mut unavailable_ns) = (0u64, 0u64);
        for (ns, part) in self.ns.into_iter().zip(Part::ALL) {
            let sum = if is_unavailable(part) { &mut unavailable_ns } else { &mut known_ns };
            *sum = sum.wrapping_add(ns);
        }
        let exact_ns = known_ns.wrapping_sub(self.estimated_ns);
        let family = to.family(&REQUEST_PART_CONFIDENCE);
        for (labels, ns) in
            LABELS.confidence.iter().zip([exact_ns, self.estimated_ns, unavailable_ns])
        {
            family.push(labels.of(identity), Value::Nanoseconds(ns));
        }
    }
}

const fn is_unavailable(part: Part) -> bool {
    matches!(part, Part::Unknown | Part::Sampled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_common::parts::close;
    use agent_common::record::request::RequestParts;

    #[test]
    fn estimated_parts_count_as_such_and_what_is_unknown_never_does() {
        let mut measured = RequestParts::new();
        measured.ns[Part::Cpu as usize] = 5;
        measured.ns[Part::Loss as usize] = 7;
        let mut sums = PartSums::default();
        sums.observe(&close(20, &measured), Part::Loss.bit() | Part::Unknown.bit());
        sums.add_sampled(100);
        let identity = Identity::new("", "", "", "process/api");
        let mut snapshot = Snapshot::new(1);
        sums.snapshot_confidence(&identity, &mut snapshot);
        let seen: Vec<(String, u64)> = snapshot.families()[0]
            .series()
            .iter()
            .map(|series| {
                let Value::Nanoseconds(ns) = series.value else { panic!("no sum") };
                (series.labels.iter().last().unwrap().1.to_owned(), ns)
            })
            .collect();
        let wanted = [("exact", 5), ("estimated", 7), ("unavailable", 108)];
        assert_eq!(seen, wanted.map(|(name, ns)| (name.to_owned(), ns)));
    }

    #[test]
    fn the_last_part_is_that_of_sampled_out_requests() {
        assert_eq!(Part::ALL.last(), Some(&Part::Sampled));
    }
}
