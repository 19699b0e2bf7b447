//! Adding a value to a histogram in a map.

use agent_common::histogram::{Histogram, bucket_index};

use crate::atomic;

/// Adds one value.
///
/// Not inlined: the bucket arithmetic branches, and each caller's states would
/// be multiplied by it.
///
/// # Safety
///
/// `histogram` lies in a map value.
#[inline(never)]
pub(crate) unsafe fn observe(histogram: *mut Histogram, value_ns: u64) {
    let bucket = bucket_index(value_ns) & 255;
    // SAFETY: the caller's promise, and an index within the buckets.
    unsafe {
        atomic::add(&raw mut (*histogram).sum_ns, value_ns);
        let buckets = (&raw mut (*histogram).buckets).cast::<u64>();
        atomic::add(buckets.add(bucket), 1);
    }
}
