//! The Go programs that watched processes run, and their entries in the
//! kernel's table of layouts.
//!
//! Separate from the attributor because it is a small allocator with rules of
//! its own: a file is read once, however many processes run it; programs of
//! the same layout share an entry, so that the replicas of an image do, each of
//! which has the file on a device of its own; and an entry is given to another
//! only when no watched process has it any more.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use agent_common::go::GoLayout;
use agent_common::limits::{MAX_GO_LAYOUTS, MAX_PROCESSES};
use agent_common::policy::ProcessPolicy;

use super::go_binary::{self, GoBinary, Unsupported, live};
use super::procfs::process::Process;

/// Program files that are remembered; those that nobody runs are forgotten.
const MAX_FILES: usize = 1024;

/// Which file, and which content of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileId {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl FileId {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

/// How the time of a Go process is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By goroutine.
    Goroutine(Entry),
    /// By thread, though goroutine ids are read: the table is full.
    IdsOnly {
        /// Offset of the goroutine pointer from the thread pointer.
        g_tls_offset: i32,
        /// Offset of the id.
        goid: u32,
    },
    /// By thread: its goroutines cannot be followed.
    Thread {
        /// Why.
        why: Unsupported,
    },
}

/// An entry of the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its index, from 0.
    pub index: u32,
    /// What it says.
    pub layout: GoLayout,
    /// Whether it was given away just now: the kernel does not have it yet.
    pub is_new: bool,
}

impl Mode {
    /// For labels: `goroutine` or `thread`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Goroutine(_) => "goroutine",
            Self::IdsOnly { .. } | Self::Thread { .. } => "thread",
        }
    }

    /// Why it is not split by goroutine; empty if it is.
    #[must_use]
    pub const fn why(&self) -> &'static str {
        match self {
            Self::Goroutine(_) => "",
            Self::IdsOnly { .. } => "the table of go programs is full",
            Self::Thread { why } => why.as_str(),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct GoPrograms {
    /// Program files that were read.
    files: HashMap<FileId, GoBinary>,
    /// Who has which entry.
    entries: Vec<Option<Slot>>,
    /// Go processes that are watched.
    processes: HashMap<u32, Running>,
}

/// A process that runs a Go program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    file: FileId,
    /// Version of Go, as the program says it; empty if it does not.
    pub version: String,
    /// `goroutine` or `thread`: what its time is split by.
    pub mode: &'static str,
    /// Why it is not split by goroutine; empty if it is.
    pub why: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    layout: GoLayout,
    /// Looks in a row that found no process with it.
    unused: u8,
}

/// Looks after which an entry is free: a policy that was just decided may not
/// be in the kernel at the first.
const LOOKS_UNTIL_FREE: u8 = 2;

impl GoPrograms {
    /// How the time of a process is to be split; `None` if its program is not
    /// Go.
    ///
    /// # Errors
    ///
    /// The program cannot be read.
    pub fn of_process(&mut self, process: &Process) -> io::Result<Option<Mode>> {
        let tgid = process.tgid().0;
        self.processes.remove(&tgid);
        let file = File::open(process.executable_file())?;
        let id = FileId::of(&file.metadata()?);
        let found = match self.files.get(&id) {
            Some(found) => found.clone(),
            None => {
                let found = go_binary::inspect(file)?;
                if self.files.len() < MAX_FILES {
                    self.files.insert(id, found.clone());
                }
                found
            }
        };
        let (version, mode) = match found {
            GoBinary::NotGo => return Ok(None),
            GoBinary::Unsupported { version, why } => (version, Mode::Thread { why }),
            GoBinary::Readable(program) => {
                // What cannot be read contradicts nothing: the kernel programs
                // may still be able to.
                let is_wrong = program.all_goroutines_at != 0
                    && File::open(process.memory_file()).is_ok_and(|memory| {
                        live::contradicts(memory, program.all_goroutines_at, &program.layout)
                    });
                let mode = if is_wrong {
                    Mode::Thread { why: Unsupported::Implausible }
                } else {
                    self.entry(program.layout)
                };
                (Some(program.version), mode)
            }
        };
        if self.processes.len() < MAX_PROCESSES as usize {
            let version = version.map(|version| version.to_string()).unwrap_or_default();
            let (mode, why) = (mode.as_str(), mode.why());
            self.processes.insert(tgid, Running { file: id, version, mode, why });
        }
        Ok(Some(mode))
    }

    /// Whether a watched process is known to run a Go program.
    #[must_use]
    pub fn runs(&self, tgid: u32) -> bool {
        self.processes.contains_key(&tgid)
    }

    /// Go processes, by number.
    #[must_use]
    pub fn running(&self) -> BTreeMap<u32, &Running> {
        self.processes.iter().map(|(tgid, running)| (*tgid, running)).collect()
    }

    /// Processes by mode and reason.
    #[must_use]
    pub fn processes(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        let mut counts = BTreeMap::new();
        for running in self.processes.values() {
            *counts.entry((running.mode, running.why)).or_default() += 1;
        }
        counts
    }

    /// Forgets what no watched process runs; the kernel's policies tell.
    pub fn expire(&mut self, watched: &[(u32, ProcessPolicy)]) {
        let tgids: HashSet<u32> = watched.iter().map(|(tgid, _)| *tgid).collect();
        self.processes.retain(|tgid, _| tgids.contains(tgid));
        let named: HashSet<u32> = watched.iter().map(|(_, policy)| policy.go_layout).collect();
        for (number, entry) in (1..).zip(&mut self.entries) {
            let Some(slot) = entry else { continue };
            if named.contains(&number) {
                slot.unused = 0;
            } else {
                slot.unused += 1;
                if slot.unused >= LOOKS_UNTIL_FREE {
                    *entry = None;
                }
            }
        }
        let used: HashSet<FileId> = self.processes.values().map(|running| running.file).collect();
        self.files.retain(|file, _| used.contains(file));
    }

    fn entry(&mut self, layout: GoLayout) -> Mode {
        let goroutine = |index: usize, is_new| {
            Mode::Goroutine(Entry { index: u32::try_from(index).unwrap_or(0), layout, is_new })
        };
        let mut free = None;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            match entry {
                Some(slot) if slot.layout == layout => {
                    slot.unused = 0;
                    return goroutine(index, false);
                }
                Some(_) => {}
                None => free = free.or(Some(index)),
            }
        }
        let slot = Some(Slot { layout, unused: 0 });
        if let Some(index) = free
            && let Some(entry) = self.entries.get_mut(index)
        {
            *entry = slot;
            return goroutine(index, true);
        }
        if self.entries.len() < MAX_GO_LAYOUTS as usize {
            self.entries.push(slot);
            return goroutine(self.entries.len() - 1, true);
        }
        Mode::IdsOnly { g_tls_offset: layout.g_tls_offset, goid: layout.goid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::procfs::ProcRoot;
    use crate::event::ids::Tgid;

    fn layout(number: u32) -> GoLayout {
        GoLayout { goid: number, ..GoLayout::new() }
    }

    fn watched(numbers: &[u32]) -> Vec<(u32, ProcessPolicy)> {
        let policy = |go_layout| ProcessPolicy { go_layout, ..ProcessPolicy::default() };
        numbers.iter().map(|number| (*number, policy(*number))).collect()
    }

    fn entry_of(programs: &mut GoPrograms, number: u32) -> Option<(u32, bool)> {
        match programs.entry(layout(number)) {
            Mode::Goroutine(entry) => {
                assert_eq!(entry.layout, layout(number));
                Some((entry.index, entry.is_new))
            }
            Mode::IdsOnly { goid, .. } if goid == number => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn programs_of_one_layout_share_an_entry() {
        let mut programs = GoPrograms::default();
        assert_eq!(entry_of(&mut programs, 1), Some((0, true)));
        assert_eq!(entry_of(&mut programs, 2), Some((1, true)));
        assert_eq!(entry_of(&mut programs, 1), Some((0, false)));
    }

    #[test]
    fn an_entry_is_reused_only_when_no_process_has_it_for_two_looks() {
        let mut programs = GoPrograms::default();
        for number in 1..=3 {
            entry_of(&mut programs, number);
        }
        programs.expire(&watched(&[1, 3]));
        assert_eq!(entry_of(&mut programs, 4), Some((3, true)), "one look is too early");
        programs.expire(&watched(&[1, 3, 4]));
        assert_eq!(entry_of(&mut programs, 3), Some((2, false)));
        assert_eq!(entry_of(&mut programs, 5), Some((1, true)));
        programs.expire(&watched(&[1, 3, 4]));
        // Decided meanwhile for another process: it is in use again.
        assert_eq!(entry_of(&mut programs, 5), Some((1, false)));
        programs.expire(&watched(&[1, 3, 4]));
        assert_eq!(entry_of(&mut programs, 6), Some((4, true)));
    }

    #[test]
    fn a_full_table_says_so_and_still_gives_ids() {
        let mut programs = GoPrograms::default();
        for number in 1..=MAX_GO_LAYOUTS {
            assert!(entry_of(&mut programs, number).is_some());
        }
        assert_eq!(entry_of(&mut programs, 9999), None);
        let mode = programs.entry(layout(9999));
        assert_eq!(mode.as_str(), "thread");
        assert!(mode.why().contains("full"));
        assert_eq!(entry_of(&mut programs, 7), Some((6, false)));
    }

    #[test]
    fn what_is_not_go_is_no_go_process() {
        let mut programs = GoPrograms::default();
        let proc = ProcRoot::default();
        let own = proc.process(Tgid(std::process::id()));
        assert_eq!(programs.of_process(&own).unwrap(), None);
        assert!(programs.processes().is_empty());
        assert!(programs.of_process(&proc.process(Tgid(u32::MAX))).is_err());
    }
}
