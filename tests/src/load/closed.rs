//! Closed loop: a number of connections, each always with one request open.
//!
//! Separate because it saturates a server, which is another regime than a rate.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Call, Connection, Tally};

/// What a closed loop did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was completed.
    pub tally: Tally,
    /// From the first request to the last response.
    pub took: Duration,
}

/// Runs the plan round and round on each of `connections` threads for `time`.
/// Each thread reads its last response to the end, so that when this returns
/// no request is in flight, but for those that failed.
///
/// # Errors
/// When a thread cannot connect at its start, or the plan is empty.
pub fn run(
    addr: SocketAddr,
    plan: &[Call],
    connections: usize,
    time: Duration,
) -> anyhow::Result<Outcome> {
    anyhow::ensure!(!plan.is_empty(), "an empty plan");
    let encoded: Vec<_> =
        plan.iter().map(|call| (call.method.as_str(), call.encode(addr, ""))).collect();
    let open =
        (0..connections).map(|_| Connection::open(addr)).collect::<anyhow::Result<Vec<_>>>()?;
    let start = Instant::now();
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = open
            .into_iter()
            .map(|connection| scope.spawn(|| drive(connection, &encoded, start + time)))
            .collect();
        for thread in threads {
            match thread.join() {
                Ok(part) => tally.merge(&part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    Ok(Outcome { tally, took: start.elapsed() })
}

/// Drives one connection, reopened when the server closes it, to the deadline.
fn drive(connection: Connection, plan: &[(&str, Vec<u8>)], deadline: Instant) -> Tally {
    let mut tally = Tally::default();
    let addr = connection.addr();
    let mut current = Some(connection);
    for (method, bytes) in plan.iter().cycle() {
        if Instant::now() >= deadline {
            break;
        }
        let Some(mut connection) = current.take().or_else(|| Connection::open(addr).ok()) else {
            tally.failed += 1;
            continue;
        };
        match connection.send(bytes).and_then(|_| connection.read_response(method)) {
            Ok(response) => {
                tally.add(method, response.status);
                current = response.keeps_alive.then_some(connection);
            }
            Err(_) => tally.failed += 1,
        }
    }
    tally
}

/// Makes `count` requests in all, each on a connection of its own, spread over
/// these addresses and over `threads` threads.
///
/// # Errors
/// When there are no addresses. Requests that fail are counted in the tally.
pub fn short_connections(
    addrs: &[SocketAddr],
    call: &Call,
    count: u64,
    threads: usize,
) -> anyhow::Result<Tally> {
    anyhow::ensure!(!addrs.is_empty(), "no addresses");
    let next = AtomicU64::new(0);
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut part = Tally::default();
                    loop {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        let place = usize::try_from(turn).unwrap_or(0) % addrs.len();
                        let Some(addr) = addrs.get(place).filter(|_| turn < count) else {
                            break part;
                        };
                        match super::sequential::run(*addr, std::slice::from_ref(call), 1, false) {
                            Ok(one) => part.merge(&one),
                            Err(_) => part.failed += 1,
                        }
                    }
                })
            })
            .collect();
        for worker in workers {
            match worker.join() {
                Ok(part) => tally.merge(&part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
    });
    Ok(tally)
}
