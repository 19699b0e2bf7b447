//! The flags of every key of the configuration, made from its table.
//!
//! Separate from the verbs because four of them take these flags, and because
//! a key must become a flag without a line being written for it.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, value_parser};

use crate::config::{Config, Entry, KEYS, Key, Layer, Origin, Topic};

/// What the flags say: a file, and keys.
pub(super) struct Configured {
    /// The file of `--config`.
    pub(super) file: Option<PathBuf>,
    /// The keys that are set.
    pub(super) flags: Layer,
}

/// The id of `--config`; no key is called so.
const FILE: &str = "config";

impl Args for Configured {
    fn augment_args(command: clap::Command) -> clap::Command {
        let file = Arg::new(FILE)
            .long("config")
            .value_name("FILE")
            .value_parser(value_parser!(PathBuf))
            .help_heading(heading(Topic::Endpoint))
            .help("The configuration file [variable: STRATA_CONFIG]");
        let defaults = Config::default();
        let command = command.arg(file).args(KEYS.iter().map(|key| argument(key, &defaults)));
        command
            .after_help("--help shows the flags of every key of the configuration.")
            .after_long_help(
                "Each flag is also a key of the configuration file and a variable: \
             --watch-host is `host` under `watch`, and STRATA_WATCH_HOST.",
            )
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Configured {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let entries = KEYS.iter().filter_map(|key| entry(key, matches)).collect();
        Ok(Self {
            file: matches.get_one::<PathBuf>(FILE).cloned(),
            flags: Layer { entries, problems: Vec::new() },
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flag of a key. Its value stays text: the table's own types parse it,
/// so that a flag is refused in the words in which the file would be.
fn argument(key: &'static Key, defaults: &Config) -> Arg {
    let flag = key.flag();
    let name = key.name.rsplit('.').next().unwrap_or(key.name).to_ascii_uppercase();
    let argument = Arg::new(key.name)
        .value_name(name)
        .value_parser(ValueParser::string())
        .help_heading(heading(key.topic))
        .hide_short_help(key.topic == Topic::Setting)
        .help(short_help(key, defaults))
        .long_help(long_help(key, defaults));
    let argument = match key.alias {
        Some(alias) => argument.long(alias).visible_alias(flag),
        None => argument.long(flag),
    };
    if key.is_boolean() {
        let argument = argument.value_name("true|false").num_args(0..=1);
        return argument.require_equals(true).default_missing_value("true");
    }
    let action = if key.is_list() { ArgAction::Append } else { ArgAction::Set };
    // An empty text is a value: it empties a list, or takes a default away.
    argument.action(action).num_args(1)
}

fn heading(topic: Topic) -> &'static str {
    match topic {
        Topic::Endpoint => "Agent",
        Topic::Target => "What to watch",
        Topic::Setting => "Configuration",
    }
}

fn short_help(key: &Key, defaults: &Config) -> String {
    let help = key.help.trim_end_matches('.');
    match key.show(defaults).as_slice() {
        [default] if !key.is_boolean() => format!("{help} [default: {default}]"),
        _ => help.to_owned(),
    }
}

fn long_help(key: &Key, defaults: &Config) -> String {
    let separator = key.separator().map(|c| format!(", separated by `{c}`")).unwrap_or_default();
    let default = key.show(defaults).join(&key.separator().map(String::from).unwrap_or_default());
    let default = if default.is_empty() { "none".to_owned() } else { default };
    format!("{}\n{}{separator}; default: {default}", key.help, key.describe())
}

fn entry(key: &'static Key, matches: &ArgMatches) -> Option<Entry> {
    let given = matches.get_many::<String>(key.name)?;
    let texts = given.flat_map(|text| key.split(text)).collect();
    let flag = key.alias.map_or_else(|| key.flag(), str::to_owned);
    Some(Entry { key, texts, origin: Origin::Flag { name: format!("--{flag}") } })
}
