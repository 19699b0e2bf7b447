//! Looking again: with another selection, or after a time in which nothing was
//! seen.
//!
//! Separate from the attributor's first look because here something is known
//! already, and what is known may be wrong: processes ended, their numbers were
//! given to others, ports were closed.

use std::collections::HashSet;

use agent_common::policy::ProcessPolicy;

use super::attributor::{Attributor, Change, Seen};
use super::cgroup_path;
use super::procfs;
use super::services::ServiceKey;
use crate::config::Watch;
use crate::event::ids::Tgid;

/// What the kernel believes.
#[derive(Clone, Debug, Default)]
pub struct Believed {
    /// Watched processes.
    pub processes: Vec<(u32, ProcessPolicy)>,
    /// Ports that are listened on, by network namespace, that may be closed by
    /// now. Empty if the kernel has seen all that happened.
    pub listeners: Vec<(u32, u16)>,
}

impl Attributor {
    /// Watches by another selection.
    ///
    /// # Errors
    ///
    /// As [`Attributor::rescan`].
    pub fn set_watch(&mut self, watch: Watch, believed: &Believed) -> Result<(), procfs::Error> {
        self.select(watch);
        self.rescan(believed)
    }

    /// Looks at everything again, and takes back what does not hold any more.
    ///
    /// # Errors
    ///
    /// If `/proc` or the cgroup tree cannot be read at all; what was known is
    /// kept then.
    pub fn rescan(&mut self, believed: &Believed) -> Result<(), procfs::Error> {
        let existing = self.scan_cgroups()?;
        self.drop_cgroups(&existing);
        self.keep_left(&existing);
        let seen = self.scan_processes()?;
        for (tgid, policy) in &believed.processes {
            if !seen.watched.contains_key(tgid) && !self.still_holds(*tgid, policy, &seen) {
                self.changes.push(Change::ProcessGone { tgid: *tgid });
            }
        }
        let closed = believed.listeners.iter().filter(|key| !seen.listeners.contains(key));
        self.changes.extend(
            closed.map(|(netns, port)| Change::ListenerGone { netns: *netns, port: *port }),
        );
        Ok(())
    }

    /// Cgroups that do not exist or are not selected.
    pub(super) fn drop_cgroups(&mut self, existing: &HashSet<u64>) {
        let gone: Vec<(u64, u16)> = self
            .cgroups
            .iter()
            .filter(|(id, cgroup)| self.judge(&cgroup.owner).is_err() || !existing.contains(id))
            .map(|(id, cgroup)| (*id, cgroup.service))
            .collect();
        for (id, service) in gone {
            let cgroup = self.cgroups.remove(&id);
            self.services.remove_cgroup(service);
            self.changes.push(Change::CgroupGone { id });
            if let Some(cgroup) = cgroup.filter(|_| existing.contains(&id)) {
                self.services.deselect(service);
                self.leave(id, cgroup.owner);
            }
        }
    }

    /// Whether a process that is watched, but was not found to listen, is
    /// rightly watched: it serves what another accepted, or is a child of one
    /// that listens.
    fn still_holds(&self, tgid: u32, policy: &ProcessPolicy, seen: &Seen) -> bool {
        let facts = self.proc.process(Tgid(tgid)).facts(&self.hierarchy);
        let Ok(Some(facts)) = facts else { return false };
        let owner = facts.cgroup_path.as_deref().map(cgroup_path::parse).unwrap_or_default();
        let service = self.services.get(policy.service).map(|service| &service.key);
        match (&owner.container_id, service) {
            // Its number may have been given to a process of another container.
            (Some(id), Some(ServiceKey::Container(of))) => id == of && self.judge(&owner).is_ok(),
            // One that listens has been judged by what it listens on.
            (None, Some(ServiceKey::Host(_))) => {
                !seen.listening.contains(&tgid)
                    && seen.watched.values().any(|service| *service == policy.service)
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::attribution::hierarchy::Hierarchy;
    use crate::attribution::procfs::ProcRoot;
    use crate::config::Config;

    /// An attributor of this machine that watches a port, with what it wants
    /// the kernel to be told. `None` where there is no cgroup hierarchy.
    fn scanned(port: u16) -> Option<(Attributor, Vec<Change>)> {
        let proc = ProcRoot::default();
        let Ok(hierarchy) = Hierarchy::detect(&proc, None) else {
            eprintln!("skipped: no cgroup hierarchy is mounted here");
            return None;
        };
        let mut attributor = Attributor::new(hierarchy, proc, watch(port), 1);
        attributor.scan().unwrap();
        let changes = attributor.take_changes();
        Some((attributor, changes))
    }

    fn watch(port: u16) -> Watch {
        Watch { ports: vec![port], ..Config::default().watch }
    }

    fn believed(changes: &[Change]) -> Believed {
        let processes = changes.iter().filter_map(|change| match change {
            Change::Process { tgid, policy } => Some((*tgid, *policy)),
            _ => None,
        });
        let listeners = changes.iter().filter_map(|change| match change {
            Change::Listener { netns, port, .. } => Some((*netns, *port)),
            _ => None,
        });
        Believed { processes: processes.collect(), listeners: listeners.collect() }
    }

    fn has_gone(changes: &[Change], tgid: u32) -> bool {
        changes.contains(&Change::ProcessGone { tgid })
    }

    #[test]
    fn another_selection_watches_and_deselects() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = std::process::id();
        let Some((mut attributor, changes)) = scanned(port) else { return };
        let is_watched =
            |changes: &[Change]| believed(changes).processes.iter().any(|(tgid, _)| *tgid == own);
        if !is_watched(&changes) {
            return eprintln!("skipped: this process is in a container");
        }
        let known = believed(&changes);
        attributor.set_watch(watch(1), &known).unwrap();
        let changes = attributor.take_changes();
        assert!(has_gone(&changes, own) && !is_watched(&changes), "{changes:?}");
        attributor.set_watch(watch(port), &Believed::default()).unwrap();
        assert!(is_watched(&attributor.take_changes()));
    }

    #[test]
    fn what_ended_or_was_closed_unseen_is_taken_back() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let Some((mut attributor, changes)) = scanned(port) else { return };
        let mut known = believed(&changes);
        let Some((netns, _)) = known.listeners.iter().find(|(_, of)| *of == port).copied() else {
            return eprintln!("skipped: the sockets of this process are not listed");
        };
        drop(listener);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        known.processes.push((child.id(), ProcessPolicy::default()));
        // It listens no more, and nothing else of its service does. Another test
        // may be starting a program, which holds all sockets for a moment.
        let is_taken_back = (0..50).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            attributor.rescan(&known).unwrap();
            let changes = attributor.take_changes();
            assert!(has_gone(&changes, child.id()), "{changes:?}");
            changes.contains(&Change::ListenerGone { netns, port })
                && has_gone(&changes, std::process::id())
        });
        assert!(is_taken_back);
    }

    #[test]
    fn a_selection_twice_changes_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let Some((mut attributor, changes)) = scanned(port) else { return };
        attributor.set_watch(watch(port), &believed(&changes)).unwrap();
        let gone = attributor.take_changes().into_iter().find(|change| match change {
            Change::ProcessGone { .. } | Change::CgroupGone { .. } => true,
            // Ports of other programs come and go meanwhile.
            Change::ListenerGone { port: of, .. } => *of == port,
            _ => false,
        });
        assert_eq!(gone, None);
    }
}
