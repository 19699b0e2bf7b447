//! What strata costs, and whether that is within the budget.
//!
//! Separate from the tests because nothing here passes or fails: it measures
//! the same things with and without the agent, in turns, and prints a table.
//!
//! Two methods. *micro* (`ops`, `micro`): a fixed number of socket round trips,
//! switches or system calls on one CPU, best of many short runs. *macro*
//! (`windows`, `paired`): a Go server under load, windows with and without the
//! agent side by side, differences of neighbours. `fleet` and `response` look
//! at the agent alone: memory, idleness, start, and how soon it knows.

pub mod budget;
pub mod conditions;
pub mod fleet;
pub mod lanes;
pub mod micro;
pub mod ops;
pub mod paired;
pub mod report;
pub mod response;
pub mod statistics;
pub mod usage;
pub mod windows;

use std::time::Duration;

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Turns of the micro method, each with every choice of lanes.
    pub micro_rounds: usize,
    /// Pairs of windows of the macro method, for each choice of lanes and load.
    pub pairs: usize,
    /// One window.
    pub window: Duration,
    /// For how long the agent is watched at rest.
    pub idle: Duration,
    /// Requests after which the scrape is timed.
    pub visible: usize,
    /// Starts of the agent that are timed.
    pub starts: usize,
    /// Whether the macro method tries each lane alone as well.
    pub has_each_lane: bool,
}

impl Effort {
    /// About three minutes.
    pub const QUICK: Self = Self {
        micro_rounds: 3,
        pairs: 4,
        window: Duration::from_millis(1_200),
        idle: Duration::from_secs(30),
        visible: 100,
        starts: 5,
        has_each_lane: false,
    };

    /// About fifteen minutes.
    pub const FULL: Self = Self {
        micro_rounds: 8,
        pairs: 12,
        window: Duration::from_secs(2),
        idle: Duration::from_secs(60),
        visible: 400,
        starts: 15,
        has_each_lane: true,
    };
}

/// CPU of the servers and of the micro method.
pub const SERVER_CPU: usize = 0;
/// CPU of the load clients.
pub const CLIENT_CPU: usize = 1;
