//! What stands out of a request, in words.
//!
//! Separate and pure: each sentence says one thing that was measured, and is
//! left out where it would explain nothing.

use super::text::{safe, words};
use crate::tap::traced::Traced;

/// What is this long is said in any case.
const NOTABLE_NS: u64 = 1_000_000;
/// What is shorter, but not than this, if it is a share of the wall time: one
/// in [`SHARE`].
const LEAST_NS: u64 = 100_000;
/// The reciprocal of that share.
const SHARE: u64 = 20;

/// The sentences, the most telling first.
pub(super) fn sentences(traced: &Traced<'_>) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(wait(traced));
    all.extend(runqueue(traced));
    all.extend(unread_request(traced));
    all.extend(calls(traced));
    if traced.retransmits > 0 {
        let segments = count(u64::from(traced.retransmits), "segment");
        all.push(format!("{segments} of its own connection sent again"));
    }
    all.extend(zone(traced));
    all.extend(traced.flags.iter().filter_map(|flag| flag_in_words(flag)).map(str::to_owned));
    all
}

fn is_notable(ns: u64, traced: &Traced<'_>) -> bool {
    ns >= NOTABLE_NS || (ns >= LEAST_NS && ns >= traced.wall_ns / SHARE)
}

fn wait(traced: &Traced<'_>) -> Option<String> {
    let ns = traced.wait_worst_ns;
    let time = words(ns);
    let reason = safe(&traced.wait);
    is_notable(ns, traced).then(|| match reason.as_str() {
        "" | "unknown" => format!("stopped {time}, for a reason that was not seen"),
        "gc" | "stop the world" => format!("stopped {time} for the garbage collector"),
        "preempted" => format!("taken off its thread for {time} by the runtime"),
        "sleep" => format!("slept {time}"),
        reason => format!("parked {time} on {reason}"),
    })
}

fn runqueue(traced: &Traced<'_>) -> Option<String> {
    let ns = traced.runqueue_worst_ns;
    let time = words(ns);
    is_notable(ns, traced).then(|| match &traced.culprit {
        Some(culprit) => {
            format!("run queue {time} while {} (pid {}) ran", safe(&culprit.comm), culprit.pid)
        }
        None => format!("run queue {time} at the longest"),
    })
}

fn unread_request(traced: &Traced<'_>) -> Option<String> {
    let ns = traced.read_ns.saturating_sub(traced.arrival_ns);
    is_notable(ns, traced).then(|| format!("the request lay {} unread", words(ns)))
}

fn calls(traced: &Traced<'_>) -> impl Iterator<Item = String> {
    traced.calls.iter().flat_map(|call| {
        let peer = safe(&call.peer);
        let unread_ns = call.read_ns.saturating_sub(call.ready_ns);
        let is_unread = call.ready_ns > 0 && is_notable(unread_ns, traced);
        let unread = is_unread.then(|| format!("reply of {peer} lay {} unread", words(unread_ns)));
        let loss = (call.retransmits > 0 || call.loss_ns > 0).then(|| {
            let segments = count(u64::from(call.retransmits), "segment");
            match call.loss_ns {
                0 => format!("{segments} to {peer} sent again"),
                ns => format!("{segments} to {peer} sent again, which took {}", words(ns)),
            }
        });
        unread.into_iter().chain(loss)
    })
}

fn zone(traced: &Traced<'_>) -> Option<String> {
    let ns = traced.zone_ns;
    is_notable(ns, traced).then(|| {
        let seen = match traced.samples {
            0 => "no sample fell into it".to_owned(),
            samples => format!("{} found it running", count(u64::from(samples), "sample")),
        };
        format!("for {} only samples could tell running from waiting: {seen}", words(ns))
    })
}

fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

fn flag_in_words(flag: &str) -> Option<&'static str> {
    Some(match flag {
        "pipelined" => "arrived before the previous response had ended",
        "aborted" => "the connection ended before a response",
        "no_arrival" => "its arrival was not seen: it begins when it was read",
        "stream" => "the response goes on (upgrade or event stream); cut off here",
        "unparsed" => "its head could not be parsed in full",
        "joined_late" => "the connection is older than the agent",
        "calls_missing" => "not all of its calls are shown",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{plain, traced};
    use super::*;

    #[test]
    fn the_sentences_say_what_was_measured() {
        assert_eq!(
            sentences(&traced()),
            [
                "parked 7.00 ms on mutex",
                "run queue 8.00 ms while batch-7 (pid 77) ran",
                "the request lay 1.00 ms unread",
                "reply of 10.1.2.3:6379 lay 4.10 ms unread",
                "2 segments to 10.1.2.4:80 sent again, which took 3.00 ms",
            ]
        );
    }

    #[test]
    fn what_explains_nothing_is_left_out() {
        assert_eq!(sentences(&plain()), ["the connection ended before a response"]);
        let mut traced = traced();
        traced.wait_worst_ns = 900_000;
        assert!(!sentences(&traced).iter().any(|sentence| sentence.starts_with("parked")));
        traced.wall_ns = 10 * traced.wait_worst_ns;
        assert!(sentences(&traced).iter().any(|sentence| sentence.starts_with("parked")));
    }

    #[test]
    fn a_hostile_comm_is_shown_and_not_done() {
        let mut traced = traced();
        if let Some(culprit) = &mut traced.culprit {
            culprit.comm = "\x1b[31mroot".into();
        }
        assert!(sentences(&traced).iter().all(|sentence| !sentence.contains('\x1b')));
    }
}
