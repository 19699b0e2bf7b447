//! KEDA beside the cluster: its operator and its metrics adapter as processes
//! of this machine, where the API server can reach them.
//!
//! Separate because it is somebody else's program with certificates, an API
//! service and custom resources of its own.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::json;

use super::kubectl::{kubectl, succeeds};
use crate::agent_process::free_port;
use crate::eventually;
use crate::process::{self, Process};

/// Where KEDA's custom resources are defined; its programs are in `PATH`.
const CRDS: &str = "STRATA_KEDA_CRDS";
/// Its namespace.
const NAMESPACE: &str = "keda";
/// The API that it adds to the cluster's.
const API: &str = "v1beta1.external.metrics.k8s.io";
/// How long it may take to be there.
const STARTS: Duration = Duration::from_secs(90);

/// A running KEDA; with its drop all of it is gone from the cluster.
#[derive(Debug)]
pub struct Keda {
    operator: Process,
    adapter: Process,
    dir: tempfile::TempDir,
}

impl Keda {
    /// Whether there is one to start.
    #[must_use]
    pub fn is_there() -> bool {
        std::env::var_os(CRDS).is_some_and(|path| Path::new(&path).is_dir())
    }

    /// Starts it and waits until the API server has its metrics.
    ///
    /// # Errors
    /// When a part does not start, or is not reached.
    pub fn start() -> anyhow::Result<Self> {
        let crds = std::env::var(CRDS).with_context(|| format!("{CRDS} is not set"))?;
        kubectl(&["apply", "--server-side", "-f", &crds], None)?;
        let dir = tempfile::Builder::new().prefix("strata-keda").tempdir()?;
        make_certificates(dir.path())?;
        let (metrics, api) = (free_port()?, free_port()?);
        register(api_server()?, api)?;
        let certificates = format!("--cert-dir={}", dir.path().display());
        let mut operator = program("keda-operator")?;
        operator
            .args(["--enable-cert-rotation=false", &certificates])
            .args(["--metrics-bind-address=127.0.0.1:0", "--health-probe-bind-address=127.0.0.1:0"])
            .arg(format!("--metrics-service-bind-address=127.0.0.1:{metrics}"));
        let operator = Process::spawn(&mut operator, dir.path(), "operator")?;
        let config = std::env::var("KUBECONFIG").context("KUBECONFIG is not set")?;
        let file = |name: &str| dir.path().join(name).display().to_string();
        let mut adapter = program("keda-adapter")?;
        adapter
            .arg(format!("--secure-port={api}"))
            .arg(&certificates)
            .arg(format!("--tls-cert-file={}", file("tls.crt")))
            .arg(format!("--tls-private-key-file={}", file("tls.key")))
            .arg(format!("--metrics-service-address=127.0.0.1:{metrics}"));
        for who in ["lister", "authentication", "authorization"] {
            adapter.arg(format!("--{who}-kubeconfig={config}"));
        }
        let adapter = Process::spawn(&mut adapter, dir.path(), "adapter")?;
        let keda = Self { operator, adapter, dir };
        let path = "/apis/external.metrics.k8s.io/v1beta1";
        let is_there = || succeeds(&["get", "--raw", path]).then_some(());
        eventually::until(STARTS, is_there).with_context(|| keda.said())?;
        Ok(keda)
    }

    /// The last that both parts have logged.
    #[must_use]
    pub fn said(&self) -> String {
        let last = |text: &str| {
            let lines: Vec<_> = text.lines().rev().take(15).collect();
            lines.into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        format!(
            "operator:\n{}\nadapter:\n{}\nfiles of {}",
            last(&(self.operator.stdout() + &self.operator.stderr())),
            last(&(self.adapter.stdout() + &self.adapter.stderr())),
            self.dir.path().display()
        )
    }
}

impl Drop for Keda {
    fn drop(&mut self) {
        // An API that nobody serves would keep namespaces from being deleted.
        let _ = kubectl(&["delete", "apiservice", API, "--ignore-not-found"], None);
        let _ = kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"], None);
    }
}

fn program(name: &str) -> anyhow::Result<Command> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&paths).map(|directory| directory.join(name));
    let place: PathBuf =
        places.find(|path| path.is_file()).with_context(|| format!("no {name} in PATH"))?;
    let mut command = Command::new(place);
    // All namespaces are watched; its own is where it keeps its lease.
    command.env("WATCH_NAMESPACE", "").env("POD_NAMESPACE", NAMESPACE);
    command.env("KEDA_CLUSTER_OBJECT_NAMESPACE", NAMESPACE);
    Ok(command)
}

/// Both parts know each other by one certificate.
fn make_certificates(dir: &Path) -> anyhow::Result<()> {
    let file = |name: &str| dir.join(name).display().to_string();
    let new_key = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let mut command = Command::new("openssl");
    command
        .args(new_key)
        .args(["-nodes", "-days", "2", "-subj", "/CN=keda"])
        .args(["-keyout", &file("tls.key"), "-out", &file("tls.crt")])
        .args(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-addext", "extendedKeyUsage=serverAuth,clientAuth"]);
    process::run(&mut command)?;
    std::fs::copy(dir.join("tls.crt"), dir.join("ca.crt")).context("copying its certificate")?;
    Ok(())
}

/// The address of the API server, which is where it finds itself.
fn api_server() -> anyhow::Result<Ipv4Addr> {
    let path = "jsonpath={.clusters[0].cluster.server}";
    let url = kubectl(&["config", "view", "--minify", "-o", path], None)?;
    let host = url.trim().trim_start_matches("https://").split(':').next().unwrap_or_default();
    host.parse().with_context(|| format!("{url} is not at an address"))
}

/// Tells the API server that the adapter is behind a service of its.
fn register(address: Ipv4Addr, port: u16) -> anyhow::Result<()> {
    let name = "keda-metrics";
    let meta = json!({"name": name, "namespace": NAMESPACE});
    let slice = json!({
        "name": name, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": name},
    });
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {
            "apiVersion": "v1", "kind": "Service", "metadata": meta,
            "spec": {"ports": [{"port": 443, "targetPort": port}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": slice,
            "addressType": "IPv4",
            "ports": [{"port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": API},
            "spec": {
                "group": "external.metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100,
                "insecureSkipTLSVerify": true,
                "service": {"name": name, "namespace": NAMESPACE},
            },
        },
    ]});
    let applied = kubectl(&["apply", "-f", "-"], Some(&objects.to_string()))?;
    ensure!(applied.contains(name), "{applied}");
    Ok(())
}
