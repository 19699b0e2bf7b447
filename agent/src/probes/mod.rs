//! What there is to load: lanes, and the kernel program of each hook.
//!
//! Plain data. A lane is a switch over one or more programs; a program that
//! serves two lanes is loaded if one of them is on.

use agent_common::stats::Program;

/// A switch over kernel programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Requests.
    Sockets,
    /// Run queue, off-CPU, throttling.
    Cpu,
    /// Processes and cgroups.
    Process,
    /// Connections.
    Tcp,
    /// System calls.
    Syscalls,
    /// Calls of Go programs.
    Go,
}

impl Lane {
    /// Every lane, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Sockets, Self::Cpu, Self::Process, Self::Tcp, Self::Syscalls, Self::Go];

    /// Its name in configuration, metrics and on screen.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Cpu => "cpu",
            Self::Process => "process",
            Self::Tcp => "tcp",
            Self::Syscalls => "syscalls",
            Self::Go => "go",
        }
    }
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The tracepoint of the program's name, with BTF.
    Tracepoint,
    /// The clock of each CPU, some times a second.
    Clock,
    /// An iterator over the socket storage of connections.
    ConnectionIterator,
    /// A place in each Go program that a watched process runs.
    GoClient,
}

/// One kernel program.
#[derive(Clone, Copy, Debug)]
pub struct ProgramSpec {
    /// Its place in the statistics.
    pub program: Program,
    /// Its hook's name, by which it is shown.
    pub name: &'static str,
    /// Its name in the object file. The kernel keeps 15 bytes of it, so a long
    /// hook's is shortened to one that is its own.
    pub symbol: &'static str,
    /// Where it is attached.
    pub hook: Hook,
    /// Lanes that need it.
    pub lanes: &'static [Lane],
    /// First kernel that has the hook, as far as known; for messages only,
    /// since support is found by trying.
    pub since: &'static str,
}

const fn tracepoint(
    program: Program,
    name: &'static str,
    lanes: &'static [Lane],
    since: &'static str,
) -> ProgramSpec {
    ProgramSpec {
        program,
        name,
        symbol: symbol(program, name),
        hook: Hook::Tracepoint,
        lanes,
        since,
    }
}

const fn symbol(program: Program, name: &'static str) -> &'static str {
    match program {
        Program::SchedProcessFork => "sched_fork",
        Program::SchedProcessExec => "sched_exec",
        Program::SchedProcessExit => "sched_exit",
        Program::TcpRetransmitSkb => "retransmit_skb",
        Program::TcpRetransmitSynack => "retransmit_synack",
        _ => name,
    }
}

const SOCKETS: &[Lane] = &[Lane::Sockets];
const CPU: &[Lane] = &[Lane::Cpu];
const PROCESS: &[Lane] = &[Lane::Process];
const TCP: &[Lane] = &[Lane::Tcp];
const SYSCALLS: &[Lane] = &[Lane::Syscalls];

/// Every program, one line each, in the order in which they are attached;
/// detached in the reverse order. What ends a thing is attached before what
/// begins it: no wait begins whose wake-up goes unseen, no call whose exit does.
pub const ALL: &[ProgramSpec] = &[
    tracepoint(Program::SkDataReady, "sk_data_ready", SOCKETS, "6.3"),
    tracepoint(Program::SockRecvLength, "sock_recv_length", SOCKETS, "6.3"),
    tracepoint(Program::SockSendLength, "sock_send_length", SOCKETS, "6.3"),
    ProgramSpec {
        program: Program::SweepConnections,
        name: "sweep_connections",
        symbol: "sweep_connections",
        hook: Hook::ConnectionIterator,
        lanes: &[Lane::Sockets, Lane::Tcp],
        since: "5.11",
    },
    tracepoint(
        Program::InetSockSetState,
        "inet_sock_set_state",
        &[Lane::Sockets, Lane::Tcp],
        "4.16",
    ),
    // It alone takes a connection's state away.
    tracepoint(Program::TcpDestroySock, "tcp_destroy_sock", &[Lane::Sockets, Lane::Tcp], "4.16"),
    tracepoint(Program::TcpRetransmitSkb, "tcp_retransmit_skb", TCP, "4.16"),
    tracepoint(Program::TcpRetransmitSynack, "tcp_retransmit_synack", TCP, "4.16"),
    tracepoint(Program::TcpSendReset, "tcp_send_reset", TCP, "4.16"),
    tracepoint(Program::TcpReceiveReset, "tcp_receive_reset", TCP, "4.16"),
    tracepoint(Program::SchedWakeup, "sched_wakeup", CPU, "2.6"),
    tracepoint(Program::SchedWakeupNew, "sched_wakeup_new", CPU, "2.6"),
    tracepoint(Program::SchedSwitch, "sched_switch", CPU, "2.6"),
    tracepoint(Program::SchedProcessFork, "sched_process_fork", PROCESS, "2.6"),
    tracepoint(Program::SchedProcessExec, "sched_process_exec", PROCESS, "3.4"),
    tracepoint(Program::SchedProcessExit, "sched_process_exit", PROCESS, "2.6"),
    tracepoint(Program::CgroupMkdir, "cgroup_mkdir", PROCESS, "4.20"),
    tracepoint(Program::CgroupRmdir, "cgroup_rmdir", PROCESS, "4.20"),
    tracepoint(Program::SysExit, "sys_exit", SYSCALLS, "2.6"),
    tracepoint(Program::SysEnter, "sys_enter", SYSCALLS, "2.6"),
    ProgramSpec {
        program: Program::GoRoundTrip,
        name: "go_round_trip",
        symbol: "go_round_trip",
        hook: Hook::GoClient,
        lanes: &[Lane::Go],
        since: "5.15",
    },
    ProgramSpec {
        program: Program::GoSample,
        name: "go_sample",
        symbol: "go_sample",
        hook: Hook::Clock,
        lanes: &[Lane::Go],
        since: "5.15",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fifteen_bytes_of_a_name_are_its_own() {
        let mut short: Vec<&str> =
            ALL.iter().map(|spec| &spec.symbol[..spec.symbol.len().min(15)]).collect();
        short.sort_unstable();
        short.dedup();
        assert_eq!(short.len(), ALL.len());
    }

    #[test]
    fn what_ends_a_thing_is_attached_before_what_begins_it() {
        let place = |program| ALL.iter().position(|spec| spec.program == program);
        assert!(place(Program::SchedWakeup) < place(Program::SchedSwitch));
        assert!(place(Program::SchedWakeupNew) < place(Program::SchedSwitch));
        assert!(place(Program::SysExit) < place(Program::SysEnter));
    }

    #[test]
    fn every_lane_has_a_program() {
        for lane in Lane::ALL {
            assert!(ALL.iter().any(|spec| spec.lanes.contains(&lane)), "{}", lane.as_str());
        }
    }
}
