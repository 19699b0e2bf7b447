//! Open loop: requests at fixed times, whether or not earlier ones are answered.
//!
//! Separate because its log, joined with the agent's records by the id in the
//! path, is what the agent's times are judged by.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use super::{Call, Connection};
use crate::sys;

/// What to send.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Path before the id: request 7 asks for `PREFIX/7`, then the query.
    pub path_prefix: String,
    /// Query with its `?`, or empty.
    pub query: String,
    /// Requests a second.
    pub rate: f64,
    /// For how long.
    pub time: Duration,
    /// Connections. When all wait for a response the next request is late,
    /// which its log shows: `sent_ns` after `scheduled_ns`.
    pub connections: usize,
}

/// One request of the log, by the client's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The id in its path.
    pub id: u64,
    /// When it was due.
    pub scheduled_ns: u64,
    /// Just before it was sent.
    pub sent_ns: u64,
    /// Just after the last byte of its response was read.
    pub received_ns: u64,
    /// Status; 0 if no response came.
    pub status: u16,
}

/// Runs the schedule and gives one timing per request, by id.
///
/// # Errors
/// When a connection cannot be opened at the start.
pub fn run(addr: SocketAddr, schedule: &Schedule) -> anyhow::Result<Vec<Timing>> {
    anyhow::ensure!(schedule.rate > 0.0, "a rate above zero is needed");
    let open = (0..schedule.connections)
        .map(|_| Connection::open(addr))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let count = (schedule.rate * schedule.time.as_secs_f64()) as u64;
    let gap_ns = 1e9 / schedule.rate;
    let start_ns = sys::monotonic_ns() + 10_000_000;
    let next = AtomicU64::new(0);
    let mut timings = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = open
            .into_iter()
            .map(|connection| {
                let next = &next;
                scope.spawn(move || {
                    let mut part = Vec::new();
                    let mut current = Some(connection);
                    loop {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        if id >= count {
                            break part;
                        }
                        let scheduled_ns = start_ns + (id as f64 * gap_ns) as u64;
                        part.push(one(addr, schedule, &mut current, id, scheduled_ns));
                    }
                })
            })
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(part) => timings.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    timings.sort_by_key(|timing| timing.id);
    Ok(timings)
}

fn one(
    addr: SocketAddr,
    schedule: &Schedule,
    current: &mut Option<Connection>,
    id: u64,
    scheduled_ns: u64,
) -> Timing {
    let path = format!("{}/{id}{}", schedule.path_prefix, schedule.query);
    let bytes = Call::get(&path).encode(addr, "");
    sys::sleep_until_ns(scheduled_ns);
    let mut timing = Timing { id, scheduled_ns, sent_ns: 0, received_ns: 0, status: 0 };
    let Some(mut connection) = current.take().or_else(|| Connection::open(addr).ok()) else {
        return timing;
    };
    let Ok(sent_ns) = connection.send(&bytes) else { return timing };
    timing.sent_ns = sent_ns;
    if let Ok(response) = connection.read_response("GET") {
        timing.received_ns = response.received_ns;
        timing.status = response.status;
        *current = response.keeps_alive.then_some(connection);
    }
    timing
}

/// Writes timings, one line each: `id scheduled_ns sent_ns received_ns status`.
///
/// # Errors
/// When the file cannot be written.
pub fn write_log(path: &Path, timings: &[Timing]) -> anyhow::Result<()> {
    let mut text = String::new();
    for Timing { id, scheduled_ns, sent_ns, received_ns, status } in timings {
        let _ = writeln!(text, "{id} {scheduled_ns} {sent_ns} {received_ns} {status}");
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
