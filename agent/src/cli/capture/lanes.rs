//! Which requests are drawn on which track: pure.
//!
//! Each request has its track for itself while it lasts; the next one may have it
//! then. A track for each of some thousands could not be read.

/// The lane of each span of time, in the order given: no two on a lane overlap.
/// The spans begin in order.
pub(super) fn lanes(spans: impl IntoIterator<Item = (u64, u64)>) -> Vec<usize> {
    let mut ends: Vec<u64> = Vec::new();
    spans
        .into_iter()
        .map(|(from_ns, until_ns)| {
            let free = ends.iter().position(|end_ns| *end_ns <= from_ns);
            let lane = free.unwrap_or(ends.len());
            match ends.get_mut(lane) {
                Some(end_ns) => *end_ns = until_ns,
                None => ends.push(until_ns),
            }
            lane
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_lane_is_used_again_when_it_is_free() {
        assert_eq!(lanes([(0, 10), (5, 20), (10, 15), (15, 16), (30, 31)]), [0, 1, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn no_two_on_a_lane_overlap(
            mut spans in proptest::collection::vec((0u64..100, 1u64..50), 0..50)
        ) {
            spans.sort_unstable();
            let spans: Vec<(u64, u64)> = spans.iter().map(|(at, ns)| (*at, at + ns)).collect();
            let found = lanes(spans.iter().copied());
            for (one, a) in spans.iter().enumerate() {
                for (other, b) in spans.iter().enumerate().skip(one + 1) {
                    prop_assert!(found[one] != found[other] || a.1 <= b.0 || b.1 <= a.0);
                }
            }
        }
    }
}
