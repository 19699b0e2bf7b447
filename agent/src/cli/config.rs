//! The verbs `config check` and `config print-default`.
//!
//! Separate because they need no engine: what they print was settled when the
//! command line was parsed.

use std::io::Write;

use super::{Error, Format};
use crate::config::{Key, Setting, sample_yaml};

/// Prints the keys that are set, their values, and what set them.
///
/// # Errors
///
/// [`Error::Output`] if `out` does not take it.
pub fn check(settings: &[Setting], format: Format, out: &mut dyn Write) -> Result<(), Error> {
    match format {
        Format::Table => table(settings, out)?,
        Format::Json => {
            for setting in settings {
                writeln!(out, "{}", json(setting))?;
            }
        }
    }
    out.flush()?;
    Ok(())
}

/// Prints a configuration file with every key at its default.
///
/// # Errors
///
/// [`Error::Output`] if `out` does not take it.
pub fn print_default(out: &mut dyn Write) -> Result<(), Error> {
    out.write_all(sample_yaml().as_bytes())?;
    out.flush()?;
    Ok(())
}

fn table(settings: &[Setting], out: &mut dyn Write) -> std::io::Result<()> {
    let text = |setting: &Setting| {
        let separator = Key::find(setting.key).and_then(Key::separator);
        setting.values.join(&separator.map(String::from).unwrap_or_default())
    };
    let rows: Vec<_> =
        settings.iter().map(|set| (set.key, text(set), set.origin.to_string())).collect();
    let width = |of: &dyn Fn(&(&str, String, String)) -> usize, heading: &str| {
        rows.iter().map(of).max().unwrap_or_default().max(heading.len())
    };
    let key_width = width(&|row| row.0.len(), "KEY");
    let value_width = width(&|row| row.1.chars().count(), "VALUE");
    writeln!(out, "{:key_width$}  {:value_width$}  SET BY", "KEY", "VALUE")?;
    for (key, value, origin) in &rows {
        writeln!(out, "{key:key_width$}  {value:value_width$}  {origin}")?;
    }
    Ok(())
}

fn json(setting: &Setting) -> serde_json::Value {
    let is_list = Key::find(setting.key).is_some_and(Key::is_list);
    let value = if is_list {
        serde_json::Value::from(setting.values.clone())
    } else {
        serde_json::Value::from(setting.values.concat())
    };
    serde_json::json!({ "key": setting.key, "value": value, "set_by": setting.origin.to_string() })
}
