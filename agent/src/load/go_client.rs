//! The client probe of Go programs: one link a program file that a watched
//! process runs, from its first such process to its last.
//!
//! A link of the kind `uprobe_multi` (6.6) is made by CAP_BPF and CAP_PERFMON;
//! the program for it must say so when it is loaded, which aya 0.14 cannot. It
//! parses and relocates the same object again, and `sys` loads the result. On
//! an older kernel aya's own way is taken, `perf_event_open`.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use agent_common::limits::MAX_GO_CLIENTS;
use aya::maps::Map;
use aya::programs::uprobe::{UProbe, UProbeAttachLocation, UProbeLink, UProbeScope};
use aya::{Ebpf, programs::Program};
use aya_obj::Object;

use crate::sys::uprobe::{self, UprobeProgram};

/// Why a probe could not be prepared or attached.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The object could not be taken apart.
    #[error("the object has no program {name} to relocate: {why}")]
    Object {
        /// The program.
        name: String,
        /// What was missing.
        why: String,
    },
    /// The kernel does not take the program, or makes no such links.
    #[error(transparent)]
    Kernel(#[from] std::io::Error),
    /// `perf_event_open`.
    #[error(transparent)]
    Aya(#[from] aya::programs::ProgramError),
    /// A path with a zero byte.
    #[error("a path that no file can have")]
    Path,
}

/// A program file, wherever it is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileId {
    device: u64,
    inode: u64,
}

enum Link {
    Multi(#[expect(dead_code, reason = "dropping it detaches")] uprobe::UprobeLink),
    Perf(#[expect(dead_code, reason = "dropping it detaches")] UProbeLink),
}

/// A program file that watched processes run.
struct Client {
    offset: u64,
    processes: HashMap<u32, PathBuf>,
    link: Option<Link>,
}

/// See the module.
#[derive(Default)]
pub(super) struct GoClients {
    /// `None` where the kernel has no such links.
    multi: Option<UprobeProgram>,
    is_on: bool,
    files: HashMap<FileId, Client>,
    /// Files without a place for a probe, as far as they were looked at since
    /// the last process left.
    refused: HashSet<FileId>,
}

impl GoClients {
    /// Prepares links of the better kind. Without them the other is used.
    pub(super) fn prepare(&mut self, object: &[u8], name: &str, ebpf: &Ebpf) -> Result<(), Error> {
        let program = load(object, name, ebpf)?;
        program.can_link()?;
        self.multi = Some(program);
        Ok(())
    }

    /// Attaches to every file, or detaches from all.
    pub(super) fn switch(&mut self, is_on: bool, program: Option<&mut UProbe>) {
        self.is_on = is_on;
        if !is_on {
            self.files.values_mut().for_each(|client| client.link = None);
            return;
        }
        let mut program = program;
        for client in self.files.values_mut().filter(|client| client.link.is_none()) {
            attach(client, self.multi.as_ref(), program.as_deref_mut());
        }
    }

    /// A watched process runs the program at `path` (`/proc/PID/exe`); `find`
    /// gives the offset in the file at which to probe, if there is any.
    pub(super) fn add(
        &mut self,
        tgid: u32,
        path: &Path,
        find: impl FnOnce(&Path) -> Option<u64>,
        program: Option<&mut UProbe>,
    ) {
        let Ok(meta) = std::fs::metadata(path) else { return };
        let id = FileId { device: meta.dev(), inode: meta.ino() };
        if self.files.get(&id).is_some_and(|client| client.processes.contains_key(&tgid)) {
            return;
        }
        self.remove(tgid);
        if self.refused.contains(&id) {
            return;
        }
        if !self.files.contains_key(&id) {
            if self.files.len() >= MAX_GO_CLIENTS {
                tracing::warn!(tgid, "too many go programs: its calls are not followed");
                return;
            }
            let Some(offset) = find(path) else {
                if self.refused.len() < MAX_GO_CLIENTS {
                    self.refused.insert(id);
                }
                return;
            };
            self.files.insert(id, Client { offset, processes: HashMap::new(), link: None });
        }
        let Some(client) = self.files.get_mut(&id) else { return };
        client.processes.insert(tgid, path.to_owned());
        if self.is_on && client.link.is_none() {
            attach(client, self.multi.as_ref(), program);
        }
    }

    /// A process ended, runs another program, or is not watched any more.
    pub(super) fn remove(&mut self, tgid: u32) {
        self.keep(|process| process != tgid);
    }

    /// Keeps only these processes; a file without any is detached from.
    pub(super) fn keep(&mut self, is_there: impl Fn(u32) -> bool) {
        let before = self.files.len();
        self.files.retain(|_, client| {
            client.processes.retain(|process, _| is_there(*process));
            !client.processes.is_empty()
        });
        if self.files.len() != before {
            // Inodes are used again.
            self.refused.clear();
        }
    }

    /// Files with a probe in them now.
    pub(super) fn attached(&self) -> usize {
        self.files.values().filter(|client| client.link.is_some()).count()
    }
}

/// Attaches by whatever works here, through the first process that is there.
fn attach(client: &mut Client, multi: Option<&UprobeProgram>, program: Option<&mut UProbe>) {
    let Some(path) = client.processes.values().find(|path| path.exists()) else { return };
    let result = match (multi, program) {
        (Some(multi), _) => link(multi, path, client.offset).map(Link::Multi),
        (None, Some(program)) => perf_link(program, path, client.offset).map(Link::Perf),
        (None, None) => return,
    };
    match result {
        Ok(link) => {
            tracing::debug!(program = %path.display(), "client probe attached");
            client.link = Some(link);
        }
        Err(error) => {
            tracing::warn!(program = %path.display(), %error, "cannot attach the client probe");
        }
    }
}

fn link(program: &UprobeProgram, path: &Path, offset: u64) -> Result<uprobe::UprobeLink, Error> {
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| Error::Path)?;
    Ok(program.link(&path, offset)?)
}

fn perf_link(program: &mut UProbe, path: &Path, offset: u64) -> Result<UProbeLink, Error> {
    let at = UProbeAttachLocation::AbsoluteOffset(offset);
    let id = program.attach(at, path, UProbeScope::AllProcesses)?;
    Ok(program.take_link(id)?)
}

/// Relocates one program of the object against the maps that aya has made, and
/// loads it for links.
fn load(object: &[u8], name: &str, ebpf: &Ebpf) -> Result<UprobeProgram, Error> {
    let missing = |why: String| Error::Object { name: name.to_owned(), why };
    let mut object = Object::parse(object).map_err(|error| missing(error.to_string()))?;
    object.programs.retain(|program, _| program == name);
    let maps = std::mem::take(&mut object.maps);
    let descriptors: HashMap<&str, RawFd> =
        ebpf.maps().filter_map(|(name, map)| Some((name, descriptor(map)?))).collect();
    let known = maps
        .iter()
        .filter_map(|(name, map)| Some((name.as_str(), *descriptors.get(name.as_str())?, map)));
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(known, &sections).map_err(|error| missing(error.to_string()))?;
    object.relocate_calls(&sections).map_err(|error| missing(error.to_string()))?;
    let program = object.programs.get(name).ok_or_else(|| missing("it is not there".to_owned()))?;
    let function = object
        .functions
        .get(&program.function_key())
        .ok_or_else(|| missing("it has no code".to_owned()))?;
    let instructions: Vec<u64> = function
        .instructions
        .iter()
        .map(|instruction| {
            u64::from(instruction.code)
                | u64::from(instruction.dst_reg()) << 8
                | u64::from(instruction.src_reg()) << 12
                | u64::from(instruction.off.cast_unsigned()) << 16
                | u64::from(instruction.imm.cast_unsigned()) << 32
        })
        .collect();
    Ok(UprobeProgram::load(name, &instructions, &program.license)?)
}

/// Descriptor of a map of a kind that the object has.
fn descriptor(map: &Map) -> Option<RawFd> {
    let data = match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::RingBuf(data)
        | Map::SkStorage(data)
        | Map::Unsupported(data) => data,
        _ => return None,
    };
    Some(data.fd().as_fd().as_raw_fd())
}

/// The program as aya has it, for links by `perf_event_open`.
pub(super) fn program<'a>(ebpf: &'a mut Ebpf, symbol: &str) -> Option<&'a mut UProbe> {
    match ebpf.program_mut(symbol)? {
        Program::UProbe(program) => Some(program),
        _ => None,
    }
}
