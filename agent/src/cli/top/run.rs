//! `strata top` on a node: samples of whoever watches it, printed or shown.
//!
//! Separate from the pictures, which are the same where the samples come from
//! afar.

use std::io::{IsTerminal as _, Write};
use std::time::Duration;

use super::rates::Sampled;
use crate::app::client::{self, Connection, Origin, Selection};
use crate::cli::target::PodTargets;
use crate::cli::{Error, Format};
use crate::config::{Config, Key};
use crate::export::json::Workloads;

/// How long an agent may take beyond the interval until it counts as silent.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Names in a message, at most.
const MAX_NAMES: usize = 8;

/// Takes two samples and prints what happened in between.
///
/// # Errors
///
/// If nobody watches and this process may not, no workload matches the
/// targets, or `out` does not take it.
pub fn once(
    config: &Config,
    pods: &PodTargets,
    interval: Duration,
    format: Format,
    out: &mut impl Write,
) -> Result<(), Error> {
    // An engine in this process may have something to say that matters.
    crate::app::log_warnings();
    let selection = Selection::find(config, &pods.query())?;
    let (sampled, origin) = crate::app::block_on(async {
        let mut connection = Connection::open(config, interval).await?;
        let sampled = two_samples(&mut connection, interval, &selection, (config, pods)).await;
        let origin = connection.origin().clone();
        connection.close().await;
        sampled.map(|sampled| (sampled, origin))
    })??;
    match format {
        Format::Table => super::once::table(&sampled, out)?,
        Format::Json => super::once::json(&sampled, out)?,
    }
    out.flush()?;
    if sampled.rows.is_empty() {
        crate::cli::exit::say(nobody(&origin));
    }
    Ok(())
}

/// Shows the screen until the user leaves it.
///
/// # Errors
///
/// If there is no terminal, or as [`once()`].
pub fn screen(config: &Config, pods: &PodTargets, interval: Duration) -> Result<(), Error> {
    if !std::io::stdout().is_terminal() {
        return Err(Error::NoTerminal("stdout"));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::NoTerminal("stdin"));
    }
    if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
        return Err(Error::NoTerminal("TERM"));
    }
    crate::app::block_on(super::screen::run(config, pods, interval))?
}

async fn two_samples(
    connection: &mut Connection,
    interval: Duration,
    selection: &Selection,
    named: (&Config, &PodTargets),
) -> Result<Sampled, Error> {
    let first = next(connection, interval).await?;
    loop {
        let second = next(connection, interval).await?;
        // An agent whose worker was late says the same twice.
        if let Some(mut sampled) = Sampled::between(&first, &second) {
            keep_meant(selection, named, &second, &mut sampled)?;
            return Ok(sampled);
        }
    }
}

/// The next sample, or that there is none in time.
pub(in crate::cli) async fn next(
    connection: &mut Connection,
    interval: Duration,
) -> Result<Workloads, client::Error> {
    let wait = interval + ANSWER_WAIT;
    match tokio::time::timeout(wait, connection.client().next()).await {
        Ok(sample) => Ok(sample?),
        Err(_) => Err(client::Error::Silent { wait }),
    }
}

/// Leaves only rows that are meant, of which there must be one.
pub(super) fn keep_meant(
    selection: &Selection,
    named: (&Config, &PodTargets),
    sample: &Workloads,
    sampled: &mut Sampled,
) -> Result<(), Error> {
    if selection.is_all() {
        return Ok(());
    }
    let is_meant: Vec<bool> = sample.workloads.iter().map(|row| selection.has(row)).collect();
    if is_meant.contains(&true) {
        sampled.keep(&is_meant);
        return Ok(());
    }
    Err(Error::NoMatch { targets: targets(named.0, named.1), there: there(sampled, selection) })
}

/// The targets as the flags that say so.
pub(in crate::cli) fn targets(config: &Config, pods: &PodTargets) -> String {
    let names =
        ["watch.pids", "watch.ports", "watch.comms", "watch.containers_in", "watch.namespaces_in"];
    let flags = names.into_iter().filter_map(Key::find).filter_map(|key| {
        let values = key.show(config);
        let flag = key.alias.map_or_else(|| key.flag(), str::to_owned);
        (!values.is_empty()).then(|| format!("--{flag} {}", values.join(",")))
    });
    let pods = Some(pods.to_string()).filter(|pods| !pods.is_empty());
    pods.into_iter().chain(flags).collect::<Vec<_>>().join(" ")
}

/// What there is instead.
pub(in crate::cli) fn there(sampled: &Sampled, selection: &Selection) -> String {
    let names = some(sampled.rows.iter().map(|row| row.identity.name()));
    let ports = some(selection.listening().map(|(port, program)| format!("{port} ({program})")));
    let watched = match names.as_str() {
        "" => "nothing is watched".to_owned(),
        names => format!("watched are {names}"),
    };
    match ports.as_str() {
        "" => watched,
        ports => format!("{watched}; listened on are {ports}"),
    }
}

/// The first few, and how many more there are.
fn some(names: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = names.collect();
    let mut text = all.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
    if all.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", all.len() - MAX_NAMES));
    }
    text
}

/// Why there may be no row at all.
pub(in crate::cli) const fn nobody(origin: &Origin) -> &'static str {
    match origin {
        Origin::Agent(_) => {
            "the agent watches nothing yet: it looks for containers that listen on TCP\n\
             to watch other processes start it with --port, --pid, --comm or --watch-host"
        }
        Origin::Own => {
            "nothing to watch yet: no process that is meant listens on TCP\n\
             --port, --pid, --comm and --container say what is meant"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_named_as_they_are_written() {
        let mut config = Config::default();
        assert_eq!(targets(&config, &PodTargets::default()), "");
        config.watch.ports = vec![80, 8080];
        config.watch.comms = vec!["nginx".to_owned()];
        assert_eq!(targets(&config, &PodTargets::default()), "--port 80,8080 --comm nginx");
    }

    #[test]
    fn a_message_names_a_few() {
        assert_eq!(some(["a", "b"].map(str::to_owned).into_iter()), "a, b");
        let many = some((0..10).map(|n| n.to_string()));
        assert_eq!(many, "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
    }
}
