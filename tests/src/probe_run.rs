//! Run and expect: the kernel programs in the test's own process, by the
//! agent's own loader, and what they say.
//!
//! Separate from `agent_process`, where only the exposition can be seen: here
//! every field of every record can.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use agent::aggregate::switches::Switches;
use agent::app;
use agent::attribution::go_binary::{self, GoBinary, client_probe};
use agent::attribution::hierarchy::Hierarchy;
use agent::config::Config;
use agent::decode::decode;
use agent::event::Event;
use agent::event::call::Call;
use agent::event::cgroup::Cgroup;
use agent::event::process::Process;
use agent::event::request::Request;
use agent::load::policies::Policies;
use agent::load::status::lane_status;
use agent::load::{self, Loaded};
use agent::probes::Lane;
use agent::source::counters::Counters;
use agent::source::ring::Ring;
use agent_common::policy::{PROCESS_GO, PROCESS_IGNORED, ProcessPolicy};
use agent_common::stats::Loss;
use anyhow::Context as _;

use crate::eventually;
use crate::sys::WakeUps;

/// Pause of the reader while a closure runs: a burst of it fits the ring.
const DRAIN: Duration = Duration::from_millis(5);
/// How long a record may take from the end of what it tells of: idle
/// connections are ended by a sweep.
const VISIBLE: Duration = Duration::from_secs(5);
/// How long more records than expected are waited for.
const SETTLED: Duration = Duration::from_millis(200);

/// What to load, and how.
#[derive(Clone, Debug)]
pub struct Setup {
    config: Config,
    /// One request record in 2^this is handed over.
    sampling_shift: u32,
}

impl Default for Setup {
    /// The lanes that records come from, without paths, with nothing ignored.
    fn default() -> Self {
        let mut config = Config::default();
        config.lanes.cpu = false;
        config.lanes.syscalls = false;
        config.lanes.go = false;
        config.paths.ignore.clear();
        Self { config, sampling_shift: 0 }
    }
}

impl Setup {
    /// These lanes only.
    #[must_use]
    pub fn lanes(mut self, lanes: &[Lane]) -> Self {
        let on = &mut self.config.lanes;
        on.sockets = lanes.contains(&Lane::Sockets);
        on.cpu = lanes.contains(&Lane::Cpu);
        on.process = lanes.contains(&Lane::Process);
        on.tcp = lanes.contains(&Lane::Tcp);
        on.syscalls = lanes.contains(&Lane::Syscalls);
        on.go = lanes.contains(&Lane::Go);
        self
    }

    /// With paths in the records.
    #[must_use]
    pub fn keep_paths(mut self) -> Self {
        self.config.paths.keep = true;
        self
    }

    /// With the trace of each request in its record, as where spans are on.
    #[must_use]
    pub fn reads_trace(mut self) -> Self {
        self.config.traces.endpoint = Some("http://127.0.0.1:4318".to_owned());
        self
    }

    /// Without records of requests for these paths.
    #[must_use]
    pub fn ignore(mut self, paths: &[&str]) -> Self {
        self.config.paths.ignore = paths.iter().map(|path| (*path).to_owned()).collect();
        self
    }

    /// With a ring of this size, a power of two of pages.
    #[must_use]
    pub fn ring_bytes(mut self, bytes: u32) -> Self {
        self.config.ring.bytes = bytes;
        self
    }

    /// With one request record in 2^`shift`.
    #[must_use]
    pub fn sampling_shift(mut self, shift: u32) -> Self {
        self.sampling_shift = shift;
        self
    }
}

/// What became of a service's requests, by the kernel's count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    /// Finished in all.
    pub finished: u64,
    /// Sampled out.
    pub sampled: u64,
    /// Of ignored paths.
    pub filtered: u64,
    /// Without room in the ring.
    pub lost: u64,
}

/// Kernel programs, loaded and attached, with what they said so far.
pub struct Probes {
    loaded: Loaded,
    ring: Ring,
    policies: Policies,
    counters: Counters,
    hierarchy: Hierarchy,
    /// Every event so far, in order.
    pub events: Vec<Event>,
    /// Records that were none.
    pub malformed: u64,
}

impl Probes {
    /// Loads and attaches.
    ///
    /// # Errors
    /// When a lane that the setup wants does not work here, with the reason.
    pub fn start(setup: Setup) -> anyhow::Result<Self> {
        let (options, hierarchy) = app::load_options(&setup.config)?;
        let mut loaded = load::load(&options)?;
        let ring = Ring::new(&mut loaded)?;
        let mut policies = Policies::new(&mut loaded)?;
        let counters = Counters::new(&mut loaded)?;
        policies.set_paths(setup.config.paths.keep, &setup.config.paths.ignore);
        policies.set_sampling(setup.sampling_shift);
        let wanted = Switches::new(&setup.config).lanes();
        let is_on = |lane: Lane| wanted.get(lane as usize).copied().unwrap_or(false);
        policies.set_lanes(is_on);
        loaded.switch(is_on);
        for lane in Lane::ALL.into_iter().filter(|lane| is_on(*lane)) {
            let status = lane_status(lane, loaded.statuses(), true);
            anyhow::ensure!(
                status.state == load::status::LaneState::Works,
                "the {} lane is {}: {}",
                lane.as_str(),
                status.state.as_str(),
                status.why
            );
        }
        let (events, malformed) = (Vec::new(), 0);
        Ok(Self { loaded, ring, policies, counters, hierarchy, events, malformed })
    }

    /// Watches a process that listens on `port`, as `service`.
    ///
    /// # Errors
    /// When `/proc` does not say what it is.
    pub fn watch(&mut self, pid: u32, port: u16, service: u16) -> anyhow::Result<()> {
        let mut policy = ProcessPolicy { service, ..ProcessPolicy::default() };
        let program = format!("/proc/{pid}/exe");
        if let GoBinary::Readable(go) = go_binary::inspect_file(Path::new(&program))? {
            policy.flags = PROCESS_GO;
            policy.g_tls_offset = go.g_tls_offset;
            policy.goid_offset = go.goid_offset;
            // One program at a time is enough for a test.
            self.policies.set_go_layout(0, &go.layout);
            policy.go_layout = 1;
            self.loaded.add_go_client(pid, Path::new(&program), |_| {
                let site = client_probe::client_probe_file(Path::new(&program), &go);
                site.ok().flatten().map(|site| site.file_offset)
            });
        }
        self.policies.set_process(pid, policy);
        self.policies.set_listener(netns(pid)?, port, Some(service), 1);
        self.policies.bump_generation();
        anyhow::ensure!(self.policies.failures() == 0, "a policy could not be written");
        Ok(())
    }

    /// Looks at a process no more.
    pub fn forget(&mut self, pid: u32) {
        self.policies.remove_process(pid);
        self.loaded.remove_go_client(pid);
    }

    /// Attaches and detaches lanes while everything else stays.
    pub fn switch(&mut self, is_on: impl Fn(Lane) -> bool) {
        self.policies.begin_epoch();
        self.policies.set_lanes(&is_on);
        self.loaded.switch(is_on);
    }

    /// Looks away from a process that listens on `port`.
    ///
    /// # Errors
    /// As [`Probes::watch`].
    pub fn ignore(&mut self, pid: u32, port: u16) -> anyhow::Result<()> {
        let policy = ProcessPolicy { flags: PROCESS_IGNORED, ..ProcessPolicy::default() };
        self.policies.set_process(pid, policy);
        self.policies.set_listener(netns(pid)?, port, None, 1);
        self.policies.bump_generation();
        Ok(())
    }

    /// Watches the processes of a cgroup once they serve, as `service`.
    pub fn watch_cgroup(&mut self, id: u64, service: u16) {
        self.policies.set_cgroup(id, service);
        self.policies.bump_generation();
    }

    /// Runs `body` and collects events meanwhile, so that the ring never fills.
    pub fn run<T: Send>(&mut self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let running = scope.spawn(body);
            while !running.is_finished() {
                self.collect();
                std::thread::sleep(DRAIN);
            }
            let result = running.join();
            self.collect();
            result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Wake-ups of the ring's reader from now on; nothing may be in it yet.
    ///
    /// # Errors
    /// When a descriptor cannot be had.
    pub fn wake_ups(&self) -> anyhow::Result<WakeUps> {
        Ok(WakeUps::of(self.ring.wake_ups()?)?)
    }

    /// Takes what is in the ring.
    pub fn collect(&mut self) {
        let (events, malformed) = (&mut self.events, &mut self.malformed);
        self.ring.drain(usize::MAX, |bytes| match decode(bytes) {
            Ok(event) => events.push(event),
            Err(_) => *malformed += 1,
        });
    }

    /// Ends idle requests, and collects until `is_enough` or for a while; then
    /// once more, for what should not come.
    pub fn settle(&mut self, is_enough: impl Fn(&Self) -> bool) {
        eventually::until(VISIBLE, || {
            let _ = self.loaded.sweep();
            self.collect();
            is_enough(self).then_some(())
        });
        let end = Instant::now() + SETTLED;
        while Instant::now() < end {
            let _ = self.loaded.sweep();
            self.collect();
            std::thread::sleep(DRAIN);
        }
    }

    /// [`Probes::settle`] for so many requests, and gives them.
    pub fn settled_requests(&mut self, count: usize) -> Vec<Request> {
        self.settle(|probes| probes.requests().count() >= count);
        self.requests().cloned().collect()
    }

    /// The requests among the events.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.events.iter().filter_map(|event| match event {
            Event::Request(request) => Some(request),
            _ => None,
        })
    }

    /// The calls to downstreams among the events.
    pub fn calls(&self) -> impl Iterator<Item = &Call> {
        self.events.iter().filter_map(|event| match event {
            Event::Call(call) => Some(call),
            _ => None,
        })
    }

    /// What processes did, among the events.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        self.events.iter().filter_map(|event| match event {
            Event::Process(process) => Some(process),
            _ => None,
        })
    }

    /// Cgroups that came or went, among the events.
    pub fn cgroups(&self) -> impl Iterator<Item = &Cgroup> {
        self.events.iter().filter_map(|event| match event {
            Event::Cgroup(cgroup) => Some(cgroup),
            _ => None,
        })
    }

    /// What the kernel counted for a service.
    #[must_use]
    pub fn books(&self, service: u16) -> Books {
        let counters = self.counters.requests(service);
        Books {
            finished: counters.finished,
            sampled: counters.sampled,
            filtered: counters.filtered,
            lost: counters.lost,
        }
    }

    /// The counters as the agent reads them.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What could not be recorded for this reason.
    #[must_use]
    pub fn losses(&self, reason: Loss) -> u64 {
        self.counters.losses().get(reason as usize).copied().unwrap_or(0)
    }

    /// Every reason for which something was not recorded, with its count.
    #[must_use]
    pub fn all_losses(&self) -> Vec<(&'static str, u64)> {
        let counts = Loss::ALL.iter().zip(self.counters.losses());
        counts.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.as_str(), n)).collect()
    }

    /// Whether a process is watched now.
    #[must_use]
    pub fn is_watched(&self, pid: u32) -> bool {
        self.policies.processes().iter().any(|(tgid, _)| *tgid == pid)
    }

    /// Programs, links and maps.
    #[must_use]
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The cgroup hierarchy whose ids are in the records.
    #[must_use]
    pub fn hierarchy(&self) -> &Hierarchy {
        &self.hierarchy
    }
}

/// The network namespace of a process, as the kernel numbers it.
///
/// # Errors
/// When there is no such process.
pub fn netns(pid: u32) -> anyhow::Result<u32> {
    let path = format!("/proc/{pid}/ns/net");
    let inode = std::fs::metadata(&path).with_context(|| format!("reading {path}"))?.ino();
    Ok(u32::try_from(inode)?)
}
