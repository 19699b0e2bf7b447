//! Waiting for something to become true, with a deadline instead of a sleep.
//!
//! Separate because every other file of the harness waits for something.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// Factor on every deadline, from `STRATA_PATIENCE` (default 1): for machines
/// that are slow or shared.
fn patience() -> f64 {
    let factor = std::env::var("STRATA_PATIENCE").ok().and_then(|value| value.parse::<f64>().ok());
    factor.filter(|factor| *factor > 0.0).unwrap_or(1.0)
}

/// Calls `attempt` until it gives a value, at most for `limit`.
pub fn until<T>(limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit.mul_f64(patience());
    loop {
        if let Some(value) = attempt() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::sleep(PAUSE);
    }
}

/// Calls `observe` until its value satisfies `wanted`, at most for `limit`,
/// and gives the last value seen: a test then asserts on that, so that a miss
/// shows what was there instead.
pub fn settle<T: Debug>(
    limit: Duration,
    mut observe: impl FnMut() -> T,
    wanted: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + limit.mul_f64(patience());
    loop {
        let value = observe();
        if wanted(&value) || Instant::now() >= deadline {
            return value;
        }
        std::thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settle_gives_the_last_value_when_time_is_up() {
        let mut n = 0;
        let last = settle(
            Duration::from_millis(50),
            || {
                n += 1;
                n
            },
            |_| false,
        );
        assert!(last >= 2, "{last}");
        assert_eq!(until(Duration::from_millis(1), || None::<u8>), None);
        assert_eq!(until(Duration::ZERO, || Some(7)), Some(7), "one try is always made");
    }
}
