//! Go programs whose calls are followed: told to the loader as processes come
//! and go.
//!
//! Separate because the client probe alone belongs to a program file, not to
//! the kernel: what is attached follows whom the kernel is told to watch.

use std::path::Path;

use agent_common::policy::ProcessPolicy;

use super::Worker;
use crate::attribution::attributor::Change;
use crate::attribution::go_binary::client_probe;
use crate::event::process::{Kind, Process};

impl Worker {
    /// A process ended or runs another program: what it ran may have been the
    /// last of its kind.
    pub(super) fn forget_client(&mut self, process: &Process) {
        if matches!(process.kind, Kind::Exit | Kind::Exec) {
            self.parts.loaded.remove_go_client(process.tgid);
        }
    }

    /// The kernel is told of a process.
    pub(super) fn follow_client(&mut self, change: &Change) {
        match change {
            Change::Process { tgid, policy } if policy.go_layout != 0 => {
                let program = self.parts.attributor.program_file(*tgid);
                self.parts.loaded.add_go_client(*tgid, &program, probe_site);
            }
            Change::Process { tgid, .. } | Change::ProcessGone { tgid } => {
                self.parts.loaded.remove_go_client(*tgid);
            }
            _ => {}
        }
    }

    /// Drops programs that none of the watched processes runs, though nobody
    /// said so.
    pub(super) fn keep_clients(&mut self, watched: &[(u32, ProcessPolicy)]) {
        let is_watched = |tgid| watched.iter().any(|(process, _)| *process == tgid);
        self.parts.loaded.keep_go_clients(is_watched);
    }
}

/// Where the program at `path` is probed for its calls.
fn probe_site(path: &Path) -> Option<u64> {
    match client_probe::find_in(path) {
        Ok(site) => site.map(|site| site.file_offset),
        Err(error) => {
            tracing::debug!(program = %path.display(), %error, "cannot look for its calls");
            None
        }
    }
}
