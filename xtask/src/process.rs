//! Running commands: loudly, quietly with a clock, or for their output.
//!
//! Separate so that every failure names its command in the same way, and no
//! long step is silent.

use std::io::{IsTerminal as _, Write as _};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// The cargo that runs us, with its toolchain, in the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(crate::place::repository());
    command
}

/// Runs a command whose output the user sees.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("starting `{}`", line(command)))?;
    anyhow::ensure!(status.success(), "`{}` failed ({status})", line(command));
    Ok(())
}

/// Runs a command for its standard output; its errors become ours.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("starting `{}`", line(command)))?;
    check(command, &output)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command whose output matters only when it fails; meanwhile a clock
/// on stderr shows that it is at work.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<()> {
    command.stdin(Stdio::null());
    let (done, is_done) = channel::<()>();
    let clock = std::thread::spawn(move || tick(|every| is_done.recv_timeout(every)));
    let output = command.output();
    drop(done);
    // The clock ends as soon as its channel is closed, and cannot fail.
    let _ = clock.join();
    check(command, &output.with_context(|| format!("starting `{}`", line(command)))?)
}

/// Shows the time spent: in place on a terminal, else a line every 15 s.
fn tick(wait: impl Fn(Duration) -> Result<(), RecvTimeoutError>) {
    let start = Instant::now();
    let is_terminal = std::io::stderr().is_terminal();
    let every = Duration::from_secs(if is_terminal { 1 } else { 15 });
    while wait(every) == Err(RecvTimeoutError::Timeout) {
        let seconds = start.elapsed().as_secs();
        if is_terminal {
            eprint!("\r  {seconds} s");
            let _ = std::io::stderr().flush();
        } else {
            eprintln!("  {seconds} s");
        }
    }
    if is_terminal {
        eprint!("\r\x1b[K");
    }
}

fn check(command: &Command, output: &Output) -> anyhow::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
    anyhow::bail!("`{}` failed ({}):\n{tail}", line(command), output.status)
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_repeats_what_it_said() {
        let error =
            run_quietly(Command::new("sh").args(["-c", "echo told you; exit 3"])).unwrap_err();
        let message = format!("{error:#}");
        assert!(message.contains("`sh -c echo told you; exit 3` failed"), "{message}");
        assert!(message.contains("exit status: 3"), "{message}");
        assert!(message.ends_with("told you"), "{message}");
    }

    #[test]
    fn a_command_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-command-as-this")).unwrap_err();
        assert!(format!("{error:#}").starts_with("starting `no-such-command-as-this`"));
    }

    #[test]
    fn output_is_what_the_command_printed() {
        assert_eq!(output(Command::new("echo").arg("hello")).unwrap(), "hello\n");
    }
}
