//! What a Prometheus scraped, as series for `promtool test rules`.
//!
//! Separate because rules are judged twice by the same load: while it runs, and
//! ever after by what was recorded of it.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::Value;

/// Seconds between two values of a recording: the usual pause of scrapes.
pub const STEP_SECONDS: u64 = 15;

/// One series, a value or none a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// `name{label="value",...}`, as promtool reads it.
    pub name: String,
    /// Values as Prometheus writes them; `None` where there was no sample.
    pub values: Vec<Option<String>>,
}

impl Series {
    /// Reads one element of `data.result` of a range query's answer that has
    /// `steps` steps from `start` on, in seconds of the epoch.
    ///
    /// # Errors
    /// When it is not what the API documents.
    pub fn parse(element: &Value, start: u64, steps: usize) -> anyhow::Result<Self> {
        let metric = element["metric"].as_object().context("no metric")?;
        let labels: Vec<_> = metric
            .iter()
            .filter(|(label, _)| *label != "__name__")
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        let name = metric.get("__name__").and_then(Value::as_str).context("no name")?;
        let mut values = vec![None; steps];
        for sample in element["values"].as_array().context("no values")? {
            let at = sample[0].as_f64().context("no time")?;
            let step = (at as u64).saturating_sub(start) / STEP_SECONDS;
            let place = values.get_mut(step as usize).context("a time beyond the range")?;
            *place = Some(sample[1].as_str().context("no value")?.to_owned());
        }
        Ok(Self { name: format!("{name}{{{}}}", labels.join(",")), values })
    }

    /// Its values in promtool's notation: `5+0x2` is 5 5 5, `_x2` two without.
    #[must_use]
    pub fn notation(&self) -> String {
        let mut words = Vec::new();
        for run in self.values.chunk_by(|a, b| a == b) {
            let more = run.len() - 1;
            words.push(match run.first() {
                Some(Some(value)) if more == 0 => value.clone(),
                Some(Some(value)) => format!("{value}+0x{more}"),
                _ => format!("_x{}", run.len()),
            });
        }
        words.join(" ")
    }
}

/// The metrics that the rules select of their job, by name: what they record
/// themselves is not among them.
#[must_use]
pub fn metrics_of(rules: &str) -> Vec<&str> {
    let mut names: Vec<_> = rules
        .match_indices("{job=")
        .filter_map(|(at, _)| rules.get(..at))
        .filter_map(|before| before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next())
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// A file of tests: `series` alarm nobody, at any time, though the rules of
/// edges and of requests have something to say of them.
#[must_use]
pub fn quiet_test(series: &[Series], minutes: u64) -> String {
    let mut text = format!(
        "# {minutes} minutes of real load, as recorded: see docs/alerts.md, which tells how it is made.
rule_files: [../rules.yaml]
evaluation_interval: {STEP_SECONDS}s
group_eval_order: [strata-edges, strata-network, strata-node, strata-api, strata-agent]
tests:
- name: quiet load
  interval: {STEP_SECONDS}s
  input_series:
"
    );
    for one in series {
        let _ = writeln!(text, "  - series: '{}'", one.name);
        let _ = writeln!(text, "    values: '{}'", one.notation());
    }
    text.push_str("  promql_expr_test:\n");
    let mut expect = |expr: &str, samples: &str| {
        let _ = writeln!(text, "  - expr: '{expr}'\n    eval_time: {minutes}m");
        let _ = writeln!(text, "    exp_samples: {samples}");
    };
    let range = format!("[{minutes}m]");
    expect(&format!("count_over_time(ALERTS{{alertstate=\"firing\"}}{range})"), "[]");
    for recorded in [
        "strata:edge_segments:rate",
        "strata:edge_retransmits:ratio",
        "strata:edge_rtt_seconds:p50",
        "strata:edge_jitter_seconds:p90",
        "strata:edge_connects:increase",
        "strata:slow_requests:ratio_1h",
    ] {
        let expr = format!("count(count_over_time({recorded}{range})) > bool 0");
        expect(&expr, "[{labels: \"{}\", value: 1}]");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_gaps_are_written_short() {
        let element = serde_json::json!({
            "metric": {"__name__": "a_total", "node": "x \"y\""},
            "values": [[1030, "1"], [1045, "1"], [1060, "2.5"], [1105, "2.5"]],
        });
        let series = Series::parse(&element, 1000, 9).unwrap();
        assert_eq!(series.name, r#"a_total{node="x \"y\""}"#);
        assert_eq!(series.notation(), "_x2 1+0x1 2.5 _x2 2.5 _x1");
        assert!(Series::parse(&element, 1000, 7).is_err(), "a time beyond the range");
    }

    #[test]
    fn metrics_are_what_the_rules_select() {
        let rules = "rate(a_total{job=\"x\"}[5m]) / (b:c:rate{d=\"e\"} > up{job=\"x\"})
  sum by (node) (a_total{job=\"x\",f=\"g\"}) {{ $labels.node }}";
        assert_eq!(metrics_of(rules), ["a_total", "up"]);
    }
}
