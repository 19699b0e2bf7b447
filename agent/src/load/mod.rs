//! Object, specs and host facts into loaded and attached programs.
//!
//! Support is found by trying: a program that does not load makes its lanes
//! degraded or unavailable, with the verifier's or the kernel's reason, and
//! never stops the others.

mod clock;
pub mod globals;
mod go_client;
pub mod policies;
pub mod status;

use std::collections::HashMap;
use std::path::Path;

use aya::maps::Map;
use aya::programs::perf_event::PerfEventLinkId;
use aya::programs::{Program, ProgramError};
use aya::{Ebpf, EbpfLoader};

use crate::host::btf::{self, Btf};
use crate::probes::{self, Hook, Lane, ProgramSpec};
use crate::sys::bpf::MapIterator;
use globals::{Facts, Globals};
use go_client::GoClients;
use status::{ProgramState, ProgramStatus};

/// The kernel programs, built by `build.rs`.
#[cfg(kernel_object)]
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/strata-ebpf"));
#[cfg(not(kernel_object))]
static OBJECT: &[u8] = &[];

/// The client probe, by its name in the object.
const GO_CLIENT: &str = "go_round_trip";

/// Why nothing could be loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Built with `AYA_BUILD_SKIP=1`.
    #[error("this build has no kernel programs inside; build it without AYA_BUILD_SKIP")]
    NoObject,
    /// No type information.
    #[error(transparent)]
    Btf(#[from] btf::Error),
    /// A field that every lane needs does not exist in this kernel.
    #[error("this kernel has no {fields}, which strata reads; please report its version")]
    Fields {
        /// `struct.field`, joined.
        fields: String,
    },
    /// The object as a whole.
    #[error("cannot create the maps of the kernel programs: {source}")]
    Object {
        /// What aya says.
        source: Box<aya::EbpfError>,
    },
    /// A map that the agent reads is not in the object.
    #[error("the kernel programs have no map {name}, or not of the kind expected")]
    NoMap {
        /// Its name.
        name: &'static str,
    },
    /// A map cannot be used.
    #[error("cannot use the map {name}: {source}")]
    Map {
        /// Its name.
        name: &'static str,
        /// What aya says.
        source: aya::maps::MapError,
    },
    /// An array cannot be mapped.
    #[error("cannot map the array {name}: {source}")]
    Mapping {
        /// Its name.
        name: &'static str,
        /// What the kernel says.
        source: std::io::Error,
    },
}

impl Error {
    /// Whether a privilege is missing.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        let text = match self {
            Self::Object { source } => format!("{source:?}"),
            Self::Map { source, .. } => format!("{source:?}"),
            _ => return false,
        };
        text.contains("code: 1,") || text.contains("PermissionDenied")
    }
}

/// Programs and maps in the kernel. Dropping it takes everything away.
pub struct Loaded {
    ebpf: Ebpf,
    statuses: Vec<ProgramStatus>,
    links: HashMap<&'static str, aya::programs::tp_btf::BtfTracePointLinkId>,
    sweep: Option<MapIterator>,
    clients: GoClients,
    clock_links: Vec<PerfEventLinkId>,
}

/// What to load.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Size of the ring, bytes.
    pub ring_bytes: u32,
    /// Facts for the globals.
    pub facts: Facts,
}

/// Creates the maps and loads every program, since a lane that is off may be
/// switched on later. Attaches nothing.
///
/// # Errors
///
/// If nothing at all can be loaded; single programs that cannot are in the
/// statuses.
pub fn load(options: &Options) -> Result<Loaded, Error> {
    if OBJECT.is_empty() {
        return Err(Error::NoObject);
    }
    let types = Btf::of_kernel()?;
    let globals = globals::resolve(&types, &options.facts);
    if !globals.missing.is_empty() {
        return Err(Error::Fields { fields: globals.missing.join(", ") });
    }
    let ebpf = load_object(&globals, options.ring_bytes)?;
    let mut loaded = Loaded {
        ebpf,
        statuses: Vec::new(),
        links: HashMap::new(),
        sweep: None,
        clients: GoClients::default(),
        clock_links: Vec::new(),
    };
    let aya_types = aya::Btf::from_sys_fs()
        .map_err(|source| Error::Object { source: Box::new(source.into()) })?;
    for spec in probes::ALL {
        let state = if spec.hook == Hook::Tracepoint && types.tracepoint_args(spec.name).is_none() {
            ProgramState::Unavailable {
                why: format!("this kernel has no tracepoint {} (Linux {})", spec.name, spec.since),
            }
        } else {
            loaded.load_program(spec, &aya_types)
        };
        let note = loaded.prepare(spec, &state);
        loaded.statuses.push(ProgramStatus { spec, state, note });
    }
    Ok(loaded)
}

fn load_object(globals: &Globals, ring_bytes: u32) -> Result<Ebpf, Error> {
    let mut loader = EbpfLoader::new();
    // Task storage is a kind of map that aya has no type for.
    loader.allow_unsupported_maps();
    loader.map_max_entries("RING", ring_bytes);
    for (name, value) in &globals.values {
        // A switch that no program of this build reads is dropped by the linker.
        loader.override_global(name, value, false);
    }
    loader.load(OBJECT).map_err(|source| Error::Object { source: Box::new(source) })
}

impl Loaded {
    /// Attaches the programs that the lanes that are on need, and detaches the
    /// rest.
    ///
    /// Bump the policies' epoch before lanes are attached again.
    pub fn switch(&mut self, is_on: impl Fn(Lane) -> bool) {
        let is_wanted = |spec: &ProgramSpec| spec.lanes.iter().any(|lane| is_on(*lane));
        for i in (0..self.statuses.len()).rev() {
            let Some(status) = self.statuses.get(i) else { continue };
            if status.state == ProgramState::Attached && !is_wanted(status.spec) {
                self.detach_program(status.spec);
                self.set_state(i, ProgramState::Loaded);
            }
        }
        for i in 0..self.statuses.len() {
            let Some(status) = self.statuses.get(i) else { continue };
            if status.state == ProgramState::Loaded && is_wanted(status.spec) {
                let state = self.attach_program(status.spec);
                self.set_state(i, state);
            }
        }
    }

    fn set_state(&mut self, i: usize, state: ProgramState) {
        if let Some(status) = self.statuses.get_mut(i) {
            status.state = state;
        }
    }

    /// State of every program.
    #[must_use]
    pub fn statuses(&self) -> &[ProgramStatus] {
        &self.statuses
    }

    /// Instructions of a program that the verifier walked through: what is
    /// held against its limit of a million. `None` if the program is not
    /// loaded, or the kernel (before 5.16) does not say.
    #[must_use]
    pub fn verified_instructions(&self, spec: &ProgramSpec) -> Option<u32> {
        let info = match self.ebpf.program(spec.symbol)? {
            Program::BtfTracePoint(program) => program.info(),
            Program::Iter(program) => program.info(),
            Program::PerfEvent(program) => program.info(),
            Program::UProbe(program) => program.info(),
            _ => return None,
        };
        info.ok()?.verified_instruction_count()
    }

    /// Ends idle requests and takes samples of idle connections.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn sweep(&self) -> std::io::Result<()> {
        self.sweep.as_ref().map_or(Ok(()), MapIterator::run)
    }

    /// Takes a map out, by its name in the object.
    ///
    /// # Errors
    ///
    /// If there is none of this name.
    pub fn take_map(&mut self, name: &'static str) -> Result<Map, Error> {
        self.ebpf.take_map(name).ok_or(Error::NoMap { name })
    }

    /// A watched process runs the Go program at `path` (`/proc/PID/exe`): its
    /// calls are followed while the go lane is on. `find` gives the offset in
    /// the file at which to probe; it is asked once a file.
    pub fn add_go_client(
        &mut self,
        tgid: u32,
        path: &Path,
        find: impl FnOnce(&Path) -> Option<u64>,
    ) {
        self.clients.add(tgid, path, find, go_client::program(&mut self.ebpf, GO_CLIENT));
    }

    /// A process ended, runs another program, or is not watched any more.
    pub fn remove_go_client(&mut self, tgid: u32) {
        self.clients.remove(tgid);
    }

    /// Forgets processes that are not there any more, though nothing said so.
    pub fn keep_go_clients(&mut self, is_there: impl Fn(u32) -> bool) {
        self.clients.keep(is_there);
    }

    /// Go programs whose calls are followed now.
    #[must_use]
    pub fn go_clients(&self) -> usize {
        self.clients.attached()
    }

    /// What a loaded program needs beyond that. Gives what is not at its best.
    fn prepare(&mut self, spec: &ProgramSpec, state: &ProgramState) -> String {
        if spec.hook != Hook::GoClient || *state != ProgramState::Loaded {
            return String::new();
        }
        match self.clients.prepare(OBJECT, spec.symbol, &self.ebpf) {
            Ok(()) => String::new(),
            Err(error) => format!("by perf_event_open, since there is no uprobe_multi: {error}"),
        }
    }

    fn load_program(&mut self, spec: &ProgramSpec, types: &aya::Btf) -> ProgramState {
        let result = match self.ebpf.program_mut(spec.symbol) {
            Some(Program::BtfTracePoint(program)) => program.load(spec.name, types),
            Some(Program::Iter(program)) => program.load("bpf_sk_storage_map", types),
            Some(Program::UProbe(program)) => program.load(),
            Some(Program::PerfEvent(program)) => program.load(),
            _ => {
                return ProgramState::Unavailable {
                    why: format!("the object has no program {}", spec.symbol),
                };
            }
        };
        match result {
            Ok(()) => ProgramState::Loaded,
            Err(error) => {
                if let ProgramError::LoadError { verifier_log, .. } = &error {
                    tracing::debug!(program = spec.name, "refused:\n{verifier_log}");
                }
                ProgramState::Unavailable { why: explain(&error) }
            }
        }
    }

    fn attach_program(&mut self, spec: &'static ProgramSpec) -> ProgramState {
        let result = match (spec.hook, self.ebpf.program_mut(spec.symbol)) {
            (Hook::Tracepoint, Some(Program::BtfTracePoint(program))) => {
                program.attach().map(|link| {
                    self.links.insert(spec.name, link);
                })
            }
            (Hook::ConnectionIterator, _) => return self.bind_sweep(spec.symbol),
            (Hook::GoClient, _) => {
                self.clients.switch(true, go_client::program(&mut self.ebpf, GO_CLIENT));
                Ok(())
            }
            (Hook::Clock, Some(Program::PerfEvent(program))) => {
                clock::attach(program).map(|links| self.clock_links = links)
            }
            _ => Ok(()),
        };
        match result {
            Ok(()) => ProgramState::Attached,
            Err(error) => ProgramState::Unavailable { why: explain(&error) },
        }
    }

    fn detach_program(&mut self, spec: &'static ProgramSpec) {
        match spec.hook {
            Hook::ConnectionIterator => self.sweep = None,
            Hook::GoClient => self.clients.switch(false, None),
            Hook::Clock => {
                if let Some(Program::PerfEvent(program)) = self.ebpf.program_mut(spec.symbol) {
                    clock::detach(program, std::mem::take(&mut self.clock_links));
                }
            }
            Hook::Tracepoint => {}
        }
        if let (Some(link), Some(Program::BtfTracePoint(program))) =
            (self.links.remove(spec.name), self.ebpf.program_mut(spec.symbol))
            && let Err(error) = program.detach(link)
        {
            tracing::warn!(program = spec.name, %error, "cannot detach");
        }
    }

    fn bind_sweep(&mut self, name: &str) -> ProgramState {
        let unavailable = |why: String| ProgramState::Unavailable { why };
        let Some(Program::Iter(program)) = self.ebpf.program(name) else {
            return unavailable(format!("the object has no program {name}"));
        };
        let (Ok(program), Some(Map::SkStorage(map))) = (program.fd(), self.ebpf.map("CONNECTIONS"))
        else {
            return unavailable("the sweep or its map was not loaded".to_owned());
        };
        use std::os::fd::AsFd as _;
        match MapIterator::new(program.as_fd(), map.fd().as_fd()) {
            Ok(iterator) => {
                self.sweep = Some(iterator);
                ProgramState::Attached
            }
            Err(error) => unavailable(format!("cannot bind the iterator: {error}")),
        }
    }
}

/// The kernel's reason, without pages of verifier output: its last words say
/// what it refused.
fn explain(error: &ProgramError) -> String {
    match error {
        ProgramError::LoadError { io_error, verifier_log } => {
            let log = verifier_log.to_string();
            let last = log.lines().rev().find(|line| {
                !line.is_empty()
                    && !line.starts_with("processed")
                    && !line.starts_with("stack")
                    && !line.starts_with("verification time")
            });
            match last {
                Some(last) => format!("the kernel refused it ({io_error}): {}", last.trim()),
                None => format!("the kernel refused it: {io_error}"),
            }
        }
        // aya leaves the error number out of its text.
        ProgramError::SyscallError(error) => {
            let hint = if error.call == "perf_event_open" {
                "; without CAP_SYS_ADMIN some kernels want kernel.perf_event_paranoid below 3"
            } else {
                ""
            };
            format!("{} failed: {}{hint}", error.call, error.io_error)
        }
        other => other.to_string(),
    }
}

/// Maps an array (`BPF_F_MMAPABLE`) of `bytes` in all into the agent.
///
/// # Errors
///
/// If there is no such array, or it cannot be mapped.
pub fn map_array(
    loaded: &mut Loaded,
    name: &'static str,
    bytes: usize,
) -> Result<crate::sys::mapping::Mapping, Error> {
    use std::os::fd::AsFd as _;
    let Map::Array(map) = loaded.take_map(name)? else {
        return Err(Error::NoMap { name });
    };
    crate::sys::mapping::Mapping::new(map.fd().as_fd(), bytes)
        .map_err(|source| Error::Mapping { name, source })
}
