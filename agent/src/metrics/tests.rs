//! What the catalogue promises, as tests; separate to keep the catalogue short.

use super::*;
use std::collections::BTreeSet;

/// Words that Prometheus' naming practice refuses in a name.
const REFUSED_WORDS: [&str; 14] = [
    "total",
    "count",
    "sum",
    "bucket",
    "created",
    "counter",
    "gauge",
    "histogram",
    "summary",
    "ms",
    "us",
    "ns",
    "milliseconds",
    "microseconds",
];

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !text.contains("__")
        && !text.ends_with('_')
}

#[test]
fn names_are_well_formed_and_start_with_the_prefix_or_follow_a_convention() {
    for metric in all() {
        assert!(is_name(metric.name), "{}", metric.name);
        let is_ours = metric.name.starts_with("strata_");
        let is_convention =
            ["http_server_request_duration_seconds", "http_client_request_duration_seconds"]
                .contains(&metric.name);
        assert!(is_ours || is_convention, "{}", metric.name);
        for word in metric.name.split('_') {
            assert!(!REFUSED_WORDS.contains(&word), "{} has the word {word}", metric.name);
        }
        assert_eq!(
            ["strata_agent_", "strata_peers_"].iter().any(|own| metric.name.starts_with(own)),
            !metric.has_identity,
            "{}",
            metric.name
        );
    }
}

#[test]
fn names_are_unique_also_with_the_suffixes_of_histograms() {
    let mut seen = BTreeSet::new();
    for metric in all() {
        let mut names = vec![metric.query_name()];
        if matches!(metric.kind, MetricKind::Histogram { .. }) {
            names.extend(
                ["_bucket", "_sum", "_count"].map(|suffix| format!("{}{suffix}", metric.name)),
            );
        }
        for name in names {
            assert!(seen.insert(name.clone()), "{name} is there twice");
        }
    }
}

#[test]
fn a_unit_is_a_base_unit_and_the_last_word_of_the_name() {
    for metric in all() {
        assert!(["", "seconds", "bytes", "ratio"].contains(&metric.unit), "{}", metric.name);
        let last = metric.name.rsplit('_').next().unwrap();
        let expected = if ["seconds", "bytes", "ratio"].contains(&last) { last } else { "" };
        assert_eq!(metric.unit, expected, "{}", metric.name);
    }
}

#[test]
fn every_metric_has_help_that_needs_no_escaping() {
    for metric in all() {
        assert!(metric.help.len() > 10 && metric.help.ends_with('.'), "{}", metric.name);
        assert!(!metric.help.contains(['\\', '"', '\n', '|']), "{}", metric.name);
    }
}

#[test]
fn labels_are_well_formed_unique_and_explained() {
    let explained: BTreeSet<_> = labels::ALL.iter().map(|label| label.name).collect();
    assert_eq!(explained.len(), labels::ALL.len(), "a label is explained twice");
    let mut used: BTreeSet<_> = IDENTITY.into_iter().collect();
    for metric in all() {
        let mut seen: BTreeSet<_> =
            if metric.has_identity { IDENTITY.into() } else { BTreeSet::new() };
        for label in metric.labels {
            assert!(
                is_name(label) && !["le", "quantile", "type"].contains(label),
                "{}: {label}",
                metric.name
            );
            assert!(seen.insert(label), "{} has {label} twice", metric.name);
            assert!(!metric.name.contains(&format!("_by_{label}")), "{}", metric.name);
        }
        used.extend(metric.labels);
    }
    assert_eq!(explained, used);
}

#[test]
fn the_shares_fit_the_budget_of_a_container() {
    let sum: u32 = all().map(|metric| metric.share).sum();
    assert!(sum <= CONTAINER_BUDGET, "the shares sum up to {sum}");
}

#[test]
fn a_share_holds_whole_label_sets_and_only_workload_metrics_have_one() {
    for metric in all() {
        assert_eq!(metric.has_identity, metric.share > 0, "{}", metric.name);
        assert_eq!(metric.share % metric.series_per_label_set(), 0, "{}", metric.name);
    }
}

#[test]
fn classic_edges_ascend() {
    for metric in all() {
        if let MetricKind::Histogram { edges_ns, .. } = metric.kind {
            assert!(edges_ns.is_sorted_by(|a, b| a < b), "{}", metric.name);
            assert_eq!(metric.unit, "seconds", "{}", metric.name);
        }
    }
}
