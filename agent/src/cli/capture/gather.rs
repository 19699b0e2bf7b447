//! What the agent says of a capture, put together.
//!
//! Separate from what is made of it: here are lines as they come, there whole
//! lists.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use super::super::Error;
use super::super::exit::say;
use crate::admin::socket::client::{self, Client};
use crate::event::point::Point;
use crate::tap::captured::{Process, Window};
use crate::tap::traced::{NOTICE_PREFIX, Notice, Traced};

/// How long after its time a capture may take to end: the agent waits for what
/// threads have begun.
pub(in crate::cli) const END_WAIT: Duration = Duration::from_secs(10);

/// Why a capture did not come to its end.
#[derive(Debug)]
pub(in crate::cli) enum Broken {
    /// The way to the agent, or what it said.
    Client(client::Error),
    /// It says nothing more.
    Silent,
    /// Anything else.
    Other(Error),
}

/// Takes lines until the end, which comes after `time`, or once `enough` is.
pub(in crate::cli) async fn gather(
    mut client: Client,
    time: Duration,
    enough: impl Future<Output = Result<(), Error>>,
) -> Result<Gathered, Broken> {
    let mut gathered = Gathered::default();
    let mut end = Box::pin(tokio::time::sleep(time + END_WAIT));
    let mut enough = pin!(enough);
    let mut is_finishing = false;
    loop {
        tokio::select! {
            lines = client.lines() => {
                let lines = lines.map_err(Broken::Client)?;
                if !lines.is_empty() {
                    gathered.take(&lines).map_err(Broken::Other)?;
                } else if gathered.has_ended && gathered.window.is_some() {
                    return Ok(gathered);
                } else {
                    return Err(Broken::Client(client::Error::Ended));
                }
            }
            enough = &mut enough, if !is_finishing => {
                enough.map_err(Broken::Other)?;
                is_finishing = true;
                client.finish().await;
                end = Box::pin(tokio::time::sleep(END_WAIT));
            }
            () = &mut end => return Err(Broken::Silent),
        }
    }
}

/// Everything that was captured.
#[derive(Debug, Default)]
pub(in crate::cli) struct Gathered {
    /// Requests that finished meanwhile.
    pub(super) requests: Vec<Traced<'static>>,
    /// What threads did, in the order in which it was told.
    pub(super) points: Vec<Point>,
    /// Who is who, by process.
    pub(super) processes: BTreeMap<u32, Process>,
    /// When; `None` until the agent says that it is over.
    pub(super) window: Option<Window>,
    /// Requests that the agent dropped, or never saw.
    pub(super) missed_requests: u64,
    /// One request in so many was sent, at worst; 0: all were.
    pub(super) one_in: u64,
    /// Whether the agent has said that this is all.
    pub(super) has_ended: bool,
}

impl Gathered {
    /// Takes whole lines.
    ///
    /// # Errors
    ///
    /// If one is not understood.
    pub(super) fn take(&mut self, chunk: &[u8]) -> Result<(), Error> {
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            let malformed = |error: serde_json::Error| Error::Malformed(error.to_string());
            if line.starts_with(NOTICE_PREFIX) {
                self.notice(serde_json::from_slice(line).map_err(malformed)?);
            } else {
                self.requests.push(serde_json::from_slice(line).map_err(malformed)?);
            }
        }
        Ok(())
    }

    fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Begin | Notice::Unknown => {}
            Notice::Dropped { requests } | Notice::Unseen { requests } => {
                self.missed_requests += requests;
            }
            Notice::Sampling { one_in } => self.one_in = self.one_in.max(one_in),
            Notice::Process(process) => {
                self.processes.insert(process.pid, process);
            }
            Notice::Points { rows } => {
                self.points.extend(rows.iter().filter_map(crate::tap::captured::Row::point));
            }
            Notice::Captured(window) => self.window = Some(window),
            Notice::End { .. } => self.has_ended = true,
        }
    }

    /// Says what is missing from it.
    pub(super) fn tell_losses(&self) {
        let window = self.window.unwrap_or_default();
        let missed = window.lost + window.dropped;
        if missed > 0 {
            say(&format!(
                "{missed} of {} points are missing ({} the kernel could not hand over, {} were \
                 not read fast enough): times around them are `unseen`",
                window.points + missed,
                window.lost,
                window.dropped
            ));
        }
        if window.is_full {
            say("the capture is full: it ends early; name fewer workloads, or a shorter time");
        }
        if self.missed_requests > 0 {
            say(&format!("{} requests are missing", self.missed_requests));
        }
        if self.one_in > 1 {
            say(&format!(
                "the agent was over its budget: it sent one request in {} (`governor`)",
                self.one_in
            ));
        }
    }
}
