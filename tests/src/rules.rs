//! The rules of `deploy/prometheus`, filled with values.
//!
//! Separate because three tests want them: the render that is committed, the
//! chart's, and one with short times for a live Prometheus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A file of `deploy/prometheus`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus").join(name)
}

/// The values that the rules have by default, as text, by name.
///
/// # Errors
/// When the file cannot be read.
pub fn defaults() -> anyhow::Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path("values.yaml"))?;
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.split_once(": ").with_context(|| line.to_owned())?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The rules with these values in the place of the defaults.
///
/// # Errors
/// When a value has no place, or a place no value.
pub fn render(values: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut all = defaults()?;
    for (name, value) in values {
        let known = all.get_mut(*name).with_context(|| format!("no value {name}"))?;
        (*value).clone_into(known);
    }
    let template = std::fs::read_to_string(path("rules.template.yaml"))?;
    // The head of the file is about the template.
    let start = template.find("\ngroups:").map(|at| at + 1).context("no groups")?;
    let mut text = template.get(start..).context("no groups")?.to_owned();
    for (name, value) in &all {
        let place = format!("${{{name}}}");
        anyhow::ensure!(text.contains(&place), "{name} is used nowhere");
        text = text.replace(&place, value);
    }
    anyhow::ensure!(!text.contains("${"), "a place without a value");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_places_and_places_values() {
        assert!(render(&[("unheard_of", "1")]).is_err());
        assert!(render(&[("window", "7m")]).unwrap().contains("[7m]"));
        assert!(!render(&[]).unwrap().contains("${"));
    }

    #[test]
    fn every_alert_has_a_runbook_that_names_it() {
        let text = render(&[]).unwrap();
        let mut alerts = 0;
        for (at, _) in text.match_indices("- alert: ") {
            let rest = &text[at + "- alert: ".len()..];
            let name = rest.lines().next().unwrap();
            let page = rest.split_once("runbook_url: docs/runbooks/").unwrap().1;
            let page = page.lines().next().unwrap();
            let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/runbooks").join(page);
            let runbook = std::fs::read_to_string(&docs).unwrap_or_default();
            assert!(runbook.contains(&format!("`{name}`")), "{name}: {}", docs.display());
            alerts += 1;
        }
        assert_eq!(alerts, 16);
    }
}
