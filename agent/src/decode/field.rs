//! Fields of a record by their place in it, without unsafe code.

/// Reads a field: `field!(bytes, Record, name: u64)`. Zero beyond the end; the
/// caller has checked the length.
macro_rules! field {
    ($bytes:expr, $record:ty, $name:ident : $int:ty) => {
        $crate::decode::field::bytes_at($bytes, std::mem::offset_of!($record, $name))
            .map_or(0, <$int>::from_ne_bytes)
    };
}

pub(super) use field;

/// The `N` bytes at `at`.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N).and_then(|bytes| bytes.try_into().ok())
}
