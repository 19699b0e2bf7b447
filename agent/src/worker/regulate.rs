//! What the worker does to itself while it runs: lanes on and off, another
//! configuration, the governor's second.
//!
//! Separate from the data path: nothing here is about what was measured.

use super::{Worker, gauge};
use crate::aggregate::governor::State;
use crate::aggregate::governor::meter::Runs;
use crate::aggregate::snapshot::Snapshot;
use crate::aggregate::switches::Hold;
use crate::attribution::reselect::Believed;
use crate::config::{Config, Reload};
use crate::load::status::{can_switch, lane_status};
use crate::metrics::agent as own_metrics;
use crate::probes::Lane;
use crate::sys::clock;

/// Lanes, each on or off.
type Lanes = [bool; Lane::ALL.len()];

fn has(lanes: &Lanes, lane: Lane) -> bool {
    lanes.get(lane as usize).copied().unwrap_or(false)
}

/// Whether connections are seen to open and close.
fn sees_connections(lanes: &Lanes) -> bool {
    has(lanes, Lane::Sockets) || has(lanes, Lane::Tcp)
}

impl Worker {
    /// Takes up what a new configuration changes.
    pub fn configure(&mut self, config: &Config, reload: &Reload) {
        let is_changed =
            |section: &str| reload.applied.iter().any(|key| key.split('.').next() == Some(section));
        // What takes load off comes first, what takes time last.
        if is_changed("off") || is_changed("lanes") || is_changed("governor") {
            self.switches.configure(config);
            if is_changed("governor") {
                self.governor.configure(config.governor.enabled, config.governor.budget);
            }
            self.switches.shed(self.governor.shed());
            self.apply_switches();
        }
        if is_changed("paths") {
            self.paths = config.paths.clone();
            self.tap.set_keeps_paths(self.paths.keep);
            self.parts.policies.set_paths(self.paths.keep, &self.paths.ignore);
            self.keep_paths();
        }
        if is_changed("network") {
            self.name_networks(&config.network.names);
        }
        if is_changed("watch") {
            let believed = self.believed(Vec::new());
            let result = self.parts.attributor.set_watch(config.watch.clone(), &believed);
            self.carry_out(result);
        }
    }

    /// Has the kernel keep paths where they are configured to be, or while
    /// somebody traces who wants them, or routes are made of them.
    pub(super) fn keep_paths(&mut self) {
        let wants_paths = self.router.is_some() || self.tap.wants_paths();
        self.parts.policies.keep_paths(self.paths.keep || wants_paths);
    }

    /// Holds every lane off because of crashes, or no more.
    pub fn hold(&mut self, has_crashed: bool) {
        self.switches.hold(has_crashed);
        self.apply_switches();
    }

    /// Measures what was used since the last call, and sheds or takes back. To
    /// be called once a second.
    pub fn govern(&mut self) {
        let programs = self.parts.stats.read();
        let runs = programs.iter().map(|cost| Runs {
            runs: cost.runs,
            timed_runs: cost.timed_runs,
            timed_ns: cost.timed_ns,
        });
        let used = self.meter.measure(clock::monotonic_ns(), clock::process_cpu_ns(), runs);
        let Some(used) = used else { return };
        if self.parts.policies.is_capturing() {
            // Somebody wants this, for a minute at most: to shed what is captured
            // would spoil it, and requests are not to be sampled for it.
            return;
        }
        let can_shed =
            |lane| self.switches.is_wanted(lane) && can_switch(lane, self.parts.loaded.statuses());
        let sheddable = crate::aggregate::governor::Sheddable {
            syscalls: can_shed(Lane::Syscalls),
            requests: can_shed(Lane::Sockets),
            cpu: can_shed(Lane::Cpu),
        };
        let Some(change) = self.governor.observe(used, sheddable) else { return };
        let shed = self.governor.shed();
        tracing::warn!(
            state = self.governor.state().as_str(),
            one_request_in = 1_u32 << shed.sample_shift,
            used = format!("{:.2} %", used * 100.0),
            budget = format!("{:.2} %", self.governor.budget() * 100.0),
            "governor {}",
            change.as_str()
        );
        self.switches.shed(shed);
        self.apply_switches();
    }

    /// Attaches and detaches, and looks again at what went unseen.
    fn apply_switches(&mut self) {
        self.parts.policies.set_sampling(self.switches.sample_shift());
        self.tap.set_sample_shift(self.switches.sample_shift());
        let before = self.attached;
        let wanted = self.switches.lanes();
        if before == wanted {
            return;
        }
        // Who listens is kept up to date by programs that both lanes share.
        let is_blind = sees_connections(&wanted) && !sees_connections(&before);
        let stale = if is_blind { self.parts.policies.listeners() } else { Vec::new() };
        self.attach_wanted();
        let has_missed = has(&wanted, Lane::Process) && !has(&before, Lane::Process);
        if is_blind || has_missed {
            self.rescan(stale);
        }
    }

    /// Looks at everything again, because whom to watch is another question.
    pub(super) fn rescan_now(&mut self) {
        self.rescan(Vec::new());
    }

    fn rescan(&mut self, stale: Vec<(u32, u16)>) {
        let believed = self.believed(stale);
        let result = self.parts.attributor.rescan(&believed);
        self.carry_out(result);
    }

    /// Attaches the lanes that are to be on and detaches the others.
    pub(super) fn attach_wanted(&mut self) {
        let before = self.attached;
        let wanted = self.switches.lanes();
        let comes = |lane| has(&wanted, lane) && !has(&before, lane);
        let parts = &mut self.parts;
        if comes(Lane::Sockets) || comes(Lane::Tcp) {
            parts.counters.clear_live_connections();
            parts.policies.begin_connections();
        }
        if Lane::ALL.into_iter().any(comes) {
            parts.policies.begin_epoch();
        }
        parts.policies.set_lanes(|lane| has(&wanted, lane));
        parts.loaded.switch(|lane| has(&wanted, lane));
        self.attached = wanted;
        for lane in Lane::ALL {
            if has(&wanted, lane) != has(&before, lane) || before == [false; Lane::ALL.len()] {
                let status = lane_status(lane, self.parts.loaded.statuses(), true);
                let (lane, state) = (lane.as_str(), status.state.as_str());
                tracing::info!(lane, state, why = status.why, "lane");
            }
        }
    }

    fn believed(&self, listeners: Vec<(u32, u16)>) -> Believed {
        Believed { processes: self.parts.policies.processes(), listeners }
    }

    /// Carries what a look at everything found to the kernel.
    fn carry_out(&mut self, result: Result<(), crate::attribution::procfs::Error>) {
        if let Err(error) = result {
            tracing::error!(%error, "cannot look at the processes again; some may not be watched");
        }
        self.apply_changes();
        // Some may be watched again that went unseen for a while.
        self.parts.policies.begin_epoch();
        self.parts.policies.bump_generation();
    }

    pub(super) fn snapshot_regulation(&self, snapshot: &mut Snapshot) {
        for state in State::ALL {
            let value = f64::from(u8::from(state == self.governor.state()));
            gauge(snapshot, &own_metrics::GOVERNOR_STATE, &[state.as_str()], value);
        }
        gauge(snapshot, &own_metrics::GOVERNOR_BUDGET, &[], self.governor.budget());
        gauge(snapshot, &own_metrics::GOVERNOR_USE, &[], self.meter.used());
        for reason in Hold::ALL {
            let value = f64::from(u8::from(self.switches.holds(reason)));
            gauge(snapshot, &own_metrics::LANES_HELD, &[reason.as_str()], value);
        }
        let (is_successful, loaded_unix_ns) = self.parts.own.config_load();
        let value = f64::from(u8::from(is_successful));
        gauge(snapshot, &own_metrics::CONFIG_RELOAD_SUCCESSFUL, &[], value);
        let loaded = loaded_unix_ns as f64 / 1e9;
        gauge(snapshot, &own_metrics::CONFIG_RELOAD_TIMESTAMP, &[], loaded);
    }
}
