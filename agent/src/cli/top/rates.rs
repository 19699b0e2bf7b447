//! Two samples in, what happened in between out. Pure.

use std::collections::{BTreeMap, HashMap};

use super::layers::TimeByPart;
use super::quantile::Buckets;
use crate::export::json::{AgentState, Outcomes, Workload, Workloads};

/// What happened between two samples.
#[derive(Clone, Debug, Default)]
pub struct Sampled {
    /// Seconds between them; 0 while there is only one.
    pub interval_s: f64,
    /// By identity, in its order.
    pub rows: Vec<Row>,
    /// The agent's own state.
    pub agent: AgentState,
    /// CPU time of the agent a second, seconds; `None` while there is only one
    /// sample.
    pub agent_cpu: Option<f64>,
    /// How long the agent has been running, seconds.
    pub uptime_s: f64,
}

/// One workload.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Who it is.
    pub identity: Identity,
    /// What it did; `None` if it was not there, or nobody looked, before.
    pub rates: Option<Rates>,
}

/// Whose a row is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Identity label.
    pub namespace: String,
    /// Identity label.
    pub pod: String,
    /// Identity label.
    pub container: String,
    /// Identity label.
    pub workload: String,
    /// Full id of the container; empty if there is none.
    pub container_id: String,
    /// The node that it runs on, where there are several; else empty.
    pub node: String,
}

impl Identity {
    /// One name for people: `namespace/pod/container` in Kubernetes, elsewhere
    /// the workload, with its container if it has one; behind it the node.
    #[must_use]
    pub fn name(&self) -> String {
        match self.node.as_str() {
            "" => self.name_on_node(),
            node => format!("{}@{node}", self.name_on_node()),
        }
    }

    fn name_on_node(&self) -> String {
        if !self.pod.is_empty() {
            return [&*self.namespace, &*self.pod, &*self.container].join("/");
        }
        match self.container.as_str() {
            "" => self.workload.clone(),
            container => format!("{} [{container}]", self.workload),
        }
    }
}

/// What a workload did, a second.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    /// Requests that finished; filtered ones are left out.
    pub requests: f64,
    /// Requests that failed.
    pub errors: f64,
    /// Failed ones, as a share of those whose end is known; `None` without.
    pub error_ratio: Option<f64>,
    /// Requests that the agent could not measure.
    pub unmeasured: f64,
    /// Durations of requests.
    pub duration: Buckets,
    /// Waits for a CPU.
    pub runqueue: Buckets,
    /// Seconds that threads were ready and out of quota, of all threads
    /// together: 1 is one thread all the time.
    pub throttled: f64,
    /// TCP segments sent again.
    pub retransmits: f64,
    /// By protocol and class of status.
    pub classes: Vec<ClassRate>,
    /// Where the time of requests went, in the interval.
    pub parts: TimeByPart,
    /// The slow tail.
    pub tail: Tail,
}

/// Requests that were slower than most of their workload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tail {
    /// How many, a second.
    pub requests: f64,
    /// Where their time went, in the interval.
    pub parts: TimeByPart,
    /// The same since the agent began to watch: a second often has no slow
    /// request.
    pub parts_ever: TimeByPart,
}

impl Tail {
    /// What it is made of, in words; empty if there never was one.
    #[must_use]
    pub fn words(&self) -> String {
        if self.parts.total_ns() > 0 { self.parts.words() } else { self.parts_ever.words() }
    }

    fn between(earlier: &Workload, later: &Workload, interval_s: f64) -> Self {
        let requests = later.slow_requests.saturating_sub(earlier.slow_requests);
        Self {
            requests: requests as f64 / interval_s,
            parts: TimeByPart::between(&earlier.slow_parts, &later.slow_parts),
            parts_ever: TimeByPart::between(&BTreeMap::new(), &later.slow_parts),
        }
    }
}

/// Requests of one protocol and class of status.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassRate {
    /// `http` and others.
    pub protocol: String,
    /// `2xx` and the like; empty for none.
    pub class: String,
    /// A second.
    pub requests: f64,
}

impl Sampled {
    /// One sample: who is there, and nothing of what they do.
    #[must_use]
    pub fn first(sample: &Workloads) -> Self {
        let rows = sample
            .workloads
            .iter()
            .map(|workload| Row { identity: identity(workload), rates: None });
        Self { rows: rows.collect(), ..Self::of_agent(sample) }
    }

    /// What happened between two samples; `None` if they are the same one, or
    /// of two agents.
    #[must_use]
    pub fn between(earlier: &Workloads, later: &Workloads) -> Option<Self> {
        let elapsed_ns = later.taken_unix_ns.checked_sub(earlier.taken_unix_ns)?;
        if elapsed_ns == 0 || earlier.agent.started_unix_ns != later.agent.started_unix_ns {
            return None;
        }
        let interval_s = elapsed_ns as f64 / 1e9;
        let before: HashMap<_, _> =
            earlier.workloads.iter().map(|workload| (key(workload), workload)).collect();
        let rows = later.workloads.iter().map(|workload| Row {
            identity: identity(workload),
            rates: before
                .get(&key(workload))
                .map(|earlier| Rates::between(earlier, workload, interval_s)),
        });
        let cpu_ns = later.agent.cpu_ns.saturating_sub(earlier.agent.cpu_ns);
        Some(Self {
            interval_s,
            rows: rows.collect(),
            agent_cpu: Some(cpu_ns as f64 / 1e9 / interval_s),
            ..Self::of_agent(later)
        })
    }

    /// Keeps the rows whose place has `true`.
    pub fn keep(&mut self, is_kept: &[bool]) {
        let mut places = is_kept.iter();
        self.rows.retain(|_| places.next().copied().unwrap_or(false));
    }

    fn of_agent(sample: &Workloads) -> Self {
        let uptime_ns = sample.taken_unix_ns.saturating_sub(sample.agent.started_unix_ns);
        Self { agent: sample.agent.clone(), uptime_s: uptime_ns as f64 / 1e9, ..Self::default() }
    }
}

impl Rates {
    fn between(earlier: &Workload, later: &Workload, interval_s: f64) -> Self {
        let rate = |earlier: u64, later: u64| later.saturating_sub(earlier) as f64 / interval_s;
        let before = |protocol: &str, class: &str| {
            let found =
                earlier.requests.iter().find(|sum| sum.protocol == protocol && sum.class == class);
            found.map_or((0, 0), |sum| (sum.count, sum.errors))
        };
        let mut classes = Vec::new();
        let mut errors = 0.0;
        for sum in &later.requests {
            let (count, failed) = before(&sum.protocol, &sum.class);
            errors += rate(failed, sum.errors);
            classes.push(ClassRate {
                protocol: sum.protocol.clone(),
                class: sum.class.clone(),
                requests: rate(count, sum.count),
            });
        }
        let mut rates = Self {
            requests: rate(finished(&earlier.outcomes), finished(&later.outcomes)),
            errors,
            error_ratio: None,
            unmeasured: rate(unmeasured(&earlier.outcomes), unmeasured(&later.outcomes)),
            duration: Buckets::between(&earlier.duration, &later.duration),
            runqueue: Buckets::between(&earlier.runqueue, &later.runqueue),
            throttled: rate(earlier.throttled_ns, later.throttled_ns) / 1e9,
            retransmits: rate(earlier.retransmits, later.retransmits),
            classes,
            parts: TimeByPart::between(&earlier.parts, &later.parts),
            tail: Tail::between(earlier, later, interval_s),
        };
        rates.set_error_ratio(interval_s);
        rates
    }

    /// All of these together.
    #[must_use]
    pub fn total<'a>(all: impl Iterator<Item = &'a Self>, interval_s: f64) -> Self {
        let mut total = Self::default();
        for rates in all {
            total.requests += rates.requests;
            total.errors += rates.errors;
            total.unmeasured += rates.unmeasured;
            total.throttled += rates.throttled;
            total.retransmits += rates.retransmits;
            total.duration.add(&rates.duration);
            total.runqueue.add(&rates.runqueue);
            total.parts.add(&rates.parts);
            total.tail.requests += rates.tail.requests;
            total.tail.parts.add(&rates.tail.parts);
            total.tail.parts_ever.add(&rates.tail.parts_ever);
        }
        total.set_error_ratio(interval_s);
        total
    }

    fn set_error_ratio(&mut self, interval_s: f64) {
        let known = self.duration.count();
        // A request that was sampled out counts as one without an error: its
        // status is not known.
        self.error_ratio =
            (known > 0).then(|| (self.errors * interval_s / known as f64).clamp(0.0, 1.0));
    }
}

const fn finished(outcomes: &Outcomes) -> u64 {
    outcomes.exported + outcomes.sampled + unmeasured(outcomes)
}

const fn unmeasured(outcomes: &Outcomes) -> u64 {
    outcomes.dropped + outcomes.lost
}

fn key(workload: &Workload) -> [&str; 4] {
    [&workload.namespace, &workload.pod, &workload.container, &workload.workload]
}

fn identity(workload: &Workload) -> Identity {
    Identity {
        namespace: workload.namespace.clone(),
        pod: workload.pod.clone(),
        container: workload.container.clone(),
        workload: workload.workload.clone(),
        container_id: workload.container_id.clone(),
        node: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::{SECOND_NS, sample};
    use super::*;

    fn between(change: impl FnOnce(&mut Workloads)) -> Option<Sampled> {
        let (earlier, mut later) = (sample(10, 0), sample(12, 1));
        change(&mut later);
        Sampled::between(&earlier, &later)
    }

    #[test]
    fn rates_are_of_the_time_in_between() {
        let sampled = between(|_| ()).unwrap();
        assert!((sampled.interval_s - 2.0).abs() < 1e-9);
        assert!((sampled.agent_cpu.unwrap() - 0.005).abs() < 1e-9);
        assert!((sampled.uptime_s - 12.0).abs() < 1e-9);
        let rates = sampled.rows[0].rates.as_ref().unwrap();
        assert!((rates.requests - 50.0).abs() < 1e-9);
        assert!((rates.errors - 5.0).abs() < 1e-9);
        assert!((rates.error_ratio.unwrap() - 0.1).abs() < 1e-9);
        assert!((rates.throttled - 0.25).abs() < 1e-9);
        assert!((rates.retransmits - 1.5).abs() < 1e-9);
        assert_eq!((rates.duration.count(), rates.runqueue.count()), (100, 20));
        assert_eq!(rates.classes.len(), 2);
    }

    #[test]
    fn what_was_not_there_before_has_no_rates_yet() {
        let mut earlier = sample(10, 0);
        earlier.workloads.remove(0);
        let sampled = Sampled::between(&earlier, &sample(12, 1)).unwrap();
        assert!(sampled.rows[0].rates.is_none() && sampled.rows[1].rates.is_some());
        assert!(Sampled::first(&earlier).rows.iter().all(|row| row.rates.is_none()));
    }

    #[test]
    fn two_agents_or_one_sample_are_not_compared() {
        assert!(between(|later| later.agent.started_unix_ns += 1).is_none());
        assert!(between(|later| later.taken_unix_ns = 10 * SECOND_NS).is_none());
        assert!(between(|later| later.taken_unix_ns = 9 * SECOND_NS).is_none());
    }

    #[test]
    fn the_total_is_over_all_requests_and_not_over_their_quantiles() {
        let sampled = between(|_| ()).unwrap();
        let all = sampled.rows.iter().filter_map(|row| row.rates.as_ref());
        let total = Rates::total(all, sampled.interval_s);
        assert!((total.requests - 150.0).abs() < 1e-9);
        assert_eq!(total.duration.count(), 200);
        assert!((total.error_ratio.unwrap() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn lost_requests_count_but_have_no_duration() {
        let sampled = between(|_| ()).unwrap();
        let rates = sampled.rows[1].rates.as_ref().unwrap();
        assert!((rates.requests - 100.0).abs() < 1e-9);
        assert!((rates.unmeasured - 50.0).abs() < 1e-9);
    }

    #[test]
    fn names_are_those_that_people_use() {
        let name = |namespace: &str, pod: &str, container: &str, workload: &str| {
            let [namespace, pod, container, workload] =
                [namespace, pod, container, workload].map(str::to_owned);
            Identity {
                namespace,
                pod,
                container,
                workload,
                container_id: String::new(),
                node: String::new(),
            }
            .name()
        };
        assert_eq!(name("shop", "api-1", "api", "deployment/api"), "shop/api-1/api");
        assert_eq!(name("", "", "", "systemd/nginx.service"), "systemd/nginx.service");
        assert_eq!(name("", "", "3f2a", "process/api"), "process/api [3f2a]");
    }
}
