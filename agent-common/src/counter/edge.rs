//! The tcp lane again, by peer: what one service has with one address.
//!
//! Separate from [`super::tcp`], which is an array by service: edges are many,
//! come and go, and lie in a hash. So a value is kept under two kibibytes, the
//! next size of the kernel's allocator: fewer buckets, two to a word.

use super::tcp::{CONNECT_RESULTS, RESET_DIRECTIONS, RETRANSMIT_KINDS};
use crate::histogram::{BUCKETS, Histogram, PER_OCTAVE, bucket_index};

/// Buckets of an edge's histogram: 24 octaves of a [`Histogram`].
pub const EDGE_BUCKETS: usize = 192;
/// The first of them in a [`Histogram`]: 2^-20 s, about 1 us. The last ends at
/// 2^4 s.
pub const FIRST_BUCKET: usize = 4 * PER_OCTAVE as usize;
/// Words that hold them.
const WORDS: usize = EDGE_BUCKETS / 2;

/// Key of the `EDGES` map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// Index of the service.
    pub service: u64,
    /// The peer's address as IPv6 or v4-mapped, two words in network order;
    /// [`REST`] for all that have no edge of their own, [`LOOPBACK`] for every
    /// address of the same host.
    pub remote: [u64; 2],
}

/// Stands for peers without an edge of their own.
pub const REST: [u64; 2] = [0, 0];
/// `::1`, which stands for every loopback address.
pub const LOOPBACK: [u64; 2] = [0, 1 << 56];

impl EdgeKey {
    /// Words of a key.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// The key in these words.
    #[must_use]
    pub const fn from_words(words: [u64; Self::WORDS]) -> Self {
        Self { service: words[0], remote: [words[1], words[2]] }
    }

    /// Its words, as the map has them.
    #[must_use]
    pub const fn to_words(self) -> [u64; Self::WORDS] {
        [self.service, self.remote[0], self.remote[1]]
    }
}

/// Durations of an edge. Counts are of 32 bits and wrap; the agent takes
/// differences every few seconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeHistogram {
    /// Sum of all values, nanoseconds.
    pub sum_ns: u64,
    /// Values per bucket, the even one of two in the lower half: the kernel
    /// programs add to whole words only. (A lower half that wraps adds one to
    /// its neighbour, once in four thousand millions.)
    pub pairs: [u64; WORDS],
}

/// Where a value is counted: the word, and what is added to it.
#[inline(always)]
#[must_use]
pub fn pair_of(value_ns: u64) -> (usize, u64) {
    let index = bucket_index(value_ns);
    let index = index.saturating_sub(FIRST_BUCKET);
    let index = if index < EDGE_BUCKETS { index } else { EDGE_BUCKETS - 1 };
    (index / 2, 1 << (32 * (index & 1)))
}

impl EdgeHistogram {
    const fn new() -> Self {
        Self { sum_ns: 0, pairs: [0; WORDS] }
    }

    /// Adds one value. (The kernel adds with its own atomic instruction.)
    pub fn observe(&mut self, value_ns: u64) {
        let (word, one) = pair_of(value_ns);
        self.sum_ns = self.sum_ns.wrapping_add(value_ns);
        if let Some(word) = self.pairs.get_mut(word) {
            *word = word.wrapping_add(one);
        }
    }

    /// What was added since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Histogram {
        let mut change = Histogram::new();
        change.sum_ns = self.sum_ns.wrapping_sub(before.sum_ns);
        let places = change.buckets.iter_mut().skip(FIRST_BUCKET).take(EDGE_BUCKETS);
        for (i, place) in places.enumerate() {
            *place = u64::from(self.bucket(i).wrapping_sub(before.bucket(i)));
        }
        change
    }

    fn bucket(&self, index: usize) -> u32 {
        let word = self.pairs.get(index / 2).copied().unwrap_or(0);
        (word >> (32 * (index & 1))) as u32
    }
}

/// Value of the `EDGES` map. Values only grow.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeCounters {
    /// Segments with data that were sent, those sent again included.
    pub segments_sent: u64,
    /// Segments sent again, by [`RETRANSMIT_KINDS`].
    pub retransmits: [u64; RETRANSMIT_KINDS.len()],
    /// Resets by [`RESET_DIRECTIONS`].
    pub resets: [u64; RESET_DIRECTIONS.len()],
    /// Outgoing connects by [`CONNECT_RESULTS`].
    pub connects: [u64; CONNECT_RESULTS.len()],
    /// Time from SYN to established of those that succeeded, nanoseconds.
    pub connect_ns: u64,
    /// Segments that came out of order.
    pub out_of_order: u64,
    /// Times that data waited because the peer's window was zero.
    pub stalls: u64,
    /// How long it did, nanoseconds.
    pub stall_ns: u64,
    /// Smoothed round-trip times, at most one sample a connection and round trip.
    pub rtt: EdgeHistogram,
    /// Mean deviations of the round-trip time, sampled with `rtt`.
    pub jitter: EdgeHistogram,
}

impl EdgeCounters {
    /// Words of a value.
    pub const WORDS: usize = size_of::<Self>() / 8;

    /// An edge on which nothing happened.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            segments_sent: 0,
            retransmits: [0; RETRANSMIT_KINDS.len()],
            resets: [0; RESET_DIRECTIONS.len()],
            connects: [0; CONNECT_RESULTS.len()],
            connect_ns: 0,
            out_of_order: 0,
            stalls: 0,
            stall_ns: 0,
            rtt: EdgeHistogram::new(),
            jitter: EdgeHistogram::new(),
        }
    }

    /// The value in these words, as the map has them; words that are missing
    /// are zero.
    #[must_use]
    pub fn from_words(words: &[u64]) -> Self {
        let mut words = words.iter().copied();
        let mut next = || words.next().unwrap_or(0);
        let mut value = Self::new();
        value.segments_sent = next();
        value.retransmits = core::array::from_fn(|_| next());
        value.resets = core::array::from_fn(|_| next());
        value.connects = core::array::from_fn(|_| next());
        value.connect_ns = next();
        value.out_of_order = next();
        value.stalls = next();
        value.stall_ns = next();
        for histogram in [&mut value.rtt, &mut value.jitter] {
            histogram.sum_ns = next();
            histogram.pairs = core::array::from_fn(|_| next());
        }
        value
    }
}

impl Default for EdgeCounters {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(FIRST_BUCKET + EDGE_BUCKETS <= BUCKETS, "within a histogram's buckets");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_value_with_its_key_takes_less_than_two_kibibytes_of_the_kernel() {
        // 56 bytes are the kernel's own for an element of a hash.
        assert!(size_of::<EdgeCounters>() + size_of::<EdgeKey>() + 56 <= 2_048);
    }

    #[test]
    fn words_are_read_in_the_order_of_the_fields() {
        let words: [u64; EdgeCounters::WORDS] = core::array::from_fn(|i| i as u64 + 1);
        let value = EdgeCounters::from_words(&words);
        assert_eq!(value.segments_sent, 1);
        assert_eq!(value.retransmits, [2, 3, 4]);
        assert_eq!(value.resets, [5, 6]);
        assert_eq!(value.connects, [7, 8, 9, 10]);
        assert_eq!(value.connect_ns, 11);
        assert_eq!((value.out_of_order, value.stalls, value.stall_ns), (12, 13, 14));
        assert_eq!((value.rtt.sum_ns, value.rtt.pairs[0]), (15, 16));
        assert_eq!(value.jitter.pairs[WORDS - 1], EdgeCounters::WORDS as u64);
        assert_eq!(EdgeCounters::from_words(&[]), EdgeCounters::new());
        let key = EdgeKey { service: 7, remote: LOOPBACK };
        assert_eq!(EdgeKey::from_words(key.to_words()), key);
    }

    #[test]
    fn what_is_out_of_range_lands_in_the_first_or_the_last_bucket() {
        assert_eq!(pair_of(0), (0, 1));
        assert_eq!(pair_of(u64::MAX), (WORDS - 1, 1 << 32));
    }

    proptest! {
        #[test]
        fn a_change_is_what_was_observed_meanwhile(
            before in prop::collection::vec(1_000u64..15_000_000_000, 0..50),
            after in prop::collection::vec(1_000u64..15_000_000_000, 0..50),
        ) {
            let mut edge = EdgeHistogram::new();
            before.iter().for_each(|value| edge.observe(*value));
            let old = edge;
            let mut truth = Histogram::new();
            for value in &after {
                edge.observe(*value);
                truth.observe(*value);
            }
            let change = edge.since(&old);
            prop_assert_eq!(change.sum_ns, truth.sum_ns);
            prop_assert_eq!(change.buckets, truth.buckets);
        }

        #[test]
        fn counts_go_on_over_the_wrap(low in any::<u32>(), added in 0u32..100_000) {
            let word = |count: u32| u64::from(count) << 32;
            let mut before = EdgeHistogram::new();
            before.pairs[3] = word(low);
            let mut now = before;
            now.pairs[3] = now.pairs[3].wrapping_add(word(added));
            let change = now.since(&before);
            prop_assert_eq!(change.buckets[FIRST_BUCKET + 7], u64::from(added));
        }
    }
}
