//! One request after another, an exact number of them.
//!
//! Separate because it is the plainest statement of what a count must be.

use std::net::SocketAddr;

use super::{Call, Connection, Response, Tally};

/// Sends `count` requests, the i-th by the plan's entry i modulo its length,
/// each after the response to the one before, on one connection as long as
/// the server keeps it (or each on its own, with `Connection: close`).
///
/// # Errors
/// When a response does not come whole, or the plan is empty.
pub fn run(
    addr: SocketAddr,
    plan: &[Call],
    count: u64,
    reuses_connection: bool,
) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    run_each(addr, plan, count, reuses_connection, |call, response| {
        tally.add(&call.method, response.status);
    })?;
    Ok(tally)
}

/// [`run`], handing each call with its response to `observe`.
///
/// # Errors
/// As [`run`].
pub fn run_each(
    addr: SocketAddr,
    plan: &[Call],
    count: u64,
    reuses_connection: bool,
    mut observe: impl FnMut(&Call, &Response),
) -> anyhow::Result<()> {
    anyhow::ensure!(!plan.is_empty(), "an empty plan");
    let headers = if reuses_connection { "" } else { "Connection: close\r\n" };
    let encoded: Vec<_> = plan.iter().map(|call| (call, call.encode(addr, headers))).collect();
    let turns = encoded.iter().cycle().take(usize::try_from(count)?);
    let mut connection: Option<Connection> = None;
    for (call, bytes) in turns {
        let mut open = match connection.take() {
            Some(open) => open,
            None => Connection::open(addr)?,
        };
        open.send(bytes)?;
        let response = open.read_response(&call.method)?;
        observe(call, &response);
        // Not every server announces the close that it was asked for.
        connection = (reuses_connection && response.keeps_alive).then_some(open);
    }
    Ok(())
}
