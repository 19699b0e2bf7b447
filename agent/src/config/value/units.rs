//! Values that carry a unit: durations (`10ms`) and sizes (`4MiB`).
//!
//! Separate because both are one number and one unit from a table, and a bare
//! number is refused for both: nobody should have to guess a unit.

use std::time::Duration;

use super::{Type, Unfit};

/// Units of durations with their nanoseconds, largest first.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Units of sizes with their bytes, largest first. Decimal ones (`MB`) are
/// left out: everything sized here is memory.
const BYTE_UNITS: [(&str, u64); 4] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A duration between two bounds, both allowed.
pub(in crate::config) struct DurationIn {
    /// The least that is allowed.
    pub(in crate::config) min: Duration,
    /// The most that is allowed; less than 584 years, so that its nanoseconds
    /// fit 64 bits.
    pub(in crate::config) max: Duration,
}

impl Type for DurationIn {
    type Value = Duration;

    fn parse(&self, text: &str) -> Result<Duration, Unfit> {
        let value = parse(text, &DURATION_UNITS, "10ms")?.map(Duration::from_nanos);
        within(text, value, self.min..=self.max, show_duration)
    }

    fn show(&self, value: &Duration) -> String {
        show_duration(*value)
    }

    fn describe(&self) -> String {
        format!("duration, {} to {}", show_duration(self.min), show_duration(self.max))
    }
}

/// Reads a duration between two bounds, both allowed, for a flag that is no key
/// of the configuration: it is written like those that are.
///
/// # Errors
///
/// Why the text does not fit.
pub fn duration(text: &str, min: Duration, max: Duration) -> Result<Duration, Unfit> {
    DurationIn { min, max }.parse(text)
}

/// A size in bytes between two bounds, both allowed; a power of two.
pub(in crate::config) struct BytesIn {
    /// The least that is allowed, in bytes.
    pub(in crate::config) min: u32,
    /// The most that is allowed, in bytes.
    pub(in crate::config) max: u32,
}

impl Type for BytesIn {
    type Value = u32;

    fn parse(&self, text: &str) -> Result<u32, Unfit> {
        let bytes = parse(text, &BYTE_UNITS, "4MiB")?.and_then(|bytes| u32::try_from(bytes).ok());
        let bytes = within(text, bytes, self.min..=self.max, show_bytes)?;
        if !bytes.is_power_of_two() {
            return Err(Unfit::PowerOfTwo { text: text.to_owned() });
        }
        Ok(bytes)
    }

    fn show(&self, value: &u32) -> String {
        show_bytes(*value)
    }

    fn describe(&self) -> String {
        format!("size, a power of two, {} to {}", show_bytes(self.min), show_bytes(self.max))
    }
}

/// The number times its unit; `None` if that does not fit 64 bits.
fn parse(text: &str, units: &[(&str, u64)], example: &'static str) -> Result<Option<u64>, Unfit> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let names = || units.iter().rev().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    if number.is_empty() {
        return Err(Unfit::Form { text: text.to_owned(), wanted: "a whole number with its unit" });
    }
    if unit.is_empty() {
        return Err(Unfit::NoUnit { text: text.to_owned(), units: names(), example });
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(Unfit::Unit { text: text.to_owned(), units: names(), example });
    };
    // Digits beyond 64 bits overflow like a product does.
    Ok(number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)))
}

fn within<T: Copy + PartialOrd>(
    text: &str,
    value: Option<T>,
    bounds: std::ops::RangeInclusive<T>,
    show: impl Fn(T) -> String,
) -> Result<T, Unfit> {
    value.filter(|value| bounds.contains(value)).ok_or_else(|| Unfit::Bounds {
        text: text.to_owned(),
        min: show(*bounds.start()),
        max: show(*bounds.end()),
    })
}

fn show_duration(value: Duration) -> String {
    show(u64::try_from(value.as_nanos()).unwrap_or(u64::MAX), &DURATION_UNITS)
}

fn show_bytes(value: u32) -> String {
    show(u64::from(value), &BYTE_UNITS)
}

/// The number in the largest unit that divides it.
fn show(value: u64, units: &[(&str, u64)]) -> String {
    let fitting = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    match fitting {
        Some((name, factor)) => format!("{}{name}", value / factor),
        None => units.last().map(|(name, _)| format!("{value}{name}")).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: DurationIn =
        DurationIn { min: Duration::from_millis(1), max: Duration::from_secs(1) };
    const ANY_BYTES: BytesIn = BytesIn { min: 1, max: 1 << 31 };

    #[test]
    fn a_bare_number_is_told_the_units() {
        let refusal = INTERVAL.parse("10").unwrap_err().to_string();
        assert_eq!(refusal, "`10` has no unit; write one of ns, us, ms, s, m, h, as in 10ms");
        let refusal = ANY_BYTES.parse("4MB").unwrap_err().to_string();
        assert_eq!(refusal, "`4MB` has an unknown unit; write one of B, KiB, MiB, GiB, as in 4MiB");
    }

    #[test]
    fn bounds_are_said_in_units() {
        for text in ["0ms", "999us", "2s", "99999999999999999999h", "9999999999999h"] {
            let refusal = INTERVAL.parse(text).unwrap_err().to_string();
            assert_eq!(refusal, format!("`{text}` is out of bounds: 1ms to 1s"));
        }
        assert_eq!(INTERVAL.parse("1000us"), Ok(Duration::from_millis(1)));
        assert_eq!(INTERVAL.parse("1s"), Ok(Duration::from_secs(1)));
    }

    #[test]
    fn a_ring_is_a_power_of_two() {
        assert_eq!(ANY_BYTES.parse("4096KiB"), Ok(4 << 20));
        assert_eq!(ANY_BYTES.parse("3MiB"), Err(Unfit::PowerOfTwo { text: "3MiB".to_owned() }));
    }

    proptest! {
        #[test]
        fn durations_show_what_they_parse(ns in 1_000_000u64..=1_000_000_000) {
            let value = Duration::from_nanos(ns);
            prop_assert_eq!(INTERVAL.parse(&INTERVAL.show(&value)), Ok(value));
        }

        #[test]
        fn sizes_show_what_they_parse(shift in 0u32..=31) {
            let value = 1u32 << shift;
            prop_assert_eq!(ANY_BYTES.parse(&ANY_BYTES.show(&value)), Ok(value));
        }

        #[test]
        fn no_text_panics(text in "\\PC*") {
            let _ = INTERVAL.parse(&text);
            let _ = ANY_BYTES.parse(&text);
        }
    }
}
