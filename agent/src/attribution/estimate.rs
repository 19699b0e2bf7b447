//! What samples say of time that nothing else tells.
//!
//! Separate from the parts' arithmetic, because an estimate is of many requests
//! and not of one: a sample stands for a hundredth of a second of run time, and
//! most doubtful stretches are shorter. What a sample is worth beyond the
//! stretch that it hit is carried to the next requests of the same kind, so
//! that each request's parts still sum to its wall time and the mean is right.

use std::collections::HashMap;

use agent_common::head::Method;
use agent_common::parts::Part;

use crate::event::request::Request;

/// Run time that a sample stands for, nanoseconds: one in 99 a second.
const SAMPLE_NS: u64 = 1_000_000_000 / 99;
/// The most that is carried, nanoseconds: what was not used up by then is of
/// stretches that there are no more of.
const MAX_CARRIED_NS: u64 = 1_000_000_000;
/// Kinds of requests whose carry is kept; the next one begins anew.
const MAX_KINDS: usize = 4_096;

/// A kind of request: service, method and route as far as they are known.
type Kind = (u16, Method, Option<Box<str>>);

/// What is carried, by kind.
#[derive(Debug, Default)]
pub struct Estimator {
    carried_ns: HashMap<Kind, u64>,
}

impl Estimator {
    /// Moves what the samples say that it ran from the unknown to the
    /// application's.
    pub fn close(&mut self, request: &mut Request) {
        let zone_ns = request.work.zone_ns.min(unknown_ns(request));
        if zone_ns == 0 && request.work.samples == 0 {
            return;
        }
        let kind = (request.service, request.method, request.path.as_deref().map(route));
        if !self.carried_ns.contains_key(&kind) && self.carried_ns.len() >= MAX_KINDS {
            self.carried_ns.clear();
        }
        let carried_ns = self.carried_ns.entry(kind).or_default();
        let found_ns = *carried_ns + u64::from(request.work.samples) * SAMPLE_NS;
        let ran_ns = found_ns.min(zone_ns);
        *carried_ns = (found_ns - ran_ns).min(MAX_CARRIED_NS);
        if ran_ns > 0 {
            let ns = &mut request.parts.ns;
            ns[Part::Unknown as usize] -= ran_ns;
            ns[Part::Cpu as usize] += ran_ns;
            request.work.estimated |= Part::Cpu.bit();
        }
    }

    /// A service's index is given to another.
    pub fn forget(&mut self, service: u16) {
        self.carried_ns.retain(|(index, _, _), _| *index != service);
    }
}

const fn unknown_ns(request: &Request) -> u64 {
    request.parts.ns[Part::Unknown as usize]
}

/// The first part of a path: what follows is often an id.
fn route(path: &str) -> Box<str> {
    let end = path.get(1..).and_then(|rest| rest.find('/')).map_or(path.len(), |at| at + 1);
    path.get(..end).unwrap_or(path).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn doubtful(wall_ns: u64, zone_ns: u64, samples: u16) -> Request {
        let mut request = Request { path: Some("/zig/12".into()), ..Request::sample(wall_ns) };
        request.work.zone_ns = zone_ns;
        request.work.samples = samples;
        request
    }

    fn cpu_ns(request: &Request) -> u64 {
        request.parts.ns[Part::Cpu as usize]
    }

    #[test]
    fn what_a_sample_is_worth_beyond_its_stretch_goes_to_the_next_request() {
        let mut estimator = Estimator::default();
        let mut first = doubtful(8_000_000, 6_000_000, 1);
        estimator.close(&mut first);
        assert_eq!(cpu_ns(&first), 6_000_000);
        assert_ne!(first.work.estimated & Part::Cpu.bit(), 0);
        let mut second =
            Request { path: Some("/zig/13".into()), ..doubtful(8_000_000, 6_000_000, 0) };
        estimator.close(&mut second);
        assert_eq!(cpu_ns(&second), SAMPLE_NS - 6_000_000);
    }

    #[test]
    fn requests_without_a_doubtful_stretch_take_no_part() {
        let mut estimator = Estimator::default();
        estimator.close(&mut doubtful(8_000_000, 6_000_000, 1));
        let mut clear = doubtful(8_000_000, 0, 0);
        estimator.close(&mut clear);
        assert_eq!(cpu_ns(&clear), 0);
    }

    proptest! {
        #[test]
        fn parts_still_sum_and_no_more_is_given_than_samples_say(
            requests in proptest::collection::vec((1u64..50_000_000, 0u64..50_000_000, 0u16..4), 1..50),
        ) {
            let mut estimator = Estimator::default();
            let (mut given_ns, mut samples) = (0, 0);
            for (wall_ns, zone_ns, hits) in requests {
                let mut request = doubtful(wall_ns, zone_ns, hits);
                estimator.close(&mut request);
                prop_assert_eq!(request.parts.ns.iter().sum::<u64>(), wall_ns);
                prop_assert!(cpu_ns(&request) <= zone_ns);
                given_ns += cpu_ns(&request);
                samples += u64::from(hits);
            }
            prop_assert!(given_ns <= samples * SAMPLE_NS);
        }
    }
}
