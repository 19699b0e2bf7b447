//! `struct task_struct`.

use aya_ebpf::helpers::generated::bpf_get_current_task_btf;

use super::cgroup;
use super::field;
use crate::globals;

/// A task, by the pointer that a hook or helper gave.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    at: *const u8,
}

impl Task {
    /// The task that runs.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: a helper without arguments; never null.
        Self { at: unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const() }
    }

    /// A hook's `struct task_struct *` argument.
    #[inline(always)]
    pub(crate) const fn from_arg(at: *const u8) -> Self {
        Self { at }
    }

    /// The pointer, for helpers.
    #[inline(always)]
    pub(crate) const fn as_ptr(self) -> *const u8 {
        self.at
    }

    /// Thread id.
    #[inline(always)]
    pub(crate) fn tid(self) -> u32 {
        // SAFETY: `pid` is four bytes of a live task.
        unsafe { field(self.at, &globals::TASK_PID) }
    }

    /// Process id.
    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        // SAFETY: `tgid` is four bytes of a live task.
        unsafe { field(self.at, &globals::TASK_TGID) }
    }

    /// Start of its process, boot time nanoseconds.
    #[inline(always)]
    pub(crate) fn process_start_ns(self) -> u64 {
        // SAFETY: a task's group leader lives as long as the task.
        unsafe {
            let leader: *const u8 = field(self.at, &globals::TASK_GROUP_LEADER);
            field(leader, &globals::TASK_START_BOOTTIME)
        }
    }

    /// Its cgroup in the hierarchy that the agent reads.
    #[inline(always)]
    pub(crate) fn cgroup_id(self) -> u64 {
        // SAFETY: a pointer that every task has.
        unsafe {
            let set: *const u8 = field(self.at, &globals::TASK_CGROUPS);
            cgroup::id_in_set(set)
        }
    }
}
