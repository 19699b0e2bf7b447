//! Processes that send spans themselves: theirs would be there twice.
//!
//! Separate because how they are recognised is a guess with a bound: a process
//! that holds a connection to a port by which OTLP is known. What it sends there
//! is not read.

use std::collections::HashMap;

/// Ports of OTLP, for gRPC and for HTTP.
pub const PORTS: [u16; 2] = [4317, 4318];
/// After this time a process is looked at again.
const LOOK_AGAIN_NS: u64 = 60_000_000_000;
/// A process that was found to send is believed to for so long: a connection is
/// not always there.
const BELIEVED_NS: u64 = 600_000_000_000;
/// Processes that are known. Beyond it all are looked at again.
const MAX_PROCESSES: usize = 1_024;
/// Processes that are looked at in one round, each of which reads a table of its
/// network namespace.
const MAX_ROUND: usize = 4;

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    looked_ns: Option<u64>,
    found_ns: Option<u64>,
}

/// What is known of the processes whose requests were chosen.
#[derive(Debug, Default)]
pub(super) struct Instrumented {
    processes: HashMap<u32, Known>,
    waiting: Vec<u32>,
}

impl Instrumented {
    /// A request of this process was chosen.
    pub(super) fn meet(&mut self, tgid: u32, now_ns: u64) {
        if self.processes.len() >= MAX_PROCESSES && !self.processes.contains_key(&tgid) {
            self.processes.clear();
            self.waiting.clear();
        }
        let known = self.processes.entry(tgid).or_default();
        let is_due = known
            .looked_ns
            .is_none_or(|looked_ns| now_ns.saturating_sub(looked_ns) >= LOOK_AGAIN_NS);
        if is_due && !self.waiting.contains(&tgid) {
            self.waiting.push(tgid);
        }
    }

    /// Processes that are to be looked at, now.
    pub(super) fn round(&mut self) -> Vec<u32> {
        let left = self.waiting.len().saturating_sub(MAX_ROUND);
        self.waiting.split_off(left)
    }

    /// A process was looked at.
    pub(super) fn looked(&mut self, tgid: u32, sends: bool, now_ns: u64) {
        if let Some(known) = self.processes.get_mut(&tgid) {
            known.looked_ns = Some(now_ns);
            if sends {
                known.found_ns = Some(now_ns);
            }
        }
    }

    /// Whether a process sends spans itself, as far as is known.
    pub(super) fn has(&self, tgid: u32, now_ns: u64) -> bool {
        let found_ns = self.processes.get(&tgid).and_then(|known| known.found_ns);
        found_ns.is_some_and(|found_ns| now_ns.saturating_sub(found_ns) < BELIEVED_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_once_a_minute_and_believed_for_ten() {
        let mut of = Instrumented::default();
        of.meet(7, 0);
        of.meet(7, 1);
        assert_eq!(of.round(), [7]);
        assert!(!of.has(7, 1));
        of.looked(7, true, 2);
        of.meet(7, 3);
        assert!(of.round().is_empty());
        assert!(of.has(7, 3));
        of.meet(7, 2 + LOOK_AGAIN_NS);
        assert_eq!(of.round(), [7]);
        of.looked(7, false, 2 + LOOK_AGAIN_NS);
        assert!(of.has(7, 1 + BELIEVED_NS));
        assert!(!of.has(7, 2 + BELIEVED_NS));
    }

    #[test]
    fn no_more_processes_are_known_than_the_bound() {
        let mut of = Instrumented::default();
        (0..5_000).for_each(|tgid| of.meet(tgid, 0));
        assert!(of.processes.len() <= MAX_PROCESSES && of.waiting.len() <= MAX_PROCESSES);
        assert_eq!(of.round().len(), MAX_ROUND);
    }
}
