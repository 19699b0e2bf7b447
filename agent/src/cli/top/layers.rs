//! Where the time of requests went, as a bar and in words. Pure.
//!
//! Separate from columns because the bar is drawn, coloured and put into words
//! in three places.

use std::collections::BTreeMap;

use agent_common::parts::{Layer, PARTS, Part};

use super::units::ratio;

/// Parts that are named in words, at most.
const MAX_NAMED: usize = 3;
/// Shares below this are not named.
const MIN_NAMED: f64 = 0.01;

/// Time by part, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeByPart([u64; PARTS]);

impl TimeByPart {
    /// What came to `earlier` until `later`, both by [`name`].
    #[must_use]
    pub fn between(earlier: &BTreeMap<String, u64>, later: &BTreeMap<String, u64>) -> Self {
        let of = |sums: &BTreeMap<String, u64>, part| sums.get(&name(part)).copied().unwrap_or(0);
        Self(Part::ALL.map(|part| of(later, part).saturating_sub(of(earlier, part))))
    }

    /// Adds all of `other`.
    pub fn add(&mut self, other: &Self) {
        for (sum, ns) in self.0.iter_mut().zip(other.0) {
            *sum = sum.saturating_add(ns);
        }
    }

    /// All of it, nanoseconds.
    #[must_use]
    pub fn total_ns(&self) -> u64 {
        self.0.iter().fold(0, |sum: u64, ns| sum.saturating_add(*ns))
    }

    /// Each part with its nanoseconds.
    pub fn iter(&self) -> impl Iterator<Item = (Part, u64)> {
        Part::ALL.into_iter().zip(self.0)
    }

    /// Share of the time that is not the application's own; `None` without
    /// time.
    #[must_use]
    pub fn share_elsewhere(&self) -> Option<f64> {
        let total = self.total_ns();
        let own: u64 = self.of(Layer::Application);
        (total > 0).then(|| 1.0 - own as f64 / total as f64)
    }

    /// A bar of this many cells: how many each layer has, in the order of the
    /// layers. Cells go to the largest remainders, so that they are as many as
    /// there are; none without time.
    #[must_use]
    pub fn bar(&self, cells: usize) -> Vec<(Layer, usize)> {
        let total = u128::from(self.total_ns());
        if total == 0 {
            return Vec::new();
        }
        let wanted = Layer::ALL.map(|layer| u128::from(self.of(layer)) * cells as u128);
        let mut shares = wanted.map(|wanted| (wanted / total) as usize);
        let mut by_rest: Vec<usize> = (0..wanted.len()).collect();
        by_rest
            .sort_by_key(|i| std::cmp::Reverse(wanted.get(*i).map_or(0, |wanted| wanted % total)));
        let left = cells.saturating_sub(shares.iter().sum());
        for i in by_rest.into_iter().take(left) {
            if let Some(share) = shares.get_mut(i) {
                *share += 1;
            }
        }
        Layer::ALL.into_iter().zip(shares).filter(|(_, cells)| *cells > 0).collect()
    }

    /// The largest parts in words: `71% downstream.wait, 20% os.runqueue`;
    /// empty without time.
    #[must_use]
    pub fn words(&self) -> String {
        let total = self.total_ns();
        let mut parts: Vec<(Part, u64)> = self.iter().filter(|(_, ns)| *ns > 0).collect();
        parts.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
        let shares = parts.into_iter().map(|(part, ns)| (part, ns as f64 / total as f64));
        let named = shares.filter(|(_, share)| *share >= MIN_NAMED).take(MAX_NAMED);
        let words = named.map(|(part, share)| format!("{} {}", ratio(share), name(part)));
        words.collect::<Vec<_>>().join(", ")
    }

    fn of(&self, layer: Layer) -> u64 {
        self.iter()
            .filter(|(part, _)| part.layer() == layer)
            .fold(0, |sum: u64, (_, ns)| sum.saturating_add(ns))
    }
}

/// `downstream.wait`: how a part is named where layer and part are one word.
#[must_use]
pub fn name(part: Part) -> String {
    format!("{}.{}", part.layer().as_str(), part.as_str())
}

/// The character that a layer is drawn with.
#[must_use]
pub const fn glyph(layer: Layer) -> char {
    match layer {
        Layer::Application => 'a',
        Layer::Runtime => 'r',
        Layer::Os => 'o',
        Layer::Network => 'n',
        Layer::Downstream => 'd',
        Layer::Hardware => 'h',
        Layer::Unattributed => '·',
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(parts: &[(Part, u64)]) -> TimeByPart {
        let sums = parts.iter().map(|(part, ns)| (name(*part), *ns)).collect();
        TimeByPart::between(&BTreeMap::new(), &sums)
    }

    #[test]
    fn words_name_the_largest_first_and_leave_out_what_is_small() {
        let time =
            time(&[(Part::Cpu, 88), (Part::Downstream, 710), (Part::Runqueue, 200), (Part::Gc, 2)]);
        assert_eq!(time.words(), "71% downstream.wait, 20% os.runqueue, 8.8% application.cpu");
        assert_eq!(TimeByPart::default().words(), "");
    }

    #[test]
    fn only_what_came_in_between_counts_and_unknown_names_are_left_out() {
        let sums = |ns| BTreeMap::from([("os.cpu".to_owned(), ns), ("os.magic".to_owned(), 5)]);
        let between = TimeByPart::between(&sums(3), &sums(10));
        assert_eq!(between, time(&[(Part::OsCpu, 7)]));
        assert_eq!(TimeByPart::between(&sums(10), &sums(3)).total_ns(), 0);
    }

    #[test]
    fn every_layer_has_a_character_of_its_own() {
        let glyphs: std::collections::BTreeSet<char> = Layer::ALL.map(glyph).into();
        assert_eq!(glyphs.len(), Layer::ALL.len());
    }

    proptest! {
        #[test]
        fn a_bar_is_as_long_as_asked_and_true_to_one_cell(
            ns in prop::array::uniform19(0u64..1 << 40),
            cells in 1usize..60,
        ) {
            let time = TimeByPart(ns);
            let bar = time.bar(cells);
            let total = time.total_ns();
            let drawn: usize = bar.iter().map(|(_, cells)| cells).sum();
            prop_assert_eq!(drawn, if total == 0 { 0 } else { cells });
            for (layer, drawn) in bar {
                let share = time.of(layer) as f64 / total as f64 * cells as f64;
                prop_assert!((share - drawn as f64).abs() < 1.0, "{layer:?} {share} {drawn}");
            }
        }
    }
}
