//! The tests on a Kubernetes cluster: one that is named, or one of two nodes
//! that is brought up for them.
//!
//! Separate from the other stages because a cluster has to be had first, with
//! the images in it, and taken down whatever happens.

mod lab;

use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::janitor::Janitor;
use crate::{deploy, image, place, process};
use lab::Lab;

/// Names a cluster that is there; then the images have to be named too.
const KUBECONFIG: &str = "KUBECONFIG";
/// The agent's image, where the cluster's nodes can get it.
const IMAGE: &str = "STRATA_IMAGE";
/// An image of `tests/apps/podapp`, likewise.
const APP_IMAGE: &str = "STRATA_APP_IMAGE";

/// The address of who names peers in a cluster that resolves no names of
/// Services; it is one of those that Services have there.
const PEERS_ADDRESS: &str = "10.96.94.65";

/// Where a cluster comes from.
pub(crate) enum Cluster {
    /// Somebody's own.
    Named,
    /// Brought up on this machine.
    Lab(Lab),
}

impl Cluster {
    /// A cluster to test on, if one can be had.
    pub(crate) fn find() -> Option<Self> {
        if std::env::var_os(KUBECONFIG).is_some_and(|path| !path.is_empty()) {
            return Some(Self::Named);
        }
        Lab::find().map(Self::Lab)
    }

    /// Runs a command that tests the cluster, as `tests::cluster` wants it;
    /// with KEDA, which takes minutes to build, where all is tested.
    pub(crate) fn test<T>(
        &self,
        mut command: Command,
        is_full: bool,
        run: impl FnOnce(&mut Command) -> T,
    ) -> Result<T> {
        // Helm, for the chart; its test is skipped where it cannot be had.
        deploy::provide(&mut command);
        match self {
            Self::Named => {
                let named = |name| {
                    std::env::var(name).with_context(|| {
                    format!("{KUBECONFIG} is set, but {name} is not: name images that the cluster's nodes can get")
                })
                };
                let (image, app) = (named(IMAGE)?, named(APP_IMAGE)?);
                command.env("STRATA_MANIFEST", manifest(&image, None)?).env(APP_IMAGE, app);
                Ok(run(&mut command))
            }
            Self::Lab(lab) => {
                let images = [image::agent()?, image::podapp()?];
                let mut janitor = Janitor::start()?;
                let keda = if is_full { Some(lab.build_keda()?) } else { None };
                lab.start(&mut janitor, &images.each_ref().map(|image| image.archive.clone()))?;
                let [agent, app] = images;
                let mut command = lab.inside(&command)?;
                if let Some(resources) = keda {
                    command.env("STRATA_KEDA_CRDS", resources);
                }
                let manifest = manifest(&agent.reference, Some(PEERS_ADDRESS))?;
                command.env("STRATA_MANIFEST", manifest);
                command.env(IMAGE, agent.reference);
                command.env(APP_IMAGE, app.reference);
                Ok(run(&mut command))
            }
        }
    }
}

/// What installs strata with this image, in a file: the manifests of `deploy`,
/// as `kubectl apply -k` would have them. With an address for who names peers
/// the agents ask there.
fn manifest(image: &str, peers: Option<&str>) -> Result<PathBuf> {
    let (name, tag) = image.rsplit_once(':').with_context(|| format!("{image} has no tag"))?;
    let overlay = place::target().join("cluster");
    std::fs::create_dir_all(&overlay).with_context(|| format!("making {}", overlay.display()))?;
    let base = place::repository().join("deploy/kubernetes");
    let base = relative(&base.canonicalize()?, &overlay.canonicalize()?);
    let mut text = format!(
        "resources:\n- {}\nimages:\n- name: strata\n  newName: {name}\n  newTag: \"{tag}\"\n",
        base.display()
    );
    if let Some(address) = peers {
        text.push_str(&patches(address));
    }
    std::fs::write(overlay.join("kustomization.yaml"), text).context("writing the overlay")?;
    let kubectl = place::command("kubectl").context("no kubectl, which renders the manifests")?;
    let rendered = process::output(Command::new(kubectl).arg("kustomize").arg(&overlay))?;
    let file = overlay.join("strata.yaml");
    std::fs::write(&file, rendered).with_context(|| format!("writing {}", file.display()))?;
    Ok(file)
}

/// Gives the Service of who names peers an address, and tells the agents.
fn patches(address: &str) -> String {
    format!(
        "patches:\n\
         - target: {{kind: Service, name: strata-peers}}\n  patch: |\n    \
         - {{op: add, path: /spec/clusterIP, value: {address}}}\n\
         - target: {{kind: DaemonSet, name: strata}}\n  patch: |\n    \
         - op: add\n      path: /spec/template/spec/containers/0/env/-\n      \
         value: {{name: STRATA_NETWORK_PEERS, value: \"http://{address}:9465\"}}\n"
    )
}

/// The way from one directory to another, both absolute: kustomize takes no
/// other for what lies outside.
fn relative(to: &Path, from: &Path) -> PathBuf {
    let shared = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_between_directories_goes_up_and_down() {
        let way = |to: &str, from: &str| relative(Path::new(to), Path::new(from));
        assert_eq!(way("/a/b/c", "/a/d"), Path::new("../b/c"));
        assert_eq!(way("/a", "/a/b/c"), Path::new("../.."));
    }
}
