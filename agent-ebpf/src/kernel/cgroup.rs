//! `struct cgroup` and the set of them that a task is in.

use super::field;
use crate::globals;

/// The id of the cgroup of a `css_set`: inode of its directory.
///
/// # Safety
///
/// `set` is a `struct css_set *` that the verifier tracks.
#[inline(always)]
pub(crate) unsafe fn id_in_set(set: *const u8) -> u64 {
    // SAFETY: each pointer is followed by its own type.
    unsafe {
        if globals::IS_CGROUP_V1.load() != 0 {
            let css: *const u8 = field(set, &globals::CSS_SET_SUBSYS);
            let cgroup: *const u8 = field(css, &globals::CSS_CGROUP);
            return id(cgroup);
        }
        let cgroup: *const u8 = field(set, &globals::CSS_SET_DFL_CGRP);
        id(cgroup)
    }
}

/// The id of a cgroup.
///
/// # Safety
///
/// `cgroup` is a `struct cgroup *` that the verifier tracks.
#[inline(always)]
pub(crate) unsafe fn id(cgroup: *const u8) -> u64 {
    // SAFETY: a cgroup has a node as long as it is linked.
    unsafe {
        let node: *const u8 = field(cgroup, &globals::CGROUP_KN);
        field(node, &globals::KERNFS_NODE_ID)
    }
}

/// Whether it belongs to the hierarchy that the agent reads.
///
/// # Safety
///
/// As for [`id`].
#[inline(always)]
pub(crate) unsafe fn is_in_hierarchy(cgroup: *const u8) -> bool {
    // SAFETY: every cgroup has a root.
    unsafe {
        let root: *const u8 = field(cgroup, &globals::CGROUP_ROOT);
        let hierarchy: u32 = field(root, &globals::CGROUP_ROOT_HIERARCHY_ID);
        // Version 2 has no number that is fixed: its root is the default one,
        // whose id the loader finds as 0.
        hierarchy == globals::HIERARCHY_ID.load()
    }
}
