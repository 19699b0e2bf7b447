//! Harness of the tests that need root: nothing here asserts.
//!
//! Separate from the tests so that the kernel tests, the end-to-end tests and
//! the bench share one set of workloads, clients and clean-up.
//!
//! Everything that is started is ended by its drop, by process id, also when a
//! test panics. Everything that waits has a deadline.

pub mod accuracy;
pub mod agent_process;
pub mod alertmanager;
pub mod apps;
pub mod bench;
pub mod cgroup;
pub mod cluster;
pub mod collector;
pub mod containers;
pub mod eventually;
pub mod go_trace;
pub mod http;
pub mod io_calls;
pub mod journal;
pub mod kernel_objects;
pub mod load;
pub mod metrics_text;
pub mod netns;
pub mod nft;
pub mod peers;
pub mod probe_run;
pub mod probed_code;
pub mod process;
pub mod prometheus;
pub mod puppet;
pub mod recorded;
pub mod require;
pub mod round_trips;
pub mod rules;
pub mod slow_disk;
pub mod ss;
pub mod sys;
pub mod workload;
