//! Process life: exec, exit, and the moment a process turns out to serve.

/// A process that did something the agent must know of.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ProcessRecord {
    /// `RecordKind::Exec`, `Exit`, `Serves` or `Listens`.
    pub kind: u8,
    /// Zero.
    pub _pad: u8,
    /// `Listens`, `Serves`: the port, host order.
    pub port: u16,
    /// The process.
    pub tgid: u32,
    /// When, `CLOCK_MONOTONIC` nanoseconds.
    pub ktime_ns: u64,
    /// Its cgroup, in the hierarchy that the agent reads.
    pub cgroup_id: u64,
    /// Start of the group leader, `CLOCK_BOOTTIME` nanoseconds: with the tgid
    /// it names a process even after its number is used again.
    pub start_boottime_ns: u64,
    /// `Listens`, `Serves`: inode of the network namespace.
    pub netns: u32,
    /// Zero.
    pub _pad2: u32,
}

const _: () = assert!(size_of::<ProcessRecord>() == 40);
