//! Tools that are fetched: where from, and where they are kept.
//!
//! Separate so that a version is one line here, and a new one is fetched into
//! a directory of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::{place, process};

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    version: &'static str,
    /// The variable by which tests find it.
    pub(super) variable: &'static str,
    /// Where it is below its directory.
    program: &'static str,
    /// Puts it there.
    fetch: fn(&str, &Path) -> Result<()>,
    /// What that takes on two cores with nothing cached.
    expected_minutes: f64,
}

/// All of them.
pub(super) const TOOLS: [Tool; 2] = [
    Tool {
        name: "helm",
        version: "3.19.0",
        variable: "STRATA_HELM",
        program: "helm",
        fetch: helm,
        expected_minutes: 2.5,
    },
    Tool {
        name: "kubernetes-validate",
        version: "1.37.0",
        variable: "STRATA_KUBERNETES_VALIDATE",
        program: "bin/kubernetes-validate",
        fetch: kubernetes_validate,
        expected_minutes: 0.8,
    },
];

impl Tool {
    /// The tool, fetched unless it is there.
    pub(super) fn ensure(&self) -> Result<PathBuf> {
        let directory = self.directory(&place::target());
        let program = directory.join(self.program);
        if !program.is_file() {
            println!("getting {} {}: about {} min", self.name, self.version, self.expected_minutes);
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("making {}", directory.display()))?;
            (self.fetch)(self.version, &directory)?;
            ensure!(program.is_file(), "fetched, but there is no {}", program.display());
        }
        Ok(program)
    }

    fn directory(&self, target: &Path) -> PathBuf {
        target.join("tools").join(format!("{}-{}", self.name, self.version))
    }
}

/// Built from its Go module: its releases are in no package registry.
fn helm(version: &str, directory: &Path) -> Result<()> {
    let go = place::command("go").context("no Go, which builds it")?;
    process::run_quietly(
        Command::new(go)
            .args(["install", "-trimpath", &format!("helm.sh/helm/v3/cmd/helm@v{version}")])
            .current_dir(directory)
            .env("GOBIN", directory)
            .env("CGO_ENABLED", "0")
            .env("GOTOOLCHAIN", "local"),
    )
}

/// Installed from PyPI into an environment of its own. Its program appears
/// last, so that an interrupted installation is begun anew.
fn kubernetes_validate(version: &str, directory: &Path) -> Result<()> {
    let python = place::command("python3").context("no Python, which runs it")?;
    process::run_quietly(Command::new(python).args(["-m", "venv", "--clear"]).arg(directory))?;
    process::run_quietly(
        Command::new(directory.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .arg(format!("kubernetes-validate=={version}")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_another_directory() {
        let [helm, _] = TOOLS;
        let newer = Tool { version: "3.19.1", ..helm };
        let target = Path::new("target");
        assert!(helm.directory(target).ends_with("tools/helm-3.19.0"));
        assert_ne!(helm.directory(target), newer.directory(target));
    }
}
