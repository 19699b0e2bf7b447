//! What `strata top --once` prints: a table, or one JSON object a line.
//!
//! Separate from the screen because scripts read this: names and units of the
//! JSON are a promise.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::columns::{Column, Layout};
use super::layers::{TimeByPart, name};
use super::rates::{Rates, Row, Sampled};
use super::view::sorted;

/// Prints rows, the busiest first, and their total.
///
/// # Errors
///
/// If `out` does not take it.
pub fn table(sampled: &Sampled, out: &mut dyn Write) -> io::Result<()> {
    let rows = sorted(sampled.rows.iter(), Column::Requests, true);
    let total = Row {
        identity: super::rates::Identity {
            workload: format!("total of {}", rows.len()),
            ..Default::default()
        },
        rates: Some(Rates::total(
            rows.iter().filter_map(|row| row.rates.as_ref()),
            sampled.interval_s,
        )),
    };
    let longest = rows.iter().map(|row| row.identity.name().chars().count()).max();
    // As wide as the names need: nothing is cut where a program may read.
    let longest = longest.unwrap_or(0).max(total.identity.workload.chars().count());
    let layout = Layout::new(usize::MAX, longest);
    for (column, width) in layout.columns() {
        match column {
            Column::Workload => write!(out, "{:width$}", column.heading())?,
            // The last one: what is behind it is blank.
            Column::Tail => write!(out, " {}", column.heading())?,
            Column::Layers => write!(out, " {:width$}", column.heading())?,
            _ => write!(out, "{}", layout.number(column.heading(), *width))?,
        }
    }
    writeln!(out)?;
    for row in rows.into_iter().chain([&total]) {
        let cells =
            layout.columns().iter().map(|(column, width)| layout.cell(*column, *width, row));
        writeln!(out, "{}", cells.collect::<String>().trim_end())?;
    }
    Ok(())
}

/// Prints an object for each row, the busiest first. Seconds and shares are
/// numbers; what has no value is null.
///
/// # Errors
///
/// If `out` does not take it.
pub fn json(sampled: &Sampled, out: &mut dyn Write) -> io::Result<()> {
    for row in sorted(sampled.rows.iter(), Column::Requests, true) {
        writeln!(out, "{}", object(row, sampled.interval_s))?;
    }
    Ok(())
}

fn object(row: &Row, interval_s: f64) -> Value {
    let rates = row.rates.as_ref();
    let of = |column: Column| rates.and_then(|rates| column.value(rates));
    let number = |get: fn(&Rates) -> f64| rates.map(get);
    let classes = rates.map(|rates| {
        let classes = rates.classes.iter().map(|class| {
            json!({
                "protocol": class.protocol,
                "status_class": class.class,
                "requests_per_second": class.requests,
            })
        });
        classes.collect::<Vec<_>>()
    });
    let mut object = json!({
        "namespace": row.identity.namespace,
        "pod": row.identity.pod,
        "container": row.identity.container,
        "workload": row.identity.workload,
        "container_id": row.identity.container_id,
        "interval_seconds": interval_s,
        "requests_per_second": of(Column::Requests),
        "requests": classes,
        "errors_per_second": number(|rates| rates.errors),
        "error_ratio": of(Column::Errors),
        "unmeasured_per_second": number(|rates| rates.unmeasured),
        "p50_seconds": of(Column::P50),
        "p95_seconds": of(Column::P95),
        "p99_seconds": of(Column::P99),
        "runqueue_p99_seconds": of(Column::Runqueue),
        "runqueue_ratio": rates.map(|rates| rates.runqueue.sum_seconds() / interval_s),
        "throttled_ratio": of(Column::Throttled),
        "retransmits_per_second": of(Column::Retransmits),
        "parts": rates.map(|rates| seconds(&rates.parts)),
        "slow_requests_per_second": number(|rates| rates.tail.requests),
        "slow_parts": rates.map(|rates| seconds(&rates.tail.parts)),
    });
    if !row.identity.node.is_empty() {
        object["node"] = json!(row.identity.node);
    }
    object
}

/// Seconds of every part, by its name; all of them, also those without time.
fn seconds(parts: &TimeByPart) -> Value {
    let seconds = parts.iter().map(|(part, ns)| (name(part), json!(ns as f64 / 1e9)));
    Value::Object(seconds.collect())
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;

    fn printed(print: impl Fn(&Sampled, &mut dyn Write) -> io::Result<()>) -> String {
        let sampled = Sampled::between(&sample(10, 0), &sample(12, 1)).unwrap();
        let mut out = Vec::new();
        print(&sampled, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_cuts_no_name_and_ends_with_the_total() {
        let table = printed(table);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 5);
        assert!(lines[0].starts_with("WORKLOAD ") && lines[0].trim_end().ends_with("SLOW TAIL"));
        assert!(lines[2].starts_with("shop/api-7d9f8b6c5-x2x4z/api "), "{table}");
        let total: Vec<&str> = lines[4].split_whitespace().collect();
        assert_eq!(total[..5], ["total", "of", "3", "150", "5.0%"]);
    }

    #[test]
    fn json_is_an_object_a_line_in_base_units() {
        let text = printed(json);
        let objects: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 3);
        let api = &objects[1];
        assert_eq!(api["pod"], "api-7d9f8b6c5-x2x4z");
        assert_eq!(api["requests_per_second"], 50.0);
        assert_eq!(api["requests"][1]["status_class"], "5xx");
        assert!((api["p99_seconds"].as_f64().unwrap() - 0.59).abs() < 0.01);
        assert!((api["throttled_ratio"].as_f64().unwrap() - 0.25).abs() < 1e-9);
        assert_eq!(api["parts"]["downstream.wait"], 0.3);
        assert_eq!(api["parts"].as_object().unwrap().len(), 19);
        assert_eq!(api["slow_requests_per_second"], 0.5);
        assert_eq!(api["slow_parts"]["os.runqueue"], 0.02);
        assert_eq!(objects[2]["p99_seconds"], Value::Null);
        assert_eq!(objects[2]["requests_per_second"], 0.0);
    }
}
