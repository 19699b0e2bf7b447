//! `kubectl strata check`: the agent's own `strata check`, node by node.
//!
//! Separate from the streams because it asks no running agent: the verb runs
//! beside it, in its pod, under its privileges.

use super::{Error, Way, say};
use crate::kubectl::choose::Scope;

/// Runs it on each of the nodes; without nodes on all that have an agent.
///
/// # Errors
///
/// If the agents cannot be found, or one check failed: with the first code.
pub(super) async fn run(way: &Way, nodes: Vec<String>, is_json: bool) -> Result<(), Error> {
    let scope = Scope { is_everywhere: true, nodes, ..Scope::default() };
    let plan = way.plan(&scope).await?;
    let verb: &[&str] = if is_json { &["check", "-o", "json"] } else { &["check"] };
    let mut failed = None;
    for asked in &plan.asked {
        say(&format!("node {}", asked.agent.node));
        let status = way.kubectl.show(&asked.agent, verb).await?;
        if !status.success() && failed.is_none() {
            failed = Some(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1));
        }
    }
    failed.map_or(Ok(()), |code| Err(Error::Ended(code)))
}
