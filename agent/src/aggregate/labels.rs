//! Label sets: built once by the owner of a series, cloned into each snapshot.
//!
//! Separate because writing labels is what a scrape costs: with escaping done
//! here, once, a text scrape copies bytes. The labels of a container's identity
//! are shared by all its series.

use crate::metrics::{IDENTITY, Metric};
use std::sync::{Arc, OnceLock};

/// Longest label value, bytes; longer ones are cut. Values come from outside
/// (paths, unit names), and a scraper may refuse a whole scrape for one that is
/// too long.
pub const MAX_VALUE_BYTES: usize = 256;

/// Some labels with their text, `a="b",c="d"`.
#[derive(Debug)]
struct Block {
    pairs: Box<[(&'static str, Box<str>)]>,
    text: Box<str>,
}

impl Block {
    fn new<'a>(labels: impl Iterator<Item = (&'static str, &'a str)>) -> Self {
        let pairs: Box<[(&str, Box<str>)]> =
            labels.map(|(name, value)| (name, cut(value).into())).collect();
        let mut text = String::new();
        for (name, value) in &pairs {
            if !text.is_empty() {
                text.push(',');
            }
            text.push_str(name);
            text.push_str("=\"");
            push_escaped(&mut text, value);
            text.push('"');
        }
        Self { pairs, text: text.into_boxed_str() }
    }
}

/// The identity of a workload, as labels. Cheap to clone; all clones learn its
/// names at once, if they are not known from the beginning.
#[derive(Clone, Debug)]
pub struct Identity(Arc<OnceLock<Block>>);

impl Identity {
    /// The four identity labels. All are always written, also when empty:
    /// under `honor_labels` an absent `pod` would become the agent's own.
    #[must_use]
    pub fn new(namespace: &str, pod: &str, container: &str, workload: &str) -> Self {
        let identity = Self::unknown();
        identity.set(namespace, pod, container, workload);
        identity
    }

    /// The identity of a workload whose names are not known yet: series are
    /// kept under it, and not shown.
    #[must_use]
    pub fn unknown() -> Self {
        Self(Arc::new(OnceLock::new()))
    }

    /// Says the names, once and for all: a workload never changes its name.
    pub fn set(&self, namespace: &str, pod: &str, container: &str, workload: &str) {
        let values = [namespace, pod, container, workload];
        let _ = self.0.set(Block::new(IDENTITY.into_iter().zip(values)));
    }

    /// Whether the names are known: series without are not to be shown.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.get().is_some()
    }
}

/// The labels of a series beyond its identity. Values from closed lists are the
/// same for every workload: made once, they are shared by all.
#[derive(Clone, Debug)]
pub struct OwnLabels(Option<Arc<Block>>);

impl OwnLabels {
    /// A value for each label of `metric` beyond its identity, in the order of
    /// the catalogue. An empty value leaves its label out, which means the same
    /// to Prometheus.
    #[must_use]
    pub fn new(metric: &'static Metric, values: &[&str]) -> Self {
        debug_assert_eq!(metric.labels.len(), values.len(), "labels of {}", metric.name);
        let labels = metric
            .labels
            .iter()
            .copied()
            .zip(values.iter().copied())
            .filter(|(_, value)| !value.is_empty());
        let own = Block::new(labels);
        Self((!own.pairs.is_empty()).then(|| Arc::new(own)))
    }

    /// The labels of this workload's series.
    #[must_use]
    pub fn of(&self, identity: &Identity) -> LabelSet {
        LabelSet { identity: Some(identity.clone()), own: self.0.clone() }
    }
}

/// The labels of one series. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LabelSet {
    identity: Option<Identity>,
    own: Option<Arc<Block>>,
}

impl LabelSet {
    /// Labels of a series of `metric`: its identity, if it has one, and those of
    /// [`OwnLabels::new`].
    #[must_use]
    pub fn new(metric: &'static Metric, identity: Option<&Identity>, values: &[&str]) -> Self {
        debug_assert_eq!(metric.has_identity, identity.is_some(), "identity of {}", metric.name);
        Self { identity: identity.cloned(), own: OwnLabels::new(metric, values).0 }
    }

    fn blocks(&self) -> impl Iterator<Item = &Block> {
        let identity = self.identity.iter().filter_map(|identity| identity.0.get());
        identity.chain(self.own.as_deref())
    }

    /// Names and values, not escaped, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.blocks().flat_map(|block| block.pairs.iter().map(|(name, value)| (*name, &**value)))
    }

    /// Appends `a="b",c="d"`, escaped for both text formats.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        let mut is_first = true;
        for block in self.blocks() {
            if !is_first {
                out.push(b',');
            }
            out.extend_from_slice(block.text.as_bytes());
            is_first = false;
        }
    }

    /// Whether there is no label at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.identity.is_none() && self.own.is_none()
    }
}

/// The value cut to [`MAX_VALUE_BYTES`] at a character.
fn cut(value: &str) -> &str {
    value.get(..value.floor_char_boundary(MAX_VALUE_BYTES)).unwrap_or_default()
}

fn push_escaped(text: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::workload;

    fn text(labels: &LabelSet) -> String {
        let mut out = Vec::new();
        labels.write_text(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn identity_is_written_also_when_empty_and_other_empty_labels_are_not() {
        let identity = Identity::new("", "", "", "process/api");
        let labels = LabelSet::new(&workload::TURN_DURATION, Some(&identity), &["redis", ""]);
        assert_eq!(
            text(&labels),
            r#"namespace="",pod="",container="",workload="process/api",protocol="redis""#
        );
        assert_eq!(labels.iter().count(), 5);
    }

    #[test]
    fn a_series_without_labels_writes_nothing() {
        let labels = LabelSet::new(&crate::metrics::agent::QUEUE_DEPTH, None, &[]);
        assert!(labels.is_empty());
        assert_eq!(text(&labels), "");
    }

    #[test]
    fn values_are_escaped_in_text_and_kept_raw_in_pairs() {
        let identity = Identity::new("a\"b", "c\\d", "e\nf", "g, h={}");
        let labels = LabelSet::new(&workload::CPU_THROTTLED, Some(&identity), &[]);
        assert_eq!(
            text(&labels),
            r#"namespace="a\"b",pod="c\\d",container="e\nf",workload="g, h={}""#
        );
        let values: Vec<_> = labels.iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["a\"b", "c\\d", "e\nf", "g, h={}"]);
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let long = "ü".repeat(200);
        let identity = Identity::new(&format!("x{long}"), &long, "", "");
        let labels = LabelSet::new(&workload::CPU_THROTTLED, Some(&identity), &[]);
        let lengths: Vec<_> = labels.iter().map(|(_, value)| value.len()).collect();
        assert_eq!(lengths, [255, 256, 0, 0]);
    }
}
