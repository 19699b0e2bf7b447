//! Which workloads `--pid`, `--port`, `--comm` and `--container` mean, for a
//! verb that shows them.
//!
//! Separate from the attributor, which selects what is watched: this looks at
//! `/proc` once, and says by which names a workload is found among the rows
//! that an agent shows.

use std::collections::{BTreeMap, HashMap};

use super::cgroup_path::{self, CgroupOwner};
use super::hierarchy::Hierarchy;
use super::identity::Identity;
use super::procfs::process::ProcessFacts;
use super::procfs::sockets::ListeningSockets;
use super::procfs::{self, ProcRoot};
use crate::config::{Glob, Watch};

/// Listening sockets of one network namespace that are looked at.
const MAX_LISTENERS: usize = 16_384;
/// File descriptors of one process that are looked at.
const MAX_DESCRIPTORS: usize = 65_536;

/// How a workload is recognized, whatever its pod is called.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sought {
    /// By the full id of its container.
    Container(String),
    /// Outside of containers, by its workload label.
    Host(String),
}

/// The names of a shown workload.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shown<'a> {
    /// Identity label.
    pub namespace: &'a str,
    /// Identity label.
    pub container: &'a str,
    /// Identity label.
    pub workload: &'a str,
    /// Full id of the container; empty if there is none.
    pub container_id: &'a str,
}

/// Which workloads are meant.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    namespaces: Vec<Glob>,
    containers: Vec<Glob>,
    /// Found by number, port or name.
    sought: Vec<Sought>,
    /// Numbers, ports or names were given, found or not.
    has_processes: bool,
    /// Ports that are listened on, by whom; for messages.
    listening: BTreeMap<u16, String>,
}

impl Targets {
    /// Finds the processes that `watch` names. Reads `/proc` only if it names
    /// some.
    ///
    /// # Errors
    ///
    /// If `/proc` cannot be read at all.
    pub fn find(
        watch: &Watch,
        proc: &ProcRoot,
        hierarchy: &Hierarchy,
    ) -> Result<Self, procfs::Error> {
        let mut targets = Self {
            namespaces: watch.namespaces_in.clone(),
            containers: watch.containers_in.clone(),
            ..Self::default()
        };
        if watch.pids.is_empty() && watch.ports.is_empty() && watch.comms.is_empty() {
            return Ok(targets);
        }
        targets.has_processes = true;
        let mut namespaces: HashMap<u32, ListeningSockets> = HashMap::new();
        for tgid in proc.processes()? {
            let process = proc.process(tgid);
            let Ok(Some(facts)) = process.facts(hierarchy) else { continue };
            let ports = match facts.netns {
                Some(netns) if !watch.ports.is_empty() => {
                    let listening = namespaces.entry(netns).or_insert_with(|| {
                        process.listening_sockets_of_netns(MAX_LISTENERS).unwrap_or_default()
                    });
                    match process.socket_inodes() {
                        Ok(inodes) => listening.held_by(inodes, MAX_DESCRIPTORS),
                        Err(_) => Vec::new(),
                    }
                }
                _ => Vec::new(),
            };
            let ports: Vec<u16> = ports.iter().map(|socket| socket.port).collect();
            targets.take(watch, &facts, &ports);
        }
        Ok(targets)
    }

    fn take(&mut self, watch: &Watch, facts: &ProcessFacts, ports: &[u16]) {
        let owner = facts.cgroup_path.as_deref().map(cgroup_path::parse).unwrap_or_default();
        let sought = Sought::of(&owner, facts.executable_name());
        for port in ports {
            self.listening.entry(*port).or_insert_with(|| facts.executable_name().to_owned());
        }
        let is_meant = watch.pids.contains(&facts.key.tgid.0)
            || watch.ports.iter().any(|port| ports.contains(port))
            || watch.comms.contains(&facts.comm);
        if is_meant && !self.sought.contains(&sought) {
            self.sought.push(sought);
        }
    }

    /// Whether every workload is meant.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.namespaces.is_empty() && self.containers.is_empty() && !self.has_processes
    }

    /// Whether this workload is meant: one of the containers or processes, in
    /// one of the namespaces.
    #[must_use]
    pub fn has(&self, shown: Shown<'_>) -> bool {
        let is_in = |globs: &[Glob]| globs.iter().any(|glob| glob.matches(shown.namespace));
        let is_container = || {
            !(shown.container.is_empty() && shown.container_id.is_empty())
                && self
                    .containers
                    .iter()
                    .any(|glob| glob.matches_container(shown.container, shown.container_id))
        };
        let is_process = || self.sought.iter().any(|sought| sought.is(shown));
        let is_every = self.containers.is_empty() && !self.has_processes;
        (self.namespaces.is_empty() || is_in(&self.namespaces))
            && (is_every || is_container() || is_process())
    }

    /// What was found by number, port or name: full ids of containers, and
    /// labels of workloads outside of containers.
    #[must_use]
    pub fn found(&self) -> (Vec<String>, Vec<String>) {
        let mut found = (Vec::new(), Vec::new());
        for sought in &self.sought {
            match sought {
                Sought::Container(id) => found.0.push(id.clone()),
                Sought::Host(workload) => found.1.push(workload.clone()),
            }
        }
        found
    }

    /// Ports that are listened on, with the program, ascending; empty unless
    /// ports were asked for.
    pub fn listening(&self) -> impl Iterator<Item = (u16, &str)> {
        self.listening.iter().map(|(port, program)| (*port, program.as_str()))
    }
}

impl Sought {
    fn of(owner: &CgroupOwner, executable: &str) -> Self {
        match &owner.container_id {
            Some(id) => Self::Container(id.as_str().to_owned()),
            None => {
                let identity = Identity::without_metadata(owner, executable, None);
                Self::Host(identity.workload.to_string())
            }
        }
    }

    fn is(&self, shown: Shown<'_>) -> bool {
        match self {
            Self::Container(id) => shown.container_id == id,
            Self::Host(workload) => shown.container_id.is_empty() && shown.workload == workload,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::config::Config;

    const ID: &str = "e283478ec142b8a343262523dcfbef316b8f0244ac0be4cbe68e7bba2fdd9035";

    fn watch(change: impl FnOnce(&mut Watch)) -> Watch {
        let mut watch = Config::default().watch;
        change(&mut watch);
        watch
    }

    fn find(watch: &Watch) -> Targets {
        let proc = ProcRoot::default();
        let hierarchy = Hierarchy::detect(&proc, None).unwrap();
        Targets::find(watch, &proc, &hierarchy).unwrap()
    }

    /// This process, as an agent would show it.
    fn own_workload() -> (String, String) {
        let proc = ProcRoot::default();
        let hierarchy = Hierarchy::detect(&proc, None).unwrap();
        let process = proc.process(crate::event::ids::Tgid(std::process::id()));
        let facts = process.facts(&hierarchy).unwrap().unwrap();
        let owner = facts.cgroup_path.as_deref().map(cgroup_path::parse).unwrap_or_default();
        match Sought::of(&owner, facts.executable_name()) {
            Sought::Container(id) => (id, String::new()),
            Sought::Host(workload) => (String::new(), workload),
        }
    }

    #[test]
    fn without_a_target_every_workload_is_meant() {
        let targets = find(&watch(|_| ()));
        assert!(targets.is_all() && targets.has(Shown::default()));
    }

    #[test]
    fn this_process_is_found_by_number_and_by_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (container_id, workload) = own_workload();
        let shown = Shown { workload: &workload, container_id: &container_id, ..Shown::default() };
        for watch in [
            watch(|watch| watch.pids.push(std::process::id())),
            watch(|watch| watch.ports.push(port)),
        ] {
            let targets = find(&watch);
            assert!(targets.has(shown), "{targets:?}");
            assert!(!targets.has(Shown { workload: "process/other", ..Shown::default() }));
        }
        let targets = find(&watch(|watch| watch.ports.push(port)));
        assert!(targets.listening().any(|(known, _)| known == port));
    }

    #[test]
    fn what_does_not_run_is_nobody() {
        let targets = find(&watch(|watch| watch.comms.push("no-such-name".to_owned())));
        assert!(!targets.is_all());
        assert!(!targets.has(Shown { workload: "process/api", ..Shown::default() }));
    }

    #[test]
    fn a_container_is_known_by_its_id_whatever_its_pod_is_called() {
        let targets = Targets {
            sought: vec![Sought::Container(ID.to_owned())],
            has_processes: true,
            ..Targets::default()
        };
        let shown = Shown {
            namespace: "shop",
            container: "api",
            workload: "deployment/api",
            container_id: ID,
        };
        assert!(targets.has(shown));
        assert!(!targets.has(Shown { container_id: "", ..shown }));
    }
}
