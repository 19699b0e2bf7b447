//! `kubectl strata`: the same verbs, of pods wherever they are.
//!
//! ```text
//! command line -> scope -> kubectl::choose -> a stream for each node -> merge -> the same pictures
//! ```
//!
//! Separate from the verbs on a node: here are namespaces and several agents,
//! and neither an engine nor a configuration.

mod capture;
mod check;
mod follow;
mod merge;
mod net;
mod rows;
mod sampling;
mod top;
mod trace;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::capture::Options as CaptureOptions;
use super::exit::say;
use super::net::View;
use super::stdout::Stdout;
use super::target::{Target, namespace, target};
use super::trace::Options;
use super::{Error, Format, Output, interval};
use crate::config::KUBECTL_VARIABLE;
use crate::export::json::VERSION;
use crate::kubectl::choose::{Plan, Scope};
use crate::kubectl::run::Kubectl;

/// Where did each API request's time go? Asks the agents of a cluster.
#[derive(Parser)]
#[command(name = "kubectl strata", bin_name = "kubectl strata", version)]
struct Line {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    verb: Verb,
}

/// Which cluster, and where its agents are.
#[derive(clap::Args)]
struct Cluster {
    /// The kubeconfig file, for kubectl
    #[arg(long, global = true, value_name = "FILE", help_heading = "Cluster")]
    kubeconfig: Option<OsString>,
    /// The context of it, for kubectl
    #[arg(long, global = true, value_name = "NAME", help_heading = "Cluster")]
    context: Option<String>,
    /// The namespace that the agents run in
    #[arg(
        long, global = true, value_name = "NAMESPACE", default_value = "strata",
        value_parser = namespace, help_heading = "Cluster"
    )]
    agent_namespace: String,
    /// The agent's socket in its pod, if it is not at its usual place
    #[arg(long, global = true, value_name = "PATH", help_heading = "Cluster")]
    agent_socket: Option<String>,
}

#[derive(Subcommand)]
enum Verb {
    /// Show what pods do
    Top {
        #[command(flatten)]
        pods: Pods,
        #[command(flatten)]
        sampled: Sampled,
    },
    /// Show with whom pods talk, and how well
    Net {
        #[command(flatten)]
        pods: Pods,
        #[command(flatten)]
        view: View,
        #[command(flatten)]
        sampled: Sampled,
    },
    /// Show requests as they finish, each with where its time went
    Trace {
        #[command(flatten)]
        pods: Pods,
        #[command(flatten)]
        options: Options,
    },
    /// Show what goroutines and threads do for some seconds, on one node
    Capture {
        #[command(flatten)]
        pods: Pods,
        #[command(flatten)]
        options: CaptureOptions,
    },
    /// Say what works on nodes, and why the rest does not
    Check {
        /// Only these nodes
        #[arg(long, value_name = "NODE", value_delimiter = ',')]
        node: Vec<String>,
        #[command(flatten)]
        output: Output,
    },
    /// Print the catalogue of metrics
    Metrics {
        #[command(flatten)]
        output: Output,
    },
    /// Print the version of this plugin and of its protocol
    Version,
}

/// When a picture is printed, and how.
#[derive(clap::Args)]
struct Sampled {
    /// Go on, and print what happened in each interval
    #[arg(short, long)]
    watch: bool,
    /// Print what happened in one interval, and end: as without --watch
    #[arg(long, conflicts_with = "watch")]
    once: bool,
    /// Time between two samples
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = interval)]
    interval: Duration,
    #[command(flatten)]
    output: Output,
}

impl Sampled {
    fn shown(self) -> sampling::Shown {
        let Self { watch, once: _, interval, output } = self;
        sampling::Shown { interval, is_watched: watch, format: output.output }
    }
}

/// Which pods.
#[derive(clap::Args)]
struct Pods {
    /// Only these pods and workloads: pod/NAME, deploy/NAME, sts/, ds/, job/
    #[arg(value_name = "KIND/NAME", value_parser = target, conflicts_with_all = ["selector", "all_namespaces"])]
    targets: Vec<Target>,
    /// Pods of this namespace; without it of the context's
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    namespace: Option<String>,
    /// Pods of every namespace
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// With -A: what runs on the nodes outside of pods too
    // What conflicts with -A lifts the requirement, so it is named here too.
    #[arg(
        long, requires = "all_namespaces", conflicts_with_all = ["namespace", "targets", "selector"]
    )]
    host: bool,
    /// Only pods with these labels
    #[arg(short = 'l', long, value_name = "SELECTOR", allow_hyphen_values = false)]
    selector: Option<String>,
    /// Only pods on these nodes
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    node: Vec<String>,
}

impl Pods {
    fn scope(self) -> Scope {
        let mut scope = Scope {
            namespace: self.namespace,
            is_everywhere: self.all_namespaces,
            has_hosts: self.host,
            selector: self.selector,
            nodes: self.node,
            ..Scope::default()
        };
        for target in self.targets {
            match target {
                Target::Pod(name) => scope.pods.push(name),
                Target::Workload(label) => scope.workloads.push(label),
            }
        }
        scope
    }
}

/// The way to the agents.
#[derive(Clone)]
struct Way {
    kubectl: Kubectl,
    agent_namespace: String,
    agent_socket: Option<String>,
}

impl Way {
    fn new(cluster: Cluster) -> Self {
        let flag = |name: &str, value: OsString| {
            let mut flag = OsString::from(name);
            flag.push(value);
            flag
        };
        let kubeconfig = cluster.kubeconfig.map(|file| flag("--kubeconfig=", file));
        let context = cluster.context.map(|name| flag("--context=", name.into()));
        let globals = kubeconfig.into_iter().chain(context).collect();
        Self {
            kubectl: Kubectl::new(std::env::var_os(KUBECTL_VARIABLE), globals),
            agent_namespace: cluster.agent_namespace,
            agent_socket: cluster.agent_socket,
        }
    }

    /// Who is to be asked; says which nodes cannot be.
    async fn plan(&self, scope: &Scope) -> Result<Plan, Error> {
        let plan =
            crate::kubectl::choose::plan(&self.kubectl, scope, &self.agent_namespace).await?;
        if !plan.without_agent.is_empty() {
            let nodes = plan.without_agent.join(", ");
            say(&format!("no agent runs on {nodes}: pods there are not shown"));
        }
        Ok(plan)
    }
}

/// Does what these arguments say, the first of which is the program's name.
///
/// # Errors
///
/// [`Error::Usage`] for arguments that do not fit, and for `--help`; what else
/// keeps the verb from being carried out.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<(), Error> {
    let line = Line::try_parse_from(arguments)?;
    let way = Way::new(line.cluster);
    match line.verb {
        Verb::Metrics { output } => super::metrics::print(output.output, &mut Stdout::lock()),
        Verb::Version => version(&mut Stdout::lock()),
        Verb::Check { node, output } => {
            let is_json = output.output == Format::Json;
            block_on(check::run(&way, node, is_json))?
        }
        Verb::Top { pods, sampled } => {
            block_on(sampling::run(&way, &pods.scope(), top::Top, sampled.shown()))?
        }
        Verb::Net { pods, view, sampled } => {
            block_on(sampling::run(&way, &pods.scope(), net::Net { view }, sampled.shown()))?
        }
        Verb::Trace { pods, options } => block_on(trace::run(&way, &pods.scope(), &options))?,
        Verb::Capture { pods, options } => block_on(capture::run(&way, &pods.scope(), &options))?,
    }
}

fn version(out: &mut impl std::io::Write) -> Result<(), Error> {
    writeln!(out, "kubectl strata {}, protocol {VERSION}", env!("CARGO_PKG_VERSION"))?;
    Ok(out.flush()?)
}

fn block_on<F: Future>(future: F) -> Result<F::Output, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Runtime)?;
    let output = runtime.block_on(future);
    // Nothing that is left there is waited for.
    runtime.shutdown_background();
    Ok(output)
}

/// Waits until the user has had enough.
async fn interrupted() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<Line, clap::Error> {
        Line::try_parse_from(text.split_whitespace())
    }

    fn scope(text: &str) -> Scope {
        match line(text).unwrap().verb {
            Verb::Top { pods, .. }
            | Verb::Net { pods, .. }
            | Verb::Trace { pods, .. }
            | Verb::Capture { pods, .. } => pods.scope(),
            _ => panic!("another verb"),
        }
    }

    #[test]
    fn targets_are_given_as_to_kubectl() {
        let found = scope("kubectl-strata trace pod/api-1 deploy/api -n shop --node n1,n2");
        let expected = Scope {
            pods: vec!["api-1".to_owned()],
            workloads: vec!["deployment/api".to_owned()],
            namespace: Some("shop".to_owned()),
            nodes: vec!["n1".to_owned(), "n2".to_owned()],
            ..Scope::default()
        };
        assert_eq!(found, expected);
        assert!(scope("kubectl-strata top -A").is_everywhere);
        let captured = scope("kubectl-strata capture pod/api-1 --for 2s -o trace.json");
        assert_eq!(captured.pods, ["api-1"]);
        assert!(scope("kubectl-strata net -A --sort jitter --scope cross_zone").is_everywhere);
        assert!(scope("kubectl-strata top -A --host").has_hosts);
        assert_eq!(scope("kubectl-strata top -l app=api").selector.as_deref(), Some("app=api"));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        assert!(line("kubectl-strata top -A --once").is_ok(), "as on a node");
        for bad in [
            "top --once -w",
            "top --host",
            "top -n shop --host",
            "top api-1 --host",
            "top -A -n shop",
            "trace api-1 -l app=api",
            "trace api-1 -A",
            "top svc/x",
            "x",
        ] {
            assert!(line(&format!("kubectl-strata {bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_of_the_cluster_go_before_and_behind_the_verb() {
        for text in ["--context c top", "top --context c"] {
            let line = line(&format!("kubectl-strata {text} --agent-namespace obs")).unwrap();
            assert_eq!(line.cluster.context.as_deref(), Some("c"));
            assert_eq!(line.cluster.agent_namespace, "obs");
        }
    }

    #[test]
    fn help_names_the_plugin_as_it_is_called() {
        let help = line("kubectl-strata top --help").err().unwrap().to_string();
        assert!(help.contains("kubectl strata top"), "{help}");
    }

    #[cfg(debug_assertions)]
    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        <Line as clap::CommandFactory>::command().debug_assert();
    }
}
