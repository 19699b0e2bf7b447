//! The command line of `strata`: verbs and flags in, a [`Command`] out.
//!
//! Separate from the plugin's, which has other verbs and no configuration.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::flags::Configured;
use super::target::PodTargets;
use super::{Error, Format, Output, capture, interval, net, trace};
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
    /// Name peers for the agents of a cluster.
    #[cfg(feature = "kubernetes")]
    Peers {
        /// Where to listen, and how the API server is reached.
        config: Config,
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
        /// Time between two samples.
        interval: Duration,
        /// Which pods.
        pods: PodTargets,
    },
    /// Show the network by peer.
    Net {
        /// The socket of a running agent, and what to watch.
        config: Config,
        /// Print what there is once, and end.
        once: bool,
        /// The form of the output.
        format: Format,
        /// Time between two samples.
        interval: Duration,
        /// Which edges, in which order.
        view: net::View,
        /// Which pods.
        pods: PodTargets,
    },
    /// Show requests as they finish.
    Trace {
        /// The socket of a running agent, and what to watch.
        config: Config,
        /// Which requests, until when, and in which form.
        options: trace::Options,
        /// Of which pods.
        pods: PodTargets,
    },
    /// Show what goroutines and threads do for some seconds.
    Capture {
        /// The socket of a running agent, and what to watch.
        config: Config,
        /// How long, and where to.
        options: capture::Options,
        /// Of which pods.
        pods: PodTargets,
    },
    /// Connect stdin and stdout with the agent's socket.
    Relay {
        /// The socket.
        config: Config,
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
        /// Take two samples, print what happened in between, and end
        #[arg(long)]
        once: bool,
        /// Time between two samples
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
        interval: Duration,
        /// The form of what is printed once
        #[arg(short, long, requires = "once", value_enum, value_name = "FORM", default_value_t)]
        output: Format,
        #[command(flatten)]
        pods: PodTargets,
    },
    /// Show with whom the workloads of this node talk, and how well
    Net {
        #[command(flatten)]
        configured: Configured,
        /// Take two samples, print what happened in between, and end
        #[arg(long)]
        once: bool,
        /// Time between two samples
        #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
        interval: Duration,
        /// The form of the output
        #[arg(short, long, value_enum, value_name = "FORM", default_value_t)]
        output: Format,
        #[command(flatten)]
        view: net::View,
        #[command(flatten)]
        pods: PodTargets,
    },
    /// Show requests as they finish, each with where its time went
    Trace {
        #[command(flatten)]
        configured: Configured,
        #[command(flatten)]
        options: trace::Options,
        #[command(flatten)]
        pods: PodTargets,
    },
    /// Show what goroutines and threads do for some seconds, and for which requests
    Capture {
        #[command(flatten)]
        configured: Configured,
        #[command(flatten)]
        options: capture::Options,
        #[command(flatten)]
        pods: PodTargets,
    },
    /// Watch the cluster, and name peers for the agents of its nodes
    #[cfg(feature = "kubernetes")]
    Peers(Configured),
    /// Connect stdin and stdout with the agent's socket, for `kubectl strata`
    #[command(hide = true)]
    Relay(Configured),
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
        Verb::Top { configured, once, interval, output, pods } => Command::Top {
            config: sources(configured).load()?.config,
            once,
            format: output,
            interval,
            pods,
        },
        Verb::Net { configured, once, interval, output, view, pods } => Command::Net {
            config: sources(configured).load()?.config,
            once,
            format: output,
            interval,
            view,
            pods,
        },
        Verb::Trace { configured, options, pods } => {
            Command::Trace { config: sources(configured).load()?.config, options, pods }
        }
        Verb::Capture { configured, options, pods } => {
            Command::Capture { config: sources(configured).load()?.config, options, pods }
        }
        #[cfg(feature = "kubernetes")]
        Verb::Peers(configured) => Command::Peers { config: sources(configured).load()?.config },
        Verb::Relay(configured) => Command::Relay { config: sources(configured).load()?.config },
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
        for verb in ["agent", "check", "top", "trace"] {
            let line = format!(
                "strata {verb} --pid 1,2 --port 80 --comm nginx --container api-* --watch-host"
            );
            let (Command::Agent { config, .. }
            | Command::Check { config, .. }
            | Command::Trace { config, .. }
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
    fn pods_and_workloads_are_named_as_to_kubectl() {
        let line = "strata trace pod/api-1 deploy/api -n shop --port 80 -o json";
        let Command::Trace { config, pods, .. } = parsed(line) else { panic!("not trace") };
        assert_eq!(config.watch.ports, [80]);
        assert_eq!(pods.query().pods, ["shop/api-1"]);
        let Command::Top { pods, .. } = parsed("strata top sts/db") else { panic!("not top") };
        assert_eq!(pods.query().pod_workloads, ["statefulset/db"]);
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
        let Command::Top { once, format, interval, .. } =
            parsed("strata top --once -o json --interval 250ms")
        else {
            panic!("not top");
        };
        assert!(once && format == Format::Json && interval == Duration::from_millis(250));
        for bad in ["1", "1ms", "2m", "x"] {
            let line = ["strata", "top", "--interval", bad].map(OsString::from);
            assert!(parse(line, []).is_err(), "{bad}");
        }
        assert!(parse(["strata", "top", "-o", "json"].map(OsString::from), []).is_err());
        assert!(matches!(parsed("strata top"), Command::Top { once: false, .. }));
        assert!(matches!(parsed("strata metrics"), Command::Metrics { format: Format::Table }));
    }

    #[test]
    fn edges_are_sorted_and_chosen() {
        let line = "strata net -n shop --sort jitter --scope cross_zone --once -o json";
        let Command::Net { once, format, view, pods, .. } = parsed(line) else { panic!("not net") };
        assert!(once && format == Format::Json && pods != PodTargets::default());
        assert_eq!((view.sort, view.scope), (net::Sort::Jitter, Some(net::Scope::CrossZone)));
        for bad in ["--sort size", "--scope moon"] {
            let line = format!("strata net {bad}");
            let line = line.split_whitespace().map(OsString::from);
            assert!(parse(line, []).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_trace_is_told_which_requests_until_when_and_how() {
        let Command::Trace { options, .. } = parsed(
            "strata trace --slower 50ms --errors --path /v1/* --count 3 --timeout 10s -o waterfall",
        ) else {
            panic!("not trace");
        };
        let expected = trace::Options {
            slower: Some(Duration::from_millis(50)),
            errors: true,
            path: Some("/v1/*".to_owned()),
            count: Some(3),
            timeout: Some(Duration::from_secs(10)),
            output: trace::Form::Waterfall,
        };
        assert_eq!(options, expected);
        let bad = [
            "--slower 50",
            "--slower 0ns",
            "--count 0",
            "--path x thing/y",
            "--timeout 1ms",
            "-o x",
        ];
        for bad in bad {
            let line = format!("strata trace {bad}");
            let line = line.split_whitespace().map(OsString::from);
            assert!(parse(line, []).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_capture_is_told_how_long_and_where_to() {
        let Command::Capture { options, pods, .. } =
            parsed("strata capture --for 2s pod/x -o table -o trace.json")
        else {
            panic!("not capture");
        };
        let file = capture::Output::File("trace.json".into());
        assert_eq!(options.output, [capture::Output::Table, file]);
        assert_eq!((options.time, pods.query().pods), (Duration::from_secs(2), vec!["x".into()]));
        let Command::Capture { options, .. } = parsed("strata capture") else { panic!() };
        assert_eq!(options.output, [capture::Output::Table]);
        for bad in ["--for 61s", "--for 1ms", "--for 5", "-o json", "thing/y"] {
            let line = format!("strata capture {bad}");
            let line = line.split_whitespace().map(OsString::from);
            assert!(parse(line, []).is_err(), "{bad}");
        }
    }

    // clap checks its own definition only where assertions are on.
    #[cfg(debug_assertions)]
    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        <Line as clap::CommandFactory>::command().debug_assert();
    }
}
