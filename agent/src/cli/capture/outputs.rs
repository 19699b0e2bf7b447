//! Where a capture goes.
//!
//! Separate from what is written, which is pure: here are files, of which
//! nothing is left if nothing was captured.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::chrome::{self, Picture};
use super::gather::Gathered;
use super::goroutines::goroutines;
use super::threads::threads;
use super::{Output, table};
use crate::cli::Error;
use crate::cli::exit::say;
use crate::cli::stdout::Stdout;

/// A file that is there before the capture begins, so that nobody waits for one
/// that cannot be written; the trace is beside it until it is whole.
struct Target {
    path: PathBuf,
    partial: PathBuf,
    file: Option<File>,
}

impl Target {
    fn new(path: &Path) -> Result<Self, Error> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(".part");
        let partial = PathBuf::from(partial);
        match File::create(&partial) {
            Ok(file) => Ok(Self { path: path.to_owned(), partial, file: Some(file) }),
            Err(source) => Err(Error::File { path: partial, source }),
        }
    }

    fn write(&mut self, picture: &Picture<'_>) -> Result<(), Error> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let written = chrome::write(picture, BufWriter::new(file)).map(drop);
        written
            .and_then(|()| std::fs::rename(&self.partial, &self.path))
            .map_err(|source| Error::File { path: self.path.clone(), source })
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // Not there any more if it was written.
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// All that were asked for.
pub(in crate::cli) struct Outputs {
    files: Vec<Target>,
    has_table: bool,
}

impl Outputs {
    /// Makes the files.
    ///
    /// # Errors
    ///
    /// If one cannot be made.
    pub(in crate::cli) fn open(outputs: &[Output]) -> Result<Self, Error> {
        let files = outputs.iter().filter_map(|output| match output {
            Output::Table => None,
            Output::File(path) => Some(Target::new(path)),
        });
        let files = files.collect::<Result<_, _>>()?;
        Ok(Self { files, has_table: outputs.contains(&Output::Table) })
    }

    /// Writes what was captured, and says what is missing from it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(in crate::cli) fn write(mut self, gathered: &Gathered) -> Result<(), Error> {
        let window = gathered.window.unwrap_or_default();
        gathered.tell_losses();
        let threads = threads(&gathered.points, window);
        let goroutines = goroutines(&threads, window);
        let picture = Picture { gathered, window, threads: &threads, goroutines: &goroutines };
        for file in &mut self.files {
            file.write(&picture)?;
            say(&format!(
                "wrote {}: {} requests, {} goroutines, {} threads; open it at https://ui.perfetto.dev",
                file.path.display(),
                chrome::requests(&picture).count(),
                goroutines.len(),
                threads.len(),
            ));
        }
        if self.has_table {
            let mut out = Stdout::lock();
            table::write(&picture, &mut out)?;
            out.flush()?;
        }
        Ok(())
    }
}
