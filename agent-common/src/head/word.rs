//! Eight bytes at a time: comparing and searching in one word.

pub(super) const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
pub(super) const LOWER_CASE: u64 = ONES * 0x20;

/// The word that these bytes make in memory.
pub(super) const fn word_of(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

/// A mask of the first `bytes` bytes.
pub(super) const fn low(bytes: u32) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (8 * bytes)) - 1 }
}

/// Bytes of `word` that are zero have their high bit set; bytes above a zero
/// byte may be set wrongly, so each is checked again.
#[inline(always)]
pub(super) fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Bytes of `word` below `limit` (at most 0x80) have their high bit set; the
/// lowest is right, those above it may not be.
#[inline(always)]
pub(super) fn bytes_below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}
