//! Round trips by the log of a slow wire, and what the kernel's own estimator
//! makes of them.
//!
//! Separate from the wire because it is arithmetic: the truth that round trip
//! and jitter are held against.

use anyhow::Context as _;

/// One segment as the wire tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Segment {
    /// To which end it was delivered: 0 is the server's.
    to: usize,
    came_ns: u64,
    delivered_ns: u64,
    /// First sequence number, and the one after the last.
    sequence: (u32, u32),
    ack: u32,
}

fn parse(line: &str) -> Option<Segment> {
    let mut numbers = line.split_whitespace().map(str::parse::<u64>);
    let mut next = || numbers.next()?.ok();
    Some(Segment {
        to: next()? as usize,
        came_ns: next()?,
        delivered_ns: next()?,
        sequence: (next()? as u32, next()? as u32),
        ack: next()? as u32,
    })
}

/// Whether one sequence number is at or after another.
const fn reaches(ack: u32, end: u32) -> bool {
    ack.wrapping_sub(end) < u32::MAX / 2
}

/// Round trips that the server saw, in order: from each of its segments that
/// take a sequence number to the delivery of the first acknowledgement of it.
///
/// # Errors
/// On a line that the wire does not write. The last one may be half of one.
pub fn of_server(log: &str) -> anyhow::Result<Vec<u64>> {
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let mut open: Vec<(u32, u64)> = Vec::new();
    let mut round_trips = Vec::new();
    for line in whole.lines() {
        let segment = parse(line).with_context(|| format!("not of the wire: {line}"))?;
        let (first, end) = segment.sequence;
        if segment.to != 0 {
            // A segment that is sent again measures nothing.
            let is_again = open.iter().any(|(known, _)| *known == end);
            if first != end && !is_again {
                open.push((end, segment.came_ns));
            }
            continue;
        }
        let is_done = |end: u32| reaches(segment.ack, end);
        // An acknowledgement of several measures by the newest of them.
        let done = open.iter().filter(|(end, _)| is_done(*end)).max_by_key(|(_, at)| *at);
        if let Some((_, came_ns)) = done {
            round_trips.push(segment.delivered_ns.saturating_sub(*came_ns));
            open.retain(|(end, _)| !is_done(*end));
        }
    }
    Ok(round_trips)
}

/// Smoothed round trip and mean deviation, microseconds, after each round trip
/// of so many nanoseconds: `tcp_rtt_estimator` of the kernel.
#[must_use]
pub fn estimate(round_trips: &[u64]) -> Vec<(u32, u32)> {
    let (mut srtt, mut mdev) = (0_i64, 0_i64);
    let step = |ns: &u64| {
        let mut m = (*ns / 1_000).max(1) as i64;
        if srtt == 0 {
            srtt = m << 3;
            mdev = m << 1;
        } else {
            m -= srtt >> 3;
            srtt += m;
            if m < 0 {
                m = -m - (mdev >> 2);
                // A round trip that got shorter makes no deviation at once.
                if m > 0 {
                    m >>= 3;
                }
            } else {
                m -= mdev >> 2;
            }
            mdev += m;
        }
        ((srtt >> 3) as u32, (mdev >> 2) as u32)
    };
    round_trips.iter().map(step).collect()
}

/// The value in the middle; 0 of none.
#[must_use]
pub fn median(mut values: Vec<u32>) -> u32 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_ends_with_the_first_acknowledgement() {
        let log = "0 1000 2000 100 101 0\n\
                   1 3000 4000 500 501 101\n\
                   0 5000 6000 101 101 501\n\
                   1 7000 8000 501 502 101\n\
                   1 9000 9500 501 502 101\n\
                   0 9000 17000 101 102 502\n\
                   0 18000 19000 102 102 502\n1 2";
        // The second is sent again, and counts from when it was sent first.
        assert_eq!(of_server(log).unwrap(), [3_000, 10_000]);
        assert!(of_server("x\n").is_err());
        assert!(of_server("").unwrap().is_empty());
    }

    #[test]
    fn the_estimator_forgets_its_first_guess_and_follows() {
        let even = estimate(&[10_000_000; 100]);
        assert_eq!(even[0], (10_000, 5_000));
        assert!(even[99].1 < 10, "{:?}", even[99]);
        let uneven: Vec<u64> =
            (0..200).map(|i| if i % 5 == 0 { 40_000_000 } else { 2_000_000 }).collect();
        let last = estimate(&uneven)[199];
        assert!((5_000..20_000).contains(&last.0), "{last:?}");
        assert!((5_000..25_000).contains(&last.1), "{last:?}");
        assert_eq!(median(vec![3, 1, 2]), 2);
        assert_eq!(median(Vec::new()), 0);
    }
}
