//! The agent's own health, into a snapshot.
//!
//! Separate from the data path: nothing here is about workloads.

use agent_common::limits::{
    MAX_CGROUPS, MAX_CONNECTIONS, MAX_IGNORED_PATHS, MAX_LISTENERS, MAX_PARKED, MAX_PROCESSES,
    MAX_SERVICES,
};
use agent_common::stats::Loss;

use super::{Worker, counter, gauge};
use crate::aggregate::snapshot::Snapshot;
use crate::event::Malformed;
use crate::load::status::{LaneState, lane_status};
use crate::metrics::agent as own_metrics;
use crate::probes::Lane;
use crate::sys::clock;
use crate::telemetry::Dropped;

impl Worker {
    pub(super) fn snapshot_own(&self, snapshot: &mut Snapshot) {
        let parts = &self.parts;
        for lane in Lane::ALL {
            let status = lane_status(lane, parts.loaded.statuses(), true);
            for state in LaneState::ALL {
                let value = f64::from(u8::from(state == status.state));
                gauge(snapshot, &own_metrics::LANE_STATE, &[lane.as_str(), state.as_str()], value);
            }
        }
        for cost in parts.stats.read() {
            let program = [cost.spec.name];
            counter(snapshot, &own_metrics::PROGRAM_RUNS, &program, cost.runs as f64);
            let seconds = cost.estimated_ns() as f64 / 1e9;
            counter(snapshot, &own_metrics::PROGRAM_SECONDS, &program, seconds);
        }
        for (reason, count) in Loss::ALL.iter().zip(parts.counters.losses()) {
            counter(snapshot, &own_metrics::KERNEL_LOSSES, &[reason.as_str()], count as f64);
        }
        for reason in Dropped::ALL {
            let count = parts.own.dropped(reason) as f64;
            counter(snapshot, &own_metrics::DROPPED, &[reason.as_str()], count);
        }
        let filtered: u64 = (0..MAX_SERVICES as u16).map(|i| parts.counters.filtered(i)).sum();
        let filtered = (self.filtered_before + filtered) as f64;
        counter(snapshot, &own_metrics::FILTERED, &["ignored_path"], filtered);
        for (metric, count) in self.node.folded() {
            counter(snapshot, &own_metrics::SERIES_FOLDED, &[metric], count as f64);
        }
        for reason in Malformed::ALL {
            let count = parts.own.malformed(reason) as f64;
            counter(snapshot, &own_metrics::MALFORMED_RECORDS, &[reason.as_str()], count);
        }
        self.snapshot_maps(snapshot);
        self.snapshot_process(snapshot);
    }

    fn snapshot_maps(&self, snapshot: &mut Snapshot) {
        let capacity = |map: &str| match map {
            "cgroups" => MAX_CGROUPS,
            "processes" => MAX_PROCESSES,
            "listeners" => MAX_LISTENERS,
            _ => MAX_IGNORED_PATHS,
        };
        for (map, entries) in self.parts.policies.entries() {
            gauge(snapshot, &own_metrics::MAP_ENTRIES, &[map], entries as f64);
            gauge(snapshot, &own_metrics::MAP_CAPACITY, &[map], f64::from(capacity(map)));
        }
        let live = self.parts.counters.live_connections() as f64;
        gauge(snapshot, &own_metrics::MAP_ENTRIES, &["connections"], live);
        gauge(snapshot, &own_metrics::MAP_CAPACITY, &["connections"], f64::from(MAX_CONNECTIONS));
        let parked = self.parts.counters.parked() as f64;
        gauge(snapshot, &own_metrics::MAP_ENTRIES, &["parked"], parked);
        gauge(snapshot, &own_metrics::MAP_CAPACITY, &["parked"], f64::from(MAX_PARKED));
        let services = self.parts.attributor.services().iter().count() as f64;
        gauge(snapshot, &own_metrics::MAP_ENTRIES, &["services"], services);
        gauge(snapshot, &own_metrics::MAP_CAPACITY, &["services"], f64::from(MAX_SERVICES));
    }

    fn snapshot_process(&self, snapshot: &mut Snapshot) {
        let own = &self.parts.own;
        gauge(snapshot, &own_metrics::QUEUE_DEPTH, &[], own.queue_depth() as f64);
        let is_capturing = self.parts.policies.is_capturing();
        gauge(snapshot, &own_metrics::CAPTURING, &[], f64::from(u8::from(is_capturing)));
        let cpu = clock::process_cpu_ns() as f64 / 1e9;
        counter(snapshot, &own_metrics::CPU_SECONDS, &[], cpu);
        let resident = crate::host::process::resident_bytes() as f64;
        gauge(snapshot, &own_metrics::RESIDENT_MEMORY, &[], resident);
        let started = self.started_unix_ns as f64 / 1e9;
        gauge(snapshot, &own_metrics::START_TIME, &[], started);
        let version = env!("CARGO_PKG_VERSION");
        let revision = option_env!("STRATA_REVISION").unwrap_or("unknown");
        gauge(snapshot, &own_metrics::BUILD_INFO, &[version, revision, &self.kernel], 1.0);
        let series = snapshot.workload_series() as f64;
        gauge(snapshot, &own_metrics::SERIES, &[], series);
        let waiting = self.series.values().filter(|entry| entry.budget.is_none()).count() as u64;
        let over = waiting + self.parts.attributor.services().refused();
        gauge(snapshot, &own_metrics::CONTAINERS_OVER_BUDGET, &[], over as f64);
        for ((mode, reason), count) in self.parts.attributor.go_programs().processes() {
            gauge(snapshot, &own_metrics::GO_PROCESSES, &[mode, reason], count as f64);
        }
    }
}
