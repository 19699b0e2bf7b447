//! The plain file of rules, for a Prometheus without the operator.

use tests::rules;

/// What stands above the rules.
const HEAD: &str =
    "# Written from rules.template.yaml and values.yaml by `cargo xtask tidy --bless`.\n";

#[test]
fn golden_rules_are_the_template_with_the_default_values() {
    let now = format!("{HEAD}{}", rules::render(&[]).unwrap());
    let path = rules::path("rules.yaml");
    if std::env::var_os("STRATA_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == now, "`cargo xtask tidy --bless` writes it anew; now it is\n{now}");
}
