//! What `strata peers` tells of itself: whether it is in touch with the API
//! server, and what it answered.
//!
//! Separate from the answers: whoever watches and whoever answers write here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::aggregate::labels::LabelSet;
use crate::aggregate::snapshot::{Snapshot, Value};
use crate::event::holder::HolderKind;
use crate::metrics::{Metric, peers as metrics};
use crate::peers::directory::Directory;
use crate::sys::clock;
use crate::telemetry::Own;
use crate::telemetry::metadata::{MetadataError, MetadataState};

/// For how long a watch may be silent: it begins again every ten seconds. Less
/// than an agent takes until it asks again about an address that was nobody's:
/// a replica that was not told of a change is not asked about it before it knows,
/// or says that it does not.
const MAX_SILENCE_NS: u64 = 18_000_000_000;
/// For how long it may be interrupted.
const MAX_BREAK_NS: u64 = 10_000_000_000;

/// The watches of each kind, and a probe of the API server besides: a watch is
/// silent while nothing changes, and does not show that nobody is there.
#[derive(Clone, Debug, Default)]
pub struct Touch {
    /// In the order of [`HolderKind::ALL`].
    pub watches: [Arc<Own>; HolderKind::ALL.len()],
    /// Who asks the API server for its version, every few seconds.
    pub probe: Arc<Own>,
}

impl Touch {
    /// Milliseconds since the API server last answered.
    ///
    /// # Errors
    ///
    /// In a few words, why what is known is not to be believed.
    pub fn age_ms(&self, now_ns: u64) -> Result<u64, &'static str> {
        for watch in &self.watches {
            let state = watch.metadata.state();
            let Some(age_ns) = watch.metadata.age_ns(now_ns) else {
                return Err("the API server has not answered yet");
            };
            if state == MetadataState::Failing && age_ns > MAX_BREAK_NS || age_ns > MAX_SILENCE_NS {
                return Err("a watch is out of touch with the API server");
            }
        }
        let age_ns = self.probe.metadata.age_ns(now_ns);
        age_ns.map(|age_ns| age_ns / 1_000_000).ok_or("the API server has not answered yet")
    }
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Answered,
    NotReady,
    Refused,
}

const OUTCOMES: [(Outcome, &str); 3] =
    [(Outcome::Answered, "ok"), (Outcome::NotReady, "not_ready"), (Outcome::Refused, "garbage")];

/// Counters. Nothing depends on the order in which they are seen.
#[derive(Debug, Default)]
pub(super) struct Counts {
    questions: [AtomicU64; OUTCOMES.len()],
    named: AtomicU64,
    nobody: AtomicU64,
    told_all: AtomicU64,
    bytes: AtomicU64,
}

impl Counts {
    pub(super) fn question(&self, outcome: Outcome) {
        if let Some(count) = self.questions.get(outcome as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn answer(&self, asked: usize, named: usize, is_delta: bool, bytes: usize) {
        self.named.fetch_add(named as u64, Ordering::Relaxed);
        self.nobody.fetch_add(asked.saturating_sub(named) as u64, Ordering::Relaxed);
        self.told_all.fetch_add(u64::from(!is_delta), Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// All of it, to be exported.
pub(super) fn snapshot(directory: &Directory, touch: &Touch, counts: &Counts) -> Snapshot {
    let mut snapshot = Snapshot::new(clock::unix_ns());
    let now_ns = clock::monotonic_ns();
    let mut push = |metric: &'static Metric, values: &[&str], value: Value| {
        snapshot.family(metric).push(LabelSet::new(metric, None, values), value);
    };
    let count = |number: u64| Value::Counter(number as f64);
    let of = |counter: &AtomicU64| count(counter.load(Ordering::Relaxed));
    for (kind, watch) in HolderKind::ALL.into_iter().zip(&touch.watches) {
        let labels = [kind.as_str()];
        push(&metrics::OBJECTS, &labels, Value::Gauge(directory.count(kind) as f64));
        if let Some(age_ns) = watch.metadata.age_ns(now_ns) {
            push(&metrics::WATCH_AGE, &labels, Value::Gauge(age_ns as f64 / 1e9));
        }
        for reason in MetadataError::ALL {
            let errors = count(watch.metadata.errors(reason));
            push(&metrics::WATCH_ERRORS, &[kind.as_str(), reason.as_str()], errors);
        }
    }
    if let Some(age_ns) = touch.probe.metadata.age_ns(now_ns) {
        push(&metrics::WATCH_AGE, &["probe"], Value::Gauge(age_ns as f64 / 1e9));
    }
    push(&metrics::ADDRESSES, &[], Value::Gauge(directory.addresses() as f64));
    push(&metrics::QUARANTINED, &[], Value::Gauge(directory.quarantined() as f64));
    push(&metrics::CHANGES, &[], count(directory.revision()));
    push(&metrics::LEFT_OUT, &[], count(directory.left_out()));
    for ((_, name), number) in OUTCOMES.iter().zip(&counts.questions) {
        push(&metrics::QUESTIONS, &[name], of(number));
    }
    push(&metrics::LOOKUPS, &["named"], of(&counts.named));
    push(&metrics::LOOKUPS, &["nobody"], of(&counts.nobody));
    push(&metrics::RESETS, &[], of(&counts.told_all));
    push(&metrics::ANSWER_BYTES, &[], of(&counts.bytes));
    push(&metrics::CPU_SECONDS, &[], Value::Counter(clock::process_cpu_ns() as f64 / 1e9));
    let resident = crate::host::process::resident_bytes() as f64;
    push(&metrics::RESIDENT_MEMORY, &[], Value::Gauge(resident));
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn who_is_out_of_touch_is_not_to_be_believed() {
        let touch = Touch::default();
        assert!(touch.age_ms(SECOND).is_err());
        for watch in &touch.watches {
            watch.metadata.set_on();
            watch.metadata.set_heard(SECOND);
            watch.metadata.set_listed();
        }
        assert!(touch.age_ms(SECOND).is_err(), "nobody was there yet");
        touch.probe.metadata.set_heard(SECOND);
        assert_eq!(touch.age_ms(3 * SECOND), Ok(2_000));
        assert_eq!(touch.age_ms(19 * SECOND), Ok(18_000), "for who asks to judge");
        assert!(touch.age_ms(20 * SECOND).is_err(), "silent for too long");
        // One that is interrupted is told of nothing.
        touch.watches[2].metadata.fail(MetadataError::Unreachable);
        assert!(touch.age_ms(11 * SECOND).is_ok());
        assert!(touch.age_ms(12 * SECOND).is_err());
    }
}
