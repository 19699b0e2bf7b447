//! Tests of the test verb: its command line, its verdicts, its summary.
//! Separate to keep the verb itself short.

use super::*;

fn parse(words: &[&str]) -> Result<Options, String> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    Options::parse(&words).map_err(|UsageError(message)| message)
}

#[test]
fn flags_stages_and_a_filter_may_come_in_any_order() {
    let options = parse(&["churn", "--full", "--stage", "unit", "--strict"]).unwrap();
    assert!(options.is_full && options.is_strict);
    assert_eq!(options.filter.as_deref(), Some("churn"));
    assert_eq!(options.stages, ["unit"]);
}

#[test]
fn what_makes_no_sense_is_named() {
    assert_eq!(parse(&["--fast"]).unwrap_err(), "unknown option `--fast`");
    assert_eq!(parse(&["a", "b"]).unwrap_err(), "a second filter, `b`");
    assert!(parse(&["--stage", "none"]).unwrap_err().contains("fmt"));
    assert!(parse(&["--stage"]).is_err());
}

#[test]
fn a_filter_leaves_out_stages_without_tests() {
    let options = parse(&["churn"]).unwrap();
    let names: Vec<&str> =
        STAGES.iter().filter(|stage| options.selects(stage)).map(|stage| stage.name).collect();
    assert!(names.contains(&"unit") && !names.contains(&"clippy"), "{names:?}");
}

#[test]
fn a_failure_fails_the_run() {
    let total = Tally { passed: 10, failed: 1, ..Tally::default() };
    assert!(conclude(&Options::default(), &total, 0).is_err());
}

#[test]
fn a_skip_fails_only_the_strict_run() {
    let total = Tally { passed: 10, ..Tally::default() };
    assert!(conclude(&Options::default(), &total, 1).is_ok());
    let strict = Options { is_strict: true, ..Options::default() };
    assert!(conclude(&strict, &total, 1).is_err());
    assert!(conclude(&strict, &total, 0).is_ok());
}

#[test]
fn a_flaky_test_fails_only_the_strict_run() {
    let total = Tally { passed: 10, flaky: vec!["a::b".to_owned()], ..Tally::default() };
    assert!(conclude(&Options::default(), &total, 0).is_ok());
    let strict = Options { is_strict: true, ..Options::default() };
    assert!(conclude(&strict, &total, 0).is_err());
}

#[test]
fn a_filter_that_matches_nothing_is_a_failure() {
    let options = Options { filter: Some("x".to_owned()), ..Options::default() };
    assert!(conclude(&options, &Tally::default(), 0).is_err());
}

#[test]
fn the_summary_has_each_stage_and_each_skip() {
    let finished = [
        Finished { name: "fmt", ending: Ending::Passed, took: Duration::from_secs(6) },
        Finished { name: "unit", ending: Ending::Failed, took: Duration::from_secs(90) },
    ];
    let text = summary(&finished, &["kernel: not root".to_owned()], &["a::b".to_owned()]);
    assert!(text.contains("fmt          ok        0.1 min\n"), "{text}");
    assert!(text.contains("unit         FAILED    1.5 min\n"), "{text}");
    assert!(text.contains("1.6 min\n"), "{text}");
    assert!(text.contains("  kernel: not root\n"), "{text}");
    assert!(text.contains("  a::b\n"), "{text}");
}

#[test]
fn a_stage_builds_only_on_an_earlier_one() {
    for (position, stage) in STAGES.iter().enumerate() {
        if let Some(after) = stage.after {
            let earlier = STAGES.iter().position(|other| other.name == after);
            assert!(earlier.is_some_and(|earlier| earlier < position), "{}", stage.name);
        }
    }
}
