//! A Kubernetes cluster of two nodes on this machine, from scripts beside the
//! repository: built, brought up, taken down.
//!
//! Separate because the tests do not care where their cluster comes from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::janitor::Janitor;
use crate::{place, process};

/// Names another place for the scripts.
const VARIABLE: &str = "STRATA_LAB";
/// The network namespace with the control plane in it. Nothing of the cluster
/// is to be had outside of its own namespaces.
const NAMESPACE: &str = "/run/netns/lab-cp";

/// The scripts, and where they keep what they make.
pub(crate) struct Lab {
    scripts: PathBuf,
    directory: PathBuf,
}

impl Lab {
    /// The scripts, where there are any.
    pub(super) fn find() -> Option<Self> {
        let named = std::env::var_os(VARIABLE).map(PathBuf::from);
        let scripts = named.unwrap_or_else(|| place::repository().join("../shared/lab/k8s"));
        let scripts = scripts.canonicalize().ok().filter(|path| path.join("up.sh").is_file())?;
        // As the scripts themselves choose it.
        let directory = std::env::var_os("LAB_DIR").map(PathBuf::from);
        let directory = directory.unwrap_or_else(|| std::env::temp_dir().join("k8s-lab"));
        Some(Self { scripts, directory })
    }

    /// Builds what is missing, brings two nodes up that have these images, and
    /// has the janitor take them down.
    pub(super) fn start(&self, janitor: &mut Janitor, images: &[PathBuf]) -> Result<()> {
        for script in ["setup.sh", "build.sh", "images.sh"] {
            Self::run(&mut self.script(script))?;
        }
        if Path::new(NAMESPACE).exists() {
            // Of a run that was cut off, for there is room for one cluster only.
            Self::run(&mut self.script("down.sh"))?;
        }
        let kept = self.directory.join("images");
        for image in images {
            let name = image.file_name().context("an image without a name")?;
            std::fs::copy(image, kept.join(name))
                .with_context(|| format!("copying {} to {}", image.display(), kept.display()))?;
        }
        janitor.run_at_end(&self.scripts.join("down.sh"))?;
        Self::run(self.script("up.sh").env("NODES", "2"))
    }

    fn script(&self, name: &str) -> Command {
        let mut command = Command::new(self.scripts.join(name));
        // Go may not be in `PATH`; the scripts need it.
        if let Ok(path) = std::env::join_paths(place::search_path()) {
            command.env("PATH", path);
        }
        command
    }

    fn run(script: &mut Command) -> Result<()> {
        let start = Instant::now();
        process::run_quietly(script)?;
        let name = Path::new(script.get_program()).file_name().unwrap_or_default();
        println!("cluster: {} took {:.0} s", name.display(), start.elapsed().as_secs_f64());
        Ok(())
    }

    /// A command inside of the cluster's network, with all that the cluster's
    /// tests are told of it.
    pub(super) fn inside(&self, command: &Command) -> Result<Command> {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net={NAMESPACE}")).arg(command.get_program());
        inside.args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            inside.current_dir(directory);
        }
        let own = [self.directory.join("bin")];
        let path = std::env::join_paths(own.into_iter().chain(place::search_path()))?;
        inside.env("PATH", path);
        inside.env("KUBECONFIG", self.directory.join("pki/admin.kubeconfig"));
        inside.env("STRATA_API_SERVER_PID_FILE", self.directory.join("run/apiserver.pid"));
        Ok(inside)
    }
}
