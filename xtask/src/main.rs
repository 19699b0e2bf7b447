//! Verbs of the project: everything that CI, the README and a developer call.
//!
//! Separate from the product, so that nothing here is ever shipped. One module
//! a verb; `process`, `janitor` and `place` are what the verbs share.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "a verb's answer goes to stdout")]
#![expect(clippy::print_stderr, reason = "a verb's progress goes to stderr")]

mod accuracy;
mod bench;
mod build;
mod client;
mod cluster;
mod demo;
mod deploy;
mod image;
mod janitor;
mod place;
mod process;
mod setup;
mod splice;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask VERB [OPTIONS]

  setup                      get what the other verbs need: rust-src, bpf-linker and
                             (as root, on Debian) packages that the tests use
  build                      target/release/strata, with the kernel programs inside;
                             AYA_BUILD_SKIP=1 leaves them out
  image                      target/images/strata.tar: a container image with the agent,
                             as `ctr image import` and `docker load` take it
  demo [--seconds N]         a sample API under load, the agent, and `strata top` for
                             N seconds (60); removes everything it made
  test [--full] [--strict] [--stage NAME]... [FILTER]
                             every check, stage by stage; as root also the kernel and
                             end-to-end tests. FILTER selects tests by name, --strict
                             makes a skip a failure, --full runs the long ones too
  vm [--write-readme] [SERIES]...
                             the agent on other kernels, in emulation: a table of what
                             works, also written to target/vm/kernels.md or the README
  tidy [--bless]             the house rules; --bless regenerates committed files
  bench [--quick] [--write-readme]
                             what the agent costs, and whether that is within its
                             budget; 15 minutes, --quick about 3; as root, on a machine
                             that does nothing else
  accuracy [--quick] [--write-readme] [SCENE]...
                             known times injected into requests, and where the agent
                             shows them; half an hour, --quick some minutes; as root.
                             SCENE selects by the beginning of a name

Each verb first gets what it needs itself; `setup` is safe to repeat.
";

/// Exit code for a command line that makes no sense.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((verb, rest)) = arguments.split_first() else {
        eprint!("{HELP}");
        return ExitCode::from(USAGE);
    };
    let outcome = match verb.as_str() {
        "setup" => without_options(rest, setup::run),
        "build" => without_options(rest, build::run),
        "image" => without_options(rest, image::run),
        "demo" => demo::Options::parse(rest).map(|options| demo::run(&options)),
        "test" => test::Options::parse(rest).map(|options| test::run(&options)),
        "bench" => bench::Options::parse(rest).map(|options| bench::run(&options)),
        "accuracy" => accuracy::Options::parse(rest).map(|options| accuracy::run(&options)),
        "vm" => vm::Options::parse(rest).map(|options| vm::verb(&options)),
        "tidy" => tidy::Options::parse(rest).map(|options| tidy::run(&options)),
        // Not in the help: processes that other verbs start from this binary.
        janitor::VERB => without_options(rest, janitor::run),
        demo::api::VERB => demo::api::Options::parse(rest).map(|options| demo::api::run(&options)),
        "help" | "--help" | "-h" => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        unknown => Err(UsageError(format!("unknown verb `{unknown}`"))),
    };
    match outcome {
        Err(UsageError(message)) => {
            eprintln!("xtask: {message}\n\n{HELP}");
            ExitCode::from(USAGE)
        }
        Ok(Err(error)) => {
            eprintln!("xtask {verb}: {error:#}");
            ExitCode::FAILURE
        }
        Ok(Ok(())) => ExitCode::SUCCESS,
    }
}

/// A command line that makes no sense; says which word.
#[derive(Debug)]
struct UsageError(String);

fn without_options(
    rest: &[String],
    verb: fn() -> anyhow::Result<()>,
) -> Result<anyhow::Result<()>, UsageError> {
    match rest.first() {
        None => Ok(verb()),
        Some(word) => Err(UsageError(format!("unknown option `{word}`"))),
    }
}
