//! How soon the agent knows, and whether it counts all at full speed.
//!
//! Separate because these compare the agent with what the client did, not
//! with its absence.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::windows::{self, Load, Window};
use super::{Effort, lanes, statistics};
use crate::agent_process::Agent;
use crate::load::{Call, Connection};
use crate::metrics_text::Metrics;
use crate::workload::{Kind, Workload};
use crate::{eventually, http};

/// The metric in which a request becomes visible.
const SEEN: &str = "http_server_request_duration_seconds_count";

/// From the end of a response to the end of the first scrape that shows it.
#[derive(Clone, Copy, Debug)]
pub struct Visible {
    /// Median, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// Requests.
    pub count: usize,
}

/// Sends a request, and scrapes until it is visible, again and again.
///
/// # Errors
/// When a request does not become visible within five seconds.
pub fn visible(effort: &Effort, say: &dyn Fn(&str)) -> anyhow::Result<Visible> {
    say("from a response to a scrape that shows it");
    let app = Workload::start(Kind::Go)?;
    let agent = lanes::EVERY.start(app.addr().port())?;
    let mut connection = Connection::open(app.addr())?;
    let bytes = Call::get("/hello").encode(app.addr(), "");
    let mut took_ms = Vec::new();
    for number in 1..=effort.visible {
        // Not in step with anything that the agent does in turns.
        std::thread::sleep(Duration::from_micros(number as u64 * 7_919 % 23_000));
        connection.send(&bytes)?;
        connection.read_response("GET")?;
        took_ms.push(until_visible(&agent, number)?);
    }
    Ok(Visible {
        p50_ms: statistics::quantile(&took_ms, 0.5).context("no request")?,
        p99_ms: statistics::quantile(&took_ms, 0.99).context("no request")?,
        count: took_ms.len(),
    })
}

fn until_visible(agent: &Agent, number: usize) -> anyhow::Result<f64> {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        let response = http::get(agent.addr(), "/metrics")?;
        let took = begin.elapsed();
        if Metrics::parse(&response.text())?.sum(SEEN, &[]) >= number as f64 {
            return Ok(took.as_secs_f64() * 1e3);
        }
    }
    anyhow::bail!("request {number} did not become visible")
}

/// What was counted of what was done.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// What the client did.
    pub window: Window,
    /// Requests in histograms.
    pub exported: u64,
    /// Requests that were counted without a record of each.
    pub sampled: u64,
    /// Requests that the kernel could not hand over.
    pub lost: u64,
    /// Requests that the agent discarded.
    pub dropped: u64,
}

impl Counted {
    /// Whether every request is in the books.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.exported + self.sampled + self.lost + self.dropped == self.window.requests
    }
}

/// Puts load on a server for a while and asks a fresh agent what it counted.
///
/// # Errors
/// When the server, the agent or the client breaks.
pub fn counted(load: Load, effort: &Effort, say: &dyn Fn(&str)) -> anyhow::Result<Counted> {
    say(&format!("requests counted, {load:?}"));
    let app = Workload::start(Kind::Go)?;
    let agent = lanes::EVERY.start(app.addr().port())?;
    let window = windows::run(load, &app, Some(&agent), effort.window * 2)?;
    let count = |outcome| -> anyhow::Result<u64> {
        Ok(agent.scrape()?.sum("strata_requests_total", &[("outcome", outcome)]) as u64)
    };
    let settled = || -> anyhow::Result<Counted> {
        Ok(Counted {
            window,
            exported: count("exported")?,
            sampled: count("sampled")?,
            lost: count("lost")?,
            dropped: count("dropped")?,
        })
    };
    // The last request of each connection ends with the connection, or by the
    // sweep of every second.
    let whole =
        eventually::until(Duration::from_secs(4), || settled().ok().filter(Counted::is_whole));
    whole.map_or_else(settled, Ok)
}
