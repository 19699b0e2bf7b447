//! `struct sock` and `struct tcp_sock`.

use agent_common::conn::WindowWait;
use agent_common::policy::ListenerKey;
use aya_ebpf::helpers::generated::{bpf_jiffies64, bpf_skc_to_tcp_sock};

use super::field;
use crate::globals;

/// `TCP_CHRONO_RWND_LIMITED`: what waits for the peer's window.
const WAITS_FOR_WINDOW: u32 = 2;
/// Its time in `chrono_stat`, of four bytes each: the second.
const WINDOW_STAT: usize = 4;

/// `AF_INET`
pub(crate) const AF_INET: u16 = 2;
/// `AF_INET6`
pub(crate) const AF_INET6: u16 = 10;
/// `IPPROTO_TCP`
const IPPROTO_TCP: u16 = 6;

/// `TCP_ESTABLISHED` and its neighbours (include/net/tcp_states.h).
pub(crate) mod state {
    pub(crate) const ESTABLISHED: i32 = 1;
    pub(crate) const SYN_SENT: i32 = 2;
    pub(crate) const SYN_RECV: i32 = 3;
    pub(crate) const FIN_WAIT1: i32 = 4;
    pub(crate) const CLOSE: i32 = 7;
    pub(crate) const CLOSE_WAIT: i32 = 8;
    pub(crate) const LAST_ACK: i32 = 9;
    pub(crate) const LISTEN: i32 = 10;
}

/// `EAGAIN`
pub(crate) const AGAIN: i32 = -11;

/// Whether the result of a call says that the peer is gone: `EPIPE`,
/// `ECONNRESET`.
#[inline(always)]
pub(crate) const fn is_broken(result: i32) -> bool {
    result == -32 || result == -104
}

/// A socket, by the pointer that a hook gave.
#[derive(Clone, Copy)]
pub(crate) struct Sock {
    at: *const u8,
}

impl Sock {
    /// A hook's `struct sock *` argument.
    #[inline(always)]
    pub(crate) const fn from_arg(at: *const u8) -> Self {
        Self { at }
    }

    /// The pointer, for helpers.
    #[inline(always)]
    pub(crate) const fn as_ptr(self) -> *const u8 {
        self.at
    }

    /// Address family.
    #[inline(always)]
    pub(crate) fn family(self) -> u16 {
        // SAFETY: two bytes of a live socket.
        unsafe { field(self.at, &globals::SOCK_FAMILY) }
    }

    /// Whether it is a TCP socket over IPv4 or IPv6.
    #[inline(always)]
    pub(crate) fn is_tcp(self) -> bool {
        let family = self.family();
        if family != AF_INET && family != AF_INET6 {
            return false;
        }
        // SAFETY: two bytes of a full socket (bits of a word before 5.6).
        let protocol: u16 = unsafe { field(self.at, &globals::SOCK_PROTOCOL) };
        protocol == IPPROTO_TCP
    }

    /// TCP state.
    #[inline(always)]
    pub(crate) fn state(self) -> i32 {
        // SAFETY: one byte of a live socket.
        let state: u8 = unsafe { field(self.at, &globals::SOCK_STATE) };
        i32::from(state)
    }

    /// Local port, host order. A port that the kernel chose is given back, and
    /// `skc_num` cleared, before the hooks hear of the close.
    #[inline(always)]
    pub(crate) fn local_port(self) -> u16 {
        // SAFETY: two bytes of a live socket.
        let port: u16 = unsafe { field(self.at, &globals::SOCK_NUM) };
        if port != 0 { port } else { self.tcp().map_or(0, Tcp::source_port) }
    }

    /// Remote port, host order.
    #[inline(always)]
    pub(crate) fn remote_port(self) -> u16 {
        // SAFETY: two bytes of a live socket, network order.
        let port: u16 = unsafe { field(self.at, &globals::SOCK_DPORT) };
        port.swap_bytes()
    }

    /// Whether it belongs to a file: a connection does from its accept on.
    #[inline(always)]
    pub(crate) fn has_socket(self) -> bool {
        // SAFETY: a pointer of a full socket, compared only.
        let socket: *const u8 = unsafe { field(self.at, &globals::SOCK_SOCKET) };
        !socket.is_null()
    }

    /// `sk_err`: the error that ended it.
    #[inline(always)]
    pub(crate) fn error(self) -> i32 {
        // SAFETY: four bytes of a live socket.
        unsafe { field(self.at, &globals::SOCK_ERR) }
    }

    /// Inode of its network namespace.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        // SAFETY: a live socket has a namespace.
        unsafe {
            let net: *const u8 = field(self.at, &globals::SOCK_NET);
            field(net, &globals::NET_INUM)
        }
    }

    /// Where it, or the listener that it came from, listens.
    #[inline(always)]
    pub(crate) fn listener_key(self) -> ListenerKey {
        ListenerKey { netns: self.netns(), port: self.local_port(), _pad: 0 }
    }

    /// Local and remote address as IPv6 or v4-mapped, each as two words in
    /// network order.
    #[inline(always)]
    pub(crate) fn addresses(self) -> ([u64; 2], [u64; 2]) {
        // SAFETY: the addresses of a live socket, by family.
        unsafe {
            if self.family() == AF_INET6 {
                let local = [
                    field::<u64, u8>(self.at, &globals::SOCK_V6_RCV_SADDR),
                    field::<u64, u8>(self.at.add(8), &globals::SOCK_V6_RCV_SADDR),
                ];
                let remote = [
                    field::<u64, u8>(self.at, &globals::SOCK_V6_DADDR),
                    field::<u64, u8>(self.at.add(8), &globals::SOCK_V6_DADDR),
                ];
                return (local, remote);
            }
            let local: u32 = field(self.at, &globals::SOCK_RCV_SADDR);
            let remote: u32 = field(self.at, &globals::SOCK_DADDR);
            ([0, mapped(local)], [0, mapped(remote)])
        }
    }

    /// The TCP part; `None` for request and time-wait sockets.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<Tcp> {
        // SAFETY: the helper takes any socket and gives null for what is no
        // full TCP socket.
        let at = unsafe { bpf_skc_to_tcp_sock(self.at.cast_mut().cast()) };
        if at.is_null() { None } else { Some(Tcp { at: at.cast::<u8>().cast_const() }) }
    }
}

/// The second half of a v4-mapped address: `::ffff:a.b.c.d`.
#[inline(always)]
const fn mapped(address_be: u32) -> u64 {
    ((address_be as u64) << 32) | 0xffff_0000
}

/// `struct tcp_sock`.
#[derive(Clone, Copy)]
pub(crate) struct Tcp {
    at: *const u8,
}

impl Tcp {
    #[inline(always)]
    fn read(self, offset: &aya_ebpf::Global<u32>) -> u32 {
        // SAFETY: four bytes of a live TCP socket.
        unsafe { field(self.at, offset) }
    }

    /// Port that its segments come from, host order; kept when the port is
    /// given back.
    #[inline(always)]
    fn source_port(self) -> u16 {
        // SAFETY: two bytes of a live TCP socket, network order.
        let port: u16 = unsafe { field(self.at, &globals::TCP_SPORT) };
        port.swap_bytes()
    }

    /// Smoothed round-trip time, microseconds.
    #[inline(always)]
    pub(crate) fn srtt_us(self) -> u32 {
        self.read(&globals::TCP_SRTT_US) >> 3
    }

    /// Mean deviation of the round-trip time, microseconds: what `ss` prints
    /// second. (`rttvar_us` has a floor of 200 ms and is not this.)
    #[inline(always)]
    pub(crate) fn mdev_us(self) -> u32 {
        self.read(&globals::TCP_MDEV_US) >> 2
    }

    /// Segments sent again since the connection began. A connection that was
    /// accepted begins with those of its SYN-ACK.
    #[inline(always)]
    pub(crate) fn retransmits(self) -> u32 {
        self.read(&globals::TCP_TOTAL_RETRANS)
    }

    /// Segments with data sent since the connection began, those sent again
    /// included.
    #[inline(always)]
    pub(crate) fn data_segments_out(self) -> u32 {
        self.read(&globals::TCP_DATA_SEGS_OUT)
    }

    /// Segments that the peer has confirmed.
    #[inline(always)]
    pub(crate) fn delivered(self) -> u32 {
        self.read(&globals::TCP_DELIVERED)
    }

    /// Segments that arrived before others that were sent earlier; 0 where the
    /// kernel does not count them.
    #[inline(always)]
    pub(crate) fn out_of_order(self) -> u32 {
        if globals::TCP_RCV_OOOPACK.load() == 0 {
            return 0;
        }
        self.read(&globals::TCP_RCV_OOOPACK)
    }

    /// Waits for the peer's window, as `ss` counts them (`tcp_get_info`). The
    /// clock of a socket that is cut off is never stopped, so of one that is not
    /// open only what is over counts.
    #[inline(always)]
    pub(crate) fn window_wait(self, is_open: bool) -> WindowWait {
        if globals::TCP_CHRONO_TYPE_MASK.load() == 0 {
            return WindowWait { ticks: 0, current: 0, began: 0, is_zero: false };
        }
        // SAFETY: four bytes of a live TCP socket.
        let ticks: u32 = unsafe { field(self.at.add(WINDOW_STAT), &globals::TCP_CHRONO_STAT) };
        if !is_open || !self.waits_for_window() {
            return WindowWait { ticks, current: 0, began: 0, is_zero: false };
        }
        let began = self.read(&globals::TCP_CHRONO_START);
        // SAFETY: a helper without arguments.
        let now = unsafe { bpf_jiffies64() } as u32;
        let current = now.wrapping_sub(began);
        let is_zero = self.read(&globals::TCP_SND_WND) == 0;
        WindowWait { ticks: ticks.wrapping_add(current), current, began, is_zero }
    }

    /// Whether it is the peer's window that keeps it from sending.
    #[inline(always)]
    pub(crate) fn waits_for_window(self) -> bool {
        let mask = globals::TCP_CHRONO_TYPE_MASK.load();
        // SAFETY: a byte of a live TCP socket.
        let kind: u8 = unsafe { field(self.at, &globals::TCP_CHRONO_TYPE) };
        mask != 0 && u32::from(kind) & (3 * mask) == WAITS_FOR_WINDOW * mask
    }

    /// Whether data waits to be read.
    #[inline(always)]
    pub(crate) fn has_unread(self) -> bool {
        self.read(&globals::TCP_RCV_NXT) != self.read(&globals::TCP_COPIED_SEQ)
    }
}
