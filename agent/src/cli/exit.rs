//! Exit codes, and the one place that writes `strata: <message>` to stderr.
//!
//! Separate because scripts depend on the codes: here they are all together,
//! and every error has to choose one.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use super::Error;
use super::stdout::{Stdout, has_colour};
use crate::config;
#[cfg(feature = "agent")]
use crate::{admin::socket, app, app::client, load};

/// What a verb's end means to a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed.
    Failed = 1,
    /// Wrong arguments, or a wrong configuration.
    Usage = 2,
    /// A privilege or a feature of the kernel is missing.
    Missing = 3,
    /// The target does not exist.
    NotFound = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl From<&config::Error> for Exit {
    fn from(error: &config::Error) -> Self {
        match error {
            config::Error::Unreadable { .. } => Self::Failed,
            config::Error::Invalid { .. } => Self::Usage,
        }
    }
}

#[cfg(feature = "agent")]
impl From<&app::Error> for Exit {
    fn from(error: &app::Error) -> Self {
        match error {
            app::Error::Capabilities { .. }
            | app::Error::Load(
                load::Error::Btf(_) | load::Error::Fields { .. } | load::Error::NoObject,
            ) => Self::Missing,
            app::Error::Load(error) if error.is_denied() => Self::Missing,
            app::Error::Socket(socket::bind::Error::NoGroup { .. }) => Self::Usage,
            _ => Self::Failed,
        }
    }
}

#[cfg(feature = "client")]
impl From<&crate::kubectl::Error> for Exit {
    fn from(error: &crate::kubectl::Error) -> Self {
        use crate::kubectl::Error;
        match error {
            Error::Forbidden { .. } => Self::Missing,
            Error::NotFound { .. } | Error::NoPod { .. } | Error::NoNode { .. } => Self::NotFound,
            _ => Self::Failed,
        }
    }
}

#[cfg(feature = "agent")]
impl From<&client::Error> for Exit {
    fn from(error: &client::Error) -> Self {
        match error {
            client::Error::Alone { source, .. } => Self::from(&**source),
            client::Error::Client(socket::client::Error::Denied { .. }) => Self::Missing,
            _ => Self::Failed,
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error {
            Error::Usage(asked) if !asked.use_stderr() => Self::Done,
            Error::Usage(_) => Self::Usage,
            Error::Config(error) => Self::from(error),
            Error::Output(error) if error.kind() == ErrorKind::BrokenPipe => Self::Done,
            #[cfg(feature = "agent")]
            Error::Agent(error) => Self::from(error),
            #[cfg(feature = "agent")]
            Error::Watching(error) => Self::from(error),
            Error::NoTerminal(_) => Self::Usage,
            Error::Malformed(_) => Self::Failed,
            Error::NoMatch { .. } => Self::NotFound,
            Error::CannotRun { .. } => Self::Missing,
            #[cfg(feature = "client")]
            Error::SeveralNodes { .. } => Self::Usage,
            #[cfg(feature = "client")]
            Error::Cluster(error) => Self::from(error),
            #[cfg(feature = "agent")]
            Error::Relay(_) => Self::Failed,
            Error::File { .. }
            | Error::Output(_)
            | Error::Terminal(_)
            | Error::Runtime(_)
            | Error::Ended(_) => Self::Failed,
        }
    }
}

/// Tells the user how a verb ended, and gives the code for the system.
#[must_use]
pub fn report(result: Result<(), Error>) -> ExitCode {
    let Err(error) = result else { return Exit::Done.into() };
    // Who said it to the user is not repeated; its code is passed on.
    if let Error::Ended(code) = error {
        return ExitCode::from(code);
    }
    match help(&error) {
        Some(Err(error)) => report(Err(error)),
        Some(Ok(())) => Exit::Done.into(),
        None => {
            // Without a verb the verbs are shown, which is no message of ours.
            if let Error::Usage(shown) = &error
                && shown.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            {
                let _ = write!(std::io::stderr().lock(), "{}", shown.render());
                return Exit::Usage.into();
            }
            let exit = Exit::from(&error);
            if exit != Exit::Done {
                messages(&error).iter().for_each(|message| say(message));
            }
            exit.into()
        }
    }
}

/// Writes `strata: <message>` to stderr. That it cannot be written is nothing
/// that could be said anywhere.
pub fn say(message: &str) {
    let _ = writeln!(std::io::stderr().lock(), "strata: {}", message.trim_end());
}

/// What is to be said: one message for each thing that is wrong.
fn messages(error: &Error) -> Vec<String> {
    match error {
        Error::Usage(usage) => {
            let text = usage.render().to_string();
            vec![text.strip_prefix("error: ").unwrap_or(&text).to_owned()]
        }
        Error::Config(error) => error.messages(),
        _ => vec![error.to_string()],
    }
}

/// Prints the help or the version, if that is what was asked for.
fn help(error: &Error) -> Option<Result<(), Error>> {
    let Error::Usage(asked) = error else { return None };
    if asked.use_stderr() {
        return None;
    }
    let text = asked.render();
    let mut stdout = Stdout::lock();
    let written =
        if has_colour() { write!(stdout, "{}", text.ansi()) } else { write!(stdout, "{text}") };
    Some(written.and_then(|()| stdout.flush()).map_err(Error::Output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_no_failure_and_a_full_disk_is() {
        let exit = |kind: ErrorKind| Exit::from(&Error::Output(kind.into()));
        assert_eq!(exit(ErrorKind::BrokenPipe), Exit::Done);
        assert_eq!(exit(ErrorKind::StorageFull), Exit::Failed);
    }
}
