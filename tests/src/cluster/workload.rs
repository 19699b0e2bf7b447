//! A service of a namespace of its own, and the load that it gets.
//!
//! Separate because its client is the truth: it sends an exact number of
//! requests, and each answer names the pod that gave it.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::kubectl::{kubectl, kubectl_json};

/// Port that the servers listen on.
const PORT: u16 = 8080;
/// How long a roll-out may take.
const READY: &str = "--timeout=90s";

/// A namespace with servers and a client in it; gone with its drop.
#[derive(Debug)]
pub struct Workload {
    namespace: String,
    image: String,
}

/// Requests of a client, by what came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// How many were sent.
    pub sent: u64,
    /// How many each pod answered.
    pub by_pod: BTreeMap<String, u64>,
    /// How many were not answered, or not with 200.
    pub failed: u64,
    /// Of the failures the last.
    pub error: String,
}

impl Workload {
    /// Makes the namespace, with a client in it that waits.
    ///
    /// # Errors
    /// When the API server refuses, or the client does not get ready.
    pub fn start(namespace: &str) -> anyhow::Result<Self> {
        let image = std::env::var("STRATA_APP_IMAGE").context("STRATA_APP_IMAGE is not set")?;
        let workload = Self { namespace: namespace.to_owned(), image };
        let made = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace},
        });
        workload.apply(&made)?;
        let account = ["get", "serviceaccount", "default", "-n", namespace];
        let limit = std::time::Duration::from_secs(20);
        let is_made = crate::eventually::until(limit, || super::succeeds(&account).then_some(()));
        is_made.with_context(|| format!("{namespace} gets no service account"))?;
        workload.apply(&workload.pod("client", &["wait"], &json!({})))?;
        workload.kubectl(&["wait", "--for=condition=Ready", "pod/client", READY])?;
        Ok(workload)
    }

    /// Its name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Creates or changes an object.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        kubectl(&["apply", "-f", "-"], Some(&object.to_string())).map(drop)
    }

    /// [`kubectl`] in this namespace.
    ///
    /// # Errors
    /// As [`kubectl`].
    pub fn kubectl(&self, args: &[&str]) -> anyhow::Result<String> {
        kubectl(&[&["-n", &self.namespace], args].concat(), None)
    }

    /// A container of the app.
    #[must_use]
    pub fn container(&self, name: &str, args: &[&str]) -> Value {
        json!({"name": name, "image": self.image, "imagePullPolicy": "IfNotPresent", "args": args})
    }

    /// The image of the app.
    #[must_use]
    pub fn image(&self) -> &str {
        &self.image
    }

    /// A pod with one container of its own name; `more` is laid over its spec.
    #[must_use]
    pub fn pod(&self, name: &str, args: &[&str], more: &Value) -> Value {
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [self.container(name, args)],
            },
        });
        lay_over(&mut pod["spec"], more);
        pod
    }

    /// The template of a workload's pods: a server in a container `server`.
    #[must_use]
    pub fn server(&self, app: &str) -> Value {
        let probe = json!({"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1});
        let mut server = self.container("server", &["serve", &format!(":{PORT}")]);
        lay_over(&mut server, &json!({"readinessProbe": probe}));
        json!({
            "metadata": {"labels": {"app": app}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [server]},
        })
    }

    /// A workload of this kind (`Deployment`, `StatefulSet`, `DaemonSet`) with
    /// servers, spread over the nodes, and waits until all are ready.
    ///
    /// # Errors
    /// When the API server refuses, or the servers do not get ready.
    pub fn serve(&self, kind: &str, name: &str, replicas: u32) -> anyhow::Result<()> {
        let mut spec = json!({
            "selector": {"matchLabels": {"app": name}},
            "template": self.server(name),
        });
        let spread = json!([{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"app": name}},
        }]);
        match kind {
            "DaemonSet" => {}
            _ => {
                spec["replicas"] = replicas.into();
                spec["template"]["spec"]["topologySpreadConstraints"] = spread;
            }
        }
        if kind == "StatefulSet" {
            spec["serviceName"] = name.into();
        }
        self.apply(&json!({
            "apiVersion": "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }))?;
        self.rolled_out(&format!("{kind}/{name}"))
    }

    /// Waits until a workload is rolled out.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub fn rolled_out(&self, workload: &str) -> anyhow::Result<()> {
        let status = self.kubectl(&["rollout", "status", workload, READY]);
        status.map(drop).with_context(|| self.kubectl(&["describe", "pods"]).unwrap_or_default())
    }

    /// A service in front of an app; gives its URL.
    ///
    /// # Errors
    /// When the API server refuses, or gives it no address.
    pub fn expose(&self, app: &str) -> anyhow::Result<String> {
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": app, "namespace": self.namespace},
            "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": PORT}]},
        }))?;
        let service = kubectl_json(&["get", "service", app, "-n", &self.namespace])?;
        let ip = service["spec"]["clusterIP"].as_str().context("a service without an address")?;
        Ok(format!("http://{ip}/"))
    }

    /// Pods of an app that are not being deleted: name, node, address.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn pods(&self, app: &str) -> anyhow::Result<Vec<Value>> {
        let selector = format!("app={app}");
        let list = kubectl_json(&["get", "pods", "-n", &self.namespace, "-l", &selector])?;
        let pods = list["items"].as_array().context("a list without items")?.iter();
        let is_deleted = |pod: &&Value| !pod["metadata"]["deletionTimestamp"].is_null();
        Ok(pods.filter(|pod| !is_deleted(pod)).cloned().collect())
    }

    /// The URL of one pod.
    ///
    /// # Errors
    /// When it has no address yet.
    pub fn url(pod: &Value) -> anyhow::Result<String> {
        let ip = pod["status"]["podIP"].as_str().context("a pod without an address")?;
        Ok(format!("http://{ip}:{PORT}/"))
    }

    /// Has the client send so many requests at this rate.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn load(&self, url: &str, count: u64, rate: u64) -> anyhow::Result<Answers> {
        let (count, rate) = (count.to_string(), rate.to_string());
        let load = ["exec", "client", "--", "/podapp", "load", url, &count, &rate];
        let text = self.kubectl(&load)?;
        let seen: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
        let number = |value: &Value| value.as_u64().with_context(|| text.clone());
        let answers = seen["answers"].as_object().with_context(|| text.clone())?;
        let by_pod: anyhow::Result<BTreeMap<_, _>> =
            answers.iter().map(|(pod, n)| Ok((pod.clone(), number(n)?))).collect();
        let error = seen["error"].as_str().unwrap_or_default().to_owned();
        let answers = Answers {
            sent: number(&seen["sent"])?,
            by_pod: by_pod?,
            failed: number(&seen["failed"])?,
            error,
        };
        let told = answers.by_pod.values().sum::<u64>() + answers.failed;
        ensure!(told == answers.sent, "{answers:?}");
        Ok(answers)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // Whoever looks at a failure wants what was there; the cluster goes anyway.
        if !std::thread::panicking() {
            let _ = kubectl(&["delete", "namespace", &self.namespace, "--wait=false"], None);
        }
    }
}

/// Lays the members of one object over those of another.
fn lay_over(base: &mut Value, more: &Value) {
    for (name, value) in more.as_object().into_iter().flatten() {
        base[name] = value.clone();
    }
}
