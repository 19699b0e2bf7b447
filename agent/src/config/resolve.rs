//! From what a file says to what it means, and what must hold between keys.
//!
//! Separate from `raw` as meaning is from spelling: here unknown keys get the
//! name of a valid one, and values that are fine alone are held together.

use std::path::Path;

use super::nearest::nearest;
use super::overlay::{Entry, Layer, Origin};
use super::raw::{self, Content, Item, Malformed};
use super::value::Unfit;
use super::{Config, KEYS, Key, Problem};

/// What the text of a file sets.
pub(super) fn file_layer(path: &Path, text: &str) -> Layer {
    let mut layer = Layer::default();
    match raw::parse(text) {
        Ok(items) => items.into_iter().for_each(|item| add(&mut layer, path, item)),
        Err(Malformed { line, message }) => {
            layer.problems.push(Problem::Syntax { path: path.to_owned(), line, message });
        }
    }
    layer
}

fn add(layer: &mut Layer, path: &Path, item: Item) {
    let Item { name, line, content } = item;
    let origin = Origin::File { path: path.to_owned(), line };
    match (Key::find(&name), content) {
        (Some(key), Content::Texts(texts)) => layer.entries.push(Entry { key, texts, origin }),
        (Some(key), Content::Nothing) => {
            layer.problems.push(Problem::Value { origin, key: key.name, unfit: Unfit::Absent })
        }
        (Some(_), Content::Unknown) => layer.problems.push(Problem::Dotted { origin, name }),
        (None, _) => {
            let nearest = nearest_key(&name);
            layer.problems.push(Problem::UnknownKey { origin, name, nearest });
        }
    }
}

fn nearest_key(name: &str) -> String {
    let sections =
        KEYS.iter().filter_map(|key| key.name.split_once('.').map(|(section, _)| section));
    let names = KEYS.iter().map(|key| key.name).chain(sections);
    nearest(name, names).unwrap_or_default().to_owned()
}

/// What does not hold between keys.
pub(super) fn contradictions(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.series.per_container > config.series.per_node {
        problems.push(Problem::Conflict {
            key: "series.per_container",
            other: "series.per_node",
            reason: format!(
                "{} series of one container are more than the {} of the node",
                config.series.per_container, config.series.per_node
            ),
        });
    }
    for (key, other) in [
        ("watch.containers_in", "watch.containers_out"),
        ("watch.namespaces_in", "watch.namespaces_out"),
        ("watch.labels_in", "watch.labels_out"),
    ] {
        let show = |name| Key::find(name).map(|key| key.show(config)).unwrap_or_default();
        let out = show(other);
        if let Some(both) = show(key).into_iter().find(|text| out.contains(text)) {
            let reason = format!("`{both}` is in both");
            problems.push(Problem::Conflict { key, other, reason });
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let layer = file_layer(Path::new("strata.yaml"), text);
        layer.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
        for (text, expected) in [
            (
                "off: true\nlisten_on: x\n",
                "strata.yaml:2: unknown key `listen_on`; the nearest valid one is `listen`",
            ),
            (
                "watch:\n  hots: true\n",
                "strata.yaml:2: unknown key `watch.hots`; the nearest valid one is `watch.host`",
            ),
            (
                "wach:\n  host: true\n",
                "strata.yaml:1: unknown key `wach`; the nearest valid one is `watch`",
            ),
            (
                "ports: [80]\n",
                "strata.yaml:1: unknown key `ports`; the nearest valid one is `watch.ports`",
            ),
            ("lane:\n", "strata.yaml:1: unknown key `lane`; the nearest valid one is `lanes`"),
            (
                "watch.host: true\n",
                "strata.yaml:1: `watch.host` is one key of a section: write `host:` under `watch:`",
            ),
        ] {
            assert_eq!(problems(text), [expected], "{text}");
        }
    }

    #[test]
    fn a_key_of_the_wrong_shape_says_what_it_takes_and_where() {
        for (text, wanted) in [
            ("off: true\nlisten: [a]\n", ":2: `listen` takes one value: "),
            ("listen: {a: b}\n", ":1: `listen` takes one value: "),
            ("watch: true\n", ":1: invalid type: boolean `true`, expected the keys of `watch`"),
            ("watch:\n  ports: 80\n", ":2: `watch.ports` takes a list, such as [a, b]: "),
            ("paths:\n  ignore:\n    - /a\n    -\n", ":4: `paths.ignore` takes a list"),
            ("off: \"tr\n", ":1: `off` takes one value: "),
            ("- a\n", ": invalid type: sequence, expected keys with their values"),
            ("off: true\n---\noff: true\n", ":3: only single YAML document expected"),
        ] {
            let [problem] = problems(text).try_into().unwrap();
            assert!(problem.starts_with(&format!("strata.yaml{wanted}")), "{problem}");
        }
        assert_eq!(
            problems("off:\n"),
            ["strata.yaml:1: `off` has no value; leave the line out to keep the default"]
        );
    }

    #[test]
    fn a_scalar_is_its_very_characters() {
        let text = "watch:\n  containers_in: [12e45678, 0x10, on, 1_0, 007]\nproc_root: '/p'\n";
        let layer = file_layer(Path::new("f"), text);
        let texts: Vec<_> = layer.entries.iter().map(|entry| entry.texts.join(" ")).collect();
        assert_eq!(texts, ["12e45678 0x10 on 1_0 007", "/p"]);
    }

    #[test]
    fn a_key_written_twice_is_an_error() {
        assert_eq!(problems("off: true\noff: false\n").len(), 1);
        assert_eq!(problems("watch:\n  host: true\nwatch:\n  host: true\n").len(), 1);
    }

    #[test]
    fn a_file_may_be_as_wordy_as_it_likes() {
        let comments = "  # words\n".repeat(500);
        let layer = file_layer(
            Path::new("f"),
            &format!("watch:\n{comments}  host: true\n{comments}of: 1\n"),
        );
        assert_eq!(layer.entries.len(), 1);
        assert_eq!(
            layer.problems[0].to_string(),
            "f:1003: unknown key `of`; the nearest valid one is `off`"
        );
    }

    #[test]
    fn empty_files_and_empty_sections_set_nothing() {
        for text in ["", "\n", "# nothing\n", "---\n", "{}", "watch:\n", "watch: {}\n", "~"] {
            assert_eq!(file_layer(Path::new("f"), text), Layer::default(), "{text:?}");
        }
    }

    #[test]
    fn bombs_are_refused_and_not_swallowed() {
        let nested = "[".repeat(100_000);
        let deep = "a: ".to_owned() + &"{a: ".repeat(10_000);
        let laughs = (1..60).fold("a0: &a0 [x, x]\n".to_owned(), |text, n| {
            let before = n - 1;
            text + &format!("a{n}: &a{n} [*a{before}, *a{before}, *a{before}, *a{before}]\n")
        });
        for text in [nested, deep, laughs] {
            assert_eq!(problems(&text).len(), 1);
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let mut config = Config::default();
        config.series.per_container = config.series.per_node + 1;
        config.watch.namespaces_in = config.watch.namespaces_out.clone();
        let messages: Vec<_> = contradictions(&config).iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), 2, "{messages:?}");
        assert!(messages[1].ends_with("`kube-system` is in both"), "{messages:?}");
    }

    /// Fragments that make almost a file, so that the parser gets somewhere.
    fn almost_yaml() -> impl Strategy<Value = String> {
        let names = KEYS.iter().flat_map(|key| key.name.split('.')).collect::<Vec<_>>();
        let fragment = prop_oneof![
            proptest::sample::select(names).prop_map(str::to_owned),
            "[ \n:,\\[\\]{}&*!|>'\"%@`?#-]{1,3}",
            "(\n  |: |true|null|~|<<: |&a |\\*a|!!binary |!x |--- |\\.\\.\\.)",
            "\\PC{0,4}",
        ];
        proptest::collection::vec(fragment, 0..30).prop_map(|fragments| fragments.concat())
    }

    proptest! {
        #[test]
        fn no_file_panics(text in almost_yaml(), path in "\\PC{0,8}") {
            let layer = file_layer(Path::new(&path), &text);
            let _ = crate::config::overlay::overlay([layer]);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = file_layer(Path::new("f"), &String::from_utf8_lossy(&bytes));
        }
    }
}
