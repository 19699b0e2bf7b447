//! Tests of the drawing: a golden one, and what holds for any request.

use agent_common::parts::{PARTS, Part};
use proptest::prelude::*;

use super::super::sample::{plain, traced, without_colour};
use super::*;
use crate::tap::traced::{Estimated, PartTimes};

fn drawn(traced: &Traced<'_>, columns: usize, is_coloured: bool) -> String {
    let mut out = Vec::new();
    draw(traced, columns, &Paint::new(is_coloured), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn a_request_with_calls_on_80_columns() {
    assert_eq!(drawn(&traced(), 80, false), GOLDEN);
}

const GOLDEN: &str = "\
12:00:01.234  process/goapi  GET /v1/pay  200  42.0 ms
  10.0.0.1:4242 to port 8080, pid 4711, goroutine 34, 120 B in, 3.4 KiB out
                                     ├┬────────────────────────────────────────┤
                                      read 1.00ms                         42.0ms
  application.cpu       3.90ms   9%  ████
  runtime.sched         1.00ms   2%      █
  runtime.wait          7.00ms  17%       ███████
  ~os.runqueue          8.00ms  19%              ▒▒▒▒▒▒▒▒
  downstream.wait       20.1ms  48%                      █████████████████████
  unattributed.unknown  2.00ms   5%                                           ██
  calls: ─ waiting  ░ answered, unread  █ reading
  10.1.2.3:6379              12.2ms            ────────░░░░░
  GET 10.1.2.4:80 200        12.1ms                            ────────────
  · parked 7.00 ms on mutex
  · run queue 8.00 ms while batch-7 (pid 77) ran
  · the request lay 1.00 ms unread
  · reply of 10.1.2.3:6379 lay 4.10 ms unread
  · 2 segments to 10.1.2.4:80 sent again, which took 3.00 ms

";

#[test]
fn colour_changes_no_text_and_wide_terminals_make_wider_drawings() {
    for columns in [60, 80, 120, 200] {
        for traced in [traced(), plain()] {
            let text = drawn(&traced, columns, false);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= columns, "{widest} of {columns}:\n{text}");
            let coloured = drawn(&traced, columns, true);
            assert_ne!(coloured, text);
            assert_eq!(without_colour(&coloured), text);
        }
    }
    let widest =
        |columns| drawn(&traced(), columns, false).lines().map(|l| l.chars().count()).max();
    assert!(widest(200) > widest(80));
}

#[test]
fn an_estimated_part_is_marked_in_name_and_bar() {
    let text = drawn(&traced(), 80, false);
    let line = text.lines().find(|line| line.contains("os.runqueue")).unwrap();
    assert!(line.contains("~os.runqueue") && line.contains('▒') && !line.contains('█'), "{line}");
}

#[test]
fn hostile_bytes_are_shown_and_not_done() {
    let mut traced = traced();
    let hostile = "\x1b[2J\u{9b}31m\u{202e}";
    traced.path = Some(hostile.into());
    traced.workload = hostile.into();
    traced.client = hostile.into();
    for call in &mut traced.calls {
        call.peer = hostile.into();
        call.method = hostile.into();
    }
    let text = drawn(&traced, 200, false);
    assert!(!text.lines().any(|line| line.contains(crate::tap::traced::is_hostile)), "{text:?}");
}

proptest! {
    #[test]
    fn anything_is_drawn_within_its_columns(
        ns in proptest::collection::vec(prop_oneof![Just(0u64), 0..10_000_000_000u64], PARTS),
        estimated in 0u32..1 << PARTS,
        columns in 60usize..250,
        moments in proptest::collection::vec(any::<u64>(), 5),
    ) {
        let mut traced = traced();
        traced.parts = PartTimes::default();
        traced.parts.0.copy_from_slice(&ns);
        traced.estimated = Estimated(estimated);
        traced.wall_ns = ns.iter().sum();
        traced.read_ns = moments[0];
        let call = &mut traced.calls[0];
        (call.sent_ns, call.ready_ns) = (moments[1], moments[2]);
        (call.read_ns, call.end_ns) = (moments[3], moments[4]);
        let text = drawn(&traced, columns, false);
        let width = columns.saturating_sub(LEFT).clamp(MIN_WIDTH, MAX_WIDTH);
        for (part, part_ns) in Part::ALL.into_iter().zip(&ns) {
            let is_drawn = text.lines().any(|line| {
                let name = line.trim_start().split(' ').next().unwrap_or_default();
                name.trim_start_matches('~') == part_name(part)
            });
            prop_assert_eq!(is_drawn, *part_ns > 0);
        }
        for line in text.lines().filter(|line| line.contains('%')) {
            prop_assert!(line.chars().count() <= LEFT + width, "{}", line);
        }
    }
}
