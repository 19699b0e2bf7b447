//! The agent's log, on stderr.

use tracing_subscriber::EnvFilter;

/// Starts logging. A second call does nothing.
pub fn start(level: &str, is_json: bool) {
    let filter = EnvFilter::try_new(format!("strata={level},agent={level}"))
        .unwrap_or_else(|_invalid| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let result = if is_json {
        builder.json().try_init()
    } else {
        builder.with_ansi(false).with_target(false).try_init()
    };
    // Another subscriber is there already, in tests.
    let _ = result;
}
