//! strata: where did each API request's time go?
//!
//! Data goes one way, and the modules are declared in its order:
//!
//! ```text
//! kernel programs                              | agent
//! probes/request  --emit-> RING (one)          | source::ring -> decode --+
//! probes/runqueue --add--> COUNTERS (arrays)   | source::counters --------+-> worker -> snapshot -> export -> admin
//! every program   --count-> PROBE_STATS        | source::stats -----------+   (attribution, aggregate)
//! API server      --tells-> pods               | cluster -----------------+
//! strata peers    --tells-> peers              | peers::client -----------+
//!                   <- verdicts - POLICIES     | load::policies <-------------+-> tap -> admin::socket
//! ```
//!
//! A hook makes a *record*; decoded it is an *event*; with a name it is
//! *attributed*; counted it is a *series*; frozen it is a *snapshot*; written
//! it is an *exposition*. The reader (source and decode) never waits; the
//! worker owns all state; exporters read snapshots. `app` puts it together and
//! is the only one that starts tasks; `cargo xtask tidy` holds who may name
//! whom. How to add a probe is told in `docs/adding-a-probe.md`.
#![deny(unsafe_code)]

// The host: system calls, facts.
#[cfg(feature = "agent")]
pub mod host;
#[cfg(feature = "agent")]
pub mod sys;

// Nouns: what flows, what is exported, what is configured.
pub mod config;
pub mod event;
pub mod metrics;
#[cfg(feature = "agent")]
pub mod probes;
#[cfg(feature = "agent")]
pub mod telemetry;

// The flow.
pub mod admin;
#[cfg(feature = "agent")]
pub mod aggregate;
#[cfg(feature = "agent")]
pub mod attribution;
#[cfg(feature = "kubernetes")]
pub mod cluster;
#[cfg(feature = "agent")]
pub mod decode;
pub mod export;
#[cfg(feature = "agent")]
pub mod load;
#[cfg(feature = "kubernetes")]
pub mod peers;
#[cfg(feature = "agent")]
pub mod source;
#[cfg(feature = "agent")]
pub mod spans;
pub mod tap;
#[cfg(feature = "agent")]
pub mod worker;

// The edges.
#[cfg(feature = "agent")]
pub mod app;
pub mod cli;
#[cfg(feature = "client")]
pub mod kubectl;
