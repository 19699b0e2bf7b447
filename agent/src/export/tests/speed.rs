//! What a scrape of a full node costs. Prints, and asserts no time: a shared
//! machine would make that a lottery.
//!
//! `cargo test --release -p agent what_a_full_scrape_costs -- --nocapture`

use super::sample;
use crate::export::{Detail, encode, negotiate::Format};
use std::sync::Arc;

/// Encodings that are timed together: the clock below moves in ticks of some
/// milliseconds.
const ROUNDS: u32 = 30;

/// CPU time of this thread, nanoseconds: what a busy machine does not change.
fn thread_cpu_ns() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    schedstat.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn what_a_full_scrape_costs() {
    let snapshot = Arc::new(sample::full(149));
    let series = snapshot.workload_series();
    assert!((29_000..=30_000).contains(&series), "{series}");
    println!("{series} series; mean of {ROUNDS}, CPU milliseconds on one thread");
    for (name, format, is_gzip) in [
        ("text 0.0.4", Format::Text, false),
        ("text 0.0.4 gzip", Format::Text, true),
        ("OpenMetrics", Format::OpenMetrics1, false),
        ("OpenMetrics gzip", Format::OpenMetrics1, true),
        ("protobuf", Format::Protobuf, false),
        ("protobuf gzip", Format::Protobuf, true),
    ] {
        let mut bytes = 0;
        let started_ns = thread_cpu_ns();
        for _ in 0..ROUNDS {
            bytes =
                encode(&[Arc::clone(&snapshot)], format, Detail::Normal, is_gzip).unwrap().len();
        }
        let milliseconds = (thread_cpu_ns() - started_ns) as f64 / 1e6 / f64::from(ROUNDS);
        assert!(bytes > 0);
        println!("{name:18} {milliseconds:7.2} ms {bytes:9} bytes");
    }
}
