//! A capture as a table: who did what in the window, and for how long.
//!
//! Separate and pure: the same times as in the trace, added up.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::super::trace::text::{duration, safe};
use super::chrome::{self, Picture};
use super::state::{Call, State, Stretch};

/// Rows of a process; what ran less is put together.
const MAX_ROWS: usize = 40;
/// What served no request and ran for less is put together too: `net/http` has a
/// goroutine for each request that does nothing but look whether the client is
/// still there.
const LEAST_NS: u64 = 1_000_000;
/// Reasons of waits that are named.
const MAX_REASONS: usize = 3;

/// What a goroutine or a thread did.
#[derive(Debug, Default)]
struct Row {
    who: String,
    requests: usize,
    running_ns: u64,
    /// Of that in system calls.
    kernel_ns: u64,
    runqueue_ns: u64,
    throttled_ns: u64,
    /// Blocked, by the system call or the reason.
    blocked_ns: BTreeMap<&'static str, u64>,
    ready_ns: u64,
    /// Waiting, by the reason.
    waiting_ns: BTreeMap<&'static str, u64>,
    unseen_ns: u64,
}

impl Row {
    fn new(who: String, requests: usize, stretches: &[Stretch], calls: &[Call]) -> Self {
        let mut row = Self { who, requests, ..Self::default() };
        for stretch in stretches {
            let ns = stretch.ns();
            let name = stretch.state.name();
            match stretch.state {
                State::Running => row.running_ns += ns,
                State::RunQueue => row.runqueue_ns += ns,
                State::Throttled => row.throttled_ns += ns,
                State::Blocked { .. } => *row.blocked_ns.entry(name).or_default() += ns,
                State::Ready => row.ready_ns += ns,
                State::Waiting(_) => *row.waiting_ns.entry(name).or_default() += ns,
                State::Unseen => row.unseen_ns += ns,
            }
        }
        row.kernel_ns = in_calls(stretches, calls);
        row
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.running_ns += other.running_ns;
        self.kernel_ns += other.kernel_ns;
        self.runqueue_ns += other.runqueue_ns;
        self.throttled_ns += other.throttled_ns;
        self.ready_ns += other.ready_ns;
        self.unseen_ns += other.unseen_ns;
        for (to, from) in
            [(&mut self.blocked_ns, &other.blocked_ns), (&mut self.waiting_ns, &other.waiting_ns)]
        {
            for (name, ns) in from {
                *to.entry(name).or_default() += ns;
            }
        }
    }

    fn cells(&self) -> Vec<String> {
        let some = |ns: u64| if ns == 0 { "-".to_owned() } else { duration(ns) };
        vec![
            self.who.clone(),
            if self.requests == 0 { "-".to_owned() } else { self.requests.to_string() },
            some(self.running_ns),
            some(self.kernel_ns),
            some(self.runqueue_ns),
            some(self.throttled_ns),
            some(self.ready_ns),
            some(self.unseen_ns),
            reasons(&self.blocked_ns),
            reasons(&self.waiting_ns),
        ]
    }
}

/// Time of running stretches that lies in system calls. Both are in order.
fn in_calls(stretches: &[Stretch], calls: &[Call]) -> u64 {
    let running = stretches.iter().filter(|stretch| stretch.state == State::Running);
    let mut total_ns = 0;
    let mut from = 0;
    for stretch in running {
        while calls.get(from).is_some_and(|call| call.until_ns <= stretch.from_ns) {
            from += 1;
        }
        let mut at_ns = stretch.from_ns;
        for call in calls.get(from..).unwrap_or_default() {
            if call.from_ns >= stretch.until_ns {
                break;
            }
            let (begin_ns, end_ns) = (call.from_ns.max(at_ns), call.until_ns.min(stretch.until_ns));
            total_ns += end_ns.saturating_sub(begin_ns);
            at_ns = at_ns.max(end_ns);
        }
    }
    total_ns
}

/// `1.2s sleep, 30.1ms mutex`: the longest first.
fn reasons(by_name: &BTreeMap<&'static str, u64>) -> String {
    let mut sorted: Vec<_> = by_name.iter().filter(|(_, ns)| **ns > 0).collect();
    if sorted.is_empty() {
        return "-".to_owned();
    }
    sorted.sort_by_key(|(_, ns)| std::cmp::Reverse(**ns));
    let rest: u64 = sorted.iter().skip(MAX_REASONS).map(|(_, ns)| **ns).sum();
    let mut texts: Vec<String> = sorted
        .iter()
        .take(MAX_REASONS)
        .map(|(name, ns)| format!("{} {name}", duration(**ns)))
        .collect();
    if rest > 0 {
        texts.push(format!("{} other", duration(rest)));
    }
    texts.join(", ")
}

/// Writes the tables of all processes.
///
/// # Errors
///
/// If they cannot be written.
pub(super) fn write(picture: &Picture<'_>, out: &mut impl Write) -> io::Result<()> {
    for (index, pid) in chrome::pids(picture).into_iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        write_process(picture, pid, out)?;
    }
    Ok(())
}

fn write_process(picture: &Picture<'_>, pid: u32, out: &mut impl Write) -> io::Result<()> {
    let window = picture.window;
    let mut served: BTreeMap<(u64, u32), usize> = BTreeMap::new();
    let mut requests = 0;
    for request in chrome::requests(picture).filter(|request| request.pid == pid) {
        requests += 1;
        let unit = if request.goid == 0 { (0, request.tid) } else { (request.goid, 0) };
        *served.entry(unit).or_default() += 1;
    }
    let threads: Vec<_> = picture.threads.iter().filter(|thread| thread.tgid == pid).collect();
    let of_thread = |served: &BTreeMap<(u64, u32), usize>, tid: u32| {
        served.get(&(0, tid)).copied().unwrap_or_default()
    };
    let threads: Vec<Row> = threads
        .iter()
        .map(|thread| {
            let requests = of_thread(&served, thread.tid);
            let who = format!("thread {}", thread.tid);
            Row::new(who, requests, &thread.stretches, &thread.calls)
        })
        .collect();
    let goroutines: Vec<Row> = picture
        .goroutines
        .range((pid, 0)..=(pid, u64::MAX))
        .map(|((_, goid), goroutine)| {
            let requests = served.get(&(*goid, 0)).copied().unwrap_or_default();
            let who = format!("goroutine {goid}");
            Row::new(who, requests, &goroutine.stretches, &goroutine.calls)
        })
        .collect();
    let running_ns: u64 = threads.iter().map(|row| row.running_ns).sum();
    let goroutines_count = match goroutines.len() {
        0 => String::new(),
        count => format!(", {count} goroutines"),
    };
    writeln!(
        out,
        "{} (pid {pid}): {} on CPU in {}, {} threads{goroutines_count}, {requests} requests",
        safe(&workload(picture, pid)),
        duration(running_ns),
        duration(window.until_ns.saturating_sub(window.from_ns)),
        threads.len(),
    )?;
    let rows = if goroutines.is_empty() { threads } else { goroutines };
    write_rows(rows, out)
}

fn workload(picture: &Picture<'_>, pid: u32) -> String {
    let known = picture.gathered.processes.get(&pid);
    let known = known.map(|one| chrome::label(&one.namespace, &one.pod, &one.workload));
    known.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let request = chrome::requests(picture).find(|request| request.pid == pid);
        request.map_or_else(
            || "process".to_owned(),
            |one| chrome::label(&one.namespace, &one.pod, &one.workload),
        )
    })
}

const TITLES: [&str; 10] = [
    "WHO",
    "REQUESTS",
    "RUNNING",
    "KERNEL",
    "RUNQUEUE",
    "THROTTLED",
    "READY",
    "UNSEEN",
    "BLOCKED IN",
    "WAITING FOR",
];
/// Columns that nobody needs while they are empty.
const OPTIONAL: [usize; 3] = [5, 6, 8];

fn write_rows(mut rows: Vec<Row>, out: &mut impl Write) -> io::Result<()> {
    rows.sort_by_key(|row| std::cmp::Reverse((row.running_ns, row.requests)));
    let is_small = |row: &Row| row.requests == 0 && row.running_ns < LEAST_NS;
    let (small, mut rows): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(is_small);
    let mut others = if rows.len() > MAX_ROWS { rows.split_off(MAX_ROWS) } else { Vec::new() };
    others.extend(small);
    if !others.is_empty() {
        let mut rest = Row::default();
        others.iter().for_each(|row| rest.merge(row));
        rest.who = format!("{} others", others.len());
        // Most of them were not there most of the time.
        rest.unseen_ns = 0;
        rows.push(rest);
    }
    let lines: Vec<Vec<String>> = std::iter::once(TITLES.map(str::to_owned).to_vec())
        .chain(rows.iter().map(Row::cells))
        .collect();
    let cell = |line: &[String], column: usize| line.get(column).cloned().unwrap_or_default();
    let is_shown = |column: &usize| {
        !OPTIONAL.contains(column) || lines.iter().skip(1).any(|line| cell(line, *column) != "-")
    };
    let columns: Vec<usize> = (0..TITLES.len()).filter(is_shown).collect();
    let width = |column: usize| {
        lines.iter().map(|line| cell(line, column).chars().count()).max().unwrap_or_default()
    };
    for line in &lines {
        let texts: Vec<String> = columns
            .iter()
            .map(|column| {
                let (text, width) = (cell(line, *column), width(*column));
                // Names to the left, numbers to the right.
                if matches!(column, 0 | 8 | 9) {
                    format!("{text:width$}")
                } else {
                    format!("{text:>width$}")
                }
            })
            .collect();
        writeln!(out, "{}", texts.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use agent_common::work::Off;

    use super::super::sample::{call, left, window};
    use super::super::threads::threads;
    use super::*;

    #[test]
    fn calls_count_where_they_run_and_once() {
        let futex = left(100, 10, 10, Off::Other as u8, 202);
        let points = [call(40, 10, 20, 1), call(60, 10, 50, 0), futex, call(220, 200, 90, 202)];
        let threads = threads(&points, window(0, 300));
        let row = Row::new(String::new(), 0, &threads[0].stretches, &threads[0].calls);
        // 20 to 40, 50 to 60, 90 to 100 and 200 to 220.
        assert_eq!(row.kernel_ns, 60);
        assert_eq!(row.running_ns, 90 + 100, "up to the end: it did not leave again");
        assert_eq!(row.blocked_ns.get("futex"), Some(&100));
        let long = [("futex", 2_000_000), ("read", 9_000_000)].into();
        assert_eq!(reasons(&long), "9.00ms read, 2.00ms futex");
    }

    #[test]
    fn what_ran_least_is_put_together() {
        let rows = (0..100)
            .map(|n| Row { who: n.to_string(), running_ns: LEAST_NS + n, ..Row::default() })
            .chain((0..7).map(|n| Row { running_ns: n, unseen_ns: 5, ..Row::default() }))
            .chain([Row { who: "served".to_owned(), requests: 1, ..Row::default() }])
            .collect();
        let mut out = Vec::new();
        write_rows(rows, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + MAX_ROWS + 1);
        assert!(lines[1].starts_with("99 ") && lines[41].starts_with("68 others"), "{text}");
        assert!(!text.contains("THROTTLED") && text.contains("WAITING FOR"), "{text}");
    }
}
