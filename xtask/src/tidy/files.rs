//! The files that the rules look at: what git has or would add, as text.
//!
//! Separate because it is the one part of tidy that touches the disk.

use std::process::Command;

use crate::{place, process};

/// One file of the repository.
pub(super) struct File {
    /// From the repository's root.
    pub(super) path: String,
    pub(super) text: String,
}

/// Reads them all; what is not UTF-8 has no rules.
pub(super) fn read() -> anyhow::Result<Vec<File>> {
    let listed = process::output(git(&mut Command::new("git")).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let files: Vec<File> = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .filter_map(|path| {
            // A file that was deleted but is still in the index is skipped too.
            let text = std::fs::read_to_string(place::repository().join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        })
        .collect();
    anyhow::ensure!(!files.is_empty(), "git lists no files here; tidy needs a clone");
    Ok(files)
}

/// Git in the repository, whoever owns it: CI often runs as another user.
pub(super) fn git(command: &mut Command) -> &mut Command {
    command.args(["-c", "safe.directory=*"]).current_dir(place::repository())
}
