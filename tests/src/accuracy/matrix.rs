//! The confusion matrix and the verdicts, in Markdown. Pure.
//!
//! Separate because it only arranges what the trials found, misses included.

use std::fmt::Write as _;

use agent_common::parts::{PARTS, Part};

use super::name;
use super::trial::Outcome;

/// What became of one scene.
#[derive(Debug)]
pub struct Row {
    /// Name of the scene.
    pub name: &'static str,
    /// What was done.
    pub what: &'static str,
    /// Where it must be shown.
    pub parts: &'static [Part],
    /// Its outcomes by size, or why there are none.
    pub result: Result<Vec<Outcome>, String>,
}

impl Row {
    /// Whether every size was met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        matches!(&self.result, Ok(outcomes) if outcomes.iter().all(Outcome::is_met))
    }
}

/// Parts below this share of what was injected are not shown.
const SHOWN: f64 = 0.005;

/// Injections against parts, in percent of what was injected, at each scene's
/// size nearest to 20 ms.
#[must_use]
pub fn confusion(rows: &[Row]) -> String {
    let shares: Vec<_> = rows.iter().map(shares).collect();
    let is_used = |part: &Part| {
        shares.iter().flatten().any(|shares| share(shares, *part).abs() >= SHOWN)
            || rows.iter().any(|row| row.parts.contains(part))
    };
    let columns: Vec<Part> = Part::ALL.into_iter().filter(is_used).collect();
    let mut text = String::from("| injected | met |");
    for part in &columns {
        let _ = write!(text, " {} |", name(*part).replace('.', "<br>"));
    }
    text.push_str("\n|---|---|");
    text.push_str(&"--:|".repeat(columns.len()));
    text.push('\n');
    for (row, shares) in rows.iter().zip(&shares) {
        let Some(shares) = shares else {
            let why = row.result.as_ref().err().map_or("", String::as_str);
            let _ = writeln!(text, "| {} | not measured: {why} |", row.what);
            continue;
        };
        let verdict = if row.is_met() { "yes" } else { "**no**" };
        let _ = write!(text, "| {} | {verdict} |", row.what);
        for part in &columns {
            let percent = share(shares, *part) * 100.0;
            let cell = match (row.parts.contains(part), percent.abs() >= SHOWN * 100.0) {
                (true, _) => format!("**{percent:.0}**"),
                (false, true) if percent.abs() < 9.95 => format!("{percent:.1}"),
                (false, true) => format!("{percent:.0}"),
                (false, false) => String::new(),
            };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}

fn shares(row: &Row) -> Option<[f64; PARTS]> {
    let outcomes = row.result.as_ref().ok()?;
    let far = |outcome: &&Outcome| outcome.size.as_millis().abs_diff(20);
    let outcome = outcomes.iter().min_by_key(far)?;
    let truth_ns = outcome.truth_ns().max(1.0);
    Some(outcome.seen_ns.map(|ns| ns / truth_ns))
}

fn share(shares: &[f64; PARTS], part: Part) -> f64 {
    shares.get(part as usize).copied().unwrap_or(0.0)
}

/// Every size of every scene, in numbers: milliseconds.
#[must_use]
pub fn details(rows: &[Row]) -> String {
    let mut text = String::from(
        "| scene | asked ms | part | log ms | agent ms (95 %) | floor ms | elsewhere ms | requests | met |\n\
         |---|--:|---|--:|--:|--:|--:|--:|---|\n",
    );
    for row in rows {
        match &row.result {
            Err(why) => {
                let _ = writeln!(text, "| {} | | | | | | | | not measured: {why} |", row.name);
            }
            Ok(outcomes) => outcomes.iter().for_each(|outcome| details_of(&mut text, row, outcome)),
        }
    }
    text
}

fn details_of(text: &mut String, row: &Row, outcome: &Outcome) {
    let ms = |ns: f64| format!("{:.3}", ns / 1e6);
    for found in &outcome.found {
        let mut verdict = if found.is_met { "yes" } else { "**no**" }.to_owned();
        if !outcome.is_elsewhere_met {
            verdict.push_str(", **too much elsewhere**");
            let mut others: Vec<_> = Part::ALL
                .into_iter()
                .filter(|part| !row.parts.contains(part))
                .map(|part| (part, share(&outcome.off_ns, part)))
                .filter(|(_, ns)| *ns > outcome.elsewhere_ns * 0.1)
                .collect();
            others.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            for (part, ns) in others {
                let _ = write!(verdict, " {} {}", name(part), ms(ns));
            }
        }
        if let Some(named) = outcome.named {
            let _ = write!(verdict, ", culprit named in {:.0} %", named * 100.0);
        }
        if outcome.unmatched > 0 {
            let _ = write!(verdict, ", **{} not shown once**", outcome.unmatched);
        }
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} ({} to {}) | {} | {} (floor {}) | {} | {verdict} |",
            row.name,
            outcome.size.as_millis(),
            name(found.part),
            ms(found.truth_ns),
            ms(found.seen.mean),
            ms(found.seen.low),
            ms(found.seen.high),
            ms(found.floor_ns),
            ms(outcome.elsewhere_ns),
            ms(outcome.elsewhere_floor_ns),
            outcome.touched,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::Difference;
    use super::super::trial::Found;
    use super::*;
    use std::time::Duration;

    fn outcome(lock: f64, unknown: f64, is_met: bool) -> Outcome {
        let mut seen_ns = [0.0; PARTS];
        seen_ns[Part::Lock as usize] = lock;
        seen_ns[Part::Unknown as usize] = unknown;
        Outcome {
            size: Duration::from_millis(20),
            found: vec![Found {
                part: Part::Lock,
                truth_ns: 20e6,
                seen: Difference { mean: lock, low: lock, high: lock },
                floor_ns: 0.0,
                is_met,
            }],
            off_ns: seen_ns,
            seen_ns,
            elsewhere_ns: unknown,
            elsewhere_floor_ns: 0.0,
            is_elsewhere_met: is_met,
            touched: 400,
            unmatched: 0,
            named: None,
        }
    }

    #[test]
    fn misses_and_what_was_not_measured_stand_in_the_table() {
        let row = |what, result| Row { name: "lock", what, parts: &[Part::Lock], result };
        let rows = [
            row("held", Ok(vec![outcome(20e6, 0.0, true)])),
            row("missed", Ok(vec![outcome(10e6, 10e6, false)])),
            row("lacking", Err("no such thing".to_owned())),
        ];
        let text = confusion(&rows);
        assert!(text.contains("| held | yes | **100** |  |"), "{text}");
        assert!(text.contains("| missed | **no** | **50** | 50 |"), "{text}");
        assert!(text.contains("not measured: no such thing"), "{text}");
        let text = details(&rows);
        assert!(text.contains("**too much elsewhere** unattributed.unknown 10.000"), "{text}");
    }
}
