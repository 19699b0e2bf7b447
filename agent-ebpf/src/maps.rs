//! Every map, with the reason for its size.
//!
//! Arrays that the agent sweeps are mapped into it (`BPF_F_MMAPABLE`), so a
//! sweep makes no system call. Per-task and per-socket state lies in task and
//! socket storage: no sizing, no eviction, gone with its owner.

use agent_common::conn::Conn;
use agent_common::counter::cpu::CpuCounters;
use agent_common::counter::edge::{EdgeCounters, EdgeKey};
use agent_common::counter::requests::RequestCounters;
use agent_common::counter::syscalls::SyscallCounters;
use agent_common::counter::tcp::TcpCounters;
use agent_common::go::GoLayout;
use agent_common::limits::{
    MAX_CALLED, MAX_CGROUPS, MAX_EDGES, MAX_GO_LAYOUTS, MAX_IGNORED_PATHS, MAX_LISTENERS,
    MAX_PARKED, MAX_PROCESSES, MAX_SERVICES, OPEN_SLOTS, RING_BYTES, WATCHED_SLOTS,
};
use agent_common::policy::{CgroupPolicy, Control, Listener, ListenerKey, ProcessPolicy};
use agent_common::stats::{LOSSES, PROGRAMS, ProgramStats};
use agent_common::work::{Busy, Parked, Runs};
use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, SkStorage};
use aya_ebpf::macros::btf_map;

use crate::filter::TaskState;
use crate::scratch::Scratch;
use crate::work::Called;
use crate::work::OpenRequest;

/// `BPF_F_MMAPABLE`
const MMAPABLE: usize = 1 << 10;
/// `BPF_F_NO_PREALLOC`: memory only for what is there.
const NO_PREALLOC: usize = 1;

/// Task storage, which aya has no type for: the loader passes it through
/// unknown (`allow_unsupported_maps`).
#[repr(C)]
pub(crate) struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; NO_PREALLOC],
}

const BPF_MAP_TYPE_TASK_STORAGE: usize = 29;

// SAFETY: the pointers are types for the loader, never followed.
unsafe impl<T> Sync for TaskStorage<T> {}

impl<T> TaskStorage<T> {
    const fn new() -> Self {
        Self {
            r#type: core::ptr::null(),
            key: core::ptr::null(),
            value: core::ptr::null(),
            max_entries: core::ptr::null(),
            map_flags: core::ptr::null(),
        }
    }
}

/// A map as helpers want it; the loader puts its descriptor there.
#[inline(always)]
pub(crate) const fn as_ptr<M>(map: &M) -> *mut core::ffi::c_void {
    core::ptr::from_ref(map).cast_mut().cast()
}

/// Per task: the verdict about it, and what its lanes keep.
#[btf_map]
pub(crate) static TASKS: TaskStorage<TaskState> = TaskStorage::new();

/// Per watched TCP socket.
#[btf_map]
pub(crate) static CONNECTIONS: SkStorage<Conn> = SkStorage::new();

/// Selected cgroups, written by the agent.
#[btf_map]
pub(crate) static CGROUPS: HashMap<u64, CgroupPolicy, { MAX_CGROUPS as usize }, NO_PREALLOC> =
    HashMap::new();

/// Watched processes, by tgid.
#[btf_map]
pub(crate) static PROCESSES: HashMap<u32, ProcessPolicy, { MAX_PROCESSES as usize }, NO_PREALLOC> =
    HashMap::new();

/// Go binaries, by `ProcessPolicy::go_layout` less one; written by the agent
/// before the policy that names them.
#[btf_map]
pub(crate) static GO_LAYOUTS: Array<GoLayout, { MAX_GO_LAYOUTS as usize }, MMAPABLE> = Array::new();

/// Entries of `PROCESSES` by slot, see `policy::watched_slot`: 128 KiB that save
/// everybody else a storage look-up a switch and a system call.
#[btf_map]
pub(crate) static WATCHED_TGIDS: Array<u64, { WATCHED_SLOTS as usize }, MMAPABLE> = Array::new();

/// Goroutines that left their thread with a request open, by process and id.
#[btf_map]
pub(crate) static PARKED: HashMap<u64, Parked, { MAX_PARKED as usize }, NO_PREALLOC> =
    HashMap::new();

/// Goroutines that have a request open, by a slot of their process and id.
#[btf_map]
pub(crate) static OPEN: Array<OpenRequest, { OPEN_SLOTS as usize }, MMAPABLE> = Array::new();

/// Entries of `PARKED` by the slot of their process, so that threads of others
/// look no further.
#[btf_map]
pub(crate) static PARKED_OF: Array<u64, { WATCHED_SLOTS as usize }, MMAPABLE> = Array::new();

/// Run time of Go processes, by their slot.
#[btf_map]
pub(crate) static BUSY: Array<Busy, { WATCHED_SLOTS as usize }, MMAPABLE> = Array::new();

/// Ports that are listened on: which end of a connection is the server.
#[btf_map]
pub(crate) static LISTENERS: HashMap<
    ListenerKey,
    Listener,
    { MAX_LISTENERS as usize },
    NO_PREALLOC,
> = HashMap::new();

/// Paths whose requests are filtered, by hash.
#[btf_map]
pub(crate) static IGNORED_PATHS: HashMap<u64, u32, { MAX_IGNORED_PATHS as usize }, NO_PREALLOC> =
    HashMap::new();

/// When `accept` returned a socket, by its address: from the syscalls lane to
/// the first read or write. Entries are taken out there; what never reads or
/// writes falls out as the least recently used.
#[btf_map]
pub(crate) static ACCEPTED: LruHashMap<u64, u64, 4096> = LruHashMap::new();

/// Whose call goes out next on a socket, by its address: from a Go program's
/// client probe to the send. Entries are taken out there.
#[btf_map]
pub(crate) static CALLED: LruHashMap<u64, Called, { MAX_CALLED as usize }> = LruHashMap::new();

/// What the agent tells the programs while they run.
#[btf_map]
pub(crate) static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();

/// Services that are captured, one bit each; written by the agent.
#[btf_map]
pub(crate) static CAPTURED: Array<u64, { (MAX_SERVICES / 64) as usize }, MMAPABLE> = Array::new();

/// The one ring. Its size is set by the loader.
#[btf_map]
pub(crate) static RING: RingBuf<u64, { RING_BYTES as usize }> = RingBuf::new();

/// Requests per service.
#[btf_map]
pub(crate) static SERVICE_REQUESTS: Array<RequestCounters, { MAX_SERVICES as usize }, MMAPABLE> =
    Array::new();

/// CPU waits per service.
#[btf_map]
pub(crate) static SERVICE_CPU: Array<CpuCounters, { MAX_SERVICES as usize }, MMAPABLE> =
    Array::new();

/// TCP per service.
#[btf_map]
pub(crate) static SERVICE_TCP: Array<TcpCounters, { MAX_SERVICES as usize }, MMAPABLE> =
    Array::new();

/// TCP per service and peer; made here, taken away by the agent.
#[btf_map]
pub(crate) static EDGES: HashMap<EdgeKey, EdgeCounters, { MAX_EDGES as usize }, NO_PREALLOC> =
    HashMap::new();

/// Entries of `EDGES` per service.
#[btf_map]
pub(crate) static EDGES_OF: Array<u64, { MAX_SERVICES as usize }, MMAPABLE> = Array::new();

/// What a new entry of `EDGES` is made from, too large for the stack: nobody
/// writes it.
#[btf_map]
pub(crate) static NO_EDGE: Array<EdgeCounters, 1> = Array::new();

/// System calls per service.
#[btf_map]
pub(crate) static SERVICE_SYSCALLS: Array<SyscallCounters, { MAX_SERVICES as usize }, MMAPABLE> =
    Array::new();

/// Runs and sampled time of each program.
#[btf_map]
pub(crate) static PROBE_STATS: PerCpuArray<ProgramStats, { PROGRAMS as usize }> =
    PerCpuArray::new();

/// What was not recorded, by reason.
#[btf_map]
pub(crate) static LOSSES_BY_REASON: Array<u64, { LOSSES as usize }, MMAPABLE> = Array::new();

/// Connections with state now (entry 0).
#[btf_map]
pub(crate) static LIVE: Array<u64, 1, MMAPABLE> = Array::new();

/// Who ran on each CPU lately.
#[btf_map]
pub(crate) static CPU_RUNS: PerCpuArray<Runs, 1> = PerCpuArray::new();

/// Room for a head, per CPU.
#[btf_map]
pub(crate) static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();
