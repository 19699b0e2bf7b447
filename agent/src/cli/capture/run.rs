//! `strata capture` on a node: finds the agent, or is one, and asks it.
//!
//! Separate from what is taken and written, which is the same for a cluster's.

use tokio::signal::unix::{SignalKind, signal};

use super::Options;
use super::gather::{Broken, END_WAIT, Gathered, gather};
use super::outputs::Outputs;
use crate::admin::socket::Request;
use crate::admin::socket::client::Client;
use crate::app::client::{self, Origin, Selection, Watcher};
use crate::cli::Error;
use crate::cli::exit::say;
use crate::cli::target::PodTargets;
use crate::cli::top::run::nobody;
use crate::cli::trace::run::{in_time, meant};
use crate::config::Config;
use crate::tap::query::Query;

/// Captures for the time that was asked for, or until a signal, and writes what
/// there is.
///
/// # Errors
///
/// If nobody watches and this process may not, no workload matches the targets,
/// somebody else captures, the agent goes away, or the output cannot be written.
pub fn run(config: &Config, pods: &PodTargets, options: &Options) -> Result<(), Error> {
    // An engine in this process may have something to say that matters.
    crate::app::log_warnings();
    let selection = Selection::find(config, &pods.query())?;
    let targets = Selection::of_requests(config, pods.query())?;
    let query = options.query(targets, config.paths.keep);
    let outputs = Outputs::open(&options.output)?;
    let gathered = crate::app::block_on(async {
        let (mut watcher, client) = Watcher::find(config).await?;
        let outcome =
            capture(&mut watcher, client, &selection, (config, pods), query, options).await;
        watcher.close().await;
        outcome
    })??;
    outputs.write(&gathered)
}

async fn capture(
    watcher: &mut Watcher,
    mut client: Client,
    selection: &Selection,
    named: (&Config, &PodTargets),
    query: Query,
    options: &Options,
) -> Result<Gathered, Error> {
    let pid = client.pid();
    client.ask(&Request::workloads(None)).await.map_err(client::Error::from)?;
    let sample = in_time(client.next()).await?;
    let meant = meant(&sample, selection, named)?;
    let mut client = watcher.client().await?;
    in_time(client.trace(query)).await?;
    let who = match (watcher.origin(), pid) {
        (Origin::Own, _) => "no agent, own programs".to_owned(),
        (Origin::Agent(_), Some(pid)) => format!("agent pid {pid}"),
        (Origin::Agent(path), None) => format!("agent at {}", path.display()),
    };
    let seconds = options.time.as_secs_f64();
    say(&format!("capturing {meant} for {seconds} s ({who}); Ctrl-C ends it with what there is"));
    let gathered =
        gather(client, options.time, interrupted()).await.map_err(|broken| match broken {
            Broken::Client(error) => client::Error::from(error).into(),
            Broken::Silent => client::Error::Silent { wait: END_WAIT }.into(),
            Broken::Other(error) => error,
        })?;
    if gathered.requests.is_empty() && sample.workloads.is_empty() {
        say(nobody(watcher.origin()));
    }
    Ok(gathered)
}

/// Waits until the user has had enough.
async fn interrupted() -> Result<(), Error> {
    let signals = |kind| signal(kind).map_err(crate::app::Error::Runtime);
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut terminate = signals(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
