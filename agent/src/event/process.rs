//! What a process did.

/// Kinds of things that processes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It replaced its program.
    Exec,
    /// It ended.
    Exit,
    /// In a selected cgroup: it listens, or served its first request.
    Serves,
    /// Anywhere: it began to listen.
    Listens,
}

/// A process that did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// What.
    pub kind: Kind,
    /// Process id in the host's namespace.
    pub tgid: u32,
    /// Cgroup of the thread that did it.
    pub cgroup_id: u64,
    /// Start of the process, boot time nanoseconds.
    pub start_boottime_ns: u64,
    /// Port that it listens or serves on.
    pub port: u16,
    /// Network namespace of that port, by inode.
    pub netns: u32,
}
