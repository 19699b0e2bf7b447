//! Reads what the Go, C and Python workloads wrote down about their own requests.
//!
//! Separate because it is ground truth: it comes from the handler, on the same
//! clock as the kernel's records and the client's log.

use std::path::Path;

use anyhow::Context as _;

/// One request as its handler saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The path's last segment, if that is a number.
    pub id: Option<u64>,
    /// Method.
    pub method: String,
    /// Path, without its query.
    pub path: String,
    /// Status.
    pub status: u16,
    /// Goroutine that ran the handler; 0 where there are none.
    pub goid: u64,
    /// `CLOCK_MONOTONIC` at the handler's start.
    pub start_ns: u64,
    /// `CLOCK_MONOTONIC` at its end; a small response leaves after that.
    pub end_ns: u64,
    /// What the handler did, and for how many nanoseconds, in order.
    pub notes: Vec<(String, u64)>,
}

impl Entry {
    /// Sum of what was noted under this word.
    #[must_use]
    pub fn noted_ns(&self, what: &str) -> u64 {
        self.notes.iter().filter(|(word, _)| word == what).map(|(_, ns)| ns).sum()
    }
}

/// Reads a journal that has been flushed (`GET /flush`, or SIGTERM).
///
/// # Errors
/// When it cannot be read, or a line is not as the workload writes them.
pub fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    text.lines().map(|line| parse(line).with_context(|| format!("not an entry: {line}"))).collect()
}

fn parse(line: &str) -> Option<Entry> {
    let mut fields = line.split(' ');
    let mut entry = Entry {
        id: fields.next()?.parse().ok(),
        method: fields.next()?.to_owned(),
        path: fields.next()?.to_owned(),
        status: fields.next()?.parse().ok()?,
        goid: fields.next()?.parse().ok()?,
        start_ns: fields.next()?.parse().ok()?,
        end_ns: fields.next()?.parse().ok()?,
        notes: Vec::new(),
    };
    for field in fields {
        let (what, ns) = field.split_once('=')?;
        entry.notes.push((what.to_owned(), ns.parse().ok()?));
    }
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_with_or_without_an_id() {
        let entry = parse("7 GET /hello/7 200 18 100 200").unwrap();
        assert_eq!((entry.id, entry.goid, entry.end_ns), (Some(7), 18, 200));
        assert_eq!(parse("- GET /hello 200 18 100 200").unwrap().id, None);
        assert_eq!(parse("7 GET /hello/7 200 18 100"), None);
    }

    #[test]
    fn notes_of_one_word_add_up() {
        let entry = parse("7 GET /zig/7 200 18 100 200 spin=5 out=1 spin=6").unwrap();
        assert_eq!((entry.noted_ns("spin"), entry.noted_ns("out")), (11, 1));
        assert_eq!(entry.noted_ns("sleep"), 0);
        assert_eq!(parse("7 GET /zig/7 200 18 100 200 spin"), None);
    }
}
