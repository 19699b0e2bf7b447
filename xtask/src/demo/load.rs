//! Steady load on the sample API: a few connections, each at its own pace.
//!
//! Separate from the test client: this one measures nothing, so it may be
//! simple, and runs inside the demo's own process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::http::Connection;

/// Connections; together they ask 400 times a second, which two cores serve
/// without a queue.
const CONNECTIONS: usize = 8;
const EVERY: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    failed: AtomicU64,
    is_over: AtomicBool,
}

/// Load that goes on until it is stopped.
pub(super) struct Load {
    counts: Arc<Counts>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// Asks for these paths in turn; most often for the first.
    pub(super) fn start(address: SocketAddr, paths: &'static [&'static str]) -> Self {
        let counts = Arc::new(Counts::default());
        let threads = (0..CONNECTIONS)
            .map(|connection| {
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || ask(address, paths, connection, &counts))
            })
            .collect();
        Self { counts, threads }
    }

    /// Ends it; gives how many requests were answered, and how many failed.
    pub(super) fn stop(self) -> (u64, u64) {
        self.counts.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            // A thread that panicked has printed why; the counts stay true.
            let _ = thread.join();
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.counts.answered), count(&self.counts.failed))
    }
}

fn ask(address: SocketAddr, paths: &[&str], first: usize, counts: &Counts) {
    let mut connection = None;
    let mut next = Instant::now();
    let mut turn = first;
    while !counts.is_over.load(Ordering::Relaxed) {
        if let Some(path) = path(paths, turn) {
            let asked = match connection.take() {
                Some(connection) => Ok(connection),
                None => Connection::open(address),
            }
            .and_then(|mut open| open.get(path).map(|_| open));
            match asked {
                Ok(open) => {
                    counts.answered.fetch_add(1, Ordering::Relaxed);
                    connection = Some(open);
                }
                Err(_) => {
                    counts.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        turn += 1;
        next += EVERY;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Every second turn takes the first path, the others share the rest.
fn path<'a>(paths: &[&'a str], turn: usize) -> Option<&'a str> {
    let position = match paths.len() {
        0 => return None,
        1 => 0,
        length if turn % 2 == 1 => 1 + turn / 2 % (length - 1),
        _ => 0,
    };
    paths.get(position).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_path_has_half_the_turns_and_each_has_some() {
        let paths = ["a", "b", "c"];
        let turns: Vec<&str> = (0..8).filter_map(|turn| path(&paths, turn)).collect();
        assert_eq!(turns, ["a", "b", "a", "c", "a", "b", "a", "c"]);
        assert_eq!(path(&["a"], 7), Some("a"));
        assert_eq!(path(&[], 0), None);
    }

    #[test]
    fn a_server_that_is_not_there_counts_as_failures() {
        let load = Load::start("127.0.0.1:1".parse().unwrap(), &["/"]);
        let deadline = Instant::now() + Duration::from_secs(10);
        while load.counts.failed.load(Ordering::Relaxed) == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let (answered, failed) = load.stop();
        assert_eq!(answered, 0);
        assert!(failed > 0);
    }
}
