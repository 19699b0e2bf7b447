//! The configuration of a running agent: loaded again when its file changes.
//!
//! Separate because it is the only part of the configuration with a state. It
//! looks at the file when asked to, some times a second: a watch by the kernel would
//! save nothing and miss what Kubernetes does, which swaps a link two
//! directories up.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::reload::take_up;
use super::{Config, Error, Reload, Sources, diff};

/// What tells two states of a file apart: which file is there in the end, all
/// links followed, and when and how long it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: (i64, i64),
    changed_ns: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// What became of a load.
#[derive(Debug)]
pub enum Outcome {
    /// A valid configuration; the running one is [`Reloader::config`].
    Loaded(Reload),
    /// There is none: the running one stays.
    Refused(Error),
}

/// See the module.
#[derive(Debug)]
pub struct Reloader {
    sources: Sources,
    running: Config,
    /// The file as it was when it was last loaded; `None` if it was not there.
    /// At first nothing is known, since it was loaded by another.
    loaded: Option<Option<Stamp>>,
    /// The file as it was at the last look.
    seen: Option<Stamp>,
}

impl Reloader {
    /// The reloader of an agent that runs by `running`, from `sources`.
    #[must_use]
    pub fn new(sources: Sources, running: Config) -> Self {
        Self { sources, running, loaded: None, seen: None }
    }

    /// The configuration that the agent runs by.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.running
    }

    /// Loads the file if it is another than at the last load, and the same as
    /// at the last look: one that is being written is left alone, since half of
    /// it may be valid too. `None` if there is nothing to do.
    pub fn poll(&mut self) -> Option<Outcome> {
        let now = Stamp::of(self.sources.file()?);
        let is_still = std::mem::replace(&mut self.seen, now) == now;
        (is_still && self.loaded != Some(now)).then(|| self.load())
    }

    /// Loads again, changed or not.
    pub fn load(&mut self) -> Outcome {
        // Before it is read: what is written meanwhile is seen as a change.
        self.loaded = Some(self.sources.file().and_then(Stamp::of));
        match self.sources.load() {
            Ok(loaded) => {
                let reload = diff(&self.running, &loaded.config);
                take_up(&mut self.running, &loaded.config, &reload);
                Outcome::Loaded(reload)
            }
            Err(error) => Outcome::Refused(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn reloader(path: &Path) -> Reloader {
        let sources = Sources { file: Some(path.to_owned()), ..Sources::default() };
        let config = sources.load().unwrap().config;
        Reloader::new(sources, config)
    }

    /// Polls until something was loaded, at most as often as it may take.
    fn poll(reloader: &mut Reloader) -> Option<Outcome> {
        (0..3).find_map(|_| reloader.poll())
    }

    fn applied(outcome: Option<Outcome>) -> Vec<&'static str> {
        match outcome {
            Some(Outcome::Loaded(reload)) => reload.applied,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_taken_up_once_and_only_its_live_keys() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("strata.yaml");
        fs::write(&path, "off: false\n").unwrap();
        let mut reloader = reloader(&path);
        assert_eq!(applied(poll(&mut reloader)), Vec::<&str>::new(), "the first look compares");
        assert!(poll(&mut reloader).is_none());
        fs::write(&path, "off: true\nring:\n  bytes: 8MiB\n").unwrap();
        let Some(Outcome::Loaded(reload)) = poll(&mut reloader) else { panic!("not loaded") };
        assert_eq!((reload.applied, reload.need_restart), (vec!["off"], vec!["ring.bytes"]));
        assert!(reloader.config().off);
        assert_eq!(reloader.config().ring, Config::default().ring, "that needs a restart");
        assert!(poll(&mut reloader).is_none());
    }

    #[test]
    fn a_file_that_is_still_being_written_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("strata.yaml");
        fs::write(&path, "off: true\n").unwrap();
        let mut reloader = reloader(&path);
        poll(&mut reloader);
        // An editor has cut it, and has not written yet.
        fs::write(&path, "").unwrap();
        assert!(reloader.poll().is_none());
        fs::write(&path, "off: true\n# more\n").unwrap();
        assert!(reloader.poll().is_none());
        assert_eq!(applied(reloader.poll()), Vec::<&str>::new());
        assert!(reloader.config().off);
    }

    #[test]
    fn what_is_wrong_is_refused_once_and_the_old_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("strata.yaml");
        fs::write(&path, "off: true\n").unwrap();
        let mut reloader = reloader(&path);
        poll(&mut reloader);
        fs::write(&path, "of: false\n").unwrap();
        assert!(matches!(poll(&mut reloader), Some(Outcome::Refused(Error::Invalid { .. }))));
        assert!(reloader.config().off);
        assert!(poll(&mut reloader).is_none());
        fs::remove_file(&path).unwrap();
        assert!(matches!(poll(&mut reloader), Some(Outcome::Refused(Error::Unreadable { .. }))));
        assert!(poll(&mut reloader).is_none());
        fs::write(&path, "off: false\n").unwrap();
        assert_eq!(applied(poll(&mut reloader)), ["off"]);
    }

    #[test]
    fn a_link_that_is_swapped_above_the_file_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (version, text) in [("..1", "off: false\n"), ("..2", "off: true \n")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("strata.yaml"), text).unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/strata.yaml", at("strata.yaml")).unwrap();
        let mut reloader = reloader(&at("strata.yaml"));
        poll(&mut reloader);
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        assert_eq!(applied(poll(&mut reloader)), ["off"]);
    }

    #[test]
    fn without_a_file_there_is_nothing_to_look_at_but_a_load_on_demand_works() {
        let mut reloader = Reloader::new(Sources::default(), Config::default());
        assert!(poll(&mut reloader).is_none());
        assert_eq!(applied(Some(reloader.load())), Vec::<&str>::new());
    }
}
