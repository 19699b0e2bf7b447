//! Where things are: the repository, its `target`, commands on this machine.
//!
//! Separate because every verb asks, and only one answer may be right.

use std::path::{Path, PathBuf};

/// The repository's root.
pub(crate) fn repository() -> &'static Path {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest)
}

/// Cargo's target directory, `CARGO_TARGET_DIR` respected.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => repository().join(directory),
        None => repository().join("target"),
    }
}

/// The agent as `build` leaves it.
pub(crate) fn strata() -> PathBuf {
    target().join("release/strata")
}

/// Where commands are looked for: `PATH`, then where Debian puts daemons and
/// Go's own installer puts Go, which not everybody has in `PATH`.
pub(crate) fn search_path() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/local/go/bin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
    std::env::split_paths(&path).chain(more.map(PathBuf::from)).collect()
}

/// A command by name.
pub(crate) fn command(name: &str) -> Option<PathBuf> {
    search_path().into_iter().map(|directory| directory.join(name)).find(|file| file.is_file())
}

/// Whether this process may do what root may.
pub(crate) fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| effective_uid(&status) == Some(0))
}

/// The effective user id in the text of `/proc/<pid>/status`.
fn effective_uid(status: &str) -> Option<u32> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_user_is_the_second_number() {
        assert_eq!(effective_uid("Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t1\t1\t1\t1\n"), Some(0));
        assert_eq!(effective_uid("Uid:\t0\t1000\t0\t0\n"), Some(1000));
        assert_eq!(effective_uid("Name:\tx\n"), None);
    }

    #[test]
    fn the_repository_holds_this_crate() {
        assert!(repository().join("xtask/Cargo.toml").is_file());
    }

    #[test]
    fn a_command_that_is_nowhere_is_not_found() {
        assert!(command("sh").is_some());
        assert!(command("no-such-command-as-this").is_none());
    }
}
