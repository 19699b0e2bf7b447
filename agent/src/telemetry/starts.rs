//! Starts of the agent that no stop followed: three crashes in ten minutes, and
//! the lanes stay off.
//!
//! Separate because it must outlive the process: the times stand in a file
//! beside the socket, by the monotonic clock, which a reboot sets to zero like
//! the file system that the file is in.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// Crashes that hold the lanes off.
pub const MAX_CRASHES: usize = 3;
/// Within this time, seconds. A run of this length is no crash, and lanes that
/// are held off are tried again after it.
pub const WINDOW_SECONDS: u64 = 600;

/// What became of the hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Ten minutes are over: the next crash holds the lanes off again.
    ByTime,
    /// The file was deleted.
    ByHand,
}

impl Released {
    /// Why, for the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByTime => "ten minutes are over",
            Self::ByHand => "the file was deleted",
        }
    }
}

/// The starts of one agent.
#[derive(Debug)]
pub struct Starts {
    path: PathBuf,
    /// When the time began that has to pass without a crash, seconds.
    since_s: u64,
    is_held: bool,
    /// Whether the file still says that this start is not over.
    is_marked: bool,
}

impl Starts {
    /// The file that belongs to a socket.
    #[must_use]
    pub fn path_of(socket: &Path) -> PathBuf {
        let mut path = socket.as_os_str().to_owned();
        path.push(".starts");
        PathBuf::from(path)
    }

    /// Notes a start, at `now_s` of the monotonic clock.
    ///
    /// # Errors
    ///
    /// The file cannot be written: nothing is counted then.
    pub fn begin(path: PathBuf, now_s: u64) -> std::io::Result<Self> {
        let mut starts = recent(&std::fs::read_to_string(&path).unwrap_or_default(), now_s);
        let is_held = starts.len() >= MAX_CRASHES;
        starts.push(now_s);
        write(&path, &starts)?;
        Ok(Self { path, since_s: now_s, is_held, is_marked: true })
    }

    /// Whether the lanes are held off.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.is_held
    }

    /// To be called every second or so. Says when the hold is over.
    pub fn tick(&mut self, now_s: u64) -> Option<Released> {
        let is_over = now_s.saturating_sub(self.since_s) >= WINDOW_SECONDS;
        if !self.is_held {
            if is_over && self.is_marked {
                self.forget();
            }
            return None;
        }
        let (released, starts) = if !self.path.exists() {
            (Released::ByHand, vec![now_s])
        } else if is_over {
            // One try: if this run crashes, the next starts with lanes off.
            (Released::ByTime, vec![now_s; MAX_CRASHES])
        } else {
            return None;
        };
        self.is_held = false;
        self.since_s = now_s;
        if let Err(error) = write(&self.path, &starts) {
            tracing::warn!(path = %self.path.display(), %error, "cannot note the start");
        }
        Some(released)
    }

    /// The agent stops in an orderly way, or could not start at all.
    pub fn stop(mut self) {
        self.forget();
    }

    fn forget(&mut self) {
        self.is_marked = false;
        // It may have been deleted by hand.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The starts in the file's text that count. What is no number is passed over,
/// and so is what lies ahead: it is from before a reboot.
fn recent(text: &str, now_s: u64) -> Vec<u64> {
    let starts = text.lines().filter_map(|line| line.trim().parse().ok());
    let mut recent: Vec<u64> =
        starts.filter(|at| *at <= now_s && now_s - at < WINDOW_SECONDS).collect();
    // More than these decide nothing.
    let excess = recent.len().saturating_sub(MAX_CRASHES);
    recent.drain(..excess);
    recent
}

/// Replaces the file. Never through a link, wherever the socket's directory is.
fn write(path: &Path, starts: &[u64]) -> std::io::Result<()> {
    let new = path.with_extension("starts-new");
    let _ = std::fs::remove_file(&new);
    let text: String = starts.iter().map(|at| format!("{at}\n")).collect();
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&new)?
        .write_all(text.as_bytes())?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(dir: &tempfile::TempDir, now_s: u64) -> Starts {
        Starts::begin(dir.path().join("s.sock.starts"), now_s).unwrap()
    }

    #[test]
    fn the_fourth_start_after_three_crashes_in_ten_minutes_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let held: Vec<bool> =
            [1000, 1100, 1200, 1599].map(|now_s| start(&dir, now_s).is_held()).to_vec();
        assert_eq!(held, [false, false, false, true]);
    }

    #[test]
    fn crashes_that_are_ten_minutes_old_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let held: Vec<bool> =
            [1000, 1100, 1200, 1600].map(|now_s| start(&dir, now_s).is_held()).to_vec();
        assert_eq!(held, [false; 4]);
    }

    #[test]
    fn a_clean_stop_and_ten_minutes_of_running_start_over() {
        let dir = tempfile::tempdir().unwrap();
        for now_s in [1, 2, 3] {
            start(&dir, now_s);
        }
        start(&dir, 4).stop();
        assert!(!start(&dir, 5).is_held());
        for now_s in [6, 7] {
            start(&dir, now_s);
        }
        // Held, released after ten minutes, and then ten good ones.
        let mut long = start(&dir, 8);
        assert!(long.is_held());
        assert_eq!(long.tick(8 + WINDOW_SECONDS), Some(Released::ByTime));
        assert_eq!(long.tick(8 + 2 * WINDOW_SECONDS), None);
        assert!(!start(&dir, 9 + 2 * WINDOW_SECONDS).is_held());
    }

    #[test]
    fn lanes_that_were_tried_again_and_crashed_are_held_at_once() {
        let dir = tempfile::tempdir().unwrap();
        for now_s in [1, 2, 3] {
            start(&dir, now_s);
        }
        let mut held = start(&dir, 4);
        assert_eq!(held.tick(4 + WINDOW_SECONDS - 1), None);
        assert_eq!(held.tick(4 + WINDOW_SECONDS), Some(Released::ByTime));
        assert!(start(&dir, 5 + WINDOW_SECONDS).is_held());
    }

    #[test]
    fn deleting_the_file_releases_the_lanes() {
        let dir = tempfile::tempdir().unwrap();
        for now_s in [1, 2, 3] {
            start(&dir, now_s);
        }
        let mut held = start(&dir, 4);
        assert_eq!(held.tick(5), None);
        std::fs::remove_file(dir.path().join("s.sock.starts")).unwrap();
        assert_eq!(held.tick(6), Some(Released::ByHand));
        assert_eq!(held.tick(7), None);
        assert!(!start(&dir, 8).is_held());
    }

    #[test]
    fn what_is_no_time_of_this_boot_is_passed_over() {
        assert_eq!(recent("5\nx\n\n-1\n9000\n 7 \n", 10), [5, 7]);
        assert_eq!(recent("1\n2\n3\n4\n5\n", 10), [3, 4, 5]);
    }

    #[test]
    fn a_directory_that_does_not_exist_is_an_error_and_no_panic() {
        assert!(Starts::begin(PathBuf::from("/nonexistent/s.starts"), 1).is_err());
    }
}
