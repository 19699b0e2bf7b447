//! Cgroups that come and go.

use crate::limits::CGROUP_PATH_BYTES;

/// A cgroup that was made or removed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CgroupRecord {
    /// `RecordKind::CgroupMade` or `CgroupRemoved`.
    pub kind: u8,
    /// Zero.
    pub _pad: [u8; 3],
    /// Bytes of `path` that have meaning.
    pub path_len: u32,
    /// When, `CLOCK_MONOTONIC` nanoseconds.
    pub ktime_ns: u64,
    /// The inode of the cgroup's directory.
    pub cgroup_id: u64,
    /// Its path from the root of the hierarchy.
    pub path: [u8; CGROUP_PATH_BYTES],
}

const _: () = assert!(size_of::<CgroupRecord>() == 24 + CGROUP_PATH_BYTES);
