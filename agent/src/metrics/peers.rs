//! Metrics of `strata peers`: what it knows of the cluster, whom it answered,
//! what it costs.
//!
//! Separate from the agent's: it is another program, scraped by itself.

use super::{Metric, MetricKind, own};

use MetricKind::{Counter, Gauge};

/// Objects that are known.
pub static OBJECTS: Metric = own(
    "strata_peers_objects",
    "",
    Gauge,
    &["kind"],
    "Nodes, Services and pods that have addresses, by kind.",
);

/// Addresses that are known.
pub static ADDRESSES: Metric =
    own("strata_peers_addresses", "", Gauge, &[], "Addresses that somebody in the cluster has.");

/// Addresses that may be named wrongly.
pub static QUARANTINED: Metric = own(
    "strata_peers_quarantined_addresses",
    "",
    Gauge,
    &[],
    "Addresses that somebody left within 30 seconds: they name nobody else for as long.",
);

/// Changes of names.
pub static CHANGES: Metric =
    own("strata_peers_changes", "", Counter, &[], "Times that an address had another name.");

/// What there was no room for.
pub static LEFT_OUT: Metric = own(
    "strata_peers_left_out",
    "",
    Counter,
    &[],
    "Objects that were left out because as many as are kept were known.",
);

/// How old what is known may be.
pub static WATCH_AGE: Metric = own(
    "strata_peers_watch_age_seconds",
    "seconds",
    Gauge,
    &["kind"],
    "Time since the API server last said anything, by what is watched; of `probe`, since it last answered.",
);

/// What goes wrong.
pub static WATCH_ERRORS: Metric = own(
    "strata_peers_watch_errors",
    "",
    Counter,
    &["kind", "reason"],
    "Failed lists and watches, by what is watched and reason.",
);

/// Who asks.
pub static QUESTIONS: Metric =
    own("strata_peers_questions", "", Counter, &["result"], "Questions of agents, by result.");

/// What is asked.
pub static LOOKUPS: Metric = own(
    "strata_peers_lookups",
    "",
    Counter,
    &["result"],
    "Addresses that were asked about, by whether they have a name.",
);

/// Who had not heard this server before.
pub static RESETS: Metric = own(
    "strata_peers_resets",
    "",
    Counter,
    &[],
    "Answers that could not say what changed since the one before: the agent asks for all again.",
);

/// What is sent.
pub static ANSWER_BYTES: Metric =
    own("strata_peers_answer_bytes", "bytes", Counter, &[], "Bytes of answers to agents.");

/// What it costs.
pub static CPU_SECONDS: Metric =
    own("strata_peers_cpu_seconds", "seconds", Counter, &[], "CPU time of this process.");

/// What it holds.
pub static RESIDENT_MEMORY: Metric = own(
    "strata_peers_resident_memory_bytes",
    "bytes",
    Gauge,
    &[],
    "Resident memory of this process.",
);

/// Every metric of this file, in the order of the reference.
pub const ALL: &[&Metric] = &[
    &OBJECTS,
    &ADDRESSES,
    &QUARANTINED,
    &CHANGES,
    &LEFT_OUT,
    &WATCH_AGE,
    &WATCH_ERRORS,
    &QUESTIONS,
    &LOOKUPS,
    &RESETS,
    &ANSWER_BYTES,
    &CPU_SECONDS,
    &RESIDENT_MEMORY,
];
