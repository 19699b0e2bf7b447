//! One request drawn to scale: its parts, its calls, the evidence.
//!
//! Separate and pure. When each part was is not known, only how long it took in
//! all: parts are drawn one after the other, as steps. Reads and calls have
//! their times, and are drawn where they were.

use std::io::{self, Write};

use super::evidence;
use super::paint::Paint;
use super::text::{bytes, duration, fit, is_failure, safe, status, time_of_day, words, workload};
use crate::tap::traced::{Traced, TracedCall, part_name};

/// The name of a part or a peer.
const NAME: usize = 21;
/// Its time.
const TIME: usize = 7;
/// Its share.
const SHARE: usize = 5;
/// What stands before a drawing: two blanks, these, two blanks.
const LEFT: usize = 2 + NAME + TIME + SHARE + 2;
/// The widest drawing: more is harder to read, not easier.
const MAX_WIDTH: usize = 120;
/// The narrowest one.
const MIN_WIDTH: usize = 10;
/// Calls that are drawn.
const MAX_CALLS: usize = 20;

/// Draws a request, and a blank line after it.
pub(super) fn draw(
    traced: &Traced<'_>,
    columns: usize,
    paint: &Paint,
    out: &mut impl Write,
) -> io::Result<()> {
    let width = columns.saturating_sub(LEFT).clamp(MIN_WIDTH, MAX_WIDTH);
    let axis = Axis { from_ns: traced.arrival_ns, ns: traced.wall_ns, width };
    writeln!(out, "{}", title(traced, columns, paint))?;
    writeln!(out, "  {}", paint.dim(&whom(traced, columns.saturating_sub(2))))?;
    time_line(traced, axis, paint, out)?;
    parts(traced, axis, paint, out)?;
    calls(traced, axis, paint, out)?;
    for sentence in evidence::sentences(traced) {
        writeln!(out, "{}", fit(&format!("  · {sentence}"), columns))?;
    }
    writeln!(out)
}

fn title(traced: &Traced<'_>, columns: usize, paint: &Paint) -> String {
    let what = match (&*traced.method, traced.path.as_deref()) {
        ("", _) => safe(&traced.protocol),
        (method, None) => safe(method),
        (method, Some(path)) => format!("{} {}", safe(method), safe(path)),
    };
    let (time, who) = (time_of_day(traced.end_unix_ns), workload(traced));
    let (status, wall) = (status(traced), words(traced.wall_ns));
    let room =
        columns.saturating_sub(time.len() + who.chars().count() + status.len() + wall.len() + 8);
    let text = fit(&format!("{time}  {who}  {}", fit(&what, room.max(8))), columns);
    let status = if is_failure(traced) { paint.failure(&status) } else { paint.title(&status) };
    format!("{}  {status}  {}", paint.title(&text), paint.title(&wall))
}

/// Who asked whom, as far as there is room.
fn whom(traced: &Traced<'_>, room: usize) -> String {
    let unit = match &*traced.unit {
        "goroutine" => format!("goroutine {}", traced.goid),
        "thread" => format!("thread {}", traced.tid),
        "loop" => format!("event loop of thread {} (estimated)", traced.tid),
        _ => "nothing could be followed".to_owned(),
    };
    let client = format!("{} to port {}", safe(&traced.client), traced.server_port);
    let pid = format!("pid {}", traced.pid);
    let size = format!("{} in, {} out", bytes(traced.bytes_in), bytes(traced.bytes_out));
    let mut line = fit(&client, room);
    for piece in [pid, unit, size] {
        if line.chars().count() + 2 + piece.chars().count() > room {
            break;
        }
        line.push_str(", ");
        line.push_str(&piece);
    }
    line
}

/// From times to columns.
#[derive(Clone, Copy)]
struct Axis {
    from_ns: u64,
    ns: u64,
    width: usize,
}

impl Axis {
    /// The column in which a time since the beginning falls, rounded.
    fn column(&self, since_ns: u64) -> usize {
        if self.ns == 0 {
            return 0;
        }
        let scaled = u128::from(since_ns.min(self.ns)) * self.width as u128;
        let rounded = (scaled + u128::from(self.ns) / 2) / u128::from(self.ns);
        usize::try_from(rounded).unwrap_or(self.width).min(self.width)
    }

    /// The column of a moment.
    fn at(&self, ns: u64) -> usize {
        self.column(ns.saturating_sub(self.from_ns))
    }
}

/// The axis, with the moment of the read, and what is written below it.
fn time_line(
    traced: &Traced<'_>,
    axis: Axis,
    paint: &Paint,
    out: &mut impl Write,
) -> io::Result<()> {
    let last = axis.width - 1;
    let read = axis.at(traced.read_ns).min(last);
    let line: String = (0..axis.width)
        .map(|column| match column {
            0 if read > 0 => '├',
            _ if column == read => '┬',
            _ if column == last => '┤',
            _ if column < read => '╌',
            _ => '─',
        })
        .collect();
    let unread = traced.read_ns.saturating_sub(traced.arrival_ns);
    let read_label = format!("read {}", duration(unread));
    let end_label = duration(traced.wall_ns);
    let room = axis.width.saturating_sub(end_label.len() + 1);
    let at = read.min(room.saturating_sub(read_label.len()));
    let mut below = format!("{:at$}{read_label}", "");
    if below.len() > room {
        below.clear();
    }
    let gap = axis.width.saturating_sub(below.len() + end_label.len());
    let below = format!("{below}{:gap$}{end_label}", "");
    let left = LEFT;
    writeln!(out, "{:left$}{}", "", paint.dim(&line))?;
    writeln!(out, "{:left$}{}", "", paint.dim(&below))
}

/// A step for each part.
fn parts(traced: &Traced<'_>, axis: Axis, paint: &Paint, out: &mut impl Write) -> io::Result<()> {
    let mut sum_ns = 0u64;
    for (part, ns) in traced.parts.iter() {
        let from = axis.column(sum_ns).min(axis.width - 1);
        sum_ns = sum_ns.saturating_add(ns);
        // However short, it is there.
        let to = axis.column(sum_ns).max(from + 1);
        let is_estimated = traced.estimated.has(part);
        let mark = if is_estimated { "~" } else { "" };
        let name = format!("{:NAME$}", format!("{mark}{}", part_name(part)));
        let share = share(ns, traced.wall_ns);
        let bar = if is_estimated { "▒" } else { "█" }.repeat(to - from);
        writeln!(
            out,
            "  {}{:>TIME$}{share:>SHARE$}  {:from$}{}",
            paint.layer(part.layer(), &name),
            duration(ns),
            "",
            paint.layer(part.layer(), &bar),
        )?;
    }
    Ok(())
}

fn share(ns: u64, wall_ns: u64) -> String {
    if wall_ns == 0 {
        return String::new();
    }
    match u128::from(ns) * 1000 / u128::from(wall_ns) {
        0..5 => "<1%".to_owned(),
        permille => format!("{}%", (permille + 5) / 10),
    }
}

/// Each call where it was: waiting, answered and unread, being read.
fn calls(traced: &Traced<'_>, axis: Axis, paint: &Paint, out: &mut impl Write) -> io::Result<()> {
    if traced.calls.is_empty() {
        return Ok(());
    }
    writeln!(out, "  {}", paint.dim("calls: ─ waiting  ░ answered, unread  █ reading"))?;
    for call in traced.calls.iter().take(MAX_CALLS) {
        let wall_ns = call.end_ns.saturating_sub(call.sent_ns);
        let (from, bar) = bar(call, axis);
        let left = NAME + TIME + SHARE;
        let time = duration(wall_ns);
        let name = fit(&label(call), left - time.len() - 1);
        let gap = left - name.chars().count() - time.len();
        let bar = paint.layer(agent_common::parts::Layer::Downstream, &bar);
        writeln!(out, "  {name}{:gap$}{time}  {:from$}{bar}", "", "")?;
    }
    if traced.calls.len() > MAX_CALLS {
        writeln!(out, "  and {} more", traced.calls.len() - MAX_CALLS)?;
    }
    Ok(())
}

fn label(call: &TracedCall<'_>) -> String {
    let mut label = String::new();
    if call.caller == "unknown" {
        label.push('~');
    }
    if !call.method.is_empty() {
        label.push_str(&safe(&call.method));
        label.push(' ');
    }
    label.push_str(&safe(&call.peer));
    if call.status > 0 {
        label.push_str(&format!(" {}", call.status));
    }
    label
}

/// Where a call begins, and its line.
fn bar(call: &TracedCall<'_>, axis: Axis) -> (usize, String) {
    let from = axis.at(call.sent_ns).min(axis.width - 1);
    let to = axis.at(call.end_ns).max(from + 1);
    let read = axis.at(call.read_ns).clamp(from, to);
    let ready = axis.at(call.ready_ns).clamp(from, read);
    let line = (from..to)
        .map(|column| match column {
            _ if column < ready => '─',
            _ if column < read => '░',
            _ => '█',
        })
        .collect();
    (from, line)
}

#[cfg(test)]
mod tests;
