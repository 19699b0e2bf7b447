//! What a process uses, and what it has loaded into the kernel.
//!
//! Separate because every part of the bench asks; read from `/proc` and by
//! `bpftool`, never from the agent's own account of itself.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

use crate::process;

/// A program that was built together with this one.
///
/// # Errors
/// When it is not there.
pub fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe().context("finding this program's file")?.with_file_name(name);
    anyhow::ensure!(path.is_file(), "no {}; `cargo xtask bench` builds it", path.display());
    Ok(path)
}

/// Memory of a process, KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Resident now (`VmRSS`).
    pub resident_kib: u64,
    /// Of that, its own: heap and stacks.
    pub anonymous_kib: u64,
    /// Resident at most so far (`VmHWM`).
    pub peak_kib: u64,
}

/// Reads it.
///
/// # Errors
/// When the process is gone.
pub fn memory(pid: u32) -> anyhow::Result<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .with_context(|| format!("reading the memory of process {pid}"))?;
    parse_memory(&status).with_context(|| format!("process {pid} has no memory"))
}

fn parse_memory(status: &str) -> Option<Memory> {
    let field = |name: &str| -> Option<u64> {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.split_whitespace().next()?.parse().ok()
    };
    Some(Memory {
        resident_kib: field("VmRSS:")?,
        anonymous_kib: field("RssAnon:")?,
        peak_kib: field("VmHWM:")?,
    })
}

/// One map that a process holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// Name, as far as the kernel keeps it.
    pub name: String,
    /// Kernel memory, bytes.
    pub bytes: u64,
}

/// The maps that a process holds, largest first.
///
/// # Errors
/// When `/proc` or `bpftool` does not say.
pub fn maps(pid: u32) -> anyhow::Result<Vec<Map>> {
    let held = held(pid, "map_id:")?;
    let mut maps: Vec<Map> = objects("map", &held)?
        .iter()
        .map(|map| Map {
            name: text(map, "name"),
            bytes: map["bytes_memlock"].as_u64().unwrap_or(0),
        })
        .collect();
    maps.sort_by_key(|map| std::cmp::Reverse(map.bytes));
    Ok(maps)
}

/// One program that a process holds, by the kernel's statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Id.
    pub id: u64,
    /// Name.
    pub name: String,
    /// Runs while statistics were on.
    pub runs: u64,
    /// Their time, nanoseconds: without the way into the program.
    pub run_ns: u64,
}

/// The programs that a process holds.
///
/// # Errors
/// When `/proc` or `bpftool` does not say.
pub fn programs(pid: u32) -> anyhow::Result<Vec<Program>> {
    let held = held(pid, "prog_id:")?;
    let number = |program: &Value, field: &str| program[field].as_u64().unwrap_or(0);
    Ok(objects("prog", &held)?
        .iter()
        .map(|program| Program {
            id: number(program, "id"),
            name: text(program, "name"),
            // Left out by `bpftool` while they are 0.
            runs: number(program, "run_cnt"),
            run_ns: number(program, "run_time_ns"),
        })
        .collect())
}

fn text(object: &Value, field: &str) -> String {
    object[field].as_str().unwrap_or("?").to_owned()
}

/// Ids that the descriptors of a process name in this field.
fn held(pid: u32, field: &str) -> anyhow::Result<BTreeSet<u64>> {
    let dir = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&dir).with_context(|| format!("reading {dir}"))?;
    // Descriptors come and go: one that is gone names nothing.
    let texts = entries.flatten().filter_map(|entry| fs::read_to_string(entry.path()).ok());
    Ok(texts.filter_map(|text| id_in(&text, field)).collect())
}

fn id_in(fdinfo: &str, field: &str) -> Option<u64> {
    fdinfo.lines().find_map(|line| line.strip_prefix(field))?.trim().parse().ok()
}

/// What `bpftool` shows of these ids.
fn objects(kind: &str, ids: &BTreeSet<u64>) -> anyhow::Result<Vec<Value>> {
    let shown = process::run(Command::new("bpftool").args(["-j", kind, "show"]))?;
    let all: Vec<Value> = serde_json::from_str(&shown).context("reading what bpftool shows")?;
    let is_ours = |object: &Value| object["id"].as_u64().is_some_and(|id| ids.contains(&id));
    let ours: Vec<Value> = all.into_iter().filter(is_ours).collect();
    anyhow::ensure!(!ours.is_empty(), "bpftool shows no {kind} of the agent");
    Ok(ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_its_fields() {
        let status = "Name:\tx\nVmHWM:\t  300 kB\nVmRSS:\t  200 kB\nRssAnon:\t  150 kB\n";
        let memory = Memory { resident_kib: 200, anonymous_kib: 150, peak_kib: 300 };
        assert_eq!(parse_memory(status), Some(memory));
        assert_eq!(parse_memory("Name:\tzombie\n"), None);
        assert!(memory.resident_kib <= memory.peak_kib);
    }

    #[test]
    fn an_id_is_found_only_under_its_own_name() {
        assert_eq!(id_in("pos:\t0\nmap_type:\t2\nmap_id:\t17\n", "map_id:"), Some(17));
        assert_eq!(id_in("pos:\t0\nmap_id:\t17\n", "prog_id:"), None);
    }
}
