//! `strata-load`: the load client as a program, for network namespaces, the
//! demo and the bench.
//!
//! Separate from the library's clients, which tests call directly; here are
//! only its arguments and its one line of JSON on stdout.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use tests::load::{Call, closed, open, pipelined, racing, redis, sequential};

const USAGE: &str = "\
usage: strata-load MODE --target ADDR:PORT [--OPTION VALUE]...

  sequential  --count N [--path P] [--method M] [--new-connections true]
  closed      --connections C --seconds S [--path P] [--method M]
  short       --count N [--connections THREADS] [--path P] [--method M]
  open        --rate R --seconds S [--connections C] [--path PREFIX] [--query ?Q] [--log FILE]
  racing      --count N [--max-gap-us 50] [--path P]
  pipelined   --batches N [--depth 12] [--path P]
  redis       --count N

One JSON object on stdout says what was completed.";

/// The options that were given; each is taken out once, so that what is left
/// is not an option of the mode.
struct Options(BTreeMap<String, String>);

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = BTreeMap::new();
        let mut args = args;
        while let Some(arg) = args.next() {
            let name = arg.strip_prefix("--").with_context(|| format!("unexpected {arg}"))?;
            let value = args.next().with_context(|| format!("{arg} needs a value"))?;
            options.insert(name.to_owned(), value);
        }
        Ok(Self(options))
    }

    fn take<T: FromStr>(&mut self, name: &str) -> anyhow::Result<Option<T>> {
        let parse = |value: String| {
            value.parse().ok().with_context(|| format!("--{name} cannot be {value}"))
        };
        self.0.remove(name).map(parse).transpose()
    }

    fn need<T: FromStr>(&mut self, name: &str) -> anyhow::Result<T> {
        self.take(name)?.with_context(|| format!("--{name} is needed"))
    }

    fn call(&mut self) -> anyhow::Result<Call> {
        let method: Option<String> = self.take("method")?;
        let path: Option<String> = self.take("path")?;
        Ok(Call::new(method.as_deref().unwrap_or("GET"), path.as_deref().unwrap_or("/hello")))
    }

    fn finish(self) -> anyhow::Result<()> {
        match self.0.keys().next() {
            Some(name) => anyhow::bail!("--{name} is no option of this mode"),
            None => Ok(()),
        }
    }
}

fn run(mode: &str, mut options: Options) -> anyhow::Result<serde_json::Value> {
    let target: SocketAddr = options.need("target")?;
    match mode {
        "sequential" => {
            let (count, call) = (options.need("count")?, options.call()?);
            let has_new: bool = options.take("new-connections")?.unwrap_or(false);
            options.finish()?;
            Ok(sequential::run(target, &[call], count, !has_new)?.to_json())
        }
        "closed" => {
            let (connections, call) = (options.need("connections")?, options.call()?);
            let seconds = options.need("seconds")?;
            options.finish()?;
            let time = Duration::try_from_secs_f64(seconds).context("--seconds")?;
            let outcome = closed::run(target, &[call], connections, time)?;
            let mut json = outcome.tally.to_json();
            let per_second = outcome.tally.completed() as f64 / outcome.took.as_secs_f64();
            json["requests_per_second"] = per_second.into();
            Ok(json)
        }
        "short" => {
            let (count, call) = (options.need("count")?, options.call()?);
            let threads = options.take("connections")?.unwrap_or(4);
            options.finish()?;
            Ok(closed::short_connections(&[target], &call, count, threads)?.to_json())
        }
        "open" => run_open(target, options),
        "racing" => {
            let (count, call) = (options.need("count")?, options.call()?);
            let max_gap_us: u64 = options.take("max-gap-us")?.unwrap_or(50);
            options.finish()?;
            let gap = Duration::from_micros(max_gap_us);
            Ok(racing::run(target, &call, count, gap)?.tally.to_json())
        }
        "pipelined" => {
            let batches = options.need("batches")?;
            let depth = options.take("depth")?.unwrap_or(12);
            let path: Option<String> = options.take("path")?;
            options.finish()?;
            let plan = pipelined::mixed_batch(path.as_deref().unwrap_or("/hello"), depth);
            Ok(pipelined::run(target, &plan, batches)?.to_json())
        }
        "redis" => {
            let count = options.need("count")?;
            options.finish()?;
            Ok(serde_json::json!({"completed": redis::run(target, count)?}))
        }
        other => anyhow::bail!("no mode {other}"),
    }
}

fn run_open(target: SocketAddr, mut options: Options) -> anyhow::Result<serde_json::Value> {
    let seconds = options.need("seconds")?;
    let schedule = open::Schedule {
        path_prefix: options.take("path")?.unwrap_or_else(|| "/hello".to_owned()),
        query: options.take("query")?.unwrap_or_default(),
        rate: options.need("rate")?,
        time: Duration::try_from_secs_f64(seconds).context("--seconds")?,
        connections: options.take("connections")?.unwrap_or(16),
    };
    let log: Option<String> = options.take("log")?;
    options.finish()?;
    let timings = open::run(target, &schedule)?;
    if let Some(log) = log {
        open::write_log(Path::new(&log), &timings)?;
    }
    let answered = timings.iter().filter(|timing| timing.status != 0);
    let mut took_us: Vec<u64> =
        answered.map(|timing| (timing.received_ns - timing.sent_ns) / 1000).collect();
    took_us.sort_unstable();
    let quantile = |part: usize| took_us.get(took_us.len() * part / 1000).copied().unwrap_or(0);
    Ok(serde_json::json!({
        "scheduled": timings.len(), "completed": took_us.len(),
        "p50_us": quantile(500), "p99_us": quantile(990),
    }))
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let mode = args.next().unwrap_or_else(|| "--help".to_owned());
    let outcome = if mode == "--help" {
        Ok(USAGE.to_owned())
    } else {
        Options::parse(args).and_then(|options| run(&mode, options)).map(|json| json.to_string())
    };
    match outcome {
        Ok(text) if writeln!(std::io::stdout(), "{text}").is_ok() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "strata-load: {error:#}; --help shows the options");
            ExitCode::FAILURE
        }
    }
}
