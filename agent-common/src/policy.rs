//! What the agent tells the kernel: which cgroups, processes and ports matter.

use crate::limits::WATCHED_SLOTS;

/// Value of the `CGROUPS` map: a cgroup whose processes may be watched.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupPolicy {
    /// Index of the service that its processes belong to.
    pub service: u16,
    /// Zero.
    pub _pad: [u16; 3],
}

/// Value of the `PROCESSES` map, by tgid: a process that is watched.
///
/// The kernel adds an entry itself when a process of a selected cgroup listens
/// or serves; the agent adds those that it selects by pid, port or name, and
/// fills in what it reads from the executable.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessPolicy {
    /// Index of the service that it belongs to.
    pub service: u16,
    /// `PROCESS_*` bits.
    pub flags: u16,
    /// Offset of the goroutine pointer from the thread pointer; 0 if not Go.
    pub g_tls_offset: i32,
    /// Offset of the goroutine id in the runtime's `g`; 0 if not known.
    pub goid_offset: u32,
    /// Its binary's entry of `GO_LAYOUTS`, counted from 1; 0 if there is none:
    /// then its requests' time cannot be split by goroutine.
    pub go_layout: u32,
}

/// The slot of a process in the `WATCHED` table.
///
/// A slot counts the entries of `PROCESSES` that fall into it: hooks that run
/// for every switch and system call of the node leave at once where it is 0.
/// Whoever makes an entry (`BPF_NOEXIST` tells) adds one, whoever removes an
/// entry (the result tells) takes one away, the agent like the kernel, each
/// atomically.
#[inline(always)]
#[must_use]
pub const fn watched_slot(tgid: u32) -> u32 {
    tgid & (WATCHED_SLOTS - 1)
}

/// The process runs a Go program whose goroutine ids can be read.
pub const PROCESS_GO: u16 = 1;
/// Never watched, whatever its cgroup says: the agent itself.
pub const PROCESS_IGNORED: u16 = 2;

/// Key of the `LISTENERS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerKey {
    /// Inode number of the network namespace.
    pub netns: u32,
    /// Port, host order.
    pub port: u16,
    /// Zero.
    pub _pad: u16,
}

/// Value of the `LISTENERS` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listener {
    /// Service of the process that listens, or [`NO_SERVICE`].
    pub service: u16,
    /// Zero.
    pub _pad: u16,
    /// Listening sockets on this port (`SO_REUSEPORT` makes several).
    pub sockets: u32,
}

/// Stands for "no service".
pub const NO_SERVICE: u16 = u16::MAX;

/// Value of the one-entry `CONTROL` array, written by the agent at any time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Goes up when policies change: verdicts of an older one are stale.
    pub generation: u32,
    /// Of the request records, one in 2^this is sent, the rest is counted.
    pub sample_shift: u32,
    /// 1 if paths are put into records.
    pub keep_paths: u32,
    /// Goes up after a time in which things went unseen: before lanes are
    /// attached again, after processes are deselected. A wait or a call that
    /// began in another epoch is not measured.
    pub epoch: u32,
    /// One bit for each ignored path, by the low six bits of its hash: most
    /// requests need no look-up in the map of ignored paths.
    pub ignored_bits: u64,
    /// `LANE_*` bits of the lanes that are on, for programs that serve two.
    pub lanes: u32,
    /// Goes up when connections may have changed unseen: before the sockets
    /// lane or the tcp lane is attached again. State of a connection from
    /// another epoch is dropped.
    pub connections_epoch: u32,
    /// 1 while services of the `CAPTURED` map are captured.
    pub is_capturing: u32,
    /// Zero.
    pub _pad: u32,
}

/// The sockets lane is on.
pub const LANE_SOCKETS: u32 = 1;
/// The tcp lane is on.
pub const LANE_TCP: u32 = 2;
/// The go lane is on.
pub const LANE_GO: u32 = 4;
/// The cpu lane is on: without it nothing is known of time off the CPU, and so
/// of none on it.
pub const LANE_CPU: u32 = 8;

impl CgroupPolicy {
    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        bytes[0..2].copy_from_slice(&self.service.to_ne_bytes());
        bytes
    }
}

impl ProcessPolicy {
    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        bytes[0..2].copy_from_slice(&self.service.to_ne_bytes());
        bytes[2..4].copy_from_slice(&self.flags.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.g_tls_offset.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.goid_offset.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.go_layout.to_ne_bytes());
        bytes
    }

    /// From the map's bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
        Self {
            service: u16::from_ne_bytes([a, b]),
            flags: u16::from_ne_bytes([c, d]),
            g_tls_offset: i32::from_ne_bytes([e, f, g, h]),
            goid_offset: u32::from_ne_bytes([i, j, k, l]),
            go_layout: u32::from_ne_bytes([m, n, o, p]),
        }
    }
}

impl ListenerKey {
    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        bytes[0..4].copy_from_slice(&self.netns.to_ne_bytes());
        bytes[4..6].copy_from_slice(&self.port.to_ne_bytes());
        bytes
    }

    /// From the map's bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; size_of::<Self>()]) -> Self {
        let [a, b, c, d, e, f, ..] = bytes;
        Self { netns: u32::from_ne_bytes([a, b, c, d]), port: u16::from_ne_bytes([e, f]), _pad: 0 }
    }
}

impl Listener {
    /// As the map holds it.
    #[must_use]
    pub fn to_bytes(self) -> [u8; size_of::<Self>()] {
        let mut bytes = [0; size_of::<Self>()];
        bytes[0..2].copy_from_slice(&self.service.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.sockets.to_ne_bytes());
        bytes
    }
}
