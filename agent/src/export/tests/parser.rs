//! A strict parser of both text formats, written from their specifications and
//! not from the writer. Panics on whatever a scraper would refuse.

use std::collections::{BTreeMap, BTreeSet};

/// A family as parsed.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) kind: String,
    pub(super) unit: Option<String>,
    pub(super) samples: Vec<Sample>,
}

/// A sample as parsed; label values are unescaped.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: String,
}

impl Sample {
    pub(super) fn number(&self) -> f64 {
        match self.value.as_str() {
            "+Inf" => f64::INFINITY,
            "-Inf" => f64::NEG_INFINITY,
            "NaN" => f64::NAN,
            value => value.parse().unwrap(),
        }
    }

    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// Families by name, as the `TYPE` lines name them.
pub(super) fn parse(text: &str, is_openmetrics: bool) -> BTreeMap<String, Parsed> {
    assert!(text.is_empty() || text.ends_with('\n'));
    let body = if is_openmetrics {
        text.strip_suffix("# EOF\n").expect("no # EOF at the end")
    } else {
        text
    };
    let mut families: BTreeMap<String, Parsed> = BTreeMap::new();
    let mut current = String::new();
    let mut seen = BTreeSet::new();
    // Not `lines`, which would also split at \r\n.
    for line in body.split_terminator('\n') {
        assert!(!line.is_empty());
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, rest) =
                (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            if word == "HELP" {
                assert!(
                    families.insert(name.to_owned(), Parsed::default()).is_none(),
                    "{name} is there twice"
                );
                current = name.to_owned();
            }
            assert_eq!(name, current);
            let family = families.get_mut(name).unwrap();
            assert!(family.samples.is_empty());
            match word {
                "HELP" => {}
                "TYPE" => family.kind = rest.to_owned(),
                "UNIT" => {
                    assert!(is_openmetrics && name.ends_with(&format!("_{rest}")));
                    family.unit = Some(rest.to_owned());
                }
                _ => panic!("unknown comment {line}"),
            }
            continue;
        }
        let sample = parse_sample(line);
        let suffix =
            sample.name.strip_prefix(&current).expect("a sample outside of its family").to_owned();
        let family = families.get_mut(&current).unwrap();
        let allowed: &[&str] = match (family.kind.as_str(), is_openmetrics) {
            ("counter", true) => &["_total"],
            ("counter" | "gauge", _) => &[""],
            ("histogram", _) => &["_bucket", "_sum", "_count"],
            ("summary", _) => &["_sum", "_count"],
            (kind, _) => panic!("unknown type {kind}"),
        };
        assert!(allowed.contains(&suffix.as_str()), "{} in a {}", sample.name, family.kind);
        let mut key = sample.labels.clone();
        key.sort();
        assert!(
            key.windows(2).all(|pair| pair[0].0 != pair[1].0),
            "a label is there twice: {line}"
        );
        assert!(seen.insert((sample.name.clone(), key)), "a series is there twice: {line}");
        family.samples.push(sample);
    }
    families
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).unwrap();
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => parse_labels(rest),
        None => (Vec::new(), rest),
    };
    let value = rest.strip_prefix(' ').unwrap();
    assert!(!value.contains(' '), "a timestamp: {line}");
    let sample = Sample { name: name.to_owned(), labels, value: value.to_owned() };
    let _ = sample.number();
    sample
}

fn parse_labels(text: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = Vec::new();
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once("=\"").unwrap();
        let mut value = String::new();
        let mut chars = after.char_indices();
        let end = loop {
            let (index, c) = chars.next().expect("an open quote");
            match c {
                '"' => break index,
                '\\' => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    c => panic!("unknown escape \\{c}"),
                }),
                c => value.push(c),
            }
        };
        labels.push((name.to_owned(), value));
        let after = &after[end + 1..];
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, after.strip_prefix('}').unwrap()),
        }
    }
}
