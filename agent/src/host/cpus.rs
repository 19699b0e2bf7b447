//! How many CPUs the node has: what a part of the node is a part of.
//!
//! Separate from what the standard library says, which is how many this process
//! may use: fewer in a container with a quota or a CPU set.

/// CPUs online; 1 at the least.
#[must_use]
pub fn online() -> u32 {
    let listed = std::fs::read_to_string("/sys/devices/system/cpu/online");
    let listed = listed.ok().and_then(|text| count(text.trim()));
    let usable = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    listed.unwrap_or_else(|| u32::try_from(usable()).unwrap_or(1)).max(1)
}

/// Numbers in a list such as `0-3,6`.
fn count(list: &str) -> Option<u32> {
    list.split(',').try_fold(0_u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_and_single_numbers_are_counted() {
        for (list, expected) in [("0", 1), ("0-1", 2), ("0-3,6,8-9", 7)] {
            assert_eq!(count(list), Some(expected), "{list}");
        }
        for list in ["", "a", "3-1", "0-", "0,,1", "0-4294967295"] {
            assert_eq!(count(list), None, "{list}");
        }
        assert!(online() >= 1);
    }

    proptest! {
        #[test]
        fn no_list_panics(list in "[0-9,-]{0,20}") {
            let _ = count(&list);
        }
    }
}
