//! Offsets and switches that the kernel programs read as constants.
//!
//! One table row a field. A row that is not found makes its lanes unavailable,
//! never wrong.

use crate::host::btf::Btf;

/// A field that programs read.
struct Row {
    /// Name of the global.
    global: &'static str,
    /// Structure and path of the field; the first that exists is taken.
    fields: &'static [(&'static str, &'static str)],
    /// Whether programs work without it (their switch is then off).
    is_optional: bool,
}

const fn row(global: &'static str, fields: &'static [(&'static str, &'static str)]) -> Row {
    Row { global, fields, is_optional: false }
}

const fn optional(global: &'static str, fields: &'static [(&'static str, &'static str)]) -> Row {
    Row { global, fields, is_optional: true }
}

const ROWS: &[Row] = &[
    row("TASK_PID", &[("task_struct", "pid")]),
    row("TASK_TGID", &[("task_struct", "tgid")]),
    row("TASK_COMM", &[("task_struct", "comm")]),
    row("TASK_GROUP_LEADER", &[("task_struct", "group_leader")]),
    row(
        "TASK_START_BOOTTIME",
        &[("task_struct", "start_boottime"), ("task_struct", "real_start_time")],
    ),
    row("TASK_CGROUPS", &[("task_struct", "cgroups")]),
    row("TASK_FSBASE", &[("task_struct", "thread.fsbase")]),
    optional("TASK_THROTTLED", &[("task_struct", "throttled")]),
    optional("TASK_CFS_RQ", &[("task_struct", "se.cfs_rq")]),
    optional("CFS_RQ_THROTTLE_COUNT", &[("cfs_rq", "throttle_count")]),
    row("TASK_RAN", &[("task_struct", "se.sum_exec_runtime")]),
    row("TASK_RAN_BEFORE", &[("task_struct", "se.prev_sum_exec_runtime")]),
    row("TASK_PRIO", &[("task_struct", "prio")]),
    row("TASK_FILES", &[("task_struct", "files")]),
    row("FILES_FDT", &[("files_struct", "fdt")]),
    row("FDTABLE_FD", &[("fdtable", "fd")]),
    row("FILE_PRIVATE_DATA", &[("file", "private_data")]),
    row("SOCKET_SK", &[("socket", "sk")]),
    row("TASK_FLAGS", &[("task_struct", "flags")]),
    row("TASK_STATE", &[("task_struct", "__state"), ("task_struct", "state")]),
    row("CSS_SET_DFL_CGRP", &[("css_set", "dfl_cgrp")]),
    row("CSS_CGROUP", &[("cgroup_subsys_state", "cgroup")]),
    row("CGROUP_KN", &[("cgroup", "kn")]),
    row("CGROUP_ROOT", &[("cgroup", "root")]),
    row("CGROUP_ROOT_HIERARCHY_ID", &[("cgroup_root", "hierarchy_id")]),
    row("KERNFS_NODE_ID", &[("kernfs_node", "id")]),
    row("SOCK_FAMILY", &[("sock", "__sk_common.skc_family")]),
    row("SOCK_STATE", &[("sock", "__sk_common.skc_state")]),
    row("SOCK_NUM", &[("sock", "__sk_common.skc_num")]),
    row("SOCK_DPORT", &[("sock", "__sk_common.skc_dport")]),
    row("SOCK_RCV_SADDR", &[("sock", "__sk_common.skc_rcv_saddr")]),
    row("SOCK_DADDR", &[("sock", "__sk_common.skc_daddr")]),
    row("SOCK_V6_RCV_SADDR", &[("sock", "__sk_common.skc_v6_rcv_saddr")]),
    row("SOCK_V6_DADDR", &[("sock", "__sk_common.skc_v6_daddr")]),
    row("SOCK_NET", &[("sock", "__sk_common.skc_net.net")]),
    row("NET_INUM", &[("net", "ns.inum")]),
    row("SOCK_ERR", &[("sock", "sk_err")]),
    row("SOCK_SOCKET", &[("sock", "sk_socket")]),
    row("SOCK_PROTOCOL", &[("sock", "sk_protocol")]),
    row("TCP_SPORT", &[("tcp_sock", "inet_conn.icsk_inet.inet_sport")]),
    row("TCP_SRTT_US", &[("tcp_sock", "srtt_us")]),
    row("TCP_MDEV_US", &[("tcp_sock", "mdev_us")]),
    row("TCP_TOTAL_RETRANS", &[("tcp_sock", "total_retrans")]),
    row("TCP_DATA_SEGS_OUT", &[("tcp_sock", "data_segs_out")]),
    row("TCP_DELIVERED", &[("tcp_sock", "delivered")]),
    row("TCP_RCV_NXT", &[("tcp_sock", "rcv_nxt")]),
    row("TCP_COPIED_SEQ", &[("tcp_sock", "copied_seq")]),
    optional("TCP_RCV_OOOPACK", &[("tcp_sock", "rcv_ooopack")]),
    row("TCP_SND_WND", &[("tcp_sock", "snd_wnd")]),
    optional("TCP_CHRONO_STAT", &[("tcp_sock", "chrono_stat")]),
    optional("TCP_CHRONO_START", &[("tcp_sock", "chrono_start")]),
];

/// Bit fields: global of the byte, global of the mask of its lowest bit,
/// structure, path.
const BIT_ROWS: &[(&str, &str, &str, &str)] = &[
    ("TASK_IN_IOWAIT", "TASK_IN_IOWAIT_MASK", "task_struct", "in_iowait"),
    ("TASK_IN_MEMSTALL", "TASK_IN_MEMSTALL_MASK", "task_struct", "in_memstall"),
    ("TCP_CHRONO_TYPE", "TCP_CHRONO_TYPE_MASK", "tcp_sock", "chrono_type"),
];

/// Fields of `bpf_local_storage_map` that say that task storage comes from an
/// allocator which takes no lock of the scheduler's: 6.4, and what replaced it.
const STORAGE_ALLOCATORS: &[&str] = &["bpf_ma", "use_kmalloc_nolock"];

/// Size of a pointer in `css_set.subsys`.
const POINTER_BYTES: u32 = 8;

/// Values for the globals, and fields that this kernel does not have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Globals {
    /// Value by name.
    pub values: Vec<(&'static str, u32)>,
    /// `struct.field` of required fields that were not found.
    pub missing: Vec<String>,
}

/// What the globals need to know beyond types.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// Index in `css_set.subsys` of the controller of the version 1 hierarchy
    /// that is read; `None` for version 2.
    pub cgroup_v1_subsys: Option<u32>,
    /// Number of that hierarchy; 0 for version 2.
    pub hierarchy_id: u32,
    /// The agent's process id.
    pub agent_tgid: u32,
    /// Nanoseconds of a tick of the kernel.
    pub tick_ns: u32,
    /// Whether requests leave as spans, which `traceparent` is read for.
    pub has_spans: bool,
}

/// Reads every offset from the kernel's types.
#[must_use]
pub fn resolve(btf: &Btf, facts: &Facts) -> Globals {
    let mut globals = Globals::default();
    for row in ROWS {
        let found = row.fields.iter().find_map(|(name, path)| btf.field(name, path));
        match found {
            Some(field) => globals.values.push((row.global, field.offset)),
            None if row.is_optional => globals.values.push((row.global, 0)),
            None => globals
                .missing
                .extend(row.fields.first().map(|(name, path)| format!("{name}.{path}"))),
        }
    }
    for (byte, mask, name, path) in BIT_ROWS {
        if let Some(field) = btf.field(name, path) {
            globals.values.push((byte, field.offset));
            globals.values.push((mask, 1 << field.bit));
        }
    }
    if let (Some(subsys), Some(field)) = (facts.cgroup_v1_subsys, btf.field("css_set", "subsys")) {
        globals.values.push(("CSS_SET_SUBSYS", field.offset + POINTER_BYTES * subsys));
        globals.values.push(("IS_CGROUP_V1", 1));
    }
    globals.values.push(("HIERARCHY_ID", facts.hierarchy_id));
    globals.values.push(("AGENT_TGID", facts.agent_tgid));
    globals.values.push(("TICK_NS", facts.tick_ns));
    globals.values.push(("READS_TRACE", u32::from(facts.has_spans)));
    let has =
        |hook: &str, args: u32| u32::from(btf.tracepoint_args(hook).is_some_and(|n| n >= args));
    globals.values.push(("HAS_SWITCH_STATE", has("sched_switch", 4)));
    let has_safe_storage =
        STORAGE_ALLOCATORS.iter().any(|field| btf.field("bpf_local_storage_map", field).is_some());
    globals.values.push(("HAS_SAFE_STORAGE", u32::from(has_safe_storage)));
    globals
}
