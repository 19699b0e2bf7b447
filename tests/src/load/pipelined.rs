//! Pipelined batches: several requests in one segment, answered in order.
//!
//! Separate because the server reads them at once, so that reads and requests
//! no longer pair up.

use std::net::SocketAddr;

use super::{Call, Connection, Tally};

/// Sends the whole plan in one write, reads all its responses, and does so
/// `batches` times on one connection.
///
/// # Errors
/// When a response does not come whole.
pub fn run(addr: SocketAddr, plan: &[Call], batches: u64) -> anyhow::Result<Tally> {
    let bytes: Vec<u8> = plan.iter().flat_map(|call| call.encode(addr, "")).collect();
    let mut connection = Connection::open(addr)?;
    let mut tally = Tally::default();
    for _ in 0..batches {
        connection.send(&bytes)?;
        for call in plan {
            let response = connection.read_response(&call.method)?;
            tally.add(&call.method, response.status);
        }
    }
    Ok(tally)
}

/// A batch of `depth` requests in which every third is a HEAD: its response
/// announces a length and has no body, which a parser must know by the method.
#[must_use]
pub fn mixed_batch(path: &str, depth: usize) -> Vec<Call> {
    (0..depth).map(|i| Call::new(if i % 3 == 2 { "HEAD" } else { "GET" }, path)).collect()
}
