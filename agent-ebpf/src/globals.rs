//! Read-only values that the loader sets before the programs are loaded.
//!
//! Field offsets come from the running kernel's BTF. The section is frozen, so
//! the verifier sees constants: it checks each access against the kernel's
//! types, and drops code behind a switch that is off.

use aya_ebpf::Global;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $(
            $(#[$doc])*
            #[unsafe(no_mangle)]
            pub(crate) static $name: Global<u32> = Global::new(0);
        )*
    };
}

offsets! {
    /// `task_struct.pid`
    TASK_PID;
    /// `task_struct.tgid`
    TASK_TGID;
    /// `task_struct.group_leader`
    TASK_GROUP_LEADER;
    /// `task_struct.comm`
    TASK_COMM;
    /// `task_struct.start_boottime`
    TASK_START_BOOTTIME;
    /// `task_struct.cgroups`
    TASK_CGROUPS;
    /// `task_struct.thread.fsbase` (x86-64)
    TASK_FSBASE;
    /// `task_struct.throttled` (6.18); 0 where it does not exist.
    TASK_THROTTLED;
    /// `task_struct.se.cfs_rq`; 0 where groups of tasks are not scheduled.
    TASK_CFS_RQ;
    /// `cfs_rq.throttle_count`; 0 where there are no CPU quotas.
    CFS_RQ_THROTTLE_COUNT;
    /// `task_struct.se.sum_exec_runtime`
    TASK_RAN;
    /// `task_struct.se.prev_sum_exec_runtime`
    TASK_RAN_BEFORE;
    /// `task_struct.prio`
    TASK_PRIO;
    /// `task_struct.files`
    TASK_FILES;
    /// `files_struct.fdt`
    FILES_FDT;
    /// `fdtable.fd`
    FDTABLE_FD;
    /// `file.private_data`
    FILE_PRIVATE_DATA;
    /// `socket.sk`
    SOCKET_SK;
    /// `task_struct.flags`
    TASK_FLAGS;
    /// Byte of `task_struct.in_iowait` (a bit field).
    TASK_IN_IOWAIT;
    /// Its bit in that byte, as a mask.
    TASK_IN_IOWAIT_MASK;
    /// Byte of `task_struct.in_memstall`; mask 0 where it does not exist.
    TASK_IN_MEMSTALL;
    /// Its bit in that byte, as a mask.
    TASK_IN_MEMSTALL_MASK;
    /// `task_struct.__state`, or `state` before 5.14.
    TASK_STATE;
    /// `css_set.dfl_cgrp`
    CSS_SET_DFL_CGRP;
    /// The chosen controller's place in `css_set.subsys`.
    CSS_SET_SUBSYS;
    /// `cgroup_subsys_state.cgroup`
    CSS_CGROUP;
    /// `cgroup.kn`
    CGROUP_KN;
    /// `cgroup.root`
    CGROUP_ROOT;
    /// `cgroup_root.hierarchy_id`
    CGROUP_ROOT_HIERARCHY_ID;
    /// `kernfs_node.id`
    KERNFS_NODE_ID;
    /// `sock.__sk_common.skc_family`
    SOCK_FAMILY;
    /// `sock.__sk_common.skc_state`
    SOCK_STATE;
    /// `sock.__sk_common.skc_num`
    SOCK_NUM;
    /// `sock.__sk_common.skc_dport`
    SOCK_DPORT;
    /// `sock.__sk_common.skc_rcv_saddr`
    SOCK_RCV_SADDR;
    /// `sock.__sk_common.skc_daddr`
    SOCK_DADDR;
    /// `sock.__sk_common.skc_v6_rcv_saddr`
    SOCK_V6_RCV_SADDR;
    /// `sock.__sk_common.skc_v6_daddr`
    SOCK_V6_DADDR;
    /// `sock.__sk_common.skc_net.net`
    SOCK_NET;
    /// `net.ns.inum`
    NET_INUM;
    /// `sock.sk_err`
    SOCK_ERR;
    /// `sock.sk_socket`
    SOCK_SOCKET;
    /// `sock.sk_protocol`
    SOCK_PROTOCOL;
    /// `tcp_sock.inet_conn.icsk_inet.inet_sport`
    TCP_SPORT;
    /// `tcp_sock.srtt_us`, microseconds times eight
    TCP_SRTT_US;
    /// `tcp_sock.mdev_us`, microseconds times four
    TCP_MDEV_US;
    /// `tcp_sock.total_retrans`
    TCP_TOTAL_RETRANS;
    /// `tcp_sock.data_segs_out`
    TCP_DATA_SEGS_OUT;
    /// `tcp_sock.delivered`
    TCP_DELIVERED;
    /// `tcp_sock.rcv_nxt`
    TCP_RCV_NXT;
    /// `tcp_sock.copied_seq`
    TCP_COPIED_SEQ;
    /// `tcp_sock.rcv_ooopack` (5.4); 0 where it does not exist.
    TCP_RCV_OOOPACK;
    /// `tcp_sock.snd_wnd`
    TCP_SND_WND;
    /// `tcp_sock.chrono_stat`, ticks by what was waited for
    TCP_CHRONO_STAT;
    /// `tcp_sock.chrono_start`, the tick that the wait which goes on began in
    TCP_CHRONO_START;
    /// Byte of `tcp_sock.chrono_type` (a bit field of two).
    TCP_CHRONO_TYPE;
    /// Its lower bit in that byte, as a mask; 0 where it does not exist.
    TCP_CHRONO_TYPE_MASK;

    /// 1 if cgroup ids are those of a version 1 hierarchy.
    IS_CGROUP_V1;
    /// The hierarchy whose cgroups are reported; 0 is version 2.
    HIERARCHY_ID;
    /// Process id of the agent, never watched.
    AGENT_TGID;
    /// Nanoseconds of a tick of the kernel (`jiffies`).
    TICK_NS;
    /// 1 if the fourth argument of `sched_switch` exists (5.18).
    HAS_SWITCH_STATE;
    /// 1 if task storage can be made under the scheduler's locks (6.4): it has
    /// an allocator of its own, which wakes nobody.
    HAS_SAFE_STORAGE;
    /// 1 if `traceparent` is read: where requests leave as spans.
    READS_TRACE;
}

/// A request whose last send is this long ago is taken as over by the sweep.
#[unsafe(no_mangle)]
pub(crate) static SWEEP_IDLE_NS: Global<u64> = Global::new(1_000_000_000);
