//! `struct task_struct`.

use aya_ebpf::helpers::generated::bpf_get_current_task_btf;

use super::cgroup;
use super::field;
use crate::globals;

/// `PF_KTHREAD` (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;
/// `MAX_RT_PRIO` (include/linux/sched/prio.h).
const MAX_RT_PRIO: i32 = 100;

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

    /// Its thread pointer, of which thread-local data lies below.
    #[inline(always)]
    pub(crate) fn thread_pointer(self) -> u64 {
        // SAFETY: eight bytes of a live task.
        unsafe { field(self.at, &globals::TASK_FSBASE) }
    }

    /// Its name.
    #[inline(always)]
    pub(crate) fn comm(self, to: &mut [u8; 16]) {
        let at = globals::TASK_COMM.load() as usize;
        let to = to.as_mut_ptr().cast::<u64>();
        // SAFETY: sixteen bytes of a live task, and of the caller's array,
        // which is eight-aligned in every structure that has one.
        unsafe {
            let from = self.at.add(at).cast::<u64>();
            to.write_volatile(from.read_volatile());
            to.add(1).write_volatile(from.add(1).read_volatile());
        }
    }

    /// How long it has run since it was given the CPU, as it leaves it,
    /// nanoseconds: of the fair class only.
    #[inline(always)]
    pub(crate) fn ran_ns(self) -> u64 {
        // SAFETY: two counts of eight bytes of a live task.
        let (all, before): (u64, u64) = unsafe {
            (field(self.at, &globals::TASK_RAN), field(self.at, &globals::TASK_RAN_BEFORE))
        };
        all.wrapping_sub(before)
    }

    /// Whether it is of the fair class, or idle: not real-time, nor of a
    /// deadline.
    #[inline(always)]
    pub(crate) fn is_fair(self) -> bool {
        // SAFETY: `prio` is four bytes of a live task.
        let prio: i32 = unsafe { field(self.at, &globals::TASK_PRIO) };
        prio >= MAX_RT_PRIO
    }

    /// Whether it is the kernel's own, an idle task included.
    #[inline(always)]
    pub(crate) fn is_kernel(self) -> bool {
        // SAFETY: `flags` is four bytes of a live task.
        let flags: u32 = unsafe { field(self.at, &globals::TASK_FLAGS) };
        flags & PF_KTHREAD != 0
    }

    /// Its state, bits of `agent_common::off_cpu::state`.
    #[inline(always)]
    pub(crate) fn state(self) -> u32 {
        // SAFETY: `__state` is four bytes of a live task.
        unsafe { field(self.at, &globals::TASK_STATE) }
    }

    /// Whether it waits for block I/O.
    #[inline(always)]
    pub(crate) fn is_in_iowait(self) -> bool {
        self.bit(&globals::TASK_IN_IOWAIT, &globals::TASK_IN_IOWAIT_MASK)
    }

    /// Whether it waits for memory.
    #[inline(always)]
    pub(crate) fn is_in_memstall(self) -> bool {
        self.bit(&globals::TASK_IN_MEMSTALL, &globals::TASK_IN_MEMSTALL_MASK)
    }

    #[inline(always)]
    fn bit(self, byte: &aya_ebpf::Global<u32>, mask: &aya_ebpf::Global<u32>) -> bool {
        if mask.load() == 0 {
            return false;
        }
        // SAFETY: a byte of a live task.
        let bits: u8 = unsafe { field(self.at, byte) };
        u32::from(bits) & mask.load() != 0
    }

    /// Whether it cannot run because its cgroup is out of CPU quota, as it is
    /// switched out.
    ///
    /// From 6.18 tasks are throttled one by one and each says so itself. Before
    /// that whole run queues were, with all that is on them; `throttle_count`
    /// counts the cgroup and those above it, which `throttled` does not.
    #[inline(always)]
    pub(crate) fn is_throttled(self) -> bool {
        if globals::TASK_THROTTLED.load() == 0 {
            return self.is_on_throttled_queue();
        }
        // SAFETY: a `bool` of a live task.
        let is_throttled: u8 = unsafe { field(self.at, &globals::TASK_THROTTLED) };
        is_throttled != 0
    }

    /// Whether it cannot run because of its cgroup's quota, as it is woken.
    /// From 6.18 a woken task runs until it leaves the kernel.
    #[inline(always)]
    pub(crate) fn is_woken_throttled(self) -> bool {
        globals::TASK_THROTTLED.load() == 0 && self.is_on_throttled_queue()
    }

    #[inline(always)]
    fn is_on_throttled_queue(self) -> bool {
        if globals::CFS_RQ_THROTTLE_COUNT.load() == 0 || globals::TASK_CFS_RQ.load() == 0 {
            return false;
        }
        // SAFETY: every task has a run queue in its scheduling entity.
        let count: i32 = unsafe {
            let queue: *const u8 = field(self.at, &globals::TASK_CFS_RQ);
            field(queue, &globals::CFS_RQ_THROTTLE_COUNT)
        };
        count > 0
    }

    /// Its table of open files.
    #[inline(always)]
    pub(crate) fn files(self) -> *const u8 {
        // SAFETY: a pointer of a live task.
        unsafe { field(self.at, &globals::TASK_FILES) }
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
