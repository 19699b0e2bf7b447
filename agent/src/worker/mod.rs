//! The worker: single owner of attribution, series and policies. No locks.
//!
//! A room of its own because it is where the stages meet: events come in, are
//! attributed and observed, decisions go to the kernel, snapshots come out.
//!
//! It takes events in order, carries the attributor's decisions to the kernel,
//! and makes snapshots when somebody asks.

mod capture;
mod clients;
mod edges;
mod own;
mod pods;
mod regulate;
mod spans;
mod takers;

use std::collections::HashMap;
use std::rc::Rc;

use agent_common::limits::MAX_SERVICES;

use crate::aggregate::budget::{Budget, NodeBudget};
use crate::aggregate::calls::CallSeries;
use crate::aggregate::counters::CounterSeries;
use crate::aggregate::culprits::TakenSeries;
use crate::aggregate::edges::EdgeSeries;
use crate::aggregate::governor::Governor;
use crate::aggregate::governor::meter::Meter;
use crate::aggregate::labels::{Identity, LabelSet};
use crate::aggregate::requests::RequestSeries;
use crate::aggregate::routes::Router;
use crate::aggregate::snapshot::{Snapshot, Value};
use crate::aggregate::switches::Switches;
use crate::attribution::attributor::{Attributor, Change};
use crate::attribution::estimate::Estimator;
use crate::attribution::peers::Peers;
use crate::attribution::peers::cidr::Names;
use crate::attribution::procfs::ProcRoot;
use crate::attribution::procfs::cpu_ticks::CpuTicks;
use crate::attribution::services::Service;
use crate::attribution::steal::Steal;
use crate::config::{Config, Paths};
use crate::event::Event;
use crate::event::call::Call;
use crate::event::request::Request;
use crate::load::Loaded;
use crate::load::policies::Policies;
use crate::metrics::{self, Metric};
use crate::probes::Lane;
use crate::source::counters::Counters;
use crate::source::edges::Edges;
use crate::source::stats::Stats;
use crate::spans::{Marks, Spans};
use crate::sys::clock;
use crate::tap::{Order, Tap};
use crate::telemetry::{Dropped, Own};

/// What the worker is made of.
pub struct Parts {
    /// Programs and links.
    pub loaded: Loaded,
    /// Maps that it writes.
    pub policies: Policies,
    /// Arrays that it sweeps.
    pub counters: Counters,
    /// What is counted by peer.
    pub edges: Edges,
    /// The programs' statistics.
    pub stats: Stats,
    /// Who is who.
    pub attributor: Attributor,
    /// Where it reads what the node's CPUs did.
    pub proc: ProcRoot,
    /// Counters that it shares with the reader.
    pub own: std::sync::Arc<Own>,
}

/// See the module.
pub struct Worker {
    pub(super) parts: Parts,
    series: HashMap<u16, Entry>,
    estimator: Estimator,
    steal: Steal,
    /// Who is at the other end of connections.
    peers: Peers,
    node: Rc<NodeBudget>,
    per_container: u32,
    /// Requests filtered for services whose index was given to others.
    filtered_before: u64,
    takers: takers::Takers,
    pub(super) switches: Switches,
    /// Lanes that are attached, as far as this kernel takes them.
    pub(super) attached: [bool; Lane::ALL.len()],
    pub(super) governor: Governor,
    pub(super) meter: Meter,
    /// Who is shown requests as they finish.
    pub(super) tap: Tap,
    /// Who chooses requests that are exported as spans, where any are.
    pub(super) spans: Option<Spans>,
    /// What makes routes of paths, where that is asked for.
    pub(super) router: Option<Router>,
    /// What the configuration says of paths: kept, and which are ignored.
    pub(super) paths: Paths,
    started_unix_ns: u64,
    kernel: String,
}

/// Series of the service that has an index now.
struct Entry {
    epoch: u64,
    /// Shared by all its series; they are not shown before it is known.
    identity: Identity,
    requests: RequestSeries,
    calls: CallSeries,
    taken: TakenSeries,
    counters: CounterSeries,
    edges: EdgeSeries,
    info: Option<LabelSet>,
    /// `None` while the node's budget has no room for it.
    budget: Option<Budget>,
}

impl Worker {
    /// A worker that has seen nothing and attached nothing.
    #[must_use]
    pub fn new(parts: Parts, config: &Config, kernel: String) -> Self {
        Self {
            parts,
            series: HashMap::new(),
            estimator: Estimator::default(),
            steal: Steal::default(),
            peers: Peers::new(
                config.kubernetes.node_name.as_deref().unwrap_or_default(),
                Names::new(&config.network.names),
            ),
            node: NodeBudget::new(config.series.per_node),
            per_container: config.series.per_container,
            filtered_before: 0,
            takers: takers::Takers::default(),
            switches: Switches::new(config),
            attached: [false; Lane::ALL.len()],
            governor: Governor::new(config.governor.enabled, config.governor.budget),
            meter: Meter::new(crate::host::cpus::online()),
            tap: Tap::new(config.paths.keep),
            spans: None,
            router: Router::new(&config.routes),
            paths: config.paths.clone(),
            started_unix_ns: clock::unix_ns(),
            kernel,
        }
    }

    /// Attaches the lanes that are on, finds what is there already, and begins
    /// to watch it.
    ///
    /// # Errors
    ///
    /// If `/proc` or the cgroup tree cannot be read.
    pub fn start(&mut self) -> Result<(), crate::attribution::procfs::Error> {
        self.keep_paths();
        self.attach_wanted();
        self.tick_pods();
        self.parts.attributor.scan()?;
        self.apply_changes();
        self.refresh_peers();
        // Verdicts that were made while there were no policies are stale.
        self.parts.policies.bump_generation();
        Ok(())
    }

    /// Takes events in order.
    pub fn take(&mut self, events: &mut [Event]) {
        for event in events {
            match event {
                Event::Request(request) => {
                    self.estimator.close(request);
                    self.steal.take_from(request);
                    self.take_request(request);
                }
                Event::Call(call) => self.take_call(call),
                Event::Process(process) => {
                    self.forget_client(process);
                    self.parts.attributor.on_process(process);
                }
                Event::Cgroup(cgroup) => self.parts.attributor.on_cgroup(cgroup),
                Event::Point(point) => self.take_point(point),
            }
            if matches!(event, Event::Process(_) | Event::Cgroup(_)) {
                self.apply_changes();
                if self.parts.attributor.read_programs() {
                    self.apply_changes();
                }
            }
        }
        self.flush_tap();
    }

    /// Does what somebody who traces asks for.
    pub fn follow(&mut self, order: Order) {
        self.tap.set_unseen(self.unseen());
        self.tap.set_unseen_points(self.unseen_points());
        self.tap.follow(order);
        self.keep_paths();
        self.keep_capture();
    }

    /// Whether somebody traces: [`Worker::tick_tap`] is to be called a few
    /// times a second.
    #[must_use]
    pub const fn is_tapped(&self) -> bool {
        !self.tap.is_idle()
    }

    /// Sends what was gathered for who traces, and tells of what was not seen.
    pub fn tick_tap(&mut self) {
        if self.tap.is_idle() {
            return;
        }
        self.tap.set_unseen(self.unseen());
        self.tap.set_unseen_points(self.unseen_points());
        self.flush_tap();
        self.keep_capture();
    }

    fn flush_tap(&mut self) {
        if !self.tap.is_idle() {
            self.tap.flush();
            self.keep_paths();
        }
    }

    /// Requests that finished and never came here.
    fn unseen(&self) -> u64 {
        let lost: u64 = (0..MAX_SERVICES as u16).map(|i| self.parts.counters.lost(i)).sum();
        lost + self.parts.own.dropped(Dropped::QueueFull)
    }

    /// Ends idle requests; their records come through the ring.
    pub fn sweep(&self) {
        if let Err(error) = self.parts.loaded.sweep() {
            tracing::warn!(%error, "cannot sweep connections");
        }
    }

    /// Measures what the hypervisor and interrupts took of the CPUs since the
    /// last call; requests from now on give it up. To be called once a second.
    pub fn measure_steal(&mut self) {
        let text = self.parts.proc.read_text("stat").ok();
        if self.steal.measure(text.and_then(|text| CpuTicks::parse(&text))) {
            tracing::warn!("cannot read what the CPUs did; hardware.steal stays 0");
        }
    }

    /// Takes back what belongs to services that are gone. Call every few
    /// seconds.
    pub fn expire(&mut self) {
        self.takers.forget();
        self.refresh_peers();
        let watched = self.parts.policies.processes();
        self.keep_clients(&watched);
        let expired = self.parts.attributor.expire(clock::monotonic_ns(), &watched);
        for service in expired {
            self.series.remove(&service);
        }
        self.apply_changes();
    }

    /// Detaches every program; what is in the ring can still be drained.
    pub fn detach(&mut self) {
        self.parts.loaded.switch(|_| false);
    }

    /// Programs, links and maps.
    #[must_use]
    pub const fn loaded(&self) -> &Loaded {
        &self.parts.loaded
    }

    /// Everything that is known now.
    #[must_use]
    pub fn snapshot(&mut self) -> Snapshot {
        let mut snapshot = Snapshot::new(clock::unix_ns());
        self.sweep_edges();
        self.admit();
        for (service, entry) in &mut self.series {
            let dropped = self.parts.own.dropped_requests(*service);
            entry.snapshot(*service, &self.parts.counters, dropped, &mut snapshot);
        }
        self.snapshot_own(&mut snapshot);
        self.snapshot_regulation(&mut snapshot);
        self.snapshot_pods(&mut snapshot);
        self.snapshot_edges(&mut snapshot);
        self.snapshot_spans(&mut snapshot);
        self.parts.attributor.set_shown();
        snapshot
    }

    /// The series of a service, made now if it has none yet.
    fn entry(&mut self, service: u16) -> Option<&mut Entry> {
        if !self.series.contains_key(&service) {
            self.refresh_entries();
            // At once: what is observed without a budget is folded for good.
            self.admit();
        }
        self.series.get_mut(&service)
    }

    fn take_request(&mut self, request: &Request) {
        if !self.tap.is_idle() {
            let service = self.parts.attributor.services().get(request.service);
            self.tap.request(request, service);
        }
        // Before the series, which borrow the worker.
        let taker = request.work.culprit.as_ref().map(|culprit| {
            let attributor = &self.parts.attributor;
            self.takers.find(culprit, |tgid| attributor.who_is(tgid))
        });
        // A copy, which is only made of what is asked for.
        let route = self.router.as_ref().and_then(|router| {
            router.route(request.path.as_deref()?).map(|route| route.into_owned())
        });
        let route = route.as_deref();
        let Some(entry) = self.entry(request.service) else {
            self.parts.own.count_dropped(Dropped::UnknownService, 1);
            self.parts.own.count_dropped_request(request.service);
            return;
        };
        let is_slow = entry.requests.observe(request, route, entry.budget.as_mut());
        if let Some(taker) = taker {
            let wait_ns = request.work.runqueue_worst_ns;
            entry.taken.observe(&taker, wait_ns, entry.budget.as_mut());
        }
        if let Some(spans) = &mut self.spans {
            let service = self.parts.attributor.services().get(request.service);
            let keeps_path = self.paths.keep;
            spans.request(request, service, Marks { is_slow, route, keeps_path });
        }
    }

    fn take_call(&mut self, call: &Call) {
        if !self.tap.is_idle() {
            self.tap.call(call);
        }
        if let Some(spans) = &mut self.spans {
            spans.call(call);
        }
        match self.entry(call.service) {
            Some(entry) => entry.calls.observe(call, entry.budget.as_mut()),
            None => self.parts.own.count_dropped(Dropped::UnknownService, 1),
        }
    }

    /// Series exist for every service that serves and whose name is known.
    fn refresh_entries(&mut self) {
        let services = self.parts.attributor.services().iter();
        for (index, service) in services.filter(|(_, service)| service.serves) {
            let known = self.series.get(&index).filter(|entry| entry.epoch == service.epoch);
            if let Some(entry) = known {
                if !entry.identity.is_known()
                    && let Some(named) = &service.identity
                {
                    set_names(&entry.identity, named);
                }
                continue;
            }
            if let Some(entry) = entry_of(service) {
                self.series.insert(index, entry);
            }
        }
    }

    /// Services without a budget get one while the node has room, those that
    /// were there first before the others.
    fn admit(&mut self) {
        let mut waiting: Vec<&mut Entry> =
            self.series.values_mut().filter(|entry| entry.budget.is_none()).collect();
        waiting.sort_by_key(|entry| entry.epoch);
        for entry in waiting {
            entry.budget = Budget::new(&self.node, self.per_container);
            if entry.budget.is_none() {
                break;
            }
        }
    }

    pub(super) fn apply_changes(&mut self) {
        let changes = self.parts.attributor.take_changes();
        if changes.is_empty() {
            return;
        }
        for change in changes {
            self.follow_client(&change);
            let policies = &mut self.parts.policies;
            match change {
                Change::Cgroup { id, service } => policies.set_cgroup(id, service),
                Change::CgroupGone { id } => policies.remove_cgroup(id),
                Change::GoLayout { index, layout } => policies.set_go_layout(index, &layout),
                Change::Process { tgid, policy } => policies.set_process(tgid, policy),
                Change::ProcessGone { tgid } => policies.remove_process(tgid),
                Change::Listener { netns, port, service, sockets } => {
                    policies.set_listener(netns, port, service, sockets);
                }
                Change::ListenerGone { netns, port } => policies.remove_listener(netns, port),
                Change::NewService { service } => {
                    self.filtered_before += self.parts.counters.filtered(service);
                    self.parts.counters.clear(service);
                    self.parts.edges.clear(service);
                    self.parts.own.clear_service(service);
                    self.series.remove(&service);
                    self.estimator.forget(service);
                    if let Some(spans) = &mut self.spans {
                        spans.forget(service);
                    }
                }
            }
        }
        self.parts.policies.bump_generation();
    }
}

impl Entry {
    /// Puts the service's series into a snapshot, if it has a budget.
    fn snapshot(&mut self, index: u16, counters: &Counters, dropped: u64, to: &mut Snapshot) {
        let Some(budget) = self.budget.as_mut().filter(|_| self.identity.is_known()) else {
            return;
        };
        self.requests.snapshot(&counters.requests(index), dropped, budget, to);
        if let Some(info) = &self.info
            && budget.has(&metrics::workload::CONTAINER_INFO)
        {
            to.family(&metrics::workload::CONTAINER_INFO).push(info.clone(), Value::Gauge(1.0));
        }
        self.calls.snapshot(budget, to);
        self.taken.snapshot(budget, to);
        self.counters.cpu(&counters.cpu(index), budget, to);
        self.counters.tcp(&counters.tcp(index), budget, to);
        self.counters.syscalls(&counters.syscalls(index), budget, to);
        self.edges.snapshot(budget, to);
    }
}

fn entry_of(service: &Service) -> Option<Entry> {
    let identity = Identity::unknown();
    match &service.identity {
        Some(known) => set_names(&identity, known),
        None if service.may_be_named() => {}
        None => return None,
    }
    let info = service.info.as_ref().map(|info| {
        let uid = info.pod_uid.as_ref().map_or("", |uid| uid.as_str());
        let values = [info.container_id.as_str(), info.runtime_label(), uid];
        LabelSet::new(&metrics::workload::CONTAINER_INFO, Some(&identity), &values)
    });
    Some(Entry {
        epoch: service.epoch,
        requests: RequestSeries::new(identity.clone()),
        calls: CallSeries::new(identity.clone()),
        taken: TakenSeries::new(identity.clone()),
        counters: CounterSeries::new(identity.clone()),
        edges: EdgeSeries::new(identity.clone()),
        identity,
        info,
        budget: None,
    })
}

/// Says by which names series are shown.
fn set_names(identity: &Identity, known: &crate::attribution::identity::Identity) {
    identity.set(&known.namespace, &known.pod, &known.container, &known.workload);
}

pub(super) fn gauge(snapshot: &mut Snapshot, metric: &'static Metric, values: &[&str], value: f64) {
    snapshot.family(metric).push(LabelSet::new(metric, None, values), Value::Gauge(value));
}

pub(super) fn counter(
    snapshot: &mut Snapshot,
    metric: &'static Metric,
    values: &[&str],
    value: f64,
) {
    snapshot.family(metric).push(LabelSet::new(metric, None, values), Value::Counter(value));
}
