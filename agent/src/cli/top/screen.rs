//! The terminal: samples, keys and signals in, pictures out.
//!
//! Separate because it is all that cannot be tested without a terminal. It puts
//! the terminal back however it ends: by a key, a signal, an error or a panic.

use std::time::Duration;

use crossterm::event::{self, Event};
use ratatui::DefaultTerminal;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::draw::{FIXED_LINES, Status, Theme, draw};
use super::rates::Sampled;
use super::run::{keep_meant, nobody};
use super::view::{Outcome, View};
use crate::admin::socket::client as wire;
use crate::app::client::{self, Connection, Origin, Selection};
use crate::cli::Error;
use crate::cli::stdout::has_colour;
use crate::cli::target::PodTargets;
use crate::config::Config;
use crate::export::json::Workloads;
use crate::sys::readable::Readable;

/// How often an agent that went away is looked for.
const RETRY: Duration = Duration::from_secs(1);
/// How many samples without a target until it is looked for again.
const SEEK_EVERY: u32 = 5;

/// Shows the screen until the user leaves it.
pub(super) async fn run(
    config: &Config,
    pods: &PodTargets,
    interval: Duration,
) -> Result<(), Error> {
    let selection = Selection::find(config, &pods.query())?;
    let connection = Connection::open(config, interval).await?;
    let mut screen = Screen {
        config,
        pods,
        interval,
        selection,
        samples_unmatched: 0,
        status: Status::default(),
        connection: Some(connection),
        previous: None,
        view: View::default(),
    };
    screen.set_origin();
    let result = {
        let mut terminal = Raw::take()?;
        screen.show(&mut terminal).await
    };
    if let Some(connection) = screen.connection {
        connection.close().await;
    }
    result
}

/// The terminal in raw mode, until it is dropped.
struct Raw(DefaultTerminal);

impl Raw {
    fn take() -> Result<Self, Error> {
        // It also puts the terminal back before a panic is told.
        ratatui::try_init().map(Self).map_err(|error| {
            let _ = ratatui::try_restore();
            Error::Terminal(error)
        })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        // What is wrong with the terminal cannot be told on it.
        let _ = ratatui::try_restore();
    }
}

struct Screen<'a> {
    config: &'a Config,
    pods: &'a PodTargets,
    interval: Duration,
    selection: Selection,
    samples_unmatched: u32,
    status: Status,
    connection: Option<Connection>,
    previous: Option<Workloads>,
    view: View,
}

/// What happened.
enum Happened {
    Sample(Result<Workloads, client::Error>),
    Agent(Result<Option<Connection>, client::Error>),
    /// A key or a change of size.
    Input,
    Signal,
}

impl Screen<'_> {
    async fn show(&mut self, terminal: &mut Raw) -> Result<(), Error> {
        let theme = Theme { has_colour: has_colour() };
        let mut input = Input::open().map_err(Error::Terminal)?;
        let page = |terminal: &Raw| {
            let height = terminal.0.size().map_or(0, |size| size.height);
            usize::from(height.saturating_sub(FIXED_LINES)).max(1)
        };
        loop {
            terminal
                .0
                .draw(|frame| draw(frame, &self.view, &self.status, theme))
                .map_err(Error::Terminal)?;
            let happened = tokio::select! {
                happened = self.next() => happened,
                happened = input.next() => happened.map_err(Error::Terminal)?,
            };
            match happened {
                Happened::Sample(Ok(sample)) => self.take(sample)?,
                Happened::Sample(Err(error)) => self.on_trouble(error)?,
                Happened::Agent(found) => self.on_agent(found)?,
                Happened::Signal => return Ok(()),
                Happened::Input => {
                    let page = page(terminal);
                    if self.on_input(page)? == Outcome::Quit {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// The next sample, or an agent that came back. Safe to cancel.
    async fn next(&mut self) -> Happened {
        match &mut self.connection {
            Some(connection) => Happened::Sample(super::run::next(connection, self.interval).await),
            None => {
                tokio::time::sleep(RETRY).await;
                Happened::Agent(Connection::to_agent(self.config, self.interval).await)
            }
        }
    }

    fn take(&mut self, sample: Workloads) -> Result<(), Error> {
        self.status.trouble.clear();
        let sampled = match &self.previous {
            None => Some(Sampled::first(&sample)),
            // `None` for a sample that was taken before.
            Some(previous) => Sampled::between(previous, &sample),
        };
        let Some(mut sampled) = sampled else { return Ok(()) };
        match keep_meant(&self.selection, (self.config, self.pods), &sample, &mut sampled) {
            Ok(()) => self.samples_unmatched = 0,
            Err(Error::NoMatch { targets, there }) => {
                self.status.nobody = format!("no workload matches {targets} yet\n{there}");
                sampled.rows.clear();
                self.samples_unmatched += 1;
                if self.samples_unmatched.is_multiple_of(SEEK_EVERY) {
                    self.selection = Selection::find(self.config, &self.pods.query())?;
                }
            }
            Err(error) => return Err(error),
        }
        self.view.take(sampled);
        self.previous = Some(sample);
        Ok(())
    }

    /// An agent that went away may come back: it is being restarted.
    fn on_trouble(&mut self, error: client::Error) -> Result<(), Error> {
        let is_agent = self
            .connection
            .as_ref()
            .is_some_and(|connection| matches!(connection.origin(), Origin::Agent(_)));
        match error {
            client::Error::Silent { .. } => self.status.trouble = error.to_string(),
            client::Error::Client(wire::Error::Ended | wire::Error::Broken(_)) if is_agent => {
                self.connection = None;
                self.previous = None;
                self.status.trouble = "the agent is gone; waiting for one".to_owned();
            }
            error => return Err(error.into()),
        }
        Ok(())
    }

    fn on_agent(&mut self, found: Result<Option<Connection>, client::Error>) -> Result<(), Error> {
        match found {
            Ok(None) => {}
            Ok(connection) => {
                self.connection = connection;
                self.status.trouble.clear();
                self.set_origin();
            }
            // It went away again at once.
            Err(client::Error::Client(wire::Error::Ended | wire::Error::Broken(_))) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn set_origin(&mut self) {
        let Some(connection) = &mut self.connection else { return };
        self.status.nobody = nobody(connection.origin()).to_owned();
        self.status.origin = match (connection.origin().clone(), connection.client().pid()) {
            (Origin::Own, _) => "no agent, own programs".to_owned(),
            (Origin::Agent(_), Some(pid)) => format!("agent pid {pid}"),
            (Origin::Agent(path), None) => format!("agent at {}", path.display()),
        };
    }

    /// Does what was typed.
    fn on_input(&mut self, page: usize) -> Result<Outcome, Error> {
        while event::poll(Duration::ZERO).map_err(Error::Terminal)? {
            if let Event::Key(key) = event::read().map_err(Error::Terminal)?
                && self.view.on_key(key, page) == Outcome::Quit
            {
                return Ok(Outcome::Quit);
            }
        }
        Ok(Outcome::Stay)
    }
}

/// Wakes when something was typed, the size changed, or a signal came.
struct Input {
    keys: Readable,
    size: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Input {
    fn open() -> std::io::Result<Self> {
        Ok(Self {
            keys: Readable::new(std::io::stdin())?,
            size: signal(SignalKind::window_change())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> std::io::Result<Happened> {
        Ok(tokio::select! {
            woken = self.keys.wait() => {
                woken?;
                Happened::Input
            }
            _ = self.size.recv() => Happened::Input,
            _ = self.interrupt.recv() => Happened::Signal,
            _ = self.terminate.recv() => Happened::Signal,
        })
    }
}
