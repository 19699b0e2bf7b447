//! Requests that leave as spans: begun, hurried, ended, and their books shown.
//!
//! Separate from the data path, which only shows them each request.

use super::{Worker, counter, gauge};
use crate::aggregate::histogram::Exemplar;
use crate::aggregate::requests::Sighting;
use crate::aggregate::snapshot::Snapshot;
use crate::event::ids::Tgid;
use crate::metrics::agent as own_metrics;
use crate::spans::Spans;
use crate::spans::instrumented::PORTS;
use crate::telemetry::traces::{Decision, Outcome, Parent, Sent, Undelivered};

/// Descriptors of a process that are looked at for its connections.
const MAX_DESCRIPTORS: usize = 65_536;

impl Worker {
    /// Shows requests from now on to who chooses those that are exported.
    pub fn set_spans(&mut self, spans: Spans) {
        self.spans = Some(spans);
    }

    /// Whether requests leave as spans: [`Worker::tick_spans`] is to be called a
    /// few times a second.
    #[must_use]
    pub const fn has_spans(&self) -> bool {
        self.spans.is_some()
    }

    /// Lets go what has waited for its calls long enough, and has the durations of
    /// what went point to its spans.
    pub fn tick_spans(&mut self) {
        let Some(spans) = &mut self.spans else { return };
        for tgid in spans.unlooked() {
            let process = self.parts.proc.process(Tgid(tgid));
            spans.looked(tgid, process.is_connected_to(&PORTS, MAX_DESCRIPTORS));
        }
        spans.expire();
        for told in spans.take_told() {
            let Some(entry) = self.series.get_mut(&told.service) else { continue };
            let exemplar = Exemplar {
                trace_id: told.trace_id,
                span_id: told.span_id,
                value_ns: told.wall_ns,
                unix_ns: told.end_unix_ns,
            };
            let of = Sighting {
                method: told.method,
                status: told.status,
                is_aborted: told.is_aborted,
                route: told.route.as_deref(),
            };
            entry.requests.exemplify(&of, exemplar);
        }
    }

    /// Lets everything go: there will be no more.
    pub fn end_spans(&mut self) {
        if let Some(mut spans) = self.spans.take() {
            spans.finish_all();
        }
    }

    pub(super) fn snapshot_spans(&self, snapshot: &mut Snapshot) {
        let books = &self.parts.own.traces;
        if !books.is_on() {
            return;
        }
        for decision in Decision::ALL {
            let count = books.decisions(decision) as f64;
            counter(snapshot, &own_metrics::TRACE_DECISIONS, &[decision.as_str()], count);
        }
        for parent in Parent::ALL {
            let count = books.parents(parent) as f64;
            counter(snapshot, &own_metrics::TRACE_PARENTS, &[parent.as_str()], count);
        }
        for outcome in Outcome::ALL {
            let count = books.outcomes(outcome) as f64;
            counter(snapshot, &own_metrics::TRACE_REQUESTS, &[outcome.as_str()], count);
        }
        for reason in Undelivered::ALL {
            let count = books.dropped(reason) as f64;
            counter(snapshot, &own_metrics::TRACE_DROPPED, &[reason.as_str()], count);
        }
        for result in Sent::ALL {
            let count = books.sends(result) as f64;
            counter(snapshot, &own_metrics::TRACE_SENDS, &[result.as_str()], count);
        }
        counter(snapshot, &own_metrics::TRACE_SPANS, &[], books.spans() as f64);
        gauge(snapshot, &own_metrics::TRACE_WAITING, &[], books.waiting() as f64);
        gauge(snapshot, &own_metrics::TRACE_QUEUE_BYTES, &[], books.queue_bytes() as f64);
    }
}
