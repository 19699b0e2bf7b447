//! Reads an exposition in text, Prometheus' or OpenMetrics', into samples.
//!
//! A reader of its own, not the agent's writer turned round: the tests judge
//! what the agent wrote. `promtool` judges the format itself.

use std::collections::BTreeMap;

use anyhow::Context as _;

/// One sample line.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name, with its suffix (`_count`, `_bucket`, `_total`).
    pub name: String,
    /// Labels by name, unescaped.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Sample {
    /// Value of a label; empty if it is not there, as in Prometheus.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    fn matches(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        self.name == name && labels.iter().all(|(key, value)| self.label(key) == *value)
    }
}

/// All samples of one scrape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    samples: Vec<Sample>,
}

impl Metrics {
    /// Parses an exposition.
    ///
    /// # Errors
    /// On the first line that is neither a comment nor a sample, naming it.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines
            .map(|line| parse_line(line).with_context(|| format!("not a sample: {line}")))
            .collect::<anyhow::Result<_>>()?;
        Ok(Self { samples })
    }

    /// Every sample.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The samples of that name that carry all these labels (among others).
    pub fn select<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| sample.matches(name, labels))
    }

    /// Only the samples that carry all these labels (among others).
    #[must_use]
    pub fn only(mut self, labels: &[(&str, &str)]) -> Self {
        self.samples.retain(|s| labels.iter().all(|(key, value)| s.label(key) == *value));
        self
    }

    /// Sum over [`Metrics::select`]; 0 if there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        // Not `sum()`, which gives -0 for nothing.
        self.select(name, labels).fold(0.0, |sum, sample| sum + sample.value)
    }

    /// The value if exactly one sample is selected.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut selected = self.select(name, labels);
        let first = selected.next()?;
        selected.next().is_none().then_some(first.value)
    }

    /// Values of the selected samples added up by the value of one label.
    #[must_use]
    pub fn sum_by(&self, name: &str, labels: &[(&str, &str)], by: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for sample in self.select(name, labels) {
            *sums.entry(sample.label(by).to_owned()).or_insert(0.0) += sample.value;
        }
        sums
    }
}

fn parse_line(line: &str) -> Option<Sample> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = parse_labels(inside, &mut labels)?;
    }
    // A timestamp or an exemplar may follow the value.
    let value = rest.split_whitespace().next()?;
    Some(Sample { name: name.to_owned(), labels, value: value.parse().ok()? })
}

/// Parses up to the closing brace and gives what follows it.
fn parse_labels<'a>(mut rest: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        let (key, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at,
                (_, '\\') => match chars.next()?.1 {
                    'n' => value.push('\n'),
                    other => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        labels.insert(key.to_owned(), value);
        rest = quoted.get(end + 1..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_unescaped_and_values_added_up() {
        let text = "# HELP a b\n# TYPE a counter\n\
                    a_total{x=\"1\",y=\"q\\\"\\\\\\n}\"} 3\n\
                    a_total{x=\"2\"} 4 1700000000 # {trace_id=\"z\"} 1\n\
                    b +Inf\nc{} 1e-3\n# EOF\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.sum("a_total", &[]), 7.0);
        assert_eq!(metrics.value("a_total", &[("x", "1")]), Some(3.0));
        assert_eq!(metrics.value("a_total", &[("y", "")]), Some(4.0), "absent is empty");
        assert_eq!(metrics.value("a_total", &[]), None, "two match");
        assert_eq!(metrics.samples()[0].label("y"), "q\"\\\n}");
        assert_eq!(metrics.value("b", &[]), Some(f64::INFINITY));
        assert_eq!(metrics.sum("nothing", &[]).to_string(), "0");
        assert_eq!(metrics.sum_by("a_total", &[], "x")["2"], 4.0);
        assert_eq!(metrics.only(&[("x", "2")]).sum("a_total", &[]), 4.0);
    }

    #[test]
    fn a_line_that_is_no_sample_is_named() {
        let error = Metrics::parse("a{x=\"1} 3").unwrap_err();
        assert!(error.to_string().contains("a{x="), "{error}");
        assert!(Metrics::parse("a one").is_err());
    }
}
