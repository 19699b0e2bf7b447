//! Numbers as people read them: three digits and a unit.
//!
//! Separate because every number on screen goes through one of these.

/// A duration in at most six characters: `812us`, `1.23ms`, `45.6s`.
#[must_use]
pub fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 600.0 => (s / 60.0, "m"),
        s if s >= 0.999_5 => (s, "s"),
        s if s >= 0.000_999_5 => (s * 1e3, "ms"),
        s => (s * 1e6, "us"),
    };
    // Microseconds are whole: what is below is noise of the measurement.
    let digits = if unit == "us" { 0 } else { decimals(value) };
    format!("{value:.digits$}{unit}")
}

/// A count or a rate in at most five characters: `0`, `0.5`, `12.3`, `4567`,
/// `12.3k`.
#[must_use]
pub fn count(value: f64) -> String {
    let (value, unit) = match value {
        v if v >= 999_500_000.0 => (v / 1e9, "G"),
        v if v >= 999_500.0 => (v / 1e6, "M"),
        v if v >= 9_999.5 => (v / 1e3, "k"),
        v => (v, ""),
    };
    match (value, unit) {
        (0.0, _) => "0".to_owned(),
        (v, "") if v < 0.05 => "<0.1".to_owned(),
        (v, "") if v < 99.95 => format!("{v:.1}"),
        (v, "") => format!("{v:.0}"),
        (v, unit) => format!("{v:.digits$}{unit}", digits = decimals(v)),
    }
}

/// A share in at most five characters: `0`, `<0.1%`, `1.2%`, `45%`, `250%`.
#[must_use]
pub fn ratio(value: f64) -> String {
    match value * 100.0 {
        0.0 => "0".to_owned(),
        v if v < 0.05 => "<0.1%".to_owned(),
        v if v < 9.95 => format!("{v:.1}%"),
        v => format!("{v:.0}%"),
    }
}

/// A size in memory: `18.2 MiB`.
#[must_use]
pub fn bytes(value: u64) -> String {
    format!("{:.1} MiB", value as f64 / f64::from(1u32 << 20))
}

/// How long something has been there: `12s`, `3m05s`, `5h07m`, `3d04h`.
#[must_use]
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Decimals that make three digits.
fn decimals(value: f64) -> usize {
    match value {
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let durations = [
            (0.0, "0us"),
            (8.4e-7, "1us"),
            (0.000_812, "812us"),
            (0.000_999_6, "1.00ms"),
            (0.012_34, "12.3ms"),
            (0.999_6, "1.00s"),
            (45.6, "45.6s"),
            (3000.0, "50.0m"),
        ];
        for (seconds, text) in durations {
            assert_eq!(duration(seconds), text);
        }
        let counts = [
            (0.0, "0"),
            (0.01, "<0.1"),
            (0.5, "0.5"),
            (12.34, "12.3"),
            (99.96, "100"),
            (4567.0, "4567"),
            (9999.6, "10.0k"),
            (123_456.0, "123k"),
            (1.2e6, "1.20M"),
        ];
        for (value, text) in counts {
            assert_eq!(count(value), text);
        }
        let ratios = [(0.0, "0"), (0.0001, "<0.1%"), (0.012, "1.2%"), (0.45, "45%"), (2.5, "250%")];
        for (value, text) in ratios {
            assert_eq!(ratio(value), text);
        }
        for (seconds, text) in
            [(12.0, "12s"), (185.0, "3m05s"), (18_420.0, "5h07m"), (273_600.0, "3d04h")]
        {
            assert_eq!(age(seconds), text);
        }
        assert_eq!(bytes(19_084_083), "18.2 MiB");
    }

    proptest! {
        #[test]
        fn every_number_fits_its_column(value in 0.0f64..99_000.0) {
            prop_assert!(duration(value / 400.0).len() <= 6);
            prop_assert!(count(value * 1000.0).len() <= 5);
            prop_assert!(ratio(value / 100.0).len() <= 6);
        }
    }
}
