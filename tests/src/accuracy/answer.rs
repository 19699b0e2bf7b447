//! One request as `strata trace -o json` tells it.
//!
//! Separate because this is the one place that knows the form of those lines;
//! a line of another form is an error, never a request with gaps.

use agent_common::parts::PARTS;
use anyhow::Context as _;
use serde_json::Value;

use super::{Nanoseconds, named};

/// What the agent says of one request. Times are `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Path, cut at `?`.
    pub path: String,
    /// HTTP status.
    pub status: u16,
    /// First byte readable.
    pub arrival_ns: u64,
    /// First byte read.
    pub read_ns: u64,
    /// Last byte of the response handed to TCP.
    pub end_ns: u64,
    /// From the arrival to the end.
    pub wall_ns: u64,
    /// Where that went.
    pub parts: Nanoseconds,
    /// Names of the parts that are estimates.
    pub estimated: Vec<String>,
    /// What the request rode on.
    pub unit: String,
    /// The goroutine that read it; 0 outside Go.
    pub goid: u64,
    /// Times that the goroutine stopped, at least.
    pub stops: u64,
    /// Where it may have run or waited.
    pub zone_ns: u64,
    /// The longest wait for a CPU.
    pub runqueue_worst_ns: u64,
    /// Name of who ran instead.
    pub culprit: Option<String>,
    /// Calls that it made.
    pub calls: Vec<Call>,
}

/// A call to a downstream that a request made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Address of the peer.
    pub peer: String,
    /// First byte handed to TCP.
    pub sent_ns: u64,
    /// First byte of the reply readable.
    pub ready_ns: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Time that sending again explains.
    pub loss_ns: u64,
}

impl Answer {
    /// Reads a line.
    ///
    /// # Errors
    /// When it is not JSON, lacks a field, or names a part that there is not.
    pub fn parse(line: &str) -> anyhow::Result<Self> {
        let json: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        Self::read(&json).with_context(|| format!("in {line}"))
    }

    fn read(json: &Value) -> anyhow::Result<Self> {
        let mut parts: Nanoseconds = [0; PARTS];
        let told = json.get("parts").and_then(Value::as_object).context("no parts")?;
        for (name, ns) in told {
            let part = named(name).with_context(|| format!("no part is called {name}"))?;
            let ns = ns.as_u64().with_context(|| format!("{name} is no whole number"))?;
            if let Some(slot) = parts.get_mut(part as usize) {
                *slot = ns;
            }
        }
        let culprit = json.get("culprit").and_then(|culprit| culprit.get("comm"));
        let calls = json.get("calls").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        Ok(Self {
            path: text(json, "path").unwrap_or_default(),
            status: u16::try_from(whole(json, "status").unwrap_or(0))?,
            arrival_ns: whole(json, "arrival_ns")?,
            read_ns: whole(json, "read_ns")?,
            end_ns: whole(json, "end_ns")?,
            wall_ns: whole(json, "wall_ns")?,
            parts,
            estimated: strings(json, "estimated"),
            unit: text(json, "unit")?,
            goid: whole(json, "goid")?,
            stops: whole(json, "stops")?,
            zone_ns: whole(json, "zone_ns")?,
            runqueue_worst_ns: whole(json, "runqueue_worst_ns")?,
            culprit: culprit.and_then(Value::as_str).map(str::to_owned),
            calls: calls.iter().map(Call::read).collect::<anyhow::Result<_>>()?,
        })
    }

    /// The id in its path: the last segment, where that is a number.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.path.rsplit('/').next()?.parse().ok()
    }

    /// The first segment of its path.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or_default()
    }

    /// Nanoseconds of one part.
    #[must_use]
    pub fn of(&self, part: agent_common::parts::Part) -> u64 {
        self.parts.get(part as usize).copied().unwrap_or(0)
    }
}

impl Call {
    fn read(json: &Value) -> anyhow::Result<Self> {
        Ok(Self {
            peer: text(json, "peer")?,
            sent_ns: whole(json, "sent_ns")?,
            ready_ns: whole(json, "ready_ns")?,
            retransmits: whole(json, "retransmits")?,
            loss_ns: whole(json, "loss_ns")?,
        })
    }
}

fn whole(json: &Value, name: &str) -> anyhow::Result<u64> {
    json.get(name).and_then(Value::as_u64).with_context(|| format!("no whole number `{name}`"))
}

fn text(json: &Value, name: &str) -> anyhow::Result<String> {
    let value = json.get(name).and_then(Value::as_str);
    value.map(str::to_owned).with_context(|| format!("no text `{name}`"))
}

fn strings(json: &Value, name: &str) -> Vec<String> {
    let list = json.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_common::parts::Part;

    const LINE: &str = r#"{"path":"/mutex/000123","status":200,"arrival_ns":10,"read_ns":12,
        "end_ns":110,"wall_ns":100,"parts":{"application.cpu":40,"os.cpu":1,"runtime.wait":59},
        "estimated":["runtime.wait"],"unit":"goroutine","goid":34,"stops":1,"zone_ns":0,
        "runqueue_worst_ns":5,"culprit":{"pid":7,"comm":"batch-7"},
        "calls":[{"peer":"127.0.0.1:80","sent_ns":1,"ready_ns":2,"retransmits":0,"loss_ns":0}]}"#;

    #[test]
    fn a_line_is_read_with_its_parts_and_calls() {
        let answer = Answer::parse(LINE).unwrap();
        assert_eq!((answer.id(), answer.kind()), (Some(123), "mutex"));
        assert_eq!((answer.of(Part::Cpu), answer.of(Part::Wait), answer.of(Part::Gc)), (40, 59, 0));
        assert_eq!(answer.parts.iter().sum::<u64>(), answer.wall_ns);
        assert_eq!(answer.culprit.as_deref(), Some("batch-7"));
        assert_eq!(answer.calls[0].peer, "127.0.0.1:80");
    }

    #[test]
    fn a_line_with_a_gap_or_an_unknown_part_is_refused() {
        assert!(Answer::parse(&LINE.replace("wall_ns", "wall")).is_err());
        assert!(Answer::parse(&LINE.replace("os.cpu", "os.gpu")).is_err());
        assert!(Answer::parse("{").is_err());
    }
}
