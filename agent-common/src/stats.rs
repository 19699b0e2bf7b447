//! What the kernel programs say about themselves: runs, time, losses.

/// Each kernel program, by its place in the `PROBE_STATS` array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Program {
    /// `sk_data_ready`
    SkDataReady = 0,
    /// `sock_recv_length`
    SockRecvLength = 1,
    /// `sock_send_length`
    SockSendLength = 2,
    /// The sweep of idle connections (an iterator).
    SweepConnections = 3,
    /// `inet_sock_set_state`
    InetSockSetState = 4,
    /// `tcp_retransmit_skb`
    TcpRetransmitSkb = 5,
    /// `tcp_retransmit_synack`
    TcpRetransmitSynack = 6,
    /// `tcp_send_reset`
    TcpSendReset = 7,
    /// `tcp_receive_reset`
    TcpReceiveReset = 8,
    /// `tcp_destroy_sock`
    TcpDestroySock = 9,
    /// `sched_switch`
    SchedSwitch = 10,
    /// `sched_wakeup`
    SchedWakeup = 11,
    /// `sched_wakeup_new`
    SchedWakeupNew = 12,
    /// `sched_process_fork`
    SchedProcessFork = 13,
    /// `sched_process_exec`
    SchedProcessExec = 14,
    /// `sched_process_exit`
    SchedProcessExit = 15,
    /// `cgroup_mkdir`
    CgroupMkdir = 16,
    /// `cgroup_rmdir`
    CgroupRmdir = 17,
    /// `sys_enter`
    SysEnter = 18,
    /// `sys_exit`
    SysExit = 19,
    /// A call of Go's `net/http` (a uprobe).
    GoRoundTrip = 20,
    /// The clock's samples of Go programs.
    GoSample = 21,
}

/// Entries of the `PROBE_STATS` array.
pub const PROGRAMS: u32 = 22;

/// One program on one CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct ProgramStats {
    /// Times that it ran.
    pub runs: u64,
    /// Times that it was timed: one run in [`TIMED_ONE_IN`].
    pub timed_runs: u64,
    /// What the timed runs took, nanoseconds.
    pub timed_ns: u64,
}

/// One run in this many is timed. Two clock reads cost more than most of what
/// they would time.
pub const TIMED_ONE_IN: u64 = 1024;

/// Why something was not recorded; index of the `LOSSES` array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Loss {
    /// Ring full: a request record. Also counted for its service.
    RingRequest = 0,
    /// Ring full: a process record.
    RingProcess = 1,
    /// Ring full: a cgroup record.
    RingCgroup = 2,
    /// Task storage could not be had.
    TaskStorage = 3,
    /// Socket storage could not be had.
    SocketStorage = 4,
    /// More connections than [`crate::limits::MAX_CONNECTIONS`].
    ConnectionLimit = 5,
    /// `PROCESSES` full.
    Processes = 6,
    /// `LISTENERS` full.
    Listeners = 7,
    /// A time before the one it is measured from.
    ClockRegression = 8,
    /// A buffer of the process could not be read.
    UserRead = 9,
    /// Data moved by a call whose buffer is not known (sendfile, `io_uring`).
    UnparsedCall = 10,
    /// A request head that could not be parsed.
    UnparsedHead = 11,
    /// A cgroup path longer than [`crate::limits::CGROUP_PATH_BYTES`].
    CgroupPath = 12,
    /// Response bytes after the request was taken as ended.
    LateResponse = 13,
    /// `ACCEPTED` (times of accept calls) full.
    Accepted = 14,
    /// `PARKED` full: time of a request that cannot be followed.
    Parked = 15,
    /// Ring full: a call record.
    RingCall = 16,
    /// `EDGES` full, and no edge of the rest: what is counted by peer.
    Edges = 17,
    /// A point of a capture, while the ring was half full.
    Capture = 18,
}

/// Entries of the `LOSSES` array.
pub const LOSSES: u32 = 19;

impl Loss {
    /// Every reason, in order of its index.
    pub const ALL: [Self; LOSSES as usize] = [
        Self::RingRequest,
        Self::RingProcess,
        Self::RingCgroup,
        Self::TaskStorage,
        Self::SocketStorage,
        Self::ConnectionLimit,
        Self::Processes,
        Self::Listeners,
        Self::ClockRegression,
        Self::UserRead,
        Self::UnparsedCall,
        Self::UnparsedHead,
        Self::CgroupPath,
        Self::LateResponse,
        Self::Accepted,
        Self::Parked,
        Self::RingCall,
        Self::Edges,
        Self::Capture,
    ];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingRequest => "ring_full_request",
            Self::RingProcess => "ring_full_process",
            Self::RingCgroup => "ring_full_cgroup",
            Self::TaskStorage => "task_storage",
            Self::SocketStorage => "socket_storage",
            Self::ConnectionLimit => "connection_limit",
            Self::Processes => "process_limit",
            Self::Listeners => "listener_limit",
            Self::ClockRegression => "clock_regression",
            Self::UserRead => "user_read",
            Self::UnparsedCall => "unparsed_call",
            Self::UnparsedHead => "unparsed_head",
            Self::CgroupPath => "cgroup_path",
            Self::LateResponse => "late_response",
            Self::Accepted => "accept_limit",
            Self::Parked => "parked_limit",
            Self::RingCall => "ring_full_call",
            Self::Edges => "edge_limit",
            Self::Capture => "capture",
        }
    }
}
