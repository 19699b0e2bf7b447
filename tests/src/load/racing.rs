//! The racing client: its next request follows within microseconds of a
//! response, while the server is still finishing the one before.
//!
//! Separate because this is where a counter of requests miscounts first: the
//! next request may be readable before the server has looked for it.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Call, Connection, Tally};
use crate::sys;

/// What the race saw.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was completed.
    pub tally: Tally,
    /// Goroutines that answered, by the server's own word, in the order of
    /// the requests; empty unless the path is one that says so (`/goid`).
    pub goids: Vec<u64>,
}

/// Sends `count` requests on one keep-alive connection, each a pause after the
/// response before it was read; the pauses are spread evenly over 0 to
/// `max_gap` by a fixed sequence. Waiting and reading are busy: no wake-up
/// stretches a pause.
///
/// # Errors
/// When a response does not come whole, or the server ends the connection.
pub fn run(
    addr: SocketAddr,
    call: &Call,
    count: u64,
    max_gap: Duration,
) -> anyhow::Result<Outcome> {
    let bytes = call.encode(addr, "");
    let mut connection = Connection::open_spinning(addr)?;
    let mut outcome = Outcome { tally: Tally::default(), goids: Vec::new() };
    let span_ns = u64::try_from(max_gap.as_nanos())? + 1;
    let mut random = XorShift(0x9E37_79B9_7F4A_7C15);
    for _ in 0..count {
        connection.send(&bytes)?;
        let response = connection.read_response(&call.method)?;
        outcome.tally.add(&call.method, response.status);
        outcome.goids.extend(response.goid);
        anyhow::ensure!(response.keeps_alive, "the server ended the keep-alive connection");
        let next_ns = response.received_ns + random.next() % span_ns;
        while sys::monotonic_ns() < next_ns {
            std::hint::spin_loop();
        }
    }
    Ok(outcome)
}

/// Marsaglia's xorshift64: enough to spread pauses, the same in every run.
struct XorShift(u64);

impl XorShift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
