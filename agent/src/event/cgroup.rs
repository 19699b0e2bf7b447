//! A cgroup that came or went.

/// A cgroup that came or went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its id: the inode of its directory.
    pub id: u64,
    /// Its path from the root of the hierarchy.
    pub path: Box<str>,
    /// True if it was made, false if it was removed.
    pub is_made: bool,
}
