//! `kubectl strata capture`: what goroutines and threads of pods do for some
//! seconds, on one node.
//!
//! Separate from the capture on a node, which may be its own agent. Nodes have
//! clocks of their own, so that captures of several are not laid side by side.

use super::{Error, Way, interrupted, say};
use crate::cli::capture::Options;
use crate::cli::capture::gather::{Broken, END_WAIT, gather};
use crate::cli::capture::outputs::Outputs;
use crate::kubectl;
use crate::kubectl::choose::{Asked, Scope};
use crate::kubectl::stream::Stream;

/// Captures for the time that was asked for, or until the user has enough, and
/// writes what there is.
///
/// # Errors
///
/// If the pods are not on one node, its agent cannot be asked or goes away, or
/// the output cannot be written.
pub(super) async fn run(way: &Way, scope: &Scope, options: &Options) -> Result<(), Error> {
    let outputs = Outputs::open(&options.output)?;
    let plan = way.plan(scope).await?;
    let asked: [Asked; 1] = plan.asked.try_into().map_err(|asked: Vec<Asked>| {
        let nodes = asked.into_iter().map(|asked| asked.agent.node).collect();
        Error::SeveralNodes { nodes }
    })?;
    let [Asked { agent, targets, .. }] = asked;
    let (mut stream, mut client) = Stream::open(&way.kubectl, &agent, way.agent_socket.as_deref())?;
    let seconds = options.time.as_secs_f64();
    say(&format!("capturing on {} for {seconds} s; Ctrl-C ends it with what there is", agent.node));
    let outcome = match client.trace(options.query(targets, false)).await {
        Ok(()) => {
            let enough = async {
                interrupted().await;
                Ok(())
            };
            gather(client, options.time, enough).await
        }
        Err(error) => {
            drop(client);
            Err(Broken::Client(error))
        }
    };
    let outcome = match outcome {
        Ok(gathered) => Ok(gathered),
        Err(Broken::Client(error)) => Err(stream.explain(error).await.into()),
        Err(Broken::Silent) => {
            Err(kubectl::Error::Silent { node: agent.node.clone(), wait: END_WAIT }.into())
        }
        Err(Broken::Other(error)) => Err(error),
    };
    stream.close().await;
    outputs.write(&outcome?)
}
