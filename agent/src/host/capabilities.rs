//! Capabilities of this process, and those that strata needs.
//!
//! Each was dropped alone (Linux 6.18, `unprivileged_bpf_disabled` 2,
//! `perf_event_paranoid` 2, root), and this is what no longer works:
//!
//! - `CAP_BPF`: no map can be made, so nothing loads.
//! - `CAP_PERFMON`: maps can, but every program is refused (`EPERM`): tracing
//!   programs, and kernel pointers in them, need it.
//! - `CAP_SYS_PTRACE`: `/proc/<pid>/exe`, `ns/net` and what is in `fd` are
//!   denied of every process that may more than the agent, of its own user too.
//!   No server that was there first would be found, and no workload named.
//! - `CAP_DAC_READ_SEARCH`: `/proc/<pid>/fd` of other users' processes cannot
//!   be listed, since that folder is its owner's alone: their listening sockets
//!   would not be found.
//!
//! With these four everything works; `CAP_SYS_ADMIN` does instead of the first
//! two, and gives much more than is needed.

/// A capability that strata needs, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed {
    /// Its name.
    pub name: &'static str,
    /// Its number (include/uapi/linux/capability.h).
    bit: u32,
    /// What it is needed for.
    pub reason: &'static str,
}

/// The smallest set that works, one line each.
pub const NEEDED: [Needed; 4] = [
    Needed { name: "CAP_BPF", bit: 39, reason: "to load programs and create maps" },
    Needed { name: "CAP_PERFMON", bit: 38, reason: "to load tracing programs and read memory" },
    Needed {
        name: "CAP_SYS_PTRACE",
        bit: 19,
        reason: "to read the programs and namespaces of other users' processes",
    },
    Needed {
        name: "CAP_DAC_READ_SEARCH",
        bit: 2,
        reason: "to list the file descriptors of other users' processes",
    },
];

/// `CAP_SYS_ADMIN`, which stands for the first two.
const SYS_ADMIN: u32 = 21;

/// Capabilities that are needed and not there, by the process's own status.
#[must_use]
pub fn missing() -> Vec<Needed> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    missing_in(effective(&status).unwrap_or(0))
}

fn missing_in(effective: u64) -> Vec<Needed> {
    let has = |bit: u32| effective >> bit & 1 != 0;
    let is_there =
        |needed: &Needed| has(needed.bit) || (matches!(needed.bit, 38 | 39) && has(SYS_ADMIN));
    NEEDED.into_iter().filter(|needed| !is_there(needed)).collect()
}

fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(effective: u64) -> Vec<&'static str> {
        missing_in(effective).iter().map(|needed| needed.name).collect()
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(names(0xc0_0008_0004), Vec::<&str>::new());
        assert_eq!(names(0).len(), 4);
        assert_eq!(names(1 << 21), ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        assert_eq!(names(0xc0_0000_0004), ["CAP_SYS_PTRACE"]);
    }

    #[test]
    fn the_effective_set_is_read_from_status() {
        assert_eq!(effective("Name:\tx\nCapEff:\t000001fffeffffff\n"), Some(0x1ff_feff_ffff));
        assert_eq!(effective("CapEff:\tzz\n"), None);
    }
}
