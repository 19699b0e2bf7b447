//! What `strata check` finds out: everything is loaded and nothing attached.
//!
//! Separate from the agent's start because a failure is an answer here, not an
//! end.

use super::load_options;
use crate::admin::socket::client::Client;
use crate::aggregate::switches::Switches;
use crate::attribution::attributor::Attributor;
use crate::attribution::hierarchy::Hierarchy;
use crate::attribution::procfs::ProcRoot;
use crate::config::Config;
use crate::event::ids::Tgid;
use crate::host::btf::Btf;
use crate::host::capabilities::{self, NEEDED};
use crate::load;
use crate::load::status::ProgramStatus;
use crate::probes::Lane;

/// What was found out of this host.
#[derive(Clone, Debug)]
pub struct Examination {
    /// Release of the kernel.
    pub kernel: String,
    /// Why there is no usable type information; `None` if there is.
    pub btf_error: Option<String>,
    /// Capabilities that are needed.
    pub capabilities: Vec<Capability>,
    /// Which cgroup hierarchy is followed, and where it is mounted; or why none.
    pub cgroups: Result<String, String>,
    /// Lanes that the configuration has on, by [`Lane`].
    pub lanes: [bool; Lane::ALL.len()],
    /// Programs with what became of them; or why none could be loaded.
    pub programs: Result<Vec<Program>, String>,
    /// Go processes that an agent would watch.
    pub go: Vec<GoProcess>,
    /// Whether an agent would know the names of pods.
    pub pods: PodNames,
    /// The agent that runs: its process id, if that is known.
    pub agent: Option<Option<i32>>,
}

/// Whether the names of pods can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PodNames {
    /// They are not asked for.
    Off,
    /// They are known, of so many pods.
    Known {
        /// The node that was asked for.
        node: String,
        /// Pods on it.
        pods: usize,
    },
    /// They cannot be had: an agent runs all the same.
    Missing {
        /// The reason, as the agent counts it, with what was said.
        reason: String,
        /// What to do about it.
        action: &'static str,
    },
}

/// A capability that is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    /// Its name.
    pub name: &'static str,
    /// What it is needed for.
    pub reason: &'static str,
    /// Whether it is there.
    pub is_there: bool,
}

/// A Go process that an agent would watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoProcess {
    /// Its number.
    pub pid: u32,
    /// Base name of its program.
    pub program: String,
    /// Version of Go, as the program says it; empty if it does not.
    pub version: String,
    /// `goroutine` or `thread`: what its time is split by.
    pub mode: &'static str,
    /// Why it is not split by goroutine; empty if it is.
    pub reason: &'static str,
}

/// A program that was tried.
#[derive(Clone, Debug)]
pub struct Program {
    /// What became of it.
    pub status: ProgramStatus,
    /// Instructions that the verifier walked through; `None` if it was not
    /// loaded, or the kernel (before 5.16) does not say.
    pub instructions: Option<u32>,
}

/// Looks at everything.
///
/// # Errors
///
/// If there can be no runtime to ask a running agent in.
pub fn examine(config: &Config) -> Result<Examination, super::Error> {
    let proc = ProcRoot::new(&config.proc_root);
    let missing = capabilities::missing();
    let capabilities = NEEDED.map(|needed| Capability {
        name: needed.name,
        reason: needed.reason,
        is_there: !missing.contains(&needed),
    });
    let btf_error = Btf::of_kernel().err().map(|error| error.to_string());
    let hierarchy = Hierarchy::detect(&proc, config.cgroup_root.as_deref());
    let programs = match load_options(config) {
        Ok((options, _)) => load::load(&options).map_err(|error| error.to_string()).map(|loaded| {
            loaded
                .statuses()
                .iter()
                .map(|status| Program {
                    status: status.clone(),
                    instructions: loaded.verified_instructions(status.spec),
                })
                .collect()
        }),
        Err(error) => Err(error.to_string()),
    };
    let go = hierarchy.as_ref().map_or_else(|_| Vec::new(), |found| go(config, &proc, found));
    // Who may not ask cannot know whose it is.
    let agent = super::block_on(Client::connect(&config.socket))?;
    let agent = agent.ok().flatten().map(|client| client.pid());
    Ok(Examination {
        kernel: proc.read_text("sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        btf_error,
        capabilities: capabilities.to_vec(),
        cgroups: hierarchy.map(|found| describe(&found)).map_err(|error| error.to_string()),
        lanes: Switches::new(config).lanes(),
        programs,
        go,
        pods: super::block_on(super::names::examine(config))?,
        agent,
    })
}

/// Go processes among those that the configuration selects.
fn go(config: &Config, proc: &ProcRoot, hierarchy: &Hierarchy) -> Vec<GoProcess> {
    let own = std::process::id();
    let mut attributor =
        Attributor::new(hierarchy.clone(), proc.clone(), config.watch.clone(), own);
    if let Err(error) = attributor.scan() {
        tracing::warn!(%error, "cannot look for processes");
    }
    let running = attributor.go_programs().running();
    let processes = running.into_iter().map(|(pid, running)| GoProcess {
        pid,
        program: proc.process(Tgid(pid)).executable().map(|found| found.name).unwrap_or_default(),
        version: running.version.clone(),
        mode: running.mode,
        reason: running.why,
    });
    processes.collect()
}

fn describe(hierarchy: &Hierarchy) -> String {
    match hierarchy {
        Hierarchy::V2 { mount } => format!("v2 at {}", mount.display()),
        Hierarchy::V1 { controller, mount, .. } => {
            format!("v1 controller {} at {}", controller.as_str(), mount.display())
        }
    }
}
