//! What `strata net` prints: a table, or one JSON object a line.
//!
//! Separate because scripts read this: names and units of the JSON are a
//! promise.

use std::io::{self, Write};

use serde_json::json;

use super::edges::Row;
use crate::cli::top::units;

const HEADINGS: [&str; 9] =
    ["FROM", "TO", "SCOPE", "SEGM/S", "RETRANS", "RTT P50", "JITTER P90", "FAILED/S", "RESETS/S"];

/// Prints rows, at most so many.
///
/// # Errors
///
/// If `out` does not take it.
pub fn table(rows: &[Row], most: usize, out: &mut dyn Write) -> io::Result<()> {
    let cells: Vec<[String; 9]> = rows.iter().take(most).map(cells).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(HEADINGS.iter().copied().zip(widths), out)?;
    for row in &cells {
        line(row.iter().map(String::as_str).zip(widths), out)?;
    }
    Ok(())
}

/// Names to the left, numbers to the right.
fn line<'a>(cells: impl Iterator<Item = (&'a str, usize)>, out: &mut dyn Write) -> io::Result<()> {
    let mut text = String::new();
    for (i, (cell, width)) in cells.enumerate() {
        let separator = if i == 0 { "" } else { "  " };
        text.push_str(separator);
        text.push_str(&if i < 3 { format!("{cell:width$}") } else { format!("{cell:>width$}") });
    }
    writeln!(out, "{}", text.trim_end())
}

fn cells(row: &Row) -> [String; 9] {
    let time = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), units::duration);
    [
        row.from(),
        row.to(),
        row.scope.clone(),
        units::count(row.segments),
        row.retransmit_ratio.map_or_else(|| "-".to_owned(), units::ratio),
        time(row.rtt_p50()),
        time(row.jitter_p90()),
        units::count(row.connects[1]),
        units::count(row.resets),
    ]
}

/// Prints an object for each row. Seconds and shares are numbers; what has no
/// value is null.
///
/// # Errors
///
/// If `out` does not take it.
pub fn json(rows: &[Row], interval_s: f64, out: &mut dyn Write) -> io::Result<()> {
    for row in rows {
        let [namespace, pod, container, workload] = &row.identity;
        let [peer_namespace, peer_workload, peer_zone] = &row.peer;
        let [connects, failed] = row.connects;
        let mut object = json!({
            "namespace": namespace,
            "pod": pod,
            "container": container,
            "workload": workload,
            "peer_namespace": peer_namespace,
            "peer_workload": peer_workload,
            "peer_zone": peer_zone,
            "scope": row.scope,
            "interval_seconds": interval_s,
            "segments_per_second": row.segments,
            "retransmits_per_second": row.retransmits,
            "retransmit_ratio": row.retransmit_ratio,
            "rtt_p50_seconds": row.rtt_p50(),
            "rtt_samples": row.rtt.count(),
            "jitter_p90_seconds": row.jitter_p90(),
            "connects_per_second": connects,
            "connects_failed_per_second": failed,
            "resets_per_second": row.resets,
        });
        if !row.node.is_empty() {
            object["node"] = row.node.as_str().into();
        }
        writeln!(out, "{object}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::View;
    use super::super::edges::{between, tests::sample};
    use super::*;

    fn rows() -> Vec<Row> {
        between(&sample(10, 1), &sample(12, 2), &View::default(), |_| true).unwrap().1
    }

    #[test]
    fn the_table_has_a_line_an_edge() {
        let mut out = Vec::new();
        table(&rows(), 10, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(
            lines[1][..5],
            ["shop/cart-1/cart", "shop/deployment/pay", "zone", "1500", "2.0%"]
        );
        let mut out = Vec::new();
        table(&rows(), 1, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }

    #[test]
    fn json_is_an_object_a_line_in_base_units() {
        let mut out = Vec::new();
        json(&rows(), 2.0, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["peer_workload"], "deployment/pay");
        assert_eq!(first["retransmit_ratio"], 0.02);
        assert_eq!(first["rtt_samples"], 150);
        assert_eq!(first["connects_failed_per_second"], 1.5);
        assert_eq!(text.lines().count(), 2);
    }
}
