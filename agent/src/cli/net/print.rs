//! What `strata net` prints: a table, or one JSON object a line.
//!
//! Separate because scripts read this: names and units of the JSON are a
//! promise.

use std::io::{self, Write};

use serde_json::json;

use super::edges::Row;
use crate::cli::top::units;

/// Number of columns.
const COLUMNS: usize = 11;
const HEADINGS: [&str; COLUMNS] = [
    "FROM",
    "TO",
    "SCOPE",
    "SEGM/S",
    "RETRANS",
    "RTT P50",
    "JITTER P90",
    "FAILED/S",
    "RESETS/S",
    "DISORDER/S",
    "STALLED",
];
/// Columns from here on are left out where they would say nothing: they are
/// seldom needed, and the others take a terminal's width.
const SELDOM: usize = 9;

/// Prints rows, at most so many.
///
/// # Errors
///
/// If `out` does not take it.
pub fn table(rows: &[Row], most: usize, out: &mut dyn Write) -> io::Result<()> {
    let cells: Vec<[String; COLUMNS]> = rows.iter().take(most).map(cells).collect();
    let mut widths = HEADINGS.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    for (i, width) in widths.iter_mut().enumerate().skip(SELDOM) {
        let says = |row: &[String; COLUMNS]| row.get(i).is_some_and(|cell| cell != "0");
        if !cells.iter().any(says) {
            *width = 0;
        }
    }
    line(HEADINGS.iter().copied().zip(widths), out)?;
    for row in &cells {
        line(row.iter().map(String::as_str).zip(widths), out)?;
    }
    Ok(())
}

/// Names to the left, numbers to the right; columns without a width not at all.
fn line<'a>(cells: impl Iterator<Item = (&'a str, usize)>, out: &mut dyn Write) -> io::Result<()> {
    let mut text = String::new();
    for (i, (cell, width)) in cells.enumerate().filter(|(_, (_, width))| *width > 0) {
        let separator = if i == 0 { "" } else { "  " };
        text.push_str(separator);
        text.push_str(&if i < 3 { format!("{cell:width$}") } else { format!("{cell:>width$}") });
    }
    writeln!(out, "{}", text.trim_end())
}

fn cells(row: &Row) -> [String; COLUMNS] {
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
        units::count(row.out_of_order.unwrap_or(0.0)),
        if row.stalled > 0.0 { units::ratio(row.stalled) } else { units::count(row.stalls) },
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
            "out_of_order_per_second": row.out_of_order,
            "zero_window_stalls_per_second": row.stalls,
            "zero_window_connections": row.stalled,
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
        assert_eq!(lines[0].len(), HEADINGS.join(" ").split(' ').count() - 2, "{text}");
        let mut out = Vec::new();
        table(&rows(), 1, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2);
    }

    #[test]
    fn columns_that_are_seldom_needed_are_there_where_they_say_something() {
        let mut rows = rows();
        rows[0].stalled = 0.75;
        let mut out = Vec::new();
        table(&rows, 10, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].ends_with("RESETS/S  STALLED"), "{text}");
        assert!(lines[1].ends_with("      75%") && lines[2].ends_with("        0"), "{text}");
        rows[1].out_of_order = Some(40.0);
        let mut out = Vec::new();
        table(&rows, 10, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().next().unwrap().ends_with("RESETS/S  DISORDER/S  STALLED"), "{text}");
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
        assert!(first["out_of_order_per_second"].is_null(), "not known");
        assert_eq!(first["zero_window_connections"], 0.0);
        assert_eq!(text.lines().count(), 2);
    }
}
