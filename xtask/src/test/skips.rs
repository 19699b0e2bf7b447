//! The file into which tests write what they could not check on this machine.
//!
//! Separate because it is a contract with the tests: `STRATA_SKIPS` names the
//! file, each skip appends one line: its place, a tab, the reason.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;

/// The variable by which tests find the file.
pub(super) const VARIABLE: &str = "STRATA_SKIPS";

/// The file of this run, removed at its end.
pub(super) struct Skips {
    path: PathBuf,
}

impl Skips {
    /// An empty one.
    pub(super) fn open() -> anyhow::Result<Self> {
        Self::at(crate::place::target().join(format!("skips-{}.txt", std::process::id())))
    }

    fn at(path: PathBuf) -> anyhow::Result<Self> {
        std::fs::write(&path, "").with_context(|| format!("writing {}", path.display()))?;
        Ok(Self { path })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// Adds one skip.
    pub(super) fn add(&self, name: &str, reason: &str) -> anyhow::Result<()> {
        std::fs::OpenOptions::new()
            .append(true)
            .open(&self.path)
            .and_then(|mut file| writeln!(file, "{name}\t{reason}"))
            .with_context(|| format!("writing {}", self.path.display()))
    }

    /// All skips so far.
    pub(super) fn read(&self) -> anyhow::Result<Vec<String>> {
        let text = std::fs::read_to_string(&self.path)
            .with_context(|| format!("reading {}", self.path.display()))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        Ok(lines.map(|line| line.replacen('\t', ": ", 1)).collect())
    }
}

impl Drop for Skips {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_append_is_read_with_our_own() {
        let name = format!("strata-skips-{}", std::process::id());
        let skips = Skips::at(std::env::temp_dir().join(name)).unwrap();
        skips.add("kernel", "not root").unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).open(skips.path()).unwrap();
        writeln!(file, "churn\tno memory controller\n").unwrap();
        assert_eq!(skips.read().unwrap(), ["kernel: not root", "churn: no memory controller"]);
        let path = skips.path().to_owned();
        drop(skips);
        assert!(!path.exists());
    }
}
