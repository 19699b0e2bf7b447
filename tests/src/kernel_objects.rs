//! Programs, maps and links in the kernel: which a process holds, and which of
//! them are still there.
//!
//! Separate because kernel tests and end-to-end tests ask the same after the
//! end of whoever held them.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::Context as _;

use crate::process;

/// Ids of kernel objects that a process holds, from its descriptors' own text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Programs.
    pub programs: BTreeSet<u64>,
    /// Maps.
    pub maps: BTreeSet<u64>,
    /// Links.
    pub links: BTreeSet<u64>,
}

impl Held {
    /// Those of this process.
    ///
    /// # Errors
    /// When `/proc` does not say.
    pub fn by(pid: u32) -> anyhow::Result<Self> {
        let mut held = Self::default();
        let dir = format!("/proc/{pid}/fdinfo");
        let entries = std::fs::read_dir(&dir).with_context(|| format!("reading {dir}"))?;
        for entry in entries.flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            for line in text.lines() {
                let Some((key, value)) = line.split_once(':') else { continue };
                let Ok(id) = value.trim().parse() else { continue };
                match key {
                    "prog_id" => held.programs.insert(id),
                    "map_id" => held.maps.insert(id),
                    "link_id" => held.links.insert(id),
                    _ => continue,
                };
            }
        }
        Ok(held)
    }

    /// Which of them the kernel still has.
    ///
    /// # Errors
    /// When bpftool cannot list them.
    pub fn still_there(&self) -> anyhow::Result<Vec<String>> {
        let kinds = [("prog", &self.programs), ("map", &self.maps), ("link", &self.links)];
        let mut left = Vec::new();
        for (kind, ids) in kinds {
            let listed = process::run(Command::new("bpftool").args(["-j", kind, "show"]))?;
            let listed: serde_json::Value = serde_json::from_str(&listed)?;
            let listed = listed.as_array().context("bpftool gave no list")?;
            let listed: BTreeSet<u64> =
                listed.iter().filter_map(|item| item.get("id")?.as_u64()).collect();
            left.extend(ids.intersection(&listed).map(|id| format!("{kind} {id}")));
        }
        Ok(left)
    }
}
