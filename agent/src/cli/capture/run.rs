//! `strata capture` on a node: asks, waits for the end, writes.
//!
//! Separate from what is written, which is pure.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::chrome::{self, Picture};
use super::gather::Gathered;
use super::goroutines::goroutines;
use super::threads::threads;
use super::{Options, Output, table};
use crate::admin::socket::Request;
use crate::admin::socket::client::{self as wire, Client};
use crate::app::client::{self, Origin, Selection, Watcher};
use crate::cli::Error;
use crate::cli::exit::say;
use crate::cli::stdout::Stdout;
use crate::cli::target::PodTargets;
use crate::cli::top::run::nobody;
use crate::cli::trace::run::{in_time, meant};
use crate::config::Config;
use crate::tap::query::Query;

/// How long after its time a capture may take to end: the agent waits for what
/// threads have begun.
const END_WAIT: Duration = Duration::from_secs(10);

/// A file that is there before the capture begins, so that nobody waits for one
/// that cannot be written; the trace is beside it until it is whole.
struct Target {
    path: PathBuf,
    partial: PathBuf,
    file: Option<File>,
}

impl Target {
    fn new(path: &Path) -> Result<Self, Error> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        match File::create(&partial) {
            Ok(file) => Ok(Self { path: path.to_owned(), partial, file: Some(file) }),
            Err(source) => Err(Error::File { path: partial, source }),
        }
    }

    fn write(&mut self, picture: &Picture<'_>) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let written = chrome::write(picture, BufWriter::new(file)).map(drop);
        written
            .and_then(|()| std::fs::rename(&self.partial, &self.path))
            .map_err(|source| Error::File { path: self.path.clone(), source })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Not there any more if it was written.
        let _ = std::fs::remove_file(&self.partial);
    }
}

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
    let mut files = options
        .output
        .iter()
        .filter_map(|output| match output {
            Output::Table => None,
            Output::File(path) => Some(Target::new(path)),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let gathered = crate::app::block_on(async {
        let (mut watcher, client) = Watcher::find(config).await?;
        let outcome =
            capture(&mut watcher, client, &selection, (config, pods), query, options).await;
        watcher.close().await;
        outcome
    })??;
    write(&gathered, &mut files, options)
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
    let gathered = gather(client, options).await?;
    if gathered.requests.is_empty() && sample.workloads.is_empty() {
        say(nobody(watcher.origin()));
    }
    Ok(gathered)
}

/// Takes lines until the end.
async fn gather(mut client: Client, options: &Options) -> Result<Gathered, Error> {
    let signals = |kind| signal(kind).map_err(crate::app::Error::Runtime);
    let mut interrupt = signals(SignalKind::interrupt())?;
    let mut terminate = signals(SignalKind::terminate())?;
    let mut gathered = Gathered::default();
    let mut end = Box::pin(tokio::time::sleep(options.time + END_WAIT));
    let mut is_finishing = false;
    loop {
        tokio::select! {
            lines = client.lines() => {
                let lines = lines.map_err(client::Error::from)?;
                if !lines.is_empty() {
                    gathered.take(&lines)?;
                } else if gathered.has_ended && gathered.window.is_some() {
                    return Ok(gathered);
                } else {
                    return Err(client::Error::from(wire::Error::Ended).into());
                }
            }
            _ = interrupt.recv(), if !is_finishing => {
                is_finishing = true;
                client.finish().await;
                end = Box::pin(tokio::time::sleep(END_WAIT));
            }
            _ = terminate.recv(), if !is_finishing => {
                is_finishing = true;
                client.finish().await;
                end = Box::pin(tokio::time::sleep(END_WAIT));
            }
            () = &mut end => return Err(client::Error::Silent { wait: END_WAIT }.into()),
        }
    }
}

fn write(gathered: &Gathered, files: &mut [Target], options: &Options) -> Result<(), Error> {
    let window = gathered.window.unwrap_or_default();
    gathered.tell_losses();
    let threads = threads(&gathered.points, window);
    let goroutines = goroutines(&threads, window);
    let picture = Picture { gathered, window, threads: &threads, goroutines: &goroutines };
    for file in files {
        file.write(&picture)?;
        say(&format!(
            "wrote {}: {} requests, {} goroutines, {} threads; open it at https://ui.perfetto.dev",
            file.path.display(),
            chrome::requests(&picture).count(),
            goroutines.len(),
            threads.len(),
        ));
    }
    if options.output.contains(&Output::Table) {
        let mut out = Stdout::lock();
        table::write(&picture, &mut out)?;
        out.flush()?;
    }
    Ok(())
}
