//! What a request line asks for, or why it is refused: the agent's reading.
//!
//! Separate from the line's type, which both ends have.

use std::time::Duration;

use super::{MAX_INTERVAL, MIN_INTERVAL, Request};
use crate::export::json::VERSION;
use crate::tap::query::Query;

/// What a request line asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// Workloads, once or each interval.
    Workloads(Option<Duration>),
    /// Requests as they finish.
    Trace(Box<Query>),
}

impl Request {
    /// What a line asks for.
    ///
    /// # Errors
    ///
    /// Why it is refused, for who asked.
    pub(super) fn asked(line: &[u8]) -> Result<Asked, String> {
        let request: Self = serde_json::from_slice(line)
            .map_err(|error| format!("this is no request of version {VERSION}: {error}"))?;
        if request.version != VERSION {
            return Err(format!("this agent speaks version {VERSION}, not {}", request.version));
        }
        match (request.verb.as_str(), request.query) {
            ("workloads", None) => {}
            ("trace", query) if request.interval_ms.is_none() => {
                let query = query.unwrap_or_default();
                if query.capture_ns > 0 {
                    return Err("`capture_ns` is for the verb `capture`".to_owned());
                }
                return Ok(Asked::Trace(query));
            }
            ("capture", Some(query)) if request.interval_ms.is_none() && query.capture_ns > 0 => {
                return Ok(Asked::Trace(query));
            }
            ("workloads" | "trace" | "capture", _) => {
                let text = "`workloads` takes an `interval_ms`, `trace` a `query`, `capture` one \
                            with a `capture_ns`";
                return Err(text.to_owned());
            }
            (verb, _) => {
                let known = "this agent knows the verbs `workloads`, `trace` and `capture`";
                return Err(format!("{known}, not {verb:?}"));
            }
        }
        let interval = request.interval_ms.map(Duration::from_millis);
        match interval {
            Some(interval) if !(MIN_INTERVAL..=MAX_INTERVAL).contains(&interval) => Err(format!(
                "`interval_ms` is {} to {}",
                MIN_INTERVAL.as_millis(),
                MAX_INTERVAL.as_millis()
            )),
            interval => Ok(Asked::Workloads(interval)),
        }
    }
}
