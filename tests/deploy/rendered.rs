//! Renders of the chart and of the manifests, as text and as objects.
//!
//! Separate because every test starts with one, and the tools that make them
//! are named by the environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// Kubernetes as Helm is to take it; without it a Helm that was built from its
/// module believes in one of 2020.
const KUBE_VERSION: &str = "--kube-version=1.33.0";

/// A tool that the stage provides.
pub(crate) fn tool(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_file())
}

/// The variable that names Helm.
pub(crate) const HELM: &str = "STRATA_HELM";
/// The variable that names kubectl.
pub(crate) const KUBECTL: &str = "STRATA_KUBECTL";
/// The variable that names kubernetes-validate.
pub(crate) const VALIDATE: &str = "STRATA_KUBERNETES_VALIDATE";

/// A file or directory of `deploy`.
pub(crate) fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// Sets of values that have a golden render: directories of `deploy/chart/tests`.
pub(crate) const SETS: [&str; 4] = ["default", "platform", "least", "dashboards"];

/// The values of a set.
pub(crate) fn values(set: &str) -> PathBuf {
    deploy("chart/tests").join(set).join("values.yaml")
}

/// `helm lint --strict` of the chart with these values.
pub(crate) fn lint(chart: &Path, values: &Path) -> Output {
    let mut command = Command::new(tool(HELM).unwrap());
    command.args(["lint", "--strict", KUBE_VERSION]).arg(chart).arg("--values").arg(values);
    command.output().unwrap()
}

/// `helm template` of the chart as release `strata`, with more arguments.
pub(crate) fn template(arguments: &[&str]) -> Output {
    let mut command = Command::new(tool(HELM).unwrap());
    command.args(["template", "strata", "--namespace=strata", KUBE_VERSION]);
    command.arg(deploy("chart")).args(arguments).output().unwrap()
}

/// What the chart renders to with the values of a file.
pub(crate) fn chart(values: &Path) -> String {
    succeed(template(&["--values", values.to_str().unwrap()]))
}

/// What `kubectl apply -k` would install from a directory of `deploy`.
pub(crate) fn kustomized(directory: &str) -> String {
    let mut command = Command::new(tool(KUBECTL).unwrap());
    succeed(command.arg("kustomize").arg(deploy(directory)).output().unwrap())
}

/// The output of a command that has to succeed.
pub(crate) fn succeed(output: Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The objects in a render.
pub(crate) fn objects(yaml: &str) -> Vec<Value> {
    let all: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    all.into_iter().filter(|object| !object.is_null()).collect()
}

/// A render without the text of dashboards, which is another file's.
pub(crate) fn without_dashboards(yaml: &str) -> String {
    let mut kept = String::new();
    let mut is_within = false;
    for line in yaml.split_inclusive('\n') {
        is_within = is_within && (line.trim().is_empty() || line.starts_with("    "));
        if !is_within {
            kept.push_str(line);
        }
        is_within = is_within || line.trim_end().ends_with(".json: |-");
    }
    kept
}

/// The one object of a kind that is the agents', not that of who names peers.
pub(crate) fn only(yaml: &str, kind: &str) -> Value {
    one(yaml, kind, |name| !name.ends_with("-peers"))
}

/// The one object of a kind that belongs to who names peers.
pub(crate) fn only_of_peers(yaml: &str, kind: &str) -> Value {
    one(yaml, kind, |name| name.ends_with("-peers"))
}

fn one(yaml: &str, kind: &str, is_meant: impl Fn(&str) -> bool) -> Value {
    let mut found = objects(yaml);
    found.retain(|object| {
        object["kind"] == kind && is_meant(object["metadata"]["name"].as_str().unwrap())
    });
    assert_eq!(found.len(), 1, "{kind} in\n{yaml}");
    found.remove(0)
}
