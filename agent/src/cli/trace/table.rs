//! A line a request: when, who, what, how long, and where most of it went.
//!
//! Separate and pure; lines are printed as they come, so that widths are fixed
//! beforehand.

use std::io::{self, Write};

use agent_common::parts::Part;

use super::paint::Paint;
use super::text::{duration, fit, is_failure, safe, status, time_of_day, workload};
use crate::tap::traced::{Traced, part_name};

/// Parts that are shown, the longest.
const PARTS_SHOWN: usize = 3;

/// Widths of columns. Beyond a terminal nothing is cut.
struct Widths {
    workload: usize,
    path: usize,
    /// What is left for parts.
    parts: usize,
    cuts: bool,
}

const TIME: usize = 12;
const METHOD: usize = 7;
const STATUS: usize = 7;
const WALL: usize = 6;
/// Columns of these five, with the blanks that follow each of the seven.
const FIXED: usize = TIME + METHOD + STATUS + WALL + 6;

impl Widths {
    fn new(columns: Option<usize>) -> Self {
        let Some(columns) = columns else {
            return Self { workload: 24, path: 24, parts: usize::MAX, cuts: false };
        };
        let left = columns.saturating_sub(FIXED);
        // Parts are what one looks for: half of what there is.
        let (workload, path) = (left * 2 / 7, left * 2 / 9);
        Self { workload, path, parts: left - workload - path, cuts: true }
    }

    fn cell(&self, text: &str, width: usize) -> String {
        let text = if self.cuts { fit(text, width) } else { text.to_owned() };
        format!("{text:width$}")
    }
}

/// The names of the columns.
pub(super) fn heading(
    columns: Option<usize>,
    paint: &Paint,
    out: &mut impl Write,
) -> io::Result<()> {
    let widths = Widths::new(columns);
    let line = format!(
        "{:TIME$} {} {:METHOD$} {} {:STATUS$} {:>WALL$} {}",
        "TIME (UTC)",
        widths.cell("WORKLOAD", widths.workload),
        "METHOD",
        widths.cell("PATH", widths.path),
        "STATUS",
        "WALL",
        if widths.parts < 13 { "PARTS" } else { "WHERE IT WENT" },
    );
    writeln!(out, "{}", paint.title(line.trim_end()))
}

/// One request.
pub(super) fn row(
    traced: &Traced<'_>,
    columns: Option<usize>,
    paint: &Paint,
    out: &mut impl Write,
) -> io::Result<()> {
    let widths = Widths::new(columns);
    let path = traced.path.as_deref().map_or_else(|| "-".to_owned(), safe);
    let method = match &*traced.method {
        "" => safe(&traced.protocol),
        method => safe(method),
    };
    let status = format!("{:STATUS$}", fit(&status(traced), STATUS));
    let status = if is_failure(traced) { paint.failure(&status) } else { status };
    writeln!(
        out,
        "{} {} {:METHOD$} {} {} {:>WALL$} {}",
        time_of_day(traced.end_unix_ns),
        widths.cell(&workload(traced), widths.workload),
        fit(&method, METHOD),
        widths.cell(&path, widths.path),
        status,
        duration(traced.wall_ns),
        parts(traced, widths.parts, paint),
    )
}

/// The longest parts, as many as there is room for.
fn parts(traced: &Traced<'_>, room: usize, paint: &Paint) -> String {
    let mut parts: Vec<(Part, u64)> = traced.parts.iter().collect();
    parts.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let (mut line, mut used) = (String::new(), 0);
    for (part, ns) in parts.into_iter().take(PARTS_SHOWN) {
        let mark = if traced.estimated.has(part) { "~" } else { "" };
        let (name, time) = (format!("{mark}{}", part_name(part)), duration(ns));
        let gap = if used == 0 { "" } else { "  " };
        // The longest is always named, if in fewer letters.
        let beside = used + gap.len() + 1 + time.len();
        let name = if used == 0 { fit(&name, room.saturating_sub(beside)) } else { name };
        let width = gap.len() + name.chars().count() + 1 + time.len();
        if used + width > room {
            break;
        }
        used += width;
        line.push_str(gap);
        line.push_str(&paint.layer(part.layer(), &name));
        line.push(' ');
        line.push_str(&time);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::sample::{plain, traced};
    use super::*;

    fn table(columns: Option<usize>, paint: Paint) -> String {
        let mut out = Vec::new();
        heading(columns, &paint, &mut out).unwrap();
        row(&traced(), columns, &paint, &mut out).unwrap();
        row(&plain(), columns, &paint, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_a_request_where_nothing_is_cut() {
        let expected = "\
TIME (UTC)   WORKLOAD                 METHOD  PATH                     STATUS    WALL WHERE IT WENT
12:00:01.234 process/goapi            GET     /v1/pay                  200     42.0ms downstream.wait 20.1ms  ~os.runqueue 8.00ms  runtime.wait 7.00ms
12:00:01.235 process/goapi            opaque  -                        aborted 1.00ms unattributed.unknown 1.00ms
";
        assert_eq!(table(None, Paint::new(false)), expected);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_colour_changes_no_text() {
        for columns in [60, 80, 120, 200] {
            let text = table(Some(columns), Paint::new(false));
            assert!(text.lines().all(|line| line.chars().count() <= columns), "{columns}:\n{text}");
            let coloured = table(Some(columns), Paint::new(true));
            assert_ne!(coloured, text);
            assert_eq!(super::super::sample::without_colour(&coloured), text);
        }
    }

    #[test]
    fn hostile_names_are_shown_and_not_done() {
        let mut traced = traced();
        traced.path = Some("/\x1b]0;x\x07".into());
        traced.workload = "process/\x1b[2J".into();
        let mut out = Vec::new();
        row(&traced, None, &Paint::new(false), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains('\x1b') && text.contains("/\\u{1b}]0;x\\u{7}"), "{text}");
    }
}
