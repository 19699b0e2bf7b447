//! What happened between a service and one address since the last look.

use std::net::{IpAddr, Ipv6Addr};

use agent_common::counter::edge::{EdgeCounters, LOOPBACK, REST};
use agent_common::counter::tcp::{CONNECT_RESULTS, RESET_DIRECTIONS, RETRANSMIT_KINDS};
use agent_common::histogram::Histogram;

/// Who is at the other end, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Remote {
    /// The same host, by whatever address.
    Loopback,
    /// An address; IPv4 is never written as IPv6.
    Address(IpAddr),
    /// All those for which there was no room.
    Rest,
}

impl Remote {
    /// From two words in network order, IPv4 mapped into IPv6.
    #[must_use]
    pub fn from_words(words: [u64; 2]) -> Self {
        match words {
            REST => Self::Rest,
            LOOPBACK => Self::Loopback,
            [high, low] => {
                let mut bytes = [0; 16];
                let halves = bytes.split_at_mut(8);
                halves.0.copy_from_slice(&high.to_ne_bytes());
                halves.1.copy_from_slice(&low.to_ne_bytes());
                Self::Address(IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical())
            }
        }
    }
}

/// What was added.
#[derive(Clone, Debug)]
pub struct EdgeChange {
    /// Segments with data sent, those sent again included.
    pub segments_sent: u64,
    /// Segments sent again, by [`RETRANSMIT_KINDS`].
    pub retransmits: [u64; RETRANSMIT_KINDS.len()],
    /// Resets, by [`RESET_DIRECTIONS`].
    pub resets: [u64; RESET_DIRECTIONS.len()],
    /// Connects, by [`CONNECT_RESULTS`].
    pub connects: [u64; CONNECT_RESULTS.len()],
    /// Time that those took that succeeded, nanoseconds.
    pub connect_ns: u64,
    /// Segments that came out of order.
    pub out_of_order: u64,
    /// Times that data waited for a window of zero.
    pub stalls: u64,
    /// How long it did, nanoseconds.
    pub stall_ns: u64,
    /// Round-trip times.
    pub rtt: Histogram,
    /// Their mean deviations.
    pub jitter: Histogram,
}

impl EdgeChange {
    /// From what was counted before to what is counted now.
    #[must_use]
    pub fn between(before: &EdgeCounters, now: &EdgeCounters) -> Self {
        Self {
            segments_sent: now.segments_sent.wrapping_sub(before.segments_sent),
            retransmits: grown(&now.retransmits, &before.retransmits),
            resets: grown(&now.resets, &before.resets),
            connects: grown(&now.connects, &before.connects),
            connect_ns: now.connect_ns.wrapping_sub(before.connect_ns),
            out_of_order: now.out_of_order.wrapping_sub(before.out_of_order),
            stalls: now.stalls.wrapping_sub(before.stalls),
            stall_ns: now.stall_ns.wrapping_sub(before.stall_ns),
            rtt: now.rtt.since(&before.rtt),
            jitter: now.jitter.since(&before.jitter),
        }
    }
}

fn grown<const N: usize>(now: &[u64; N], before: &[u64; N]) -> [u64; N] {
    let mut grown = [0; N];
    for ((grown, now), before) in grown.iter_mut().zip(now).zip(before) {
        *grown = now.wrapping_sub(*before);
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_the_order_of_the_network() {
        let v4 = [0, u64::from_ne_bytes([0, 0, 0xff, 0xff, 10, 77, 0, 2])];
        assert_eq!(Remote::from_words(v4), Remote::Address("10.77.0.2".parse().unwrap()));
        let v6: std::net::Ipv6Addr = "fd00:1::7".parse().unwrap();
        let bytes = v6.octets();
        let word = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        assert_eq!(Remote::from_words([word(0), word(8)]), Remote::Address(v6.into()));
        let one = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(Remote::from_words([0, one]), Remote::Loopback);
        assert_eq!(Remote::from_words([0, 0]), Remote::Rest);
    }

    #[test]
    fn a_change_is_the_difference_of_everything() {
        let mut before = EdgeCounters::new();
        before.segments_sent = u64::MAX;
        before.retransmits = [1, 2, 3];
        let mut now = before;
        now.segments_sent = 9;
        now.retransmits[2] = 7;
        now.resets[1] = 1;
        now.connects[0] = 2;
        now.connect_ns = 500;
        (now.out_of_order, now.stalls, now.stall_ns) = (6, 1, 70);
        now.rtt.observe(5_000_000);
        let change = EdgeChange::between(&before, &now);
        assert_eq!(change.segments_sent, 10);
        assert_eq!(change.retransmits, [0, 0, 4]);
        assert_eq!((change.resets, change.connects), ([0, 1], [2, 0, 0, 0]));
        assert_eq!((change.connect_ns, change.rtt.count()), (500, 1));
        assert_eq!((change.out_of_order, change.stalls, change.stall_ns), (6, 1, 70));
        assert_eq!((change.rtt.sum_ns, change.jitter.count()), (5_000_000, 0));
    }
}
