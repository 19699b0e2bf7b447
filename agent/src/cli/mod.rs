//! The command line: verbs and flags in, a [`Command`] out.
//!
//! Separate from what the verbs do: everything that a user can get wrong is
//! refused here, and what is left is plain data with a resolved configuration.

pub mod config;
mod error;
pub mod exit;
mod flags;
pub mod metrics;
pub mod stdout;

use std::ffi::OsString;

use clap::{Parser, Subcommand, ValueEnum};

pub use error::Error;

use self::flags::Configured;
use crate::config::{Config, Environment, Setting, Sources};

/// What is to be done, with everything that it takes.
#[derive(Clone, Debug)]
pub enum Command {
    /// Run the agent.
    Agent {
        /// How.
        config: Config,
        /// Where that comes from, to load it again when the file changes.
        sources: Sources,
    },
    /// Say what works on this node.
    Check {
        /// What the agent would be told.
        config: Config,
        /// The form of the output.
        format: Format,
    },
    /// Show workloads.
    Top {
        /// The socket of a running agent, and what to watch.
        config: Config,
        /// Print what there is once, and end.
        once: bool,
        /// The form of that output.
        format: Format,
    },
    /// Print the catalogue of metrics.
    Metrics {
        /// The form of the output.
        format: Format,
    },
    /// The configuration is in order: print what is set, and by what.
    ConfigCheck {
        /// The keys that are not left to their defaults.
        settings: Vec<Setting>,
        /// The form of the output.
        format: Format,
    },
    /// Print a file with every key at its default.
    ConfigPrintDefault,
}

/// The form of data on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, for people.
    #[default]
    Table,
    /// One JSON object a line.
    Json,
}

/// Where did each API request's time go?
#[derive(Parser)]
#[command(name = "strata", version)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Watch this node and serve its metrics
    Agent(Configured),
    /// Say what works on this node, and why the rest does not
    Check {
        #[command(flatten)]
        configured: Configured,
        #[command(flatten)]
        output: Output,
    },
    /// Show the workloads of this node as they run
    Top {
        #[command(flatten)]
        configured: Configured,
        /// Print what there is once, and end
        #[arg(long)]
        once: bool,
        /// The form of what is printed once
        #[arg(short, long, requires = "once", value_enum, value_name = "FORM", default_value_t)]
        output: Format,
    },
    /// Print the catalogue of metrics
    Metrics {
        #[command(flatten)]
        output: Output,
    },
    /// Check or print configuration
    #[command(subcommand)]
    Config(ConfigVerb),
}

#[derive(Subcommand)]
enum ConfigVerb {
    /// Say what is wrong with a configuration, or what is set and by what
    Check {
        #[command(flatten)]
        configured: Configured,
        #[command(flatten)]
        output: Output,
    },
    /// Print a file with every key at its default
    PrintDefault,
}

#[derive(clap::Args)]
struct Output {
    /// The form of the output
    #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
    output: Format,
}

/// The command of these arguments, the first of which is the program's name,
/// in this environment. Reads the configuration file, if one is named.
///
/// # Errors
///
/// [`Error::Usage`] for arguments that do not fit, and also for `--help` and
/// `--version`, whose text it carries; [`Error::Config`] if the configuration
/// cannot be read or is wrong.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, Error> {
    let line = Line::try_parse_from(arguments)?;
    let sources = |configured: Configured| Sources {
        file: configured.file,
        environment: Environment::new(variables),
        flags: configured.flags,
    };
    Ok(match line.verb {
        Verb::Agent(configured) => {
            let sources = sources(configured);
            Command::Agent { config: sources.load()?.config, sources }
        }
        Verb::Check { configured, output } => {
            Command::Check { config: sources(configured).load()?.config, format: output.output }
        }
        Verb::Top { configured, once, output } => {
            Command::Top { config: sources(configured).load()?.config, once, format: output }
        }
        Verb::Metrics { output } => Command::Metrics { format: output.output },
        Verb::Config(ConfigVerb::Check { configured, output }) => Command::ConfigCheck {
            settings: sources(configured).load()?.settings,
            format: output.output,
        },
        Verb::Config(ConfigVerb::PrintDefault) => Command::ConfigPrintDefault,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &str) -> Command {
        let arguments = arguments.split_whitespace().map(OsString::from);
        parse(arguments, []).unwrap()
    }

    #[test]
    fn the_first_command_that_anybody_tries_is_understood() {
        let Command::Agent { config, sources } =
            parsed("strata agent --listen 127.0.0.1:9999 --port 8080")
        else {
            panic!("not the agent");
        };
        assert_eq!(config.listen.port(), 9999);
        assert_eq!(config.watch.ports, [8080]);
        assert_eq!(sources.load().unwrap().config, config, "it can be loaded again");
    }

    #[test]
    fn targets_are_given_alike_to_every_verb_that_takes_them() {
        for verb in ["agent", "check", "top"] {
            let line = format!(
                "strata {verb} --pid 1,2 --port 80 --comm nginx --container api-* --watch-host"
            );
            let (Command::Agent { config, .. }
            | Command::Check { config, .. }
            | Command::Top { config, .. }) = parsed(&line)
            else {
                panic!("another verb");
            };
            let watch = config.watch;
            assert_eq!((watch.pids, watch.ports), (vec![1, 2], vec![80]));
            assert_eq!(watch.comms, ["nginx"]);
            assert!(watch.host && watch.containers_in[0].matches("api-1"));
        }
    }

    #[test]
    fn a_boolean_flag_does_not_swallow_what_follows() {
        assert!(parse(["strata", "agent", "--off", "true"].map(OsString::from), []).is_err());
        let Command::Agent { config, .. } = parsed("strata agent --off --lanes-cpu=false") else {
            panic!("not the agent");
        };
        assert!(config.off && !config.lanes.cpu);
    }

    #[test]
    fn forms_are_chosen_by_name() {
        let Command::Top { once, format, .. } = parsed("strata top --once -o json") else {
            panic!("not top");
        };
        assert!(once && format == Format::Json);
        assert!(parse(["strata", "top", "-o", "json"].map(OsString::from), []).is_err());
        assert!(matches!(parsed("strata top"), Command::Top { once: false, .. }));
        assert!(matches!(parsed("strata metrics"), Command::Metrics { format: Format::Table }));
    }

    // clap checks its own definition only where assertions are on.
    #[cfg(debug_assertions)]
    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        <Line as clap::CommandFactory>::command().debug_assert();
    }
}
