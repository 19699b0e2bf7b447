//! Columns: what each shows, how wide it is, and which fit.
//!
//! Separate from drawing because the table that is printed once has the same.

use super::layers::glyph;
use super::rates::{Rates, Row};
use super::units::{count, duration, ratio};

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// Who.
    Workload,
    /// Requests a second.
    Requests,
    /// Share of requests that failed.
    Errors,
    /// Median duration.
    P50,
    /// 95 % are not longer.
    P95,
    /// 99 % are not longer.
    P99,
    /// 99 % of waits for a CPU are not longer.
    Runqueue,
    /// Share of a thread's time that threads were ready and out of quota.
    Throttled,
    /// TCP segments sent again, a second.
    Retransmits,
    /// Where the time went, as a bar; sorted by what is not the application's
    /// own.
    Layers,
    /// What the slow tail is made of, in words; sorted by slow requests.
    Tail,
}

impl Column {
    /// All, from left to right.
    pub const ALL: [Self; 11] = [
        Self::Workload,
        Self::Requests,
        Self::Errors,
        Self::P50,
        Self::P95,
        Self::P99,
        Self::Runqueue,
        Self::Throttled,
        Self::Retransmits,
        Self::Layers,
        Self::Tail,
    ];

    /// Those that go first where there is little room, the first one first.
    const DISPENSABLE: [Self; 8] = [
        Self::Tail,
        Self::P95,
        Self::Retransmits,
        Self::Throttled,
        Self::Runqueue,
        Self::P50,
        Self::Layers,
        Self::Errors,
    ];

    /// Its heading.
    #[must_use]
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Workload => "WORKLOAD",
            Self::Requests => "REQ/S",
            Self::Errors => "ERR%",
            Self::P50 => "P50",
            Self::P95 => "P95",
            Self::P99 => "P99",
            Self::Runqueue => "RUNQ99",
            Self::Throttled => "THROT",
            Self::Retransmits => "RETR/S",
            Self::Layers => "LAYERS",
            Self::Tail => "SLOW TAIL",
        }
    }

    /// Its least width, but for the name's, which takes what is left. A sign for the
    /// order fits in beside the heading.
    const fn width(self) -> usize {
        match self {
            Self::Workload => 0,
            Self::Runqueue | Self::Retransmits => 7,
            Self::Layers => 12,
            Self::Tail => 60,
            _ => 6,
        }
    }

    /// The value that is shown and sorted by; `None` where there is none.
    #[must_use]
    pub fn value(self, rates: &Rates) -> Option<f64> {
        match self {
            Self::Workload => None,
            Self::Requests => Some(rates.requests),
            Self::Errors => rates.error_ratio,
            Self::P50 => rates.duration.quantile(0.5),
            Self::P95 => rates.duration.quantile(0.95),
            Self::P99 => rates.duration.quantile(0.99),
            Self::Runqueue => rates.runqueue.quantile(0.99),
            Self::Throttled => Some(rates.throttled),
            Self::Retransmits => Some(rates.retransmits),
            Self::Layers => rates.parts.share_elsewhere(),
            Self::Tail => Some(rates.tail.requests),
        }
    }

    /// A value as text.
    #[must_use]
    pub fn show(self, value: Option<f64>) -> String {
        let Some(value) = value else { return "-".to_owned() };
        match self {
            Self::Workload | Self::Layers | Self::Tail => String::new(),
            Self::Requests | Self::Retransmits => count(value),
            Self::Errors | Self::Throttled => ratio(value),
            Self::P50 | Self::P95 | Self::P99 | Self::Runqueue => duration(value),
        }
    }
}

/// Least width of a name before columns give way.
const MIN_NAME: usize = 20;
/// Longest bar, cells.
const MAX_BAR: usize = 30;
/// Blanks between two columns.
const GAP: usize = 1;

/// Columns that fit, with their widths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout(Vec<(Column, usize)>);

impl Layout {
    /// What fits into a width. A name takes no more than `longest`, so that
    /// on a wide screen the numbers are not far from it.
    #[must_use]
    pub fn new(width: usize, longest: usize) -> Self {
        let mut columns = Column::ALL.to_vec();
        let fixed = |columns: &[Column]| -> usize {
            columns.iter().skip(1).map(|column| column.width() + GAP).sum()
        };
        for column in Column::DISPENSABLE {
            if fixed(&columns) + MIN_NAME <= width {
                break;
            }
            columns.retain(|kept| *kept != column);
        }
        let room = width.saturating_sub(fixed(&columns));
        let name = room.min(longest.max(Column::Workload.heading().len() + 2));
        let spare = room - name;
        let width = |column: Column| match column {
            Column::Workload => name,
            Column::Layers => column.width() + spare.min(MAX_BAR - column.width()),
            _ => column.width(),
        };
        Self(columns.into_iter().map(|column| (column, width(column))).collect())
    }

    /// Columns and widths, from left to right.
    #[must_use]
    pub fn columns(&self) -> &[(Column, usize)] {
        &self.0
    }

    /// The text of a column for a row, as wide as the column and the gap.
    #[must_use]
    pub fn cell(&self, column: Column, width: usize, row: &Row) -> String {
        match (column, &row.rates) {
            (Column::Workload, _) => fit(&row.identity.name(), width),
            (Column::Layers, Some(rates)) if rates.parts.total_ns() > 0 => {
                let bar = rates.parts.bar(width).into_iter();
                let cells = bar.flat_map(|(layer, cells)| std::iter::repeat_n(glyph(layer), cells));
                format!("{:GAP$}{}", "", cells.collect::<String>())
            }
            (Column::Layers, _) => format!("{:GAP$}{:width$}", "", "-"),
            (Column::Tail, Some(rates)) => {
                format!("{:GAP$}{}", "", fit(&rates.tail.words(), width))
            }
            (_, Some(rates)) => self.number(&column.show(column.value(rates)), width),
            (_, None) => self.number("-", width),
        }
    }

    /// A text at the right of a column.
    #[must_use]
    pub fn number(&self, text: &str, width: usize) -> String {
        format!("{:GAP$}{text:>width$}", "")
    }
}

/// A name in exactly this width; what is too long loses its middle, since both
/// ends of a pod's name tell it from others.
#[must_use]
pub fn fit(name: &str, width: usize) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let length = name.chars().count();
    if length <= width {
        return format!("{name:width$}");
    }
    let kept = width.saturating_sub(1);
    let tail = kept / 2;
    let head: String = name.chars().take(kept - tail).collect();
    let tail: String = name.chars().skip(length - tail).collect();
    if width == 0 { String::new() } else { format!("{head}…{tail}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kept(width: usize) -> Vec<Column> {
        Layout::new(width, 200).columns().iter().map(|(column, _)| *column).collect()
    }

    #[test]
    fn eighty_columns_hold_the_layers_and_less_gives_up_the_least_important() {
        assert_eq!(kept(200), Column::ALL);
        let left_out = [Column::P95, Column::Retransmits, Column::Tail];
        let wanted: Vec<_> =
            Column::ALL.into_iter().filter(|column| !left_out.contains(column)).collect();
        assert_eq!(kept(80), wanted);
        assert!(!kept(70).contains(&Column::Throttled));
        assert_eq!(kept(30), [Column::Workload, Column::Requests, Column::P99]);
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(fit("shop/api-7d9f8b6c5-x2x4z/api", 15), "shop/ap…x4z/api");
        assert_eq!(fit("api", 5), "api  ");
        assert_eq!(fit("a\x1b[31mb", 9), "a?[31mb  ");
        assert_eq!(fit("api", 1), "…");
        assert_eq!(fit("api", 0), "");
    }

    proptest! {
        #[test]
        fn a_name_has_its_width(name in "\\PC{0,60}", width in 0usize..40) {
            prop_assert_eq!(fit(&name, width).chars().count(), width);
        }

        #[test]
        fn columns_never_take_more_than_there_is(width in 34usize..300, longest in 0usize..100) {
            let layout = Layout::new(width, longest);
            let taken: usize = layout.columns().iter().map(|(_, width)| width + GAP).sum();
            prop_assert!(taken - GAP <= width, "{taken} of {width}");
        }
    }
}
