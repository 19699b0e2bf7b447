//! Every bound that both sides share, each with its reason.
//!
//! Separate so that a reviewer can see on one page what strata can ever hold.

/// Services (containers, or host workloads) with counters of their own.
/// The kubelet's default is 110 pods a node, 250 at most in practice; two
/// containers a pod leaves this room. A service beyond it is counted, not
/// measured.
pub const MAX_SERVICES: u32 = 512;

/// Cgroups with a policy: a few per container (nested ones included).
pub const MAX_CGROUPS: u32 = 16_384;

/// Processes with a policy of their own: those that serve an API.
pub const MAX_PROCESSES: u32 = 8_192;

/// Slots of the `WATCHED` table, by the low bits of a tgid; a power of two.
/// With a hundred watched processes one other process in 160 shares a slot,
/// and pays a storage look-up for it.
pub const WATCHED_SLOTS: u32 = 16_384;

/// Listening sockets known by (network namespace, port).
pub const MAX_LISTENERS: u32 = 4_096;

/// Connections with state in the kernel at one time. A connection holds about
/// 600 bytes, so this bounds connection state to 38 MiB on a node full of them.
pub const MAX_CONNECTIONS: u32 = 65_536;

/// Edges, of a service with a peer, that are counted at one time. An edge takes
/// two kibibytes while it is there, so this bounds them to 8 MiB; a pod talks
/// with some ten others.
pub const MAX_EDGES: u32 = 4_096;

/// Edges of one service: what has many clients must not crowd out the others.
/// Peers beyond are counted together.
pub const MAX_SERVICE_EDGES: u64 = 64;

/// Size of the one ring buffer: 12 700 requests, or 9 000 that each made a call.
/// At 100 000 a second that is less than an idle reader sleeps, so it is woken
/// when half of the ring is full.
pub const RING_BYTES: u32 = 4 << 20;

/// Requests of a service from one look at the ring's fill to the next. They and
/// their calls are a hundredth of the ring; the look is a helper call.
pub const REQUESTS_PER_LOOK: u64 = 64;

/// Bytes of a request's head that are copied for parsing, at most.
pub const HEAD_BYTES: usize = 512;

/// Bytes of a path that are kept where paths are on.
pub const PATH_BYTES: usize = 64;

/// Request paths that can be ignored, matched whole.
pub const MAX_IGNORED_PATHS: u32 = 64;

/// Bytes of a cgroup path in a record; longer paths are cut and counted.
pub const CGROUP_PATH_BYTES: usize = 512;

/// Pipelined requests of one read whose methods are remembered.
pub const MAX_PIPELINED: u32 = 15;

/// Go binaries whose layout is known at one time; a thread keeps its number in
/// a byte.
pub const MAX_GO_LAYOUTS: u32 = 255;

/// Calls of Go programs that are announced and not sent yet, at one time: from
/// one to the other it takes the runtime some microseconds.
pub const MAX_CALLED: u32 = 4_096;

/// Go programs whose calls are probed at one time, each with a probe of its
/// own; programs, not processes.
pub const MAX_GO_CLIENTS: usize = 64;

/// Slots of the table of goroutines with a request open; a power of two. One
/// that is overwritten by another is not found where it comes unseen.
pub const OPEN_SLOTS: u32 = 16_384;

/// Goroutines that left their thread with a request open, at one time.
pub const MAX_PARKED: u32 = 16_384;
