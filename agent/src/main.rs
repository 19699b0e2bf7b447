//! The `strata` binary: parse, run, exit code.

use std::process::ExitCode;

use agent::cli::{self, Command, Error, exit, stdout::Stdout};

fn main() -> ExitCode {
    let command = cli::parse(std::env::args_os(), std::env::vars_os());
    exit::report(command.and_then(run))
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::ConfigCheck { settings, format } => {
            cli::config::check(&settings, format, &mut Stdout::lock())
        }
        Command::ConfigPrintDefault => cli::config::print_default(&mut Stdout::lock()),
        Command::Agent { config, sources } => Ok(agent::app::run(&config, sources)?),
        #[cfg(feature = "kubernetes")]
        Command::Peers { config } => Ok(agent::app::peers::serve(&config)?),
        Command::Check { config, format } => cli::check::run(&config, format, &mut Stdout::lock()),
        Command::Top { config, once: true, format, interval, pods } => {
            cli::top::once(&config, &pods, interval, format, &mut Stdout::lock())
        }
        Command::Top { config, once: false, interval, pods, .. } => {
            cli::top::screen(&config, &pods, interval)
        }
        Command::Net { config, once, format, interval, view, pods } => {
            cli::net::run(&config, &pods, &view, (once, interval, format), &mut Stdout::lock())
        }
        Command::Relay { config } => cli::relay::run(&config.socket, &mut std::io::stdout().lock()),
        Command::Capture { config, options, pods } => cli::capture::run(&config, &pods, &options),
        Command::Trace { config, options, pods } => cli::trace::run(&config, &pods, &options),
        Command::Metrics { format } => cli::metrics::print(format, &mut Stdout::lock()),
    }
}
