//! What the agent tells the kernel programs: whom to watch, and how.

use agent_common::go::GoLayout;
use agent_common::limits::{
    MAX_GO_LAYOUTS, MAX_LISTENERS, MAX_PROCESSES, MAX_SERVICES, WATCHED_SLOTS,
};
use agent_common::policy::{
    CgroupPolicy, Control, LANE_CPU, LANE_GO, LANE_SOCKETS, LANE_TCP, Listener, ListenerKey,
    NO_SERVICE, ProcessPolicy, watched_slot,
};
use aya::maps::{HashMap, MapData};

use super::{Error, Loaded};
use crate::probes::Lane;
use crate::sys::mapping::Mapping;

const CGROUP_BYTES: usize = size_of::<CgroupPolicy>();
const PROCESS_BYTES: usize = size_of::<ProcessPolicy>();
const KEY_BYTES: usize = size_of::<ListenerKey>();
const LISTENER_BYTES: usize = size_of::<Listener>();
const GO_LAYOUT_BYTES: usize = size_of::<GoLayout>();

/// `BPF_NOEXIST`
const NOEXIST: u64 = 1;

/// Services, one bit each.
pub type ServiceSet = [u64; MAX_SERVICES as usize / 64];

/// The maps that the agent writes.
pub struct Policies {
    cgroups: HashMap<MapData, u64, [u8; CGROUP_BYTES]>,
    processes: HashMap<MapData, u32, [u8; PROCESS_BYTES]>,
    /// Entries of `processes` by slot; the kernel counts those that it makes.
    watched: Mapping,
    go_layouts: Mapping,
    listeners: HashMap<MapData, [u8; KEY_BYTES], [u8; LISTENER_BYTES]>,
    ignored: HashMap<MapData, u64, u32>,
    captured: Mapping,
    control: Mapping,
    values: Control,
    /// What `captured` holds.
    capturing: ServiceSet,
    /// Writes that failed: a full map, above all.
    failures: u64,
}

macro_rules! hash_map {
    ($loaded:expr, $name:literal) => {
        HashMap::try_from($loaded.take_map($name)?)
            .map_err(|source| Error::Map { name: $name, source })?
    };
}

impl Policies {
    /// Takes the maps out of what was loaded.
    ///
    /// # Errors
    ///
    /// If a map is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, Error> {
        Ok(Self {
            cgroups: hash_map!(loaded, "CGROUPS"),
            processes: hash_map!(loaded, "PROCESSES"),
            watched: super::map_array(loaded, "WATCHED_TGIDS", WATCHED_SLOTS as usize * 8)?,
            go_layouts: super::map_array(
                loaded,
                "GO_LAYOUTS",
                MAX_GO_LAYOUTS as usize * GO_LAYOUT_BYTES,
            )?,
            listeners: hash_map!(loaded, "LISTENERS"),
            ignored: hash_map!(loaded, "IGNORED_PATHS"),
            captured: super::map_array(loaded, "CAPTURED", size_of::<ServiceSet>())?,
            control: super::map_array(loaded, "CONTROL", size_of::<Control>())?,
            capturing: ServiceSet::default(),
            values: Control { generation: 1, ..Control::default() },
            failures: 0,
        })
    }

    /// Watches the processes of a cgroup, once they serve.
    pub fn set_cgroup(&mut self, id: u64, service: u16) {
        let policy = CgroupPolicy { service, ..CgroupPolicy::default() };
        let result = self.cgroups.insert(id, policy.to_bytes(), 0);
        self.count(result.is_ok());
    }

    /// Forgets a cgroup.
    pub fn remove_cgroup(&mut self, id: u64) {
        // It may never have been selected.
        let _ = self.cgroups.remove(&id);
    }

    /// Says where a Go program's runtime keeps what, at an index less than
    /// [`MAX_GO_LAYOUTS`]. Call it before a policy names the entry, and never
    /// for one that a policy still names: words are stored one by one.
    pub fn set_go_layout(&mut self, index: u32, layout: &GoLayout) {
        if index >= MAX_GO_LAYOUTS {
            return self.count(false);
        }
        let first = index as usize * (GO_LAYOUT_BYTES / 8);
        for (word, bytes) in layout.to_bytes().as_chunks::<8>().0.iter().enumerate() {
            self.go_layouts.set_word(first + word, u64::from_ne_bytes(*bytes));
        }
    }

    /// Watches a process.
    pub fn set_process(&mut self, tgid: u32, policy: ProcessPolicy) {
        let bytes = policy.to_bytes();
        if self.processes.insert(tgid, bytes, NOEXIST).is_ok() {
            self.watched.add_word(watched_slot(tgid) as usize, 1);
            return;
        }
        let result = self.processes.insert(tgid, bytes, 0);
        self.count(result.is_ok());
    }

    /// Stops watching a process.
    pub fn remove_process(&mut self, tgid: u32) {
        if self.processes.remove(&tgid).is_ok() {
            // All ones take one away.
            self.watched.add_word(watched_slot(tgid) as usize, u64::MAX);
            self.begin_epoch();
        }
    }

    /// Processes that are watched now, those that the kernel added included.
    #[must_use]
    pub fn processes(&self) -> Vec<(u32, ProcessPolicy)> {
        self.processes
            .iter()
            .take(MAX_PROCESSES as usize)
            .filter_map(Result::ok)
            .map(|(tgid, bytes)| (tgid, ProcessPolicy::from_bytes(bytes)))
            .collect()
    }

    /// Says who listens on a port; `None` for a process that is not watched.
    pub fn set_listener(&mut self, netns: u32, port: u16, service: Option<u16>, sockets: u32) {
        let key = ListenerKey { netns, port, _pad: 0 };
        let service = service.unwrap_or(NO_SERVICE);
        let listener = Listener { service, _pad: 0, sockets };
        let result = self.listeners.insert(key.to_bytes(), listener.to_bytes(), 0);
        self.count(result.is_ok());
    }

    /// Ports that are listened on now, as far as the kernel has seen, with
    /// their network namespaces.
    #[must_use]
    pub fn listeners(&self) -> Vec<(u32, u16)> {
        let keys = self.listeners.keys().take(MAX_LISTENERS as usize).filter_map(Result::ok);
        keys.map(ListenerKey::from_bytes).map(|key| (key.netns, key.port)).collect()
    }

    /// Forgets who listens on a port.
    pub fn remove_listener(&mut self, netns: u32, port: u16) {
        // The kernel may have removed it already.
        let _ = self.listeners.remove(&ListenerKey { netns, port, _pad: 0 }.to_bytes());
    }

    /// Entries of each map now.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, usize); 4] {
        [
            ("cgroups", self.cgroups.keys().filter(Result::is_ok).count()),
            ("processes", self.processes.keys().filter(Result::is_ok).count()),
            ("listeners", self.listeners.keys().filter(Result::is_ok).count()),
            ("ignored_paths", self.ignored.keys().filter(Result::is_ok).count()),
        ]
    }

    /// Ignores requests for these paths, and keeps paths or not.
    pub fn set_paths(&mut self, keep: bool, ignore: &[String]) {
        let old: Vec<u64> = self.ignored.keys().filter_map(Result::ok).collect();
        for hash in old {
            let _ = self.ignored.remove(&hash);
        }
        self.values.ignored_bits = 0;
        for path in ignore {
            let hash = agent_common::head::path_hash(path.as_bytes());
            let result = self.ignored.insert(hash, 1, 0);
            self.count(result.is_ok());
            self.values.ignored_bits |= 1 << (hash & 63);
        }
        self.values.keep_paths = u32::from(keep);
        self.write_control();
    }

    /// Keeps paths or not, from now on.
    pub fn keep_paths(&mut self, keep: bool) {
        if self.values.keep_paths != u32::from(keep) {
            self.values.keep_paths = u32::from(keep);
            self.write_control();
        }
    }

    /// Has the threads of these services say what they do, from now on. An empty
    /// set costs them nothing.
    pub fn set_capture(&mut self, services: &ServiceSet) {
        if self.capturing == *services {
            return;
        }
        self.capturing = *services;
        for (index, word) in services.iter().enumerate() {
            self.captured.set_word(index, *word);
        }
        self.values.is_capturing = u32::from(services.iter().any(|word| *word != 0));
        // Threads know from their verdict whether they are meant.
        self.bump_generation();
    }

    /// Whether the threads of any service do.
    #[must_use]
    pub const fn is_capturing(&self) -> bool {
        self.values.is_capturing != 0
    }

    /// Sends one request record in 2^`shift`.
    pub fn set_sampling(&mut self, shift: u32) {
        self.values.sample_shift = shift;
        self.write_control();
    }

    /// Says which lanes are on, before their programs are attached.
    pub fn set_lanes(&mut self, is_on: impl Fn(Lane) -> bool) {
        let bit = |lane, bit| if is_on(lane) { bit } else { 0 };
        self.values.lanes = bit(Lane::Sockets, LANE_SOCKETS)
            | bit(Lane::Tcp, LANE_TCP)
            | bit(Lane::Go, LANE_GO)
            | bit(Lane::Cpu, LANE_CPU);
        self.write_control();
    }

    /// Things went unseen, or will: waits and calls that have begun are not
    /// measured. Call it before lanes are attached again.
    pub fn begin_epoch(&mut self) {
        self.values.epoch = self.values.epoch.wrapping_add(1);
        self.write_control();
    }

    /// Connections went unseen: what is known of them is dropped.
    pub fn begin_connections(&mut self) {
        self.values.connections_epoch = self.values.connections_epoch.wrapping_add(1);
        self.write_control();
    }

    /// Makes the programs judge every task again.
    pub fn bump_generation(&mut self) {
        self.values.generation = self.values.generation.wrapping_add(1).max(1);
        self.write_control();
    }

    /// Writes that failed.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.failures
    }

    fn write_control(&self) {
        let v = &self.values;
        let word = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        // The generation last: it makes the rest be looked at.
        self.control.set_word(4, word(v.is_capturing, 0));
        self.control.set_word(3, word(v.lanes, v.connections_epoch));
        self.control.set_word(2, v.ignored_bits);
        self.control.set_word(1, word(v.keep_paths, v.epoch));
        self.control.set_word(0, word(v.generation, v.sample_shift));
    }

    fn count(&mut self, is_ok: bool) {
        self.failures += u64::from(!is_ok);
    }
}
