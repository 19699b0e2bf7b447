//! The cgroups that exist: one pass over the directories of a hierarchy.
//!
//! Separate because it is how cgroups that were made before the agent get
//! their names, and the only place that lists directories of the cgroup file
//! system. A cgroup's id, as the kernel programs see it, is the inode number
//! of its directory.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::{DirEntryExt as _, MetadataExt as _};
use std::path::Path;

/// Levels below the root that are looked at. Kubernetes in a container in a
/// user's session needs about 12; anything deeper is not a container's own
/// cgroup, and would only cost memory.
pub const MAX_DEPTH: usize = 32;

/// A cgroup that exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cgroup<'a> {
    /// Inode number of its directory.
    pub id: u64,
    /// Its path from the mounted directory, which itself is `/`.
    pub path: &'a str,
}

/// What a walk did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// Cgroups visited.
    pub visited: usize,
    /// Cgroups left out because one more would have been too many or too deep.
    /// What is below a cgroup that was left out is not counted.
    pub left_out: usize,
    /// Directories that could not be listed: removed meanwhile, or not ours to
    /// read. Their own cgroup was visited.
    pub unreadable: usize,
}

/// Visits every cgroup below `mount`, itself included, outer ones first, so
/// that what is left out of too many is what is nested deepest.
///
/// At most `max_cgroups` are visited, and that many paths held in memory.
///
/// # Errors
///
/// `mount` itself cannot be read.
pub fn walk(
    mount: &Path,
    max_cgroups: usize,
    mut visit: impl FnMut(Cgroup<'_>),
) -> io::Result<Walked> {
    let mut walked = Walked { visited: 1, ..Walked::default() };
    visit(Cgroup { id: fs::metadata(mount)?.ino(), path: "/" });
    let mut unlisted = VecDeque::from([(String::new(), 0)]);
    while let Some((path, depth)) = unlisted.pop_front() {
        let entries = match fs::read_dir(mount.join(path.trim_start_matches('/'))) {
            Ok(entries) => entries,
            Err(error) if path.is_empty() => return Err(error),
            Err(_) => {
                walked.unreadable += 1;
                continue;
            }
        };
        // Names and inode numbers come with the listing: no call per cgroup.
        for entry in entries {
            let Ok(entry) = entry else {
                walked.unreadable += 1;
                break;
            };
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if depth == MAX_DEPTH || walked.visited >= max_cgroups {
                walked.left_out += 1;
                continue;
            }
            let child = format!("{path}/{}", entry.file_name().to_string_lossy());
            visit(Cgroup { id: entry.ino(), path: &child });
            walked.visited += 1;
            unlisted.push_back((child, depth + 1));
        }
    }
    Ok(walked)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use super::{MAX_DEPTH, Walked, walk};
    use crate::attribution::hierarchy::Hierarchy;
    use crate::attribution::procfs::ProcRoot;

    fn collect(mount: &Path, max: usize) -> (Vec<(String, u64)>, Walked) {
        let mut found = Vec::new();
        let walked =
            walk(mount, max, |cgroup| found.push((cgroup.path.to_owned(), cgroup.id))).unwrap();
        (found, walked)
    }

    #[test]
    fn every_directory_is_visited_with_its_inode_outer_ones_first() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("kubepods/burstable/pod1")).unwrap();
        fs::create_dir_all(root.path().join("system.slice/a b.service")).unwrap();
        fs::write(root.path().join("kubepods/cgroup.procs"), "").unwrap();
        std::os::unix::fs::symlink("/", root.path().join("kubepods/link")).unwrap();
        let (found, walked) = collect(root.path(), 100);
        assert_eq!(walked, Walked { visited: 6, left_out: 0, unreadable: 0 });
        let depths: Vec<_> =
            found.iter().map(|(path, _)| path.trim_end_matches('/').matches('/').count()).collect();
        assert!(depths.is_sorted(), "{found:?}");
        let by_path: HashMap<_, _> = found.into_iter().collect();
        for path in ["/", "/kubepods", "/kubepods/burstable/pod1", "/system.slice/a b.service"] {
            let inode = fs::metadata(root.path().join(path.trim_start_matches('/'))).unwrap().ino();
            assert_eq!(by_path.get(path), Some(&inode), "{path}");
        }
    }

    #[test]
    fn what_is_too_many_is_counted_and_nested_deepest() {
        let root = tempfile::tempdir().unwrap();
        for parent in 0..4 {
            for child in 0..5 {
                fs::create_dir_all(root.path().join(format!("{parent}/{child}"))).unwrap();
            }
        }
        let (found, walked) = collect(root.path(), 10);
        assert_eq!(walked, Walked { visited: 10, left_out: 15, unreadable: 0 });
        assert_eq!(found.len(), 10);
        assert_eq!(found.iter().filter(|(path, _)| path.len() == 2).count(), 4);
    }

    #[test]
    fn what_is_too_deep_is_counted() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/".repeat(MAX_DEPTH + 5))).unwrap();
        let (_, walked) = collect(root.path(), 100);
        assert_eq!(walked, Walked { visited: MAX_DEPTH + 1, left_out: 1, unreadable: 0 });
    }

    #[test]
    fn a_cgroup_that_goes_away_during_the_walk_is_counted() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("gone")).unwrap();
        let walked = walk(root.path(), 100, |cgroup| {
            if cgroup.path == "/gone" {
                fs::remove_dir(root.path().join("gone")).unwrap();
            }
        });
        assert_eq!(walked.unwrap(), Walked { visited: 2, left_out: 0, unreadable: 1 });
        assert!(walk(&root.path().join("gone"), 100, |_| {}).is_err());
    }

    #[test]
    fn the_tree_of_this_machine_has_the_cgroup_of_this_process() {
        let proc = ProcRoot::default();
        let Ok(hierarchy) = Hierarchy::detect(&proc, None) else {
            return eprintln!("skipped: no cgroup hierarchy is mounted here");
        };
        if fs::metadata(hierarchy.mount()).unwrap().ino() != 1 {
            return eprintln!("skipped: only a part of the hierarchy is mounted here");
        }
        let text = fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = hierarchy.path_in(&text).unwrap();
        let (found, walked) = collect(hierarchy.mount(), 16_384);
        assert_eq!(found.len(), walked.visited);
        assert!(
            found.iter().any(|(path, _)| path == own),
            "{own} is not in {} cgroups",
            found.len()
        );
    }
}
