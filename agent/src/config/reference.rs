//! The documentation of every key: `docs/config.md` and `deploy/strata.yaml`.
//!
//! Separate because both are written from the table, and tests hold the
//! committed files equal to what is written here.

use std::fmt::Write as _;

use super::{CONFIG_VARIABLE, Config, KEYS, Key};

/// The reference page: every key with its type, default and meaning.
#[must_use]
pub fn reference_markdown() -> String {
    let defaults = Config::default();
    let mut page = format!(
        "# Configuration\n\
        \n\
        <!-- Written from the table in agent/src/config/table.rs: `cargo xtask tidy --bless`. -->\n\
        \n\
        Every key can be set in the file, by an environment variable and by a flag of the same name:\n\
        `watch.host` is `host` under `watch` in the file, `STRATA_WATCH_HOST` and `--watch-host`.\n\
        Flags overrule the environment, the environment overrules the file, the file overrules the defaults.\n\
        A list that is set again replaces the one before.\n\
        \n\
        The file is YAML; `--config FILE` or `{CONFIG_VARIABLE}` names it, and without either there is none.\n\
        [`deploy/strata.yaml`](../deploy/strata.yaml) shows every key with its default.\n\
        In flags and variables, commas separate the items of a list, but label selectors are separated by `;`,\n\
        because a comma inside one joins its conditions; a flag may also be repeated.\n\
        A boolean flag without a value means `true`; with one, it takes `=`: `--lanes-syscalls=false`.\n\
        Durations and sizes carry their unit: `10ms`, `4MiB`.\n\
        \n\
        A key or a `STRATA_*` variable that does not exist is an error, which names the nearest one that does.\n\
        `strata config check` says what is wrong, or what is set and by what; `strata config print-default` prints the sample file.\n\
        \n\
        A change of a key that is *live* is taken up by a running agent; the others need a restart.\n"
    );
    let mut section = None;
    for key in KEYS {
        let group = key.name.split_once('.').map_or("", |(section, _)| section);
        let heading = if group.is_empty() { "agent" } else { group };
        if section != Some(heading) {
            section = Some(heading);
            let _ = write!(page, "\n## {heading}\n\n");
            page.push_str("| key | type | default | live | meaning |\n|---|---|---|---|---|\n");
        }
        let alias = key.alias.map(|alias| format!(" Also `--{alias}`.")).unwrap_or_default();
        let live = if key.is_live { "yes" } else { "" };
        let _ = writeln!(
            page,
            "| `{}` | {} | `{}` | {live} | {}{alias} |",
            key.name,
            key.describe(),
            yaml(key, &defaults),
            key.help
        );
    }
    page
}

/// A configuration file with every key at its default, commented out.
#[must_use]
pub fn sample_yaml() -> String {
    let defaults = Config::default();
    let mut sample = String::from(
        "# Configuration of strata. Every key is here with its default, commented out;\n\
        # a running agent takes up what is live, the rest needs a restart.\n\
        # Reference: docs/config.md. Check a file: strata config check --config FILE\n",
    );
    let mut section = "";
    for key in KEYS {
        let (group, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if group.is_empty() || group != section {
            sample.push('\n');
        }
        if group != section && !group.is_empty() {
            let _ = writeln!(sample, "{group}:");
        }
        section = group;
        let indent = if group.is_empty() { "" } else { "  " };
        let live = if key.is_live { "; live" } else { "" };
        let _ = writeln!(sample, "{indent}# {}", key.help);
        let _ = writeln!(sample, "{indent}# ({}{live})", key.describe());
        let _ = writeln!(sample, "{indent}#{name}: {}", yaml(key, &defaults));
    }
    sample
}

/// A key's value as YAML.
fn yaml(key: &Key, config: &Config) -> String {
    let texts: Vec<String> = key.show(config).iter().map(|text| yaml_scalar(text)).collect();
    if key.is_list() { format!("[{}]", texts.join(", ")) } else { texts.concat() }
}

/// A text as a YAML scalar: plain if no rule of YAML can touch it.
fn yaml_scalar(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if starts_well && text.chars().all(is_safe) && !text.ends_with(':') {
        return text.to_owned();
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}
