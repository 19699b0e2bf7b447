//! The attributor: owner of what is known of cgroups, processes and services.
//!
//! It decides whom to watch and says so as [`Change`]s, which the worker
//! carries to the kernel; so every decision can be tested without one.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use agent_common::go::GoLayout;
use agent_common::limits::{MAX_CGROUPS, MAX_LISTENERS};
use agent_common::policy::{PROCESS_GO, ProcessPolicy};

use super::cgroup_path::{self, CgroupOwner};
use super::cgroup_tree;
use super::go_programs::{GoPrograms, Mode};
use super::hierarchy::Hierarchy;
use super::identity::{ContainerInfo, Identity};
use super::naming::Naming;
use super::procfs::process::ProcessFacts;
use super::procfs::{self, ProcRoot};
use super::services::{ServiceKey, Services};
use crate::config::Watch;
use crate::event::cgroup::Cgroup;
use crate::event::ids::Tgid;
use crate::event::process::{Kind, Process};

/// File descriptors of one process that are looked at for listening sockets.
const MAX_DESCRIPTORS: usize = 65_536;

/// Something that the kernel is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Processes of this cgroup belong to this service, once they serve.
    Cgroup {
        /// Its id.
        id: u64,
        /// Index of the service.
        service: u16,
    },
    /// The cgroup is gone.
    CgroupGone {
        /// Its id.
        id: u64,
    },
    /// Where the runtime of a Go program keeps what. Comes before a policy
    /// that names it.
    GoLayout {
        /// Index of the entry; policies name it counted from 1.
        index: u32,
        /// What it says.
        layout: GoLayout,
    },
    /// The process is watched.
    Process {
        /// Which.
        tgid: u32,
        /// How.
        policy: ProcessPolicy,
    },
    /// The process is not watched.
    ProcessGone {
        /// Which.
        tgid: u32,
    },
    /// A port is not listened on any more.
    ListenerGone {
        /// Network namespace, by inode.
        netns: u32,
        /// The port.
        port: u16,
    },
    /// A port is listened on.
    Listener {
        /// Network namespace, by inode.
        netns: u32,
        /// The port.
        port: u16,
        /// Service of the process, if it is watched.
        service: Option<u16>,
        /// Sockets that listen on it.
        sockets: u32,
    },
    /// The index belongs to a new service: its counters begin at zero.
    NewService {
        /// The index.
        service: u16,
    },
}

/// A selected cgroup.
#[derive(Debug)]
pub(super) struct SelectedCgroup {
    pub(super) owner: CgroupOwner,
    pub(super) service: u16,
}

/// What a pass over `/proc` has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Processes that are watched, with their services.
    pub(super) watched: HashMap<u32, u16>,
    /// Processes that listen, watched or not.
    pub(super) listening: HashSet<u32>,
    /// Ports that are listened on, by network namespace.
    pub(super) listeners: HashSet<(u32, u16)>,
}

/// See the module.
#[derive(Debug)]
pub struct Attributor {
    pub(super) hierarchy: Hierarchy,
    pub(super) proc: ProcRoot,
    pub(super) watch: Watch,
    pub(super) services: Services,
    pub(super) cgroups: HashMap<u64, SelectedCgroup>,
    pub(super) changes: Vec<Change>,
    /// Names of pods; `None` if nobody tells them.
    pub(super) naming: Option<Naming>,
    go_programs: GoPrograms,
    /// Processes that are watched, and whose program is still to be read.
    unread: Vec<(u32, u16)>,
    own_tgid: u32,
}

impl Attributor {
    /// An attributor that knows nothing yet.
    #[must_use]
    pub fn new(hierarchy: Hierarchy, proc: ProcRoot, watch: Watch, own_tgid: u32) -> Self {
        Self {
            hierarchy,
            proc,
            watch,
            services: Services::default(),
            cgroups: HashMap::new(),
            changes: Vec::new(),
            naming: None,
            go_programs: GoPrograms::default(),
            unread: Vec::new(),
            own_tgid,
        }
    }

    /// What was shown until now may be replaced by what has its name next.
    pub fn set_shown(&mut self) {
        self.services.set_shown();
    }

    /// Services by index.
    #[must_use]
    pub const fn services(&self) -> &Services {
        &self.services
    }

    /// What is known of Go programs and the processes that run them.
    #[must_use]
    pub const fn go_programs(&self) -> &GoPrograms {
        &self.go_programs
    }

    /// The program file of a process, wherever its own root is.
    #[must_use]
    pub fn program_file(&self, tgid: u32) -> PathBuf {
        self.proc.process(Tgid(tgid)).executable_file()
    }

    /// Reads the programs of processes that came since the last call, after the
    /// kernel was told to watch them: a large one takes tens of milliseconds,
    /// in which they serve. True if the kernel is to be told of that.
    pub fn read_programs(&mut self) -> bool {
        for (tgid, service) in std::mem::take(&mut self.unread) {
            let policy = self.policy(tgid, service);
            if policy.flags != 0 {
                self.changes.push(Change::Process { tgid, policy });
            }
        }
        !self.changes.is_empty()
    }

    /// What the kernel is to be told since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Whose a process is, watched or not; `None` for kernel threads and for
    /// those that are gone. Reads `/proc`.
    #[must_use]
    pub fn who_is(&self, tgid: u32) -> Option<Identity> {
        let facts = self.proc.process(Tgid(tgid)).facts(&self.hierarchy).ok()??;
        let owner = facts.cgroup_path.as_deref().map(cgroup_path::parse).unwrap_or_default();
        let named = owner.container_id.as_ref().and_then(|id| {
            let service = self.services.find(&ServiceKey::Container(id.clone()))?;
            service.identity.clone()
        });
        let named =
            named.or_else(|| self.named(owner.pod_uid.as_ref(), owner.container_id.as_ref()));
        let unnamed = || Identity::without_metadata(&owner, facts.executable_name(), None);
        Some(named.unwrap_or_else(unnamed))
    }

    /// Selected cgroups now.
    #[must_use]
    pub fn selected_cgroups(&self) -> usize {
        self.cgroups.len()
    }

    /// Looks at everything that is there: cgroups, then processes with their
    /// listening sockets.
    ///
    /// # Errors
    ///
    /// If `/proc` or the cgroup tree cannot be read at all.
    pub fn scan(&mut self) -> Result<(), procfs::Error> {
        self.scan_cgroups()?;
        self.scan_processes().map(|_| ())
    }

    /// Visits every cgroup; gives the ids of those that exist.
    pub(super) fn scan_cgroups(&mut self) -> Result<HashSet<u64>, procfs::Error> {
        let mount: PathBuf = self.hierarchy.mount().to_owned();
        let mut found = Vec::new();
        let walked = cgroup_tree::walk(&mount, MAX_CGROUPS as usize, |cgroup| {
            found.push((cgroup.id, cgroup.path.to_owned()));
        });
        match walked {
            Ok(walked) if walked.left_out + walked.unreadable > 0 => {
                tracing::warn!(walked.left_out, walked.unreadable, "cgroups were left out");
            }
            Ok(_) => {}
            Err(source) => return Err(procfs::Error::Read { path: mount, source }),
        }
        for (id, path) in &found {
            self.on_cgroup_made(*id, path);
        }
        Ok(found.into_iter().map(|(id, _)| id).collect())
    }

    /// A cgroup came or went.
    pub fn on_cgroup(&mut self, cgroup: &Cgroup) {
        if cgroup.is_made {
            self.on_cgroup_made(cgroup.id, &cgroup.path);
        } else if let Some(selected) = self.cgroups.remove(&cgroup.id) {
            self.services.remove_cgroup(selected.service);
            self.changes.push(Change::CgroupGone { id: cgroup.id });
        } else {
            self.unleave(cgroup.id);
        }
    }

    /// A process did something.
    pub fn on_process(&mut self, process: &Process) {
        match process.kind {
            Kind::Exit => {}
            Kind::Exec => self.on_exec(process.tgid),
            Kind::Serves => self.on_serves(process),
            Kind::Listens => self.on_listens(process),
        }
    }

    /// Takes back indices of services that are gone; the processes that are
    /// watched now tell which are not. Processes that have ended without the
    /// kernel saying so are dropped.
    pub fn expire(&mut self, now_ns: u64, watched: &[(u32, ProcessPolicy)]) -> Vec<u16> {
        let mut alive = HashSet::new();
        for (tgid, policy) in watched {
            if self.proc.process(Tgid(*tgid)).stat().is_err_and(|error| error.is_gone()) {
                self.changes.push(Change::ProcessGone { tgid: *tgid });
            } else {
                alive.insert(policy.service);
            }
        }
        self.go_programs.expire(watched);
        self.services.expire(now_ns, |service| alive.contains(&service))
    }

    fn on_cgroup_made(&mut self, id: u64, path: &str) {
        let owner = cgroup_path::parse(path);
        let Some(container_id) = &owner.container_id else { return };
        if self.cgroups.len() >= MAX_CGROUPS as usize || self.cgroups.contains_key(&id) {
            return;
        }
        if self.judge(&owner).is_err() {
            return self.leave(id, owner);
        }
        let key = ServiceKey::Container(container_id.clone());
        let awaits_name = self.awaits_name(&owner);
        let named = self.named(owner.pod_uid.as_ref(), Some(container_id));
        let make = || {
            // Outside of a pod the workload is named by the program, which is
            // known when it serves.
            let is_named_by_pod = owner.pod_uid.is_some() && !awaits_name;
            let identity = is_named_by_pod.then(|| Identity::without_metadata(&owner, "", None));
            (identity, ContainerInfo::of(&owner))
        };
        let Some((service, is_new)) = self.services.get_or_add(&key, make) else { return };
        if is_new {
            self.changes.push(Change::NewService { service });
        }
        self.unleave(id);
        self.services.add_cgroup(service);
        if let Some(identity) = named {
            self.services.claim(service, identity, self.services.now_ns());
        }
        self.changes.push(Change::Cgroup { id, service });
        self.cgroups.insert(id, SelectedCgroup { owner, service });
    }

    pub(super) fn selects_container(&self, name: &str, id: &str) -> bool {
        let is_in = self.watch.containers_in.is_empty()
            || self.watch.containers_in.iter().any(|glob| glob.matches_container(name, id));
        is_in && !self.watch.containers_out.iter().any(|glob| glob.matches_container(name, id))
    }

    /// Whether a process outside of containers is selected, given the ports
    /// that it listens on.
    fn selects_host(&self, tgid: u32, comm: &str, ports: &[u16]) -> bool {
        tgid != self.own_tgid
            && (self.watch.pids.contains(&tgid)
                || self.watch.ports.iter().any(|port| ports.contains(port))
                || (!ports.is_empty()
                    && (self.watch.host || self.watch.comms.iter().any(|name| name == comm))))
    }

    pub(super) fn scan_processes(&mut self) -> Result<Seen, procfs::Error> {
        let mut seen = Seen::default();
        let mut namespaces: HashMap<u32, procfs::sockets::ListeningSockets> = HashMap::new();
        let mut holders: HashMap<(u32, u16), u16> = HashMap::new();
        for tgid in self.proc.processes()? {
            let process = self.proc.process(tgid);
            let Ok(Some(facts)) = process.facts(&self.hierarchy) else { continue };
            let Some(netns) = facts.netns else { continue };
            let listening = match namespaces.entry(netns) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(new) => {
                    let sockets = process.listening_sockets_of_netns(MAX_LISTENERS as usize);
                    let Ok(sockets) = sockets else { continue };
                    new.insert(sockets)
                }
            };
            let ports: Vec<u16> = match process.socket_inodes() {
                Ok(inodes) if !listening.sockets.is_empty() => listening
                    .held_by(inodes, MAX_DESCRIPTORS)
                    .into_iter()
                    .map(|socket| socket.port)
                    .collect(),
                _ => Vec::new(),
            };
            if !ports.is_empty() {
                seen.listening.insert(tgid.0);
            }
            if let Some(service) = self.watch_process(&facts, &ports, true) {
                seen.watched.insert(tgid.0, service);
                holders.extend(ports.iter().map(|port| ((netns, *port), service)));
            }
        }
        for (netns, listening) in namespaces {
            let mut sockets_of: HashMap<u16, u32> = HashMap::new();
            for socket in &listening.sockets {
                *sockets_of.entry(socket.port).or_default() += 1;
            }
            for (port, sockets) in sockets_of {
                let service = holders.get(&(netns, port)).copied();
                seen.listeners.insert((netns, port));
                self.changes.push(Change::Listener { netns, port, service, sockets });
            }
        }
        Ok(seen)
    }

    /// Watches a process if it is selected and serves; gives its service. Its
    /// program is read at once, or by [`Self::read_programs`].
    fn watch_process(
        &mut self,
        facts: &ProcessFacts,
        ports: &[u16],
        is_read_now: bool,
    ) -> Option<u16> {
        let tgid = facts.key.tgid.0;
        let owner = facts.cgroup_path.as_deref().map(cgroup_path::parse).unwrap_or_default();
        let service = if let Some(container_id) = &owner.container_id {
            if ports.is_empty() || self.judge(&owner).is_err() {
                return None;
            }
            let key = ServiceKey::Container(container_id.clone());
            let (service, _) =
                self.services.get_or_add(&key, || (None, ContainerInfo::of(&owner)))?;
            let awaits_name = self.awaits_name(&owner);
            self.services.identify(service, || {
                let name = facts.executable_name();
                (!awaits_name).then(|| Identity::without_metadata(&owner, name, None))
            });
            service
        } else {
            if !self.selects_host(tgid, &facts.comm, ports) {
                return None;
            }
            self.host_service(&owner, facts)?
        };
        let policy = if is_read_now {
            self.policy(tgid, service)
        } else {
            self.unread.push((tgid, service));
            ProcessPolicy { service, ..ProcessPolicy::default() }
        };
        self.changes.push(Change::Process { tgid, policy });
        Some(service)
    }

    fn host_service(&mut self, owner: &CgroupOwner, facts: &ProcessFacts) -> Option<u16> {
        let identity = Identity::without_metadata(owner, facts.executable_name(), None);
        let key = ServiceKey::Host(identity.clone());
        let (service, is_new) = self.services.get_or_add(&key, || (Some(identity), None))?;
        if is_new {
            self.changes.push(Change::NewService { service });
        }
        Some(service)
    }

    /// A process of a selected cgroup turned out to serve: the kernel watches
    /// it already, but does not know its program.
    fn on_serves(&mut self, process: &Process) {
        let Some(selected) = self.cgroups.get(&process.cgroup_id) else { return };
        let service = selected.service;
        let owner = selected.owner.clone();
        let awaits_name = self.awaits_name(&owner);
        let proc = self.proc.process(Tgid(process.tgid));
        self.services.identify(service, || {
            let executable = proc.executable();
            let name = executable.as_ref().map_or("", |executable| executable.name.as_str());
            (!awaits_name).then(|| Identity::without_metadata(&owner, name, None))
        });
        let policy = self.policy(process.tgid, service);
        if policy.flags != 0 {
            self.changes.push(Change::Process { tgid: process.tgid, policy });
        }
    }

    /// A process anywhere began to listen: outside of selected cgroups it may
    /// be selected by what it is.
    fn on_listens(&mut self, process: &Process) {
        let Ok(Some(facts)) = self.proc.process(Tgid(process.tgid)).facts(&self.hierarchy) else {
            return;
        };
        let is_known = self.go_programs.runs(process.tgid);
        if let Some(service) = self.watch_process(&facts, &[process.port], is_known) {
            self.changes.push(Change::Listener {
                netns: process.netns,
                port: process.port,
                service: Some(service),
                sockets: 1,
            });
        }
    }

    /// A watched process runs another program: if it was selected by its
    /// number it still is.
    fn on_exec(&mut self, tgid: u32) {
        if self.watch.pids.contains(&tgid)
            && let Ok(Some(facts)) = self.proc.process(Tgid(tgid)).facts(&self.hierarchy)
        {
            self.watch_process(&facts, &[], false);
        }
    }

    fn policy(&mut self, tgid: u32, service: u16) -> ProcessPolicy {
        let mut policy = ProcessPolicy { service, ..ProcessPolicy::default() };
        let process = self.proc.process(Tgid(tgid));
        match self.go_programs.of_process(&process) {
            Ok(Some(Mode::Goroutine(found))) => {
                if let Some(layout) = found.is_new.then_some(found.layout) {
                    self.changes.push(Change::GoLayout { index: found.index, layout });
                }
                policy.flags = PROCESS_GO;
                policy.g_tls_offset = found.layout.g_tls_offset;
                policy.goid_offset = found.layout.goid;
                policy.go_layout = found.index + 1;
            }
            Ok(Some(Mode::IdsOnly { g_tls_offset, goid, .. })) => {
                policy.flags = PROCESS_GO;
                policy.g_tls_offset = g_tls_offset;
                policy.goid_offset = goid;
            }
            Ok(Some(Mode::Thread { .. }) | None) => {}
            Err(error) => tracing::debug!(tgid, %error, "cannot read the program"),
        }
        policy
    }
}
