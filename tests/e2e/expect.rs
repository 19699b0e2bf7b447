//! What tests ask of an exposition, and how long they wait for it.
//!
//! Separate because every count test asks the same: this many, in time, and
//! then no more.

use std::collections::BTreeMap;
use std::time::Duration;

use tests::agent_process::Agent;
use tests::eventually;
use tests::load::Tally;
use tests::metrics_text::Metrics;

/// Count of HTTP requests.
pub(crate) const HTTP: &str = "http_server_request_duration_seconds_count";
/// Count of turns of other protocols.
pub(crate) const TURNS: &str = "strata_turn_duration_seconds_count";

/// Labels of series of processes outside of containers: those of a host may be
/// counted too, whoever runs them.
pub(crate) const OUTSIDE: &[(&str, &str)] = &[("container", "")];

/// How long a request may take from its end to a scrape that shows it: the
/// budget is 60 ms; idle connections wait for a sweep.
pub(crate) const VISIBLE: Duration = Duration::from_secs(10);
/// How long a count is watched for going beyond what it should be.
const SETTLED: Duration = Duration::from_millis(500);

/// Methods and statuses with their counts.
pub(crate) type Counts = BTreeMap<(String, String), u64>;

/// What an exposition says of HTTP requests, of the series with these labels.
pub(crate) fn http_counts(metrics: &Metrics, labels: &[(&str, &str)]) -> Counts {
    let mut counts = Counts::new();
    for sample in metrics.select(HTTP, labels).filter(|sample| sample.value > 0.0) {
        let key = ["http_request_method", "http_response_status_code"];
        let [method, status] = key.map(|label| sample.label(label).to_owned());
        *counts.entry((method, status)).or_insert(0) += sample.value as u64;
    }
    counts
}

/// What a client completed, in the same form.
pub(crate) fn client_counts(tally: &Tally) -> Counts {
    tally.iter().map(|(method, status, n)| ((method.to_owned(), status.to_string()), n)).collect()
}

/// Waits until the agent's counts of the series with these labels are
/// `wanted`, asserts it, and asserts that they are not more a while later.
#[track_caller]
pub(crate) fn assert_http_counts(agent: &Agent, labels: &[(&str, &str)], wanted: &Counts) {
    let observe = || http_counts(&agent.scrape().unwrap(), labels);
    let seen = eventually::settle(VISIBLE, observe, |seen| seen == wanted);
    assert_eq!(&seen, wanted, "{}", own_losses(agent));
    std::thread::sleep(SETTLED);
    assert_eq!(&observe(), wanted, "it went on counting");
}

/// Waits until the sum of a counter over the series with these labels is
/// `wanted`, asserts it, and asserts that it is not more a while later.
#[track_caller]
pub(crate) fn assert_sum(agent: &Agent, name: &str, labels: &[(&str, &str)], wanted: u64) {
    let observe = || agent.scrape().unwrap().sum(name, labels);
    let seen = eventually::settle(VISIBLE, observe, |seen| *seen == wanted as f64);
    assert_eq!(seen, wanted as f64, "{}", own_losses(agent));
    std::thread::sleep(SETTLED);
    assert_eq!(observe(), wanted as f64, "it went on counting");
}

/// What the agent says it lost, dropped, filtered or could not parse: shown
/// with a failure, so that a miss that it knows of is told from one it does not.
pub(crate) fn own_losses(agent: &Agent) -> String {
    let metrics = agent.scrape().unwrap();
    let is_loss = |name: &str| {
        name == "strata_requests_total"
            || ["lost", "losses", "dropped", "filtered", "unparsed"]
                .iter()
                .any(|word| name.contains(word))
    };
    let lines =
        metrics.samples().iter().filter(|sample| is_loss(&sample.name) && sample.value > 0.0);
    lines.map(|s| format!("{} {:?} {}\n", s.name, s.labels, s.value)).collect()
}

/// Asserts that the books balance: what finished by outcome is what it was
/// exported as, and nothing was lost or dropped.
#[track_caller]
pub(crate) fn assert_nothing_lost(agent: &Agent) {
    let metrics = agent.scrape().unwrap();
    for outcome in ["lost", "dropped", "sampled"] {
        let count = metrics.sum("strata_requests_total", &[("outcome", outcome)]);
        assert_eq!(count, 0.0, "{outcome}: {}", own_losses(agent));
    }
    let exported = metrics.sum("strata_requests_total", &[("outcome", "exported")]);
    let counted = metrics.sum(HTTP, &[]) + metrics.sum(TURNS, &[]);
    assert_eq!(exported, counted, "exported, and in the histograms");
}
