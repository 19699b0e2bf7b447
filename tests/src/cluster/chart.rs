//! The Helm chart, installed in the cluster by Helm itself.
//!
//! Separate from the manifests: a release has a life of its own, and must be
//! gone at the end of its test.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::kubectl::kubectl;
use crate::process;

/// The release.
const RELEASE: &str = "strata";
/// How long Helm waits for the pods of it.
const WAIT: [&str; 2] = ["--wait", "--timeout=150s"];

/// A release of the chart; gone, with its namespace, by its drop.
#[derive(Debug)]
pub struct Chart {
    helm: PathBuf,
    namespace: String,
    is_there: bool,
}

impl Chart {
    /// Whether there is a Helm, and an image that is known by name.
    #[must_use]
    pub fn can_be_installed() -> bool {
        ["STRATA_HELM", "STRATA_IMAGE"].iter().all(|name| std::env::var_os(name).is_some())
    }

    /// `helm install` in a namespace that is made for it, with these values
    /// and the image; waits until the agents are ready.
    ///
    /// # Errors
    /// When Helm says no.
    pub fn install(namespace: &str, values: &Value) -> anyhow::Result<Self> {
        let helm = std::env::var_os("STRATA_HELM").context("STRATA_HELM is not set")?;
        let image = std::env::var("STRATA_IMAGE").context("STRATA_IMAGE is not set")?;
        let (repository, tag) = image.rsplit_once(':').context("an image without a tag")?;
        let mut values = values.clone();
        values["image"] = json!({"repository": repository, "tag": tag});
        let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
        // JSON is YAML.
        std::fs::write(file.path(), values.to_string())?;
        let chart = Self { helm: helm.into(), namespace: namespace.to_owned(), is_there: true };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart");
        let mut command = chart.helm("install");
        command.arg(source).arg("--create-namespace").arg("--values").arg(file.path());
        process::run(command.args(WAIT))?;
        Ok(chart)
    }

    /// `helm upgrade --reuse-values` with one value more, as the README has it.
    ///
    /// # Errors
    /// When Helm says no.
    pub fn upgrade(&self, value: &str) -> anyhow::Result<()> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/chart");
        let mut command = self.helm("upgrade");
        command.arg(source).args(["--reuse-values", "--set", value]);
        process::run(command.args(WAIT)).map(drop)
    }

    /// `helm uninstall`.
    ///
    /// # Errors
    /// When Helm says no.
    pub fn uninstall(&mut self) -> anyhow::Result<()> {
        process::run(self.helm("uninstall").args(WAIT))?;
        self.is_there = false;
        Ok(())
    }

    fn helm(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.helm);
        command.args([verb, RELEASE, "--namespace", &self.namespace]);
        command
    }
}

impl Drop for Chart {
    fn drop(&mut self) {
        if self.is_there {
            let _ = self.uninstall();
        }
        let _ = kubectl(&["delete", "namespace", &self.namespace, "--wait=false"], None);
    }
}
