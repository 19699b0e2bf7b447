//! What no Deployment makes: static pods, pods on the host's network, init
//! containers and ephemeral ones. Each is counted under its own name.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tests::cluster::{self, Strata, Workload};
use tests::{eventually, require};

use crate::seen::{assert_counted, requests};

/// Requests to each, and how many of them a second.
const LOAD: (u64, u64) = (100, 100);
/// How long a pod may take to be what it is to be.
const BECOMES: Duration = Duration::from_secs(60);

/// A port of a pod that no other test's has: on the host's network it is the
/// node's.
const HOST_PORT: u16 = 18_080;

fn url(pod: &Value, port: u16) -> String {
    format!("http://{}:{port}/", pod["status"]["podIP"].as_str().unwrap())
}

/// A pod once it has what is asked for.
#[track_caller]
fn awaited(workload: &Workload, app: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let found = eventually::until(BECOMES, || {
        workload.pods(app).ok()?.into_iter().find(|pod| is_there(pod))
    });
    found.unwrap_or_else(|| panic!("{app}: {:#?}", workload.pods(app)))
}

fn is_running(status: &Value) -> bool {
    !status["state"]["running"].is_null()
}

fn load(workload: &Workload, url: &str) {
    let answers = workload.load(url, LOAD.0, LOAD.1).unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
}

/// Waits until a pod's containers have these counts, and nothing else has any.
#[track_caller]
fn assert_containers(strata: &Strata, workload: &Workload, pod: &Value, expected: &[(&str, u64)]) {
    let name = pod["metadata"]["name"].as_str().unwrap();
    let expected: BTreeMap<_, _> =
        expected.iter().map(|(container, count)| ((*container).to_owned(), *count)).collect();
    let counted = || -> BTreeMap<String, u64> {
        let found = requests(strata, workload.namespace()).into_iter();
        found
            .filter(|(it, _)| it.pod == name && it.workload == format!("pod/{name}"))
            .filter(|(it, _)| pod["spec"]["nodeName"] == it.node.as_str())
            .map(|(it, count)| (it.container, count))
            .collect()
    };
    let found = eventually::settle(Duration::from_secs(45), counted, |found| *found == expected);
    assert_eq!(found, expected);
}

#[test]
fn a_pod_on_the_hosts_network_is_counted_under_its_name() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("host-network").unwrap();
    let listen = format!(":{HOST_PORT}");
    let pod = workload.pod("edge", &["serve", &listen], &json!({"hostNetwork": true}));
    workload.apply(&pod).unwrap();
    let pod = awaited(&workload, "edge", |pod| is_running(&pod["status"]["containerStatuses"][0]));
    load(&workload, &url(&pod, HOST_PORT));
    assert_containers(&strata, &workload, &pod, &[("edge", LOAD.0)]);
}

#[test]
fn init_and_ephemeral_containers_are_told_from_the_pods_own() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("phases").unwrap();
    let more = json!({
        "initContainers": [workload.container("migrate", &["serve", ":8081"])],
        "containers": [workload.container("server", &["serve", ":8080"])],
    });
    workload.apply(&workload.pod("staged", &[], &more)).unwrap();
    // It serves before the pod is ready, for as long as it is let.
    let pod = awaited(&workload, "staged", |pod| {
        is_running(&pod["status"]["initContainerStatuses"][0]) && pod["status"]["podIP"].is_string()
    });
    load(&workload, &url(&pod, 8081));
    assert_containers(&strata, &workload, &pod, &[("migrate", LOAD.0)]);
    // Its last request is not answered: by its end.
    workload.load(&format!("{}done", url(&pod, 8081)), 1, 1).unwrap();
    let ready = ["wait", "--for=condition=Ready", "pod/staged", "--timeout=60s"];
    workload.kubectl(&ready).unwrap();
    load(&workload, &url(&pod, 8080));

    let image = format!("--image={}", workload.image());
    let mut debug = vec!["debug", "staged", &image, "--image-pull-policy=IfNotPresent"];
    debug.extend(["--profile=general", "-c", "looker", "--", "/podapp", "serve", ":8082"]);
    workload.kubectl(&debug).unwrap();
    awaited(&workload, "staged", |pod| is_running(&pod["status"]["ephemeralContainerStatuses"][0]));
    load(&workload, &url(&pod, 8082));
    let of_server = ("server", LOAD.0);
    let of_looker = ("looker", LOAD.0);
    let counted = || {
        let found = requests(&strata, workload.namespace()).into_iter();
        found
            .filter(|(name, _)| name.container != "migrate")
            .map(|(name, count)| (name.container, count))
            .collect::<Vec<_>>()
    };
    let expected = [of_looker, of_server].map(|(name, count)| (name.to_owned(), count));
    let limit = Duration::from_secs(45);
    let found = eventually::settle(limit, counted, |found| found[..] == expected);
    assert_eq!(found, expected);
}

#[test]
fn a_static_pod_is_counted_under_the_name_that_the_api_server_knows() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let place = std::env::var("STRATA_STATIC_PODS").ok();
    let place = place.as_deref().and_then(|place| place.split_once(':'));
    require!(place.is_some(), "no kubelet that takes static pods (STRATA_STATIC_PODS)");
    let (node, directory) = place.unwrap();
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("static").unwrap();
    let mut pod = workload.pod("fixed", &[], &json!({}));
    pod["spec"] = workload.server("fixed")["spec"].clone();
    let file = Manifest(PathBuf::from(directory).join("strata-test-fixed.json"));
    std::fs::write(&file.0, pod.to_string()).unwrap();
    let is_ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    let pod = awaited(&workload, "fixed", is_ready);
    assert_eq!(pod["metadata"]["name"], format!("fixed-{node}"));
    // Its cgroup bears the hash of the file, not the uid that the API server knows.
    let hash = &pod["metadata"]["annotations"]["kubernetes.io/config.hash"];
    assert_ne!(*hash, pod["metadata"]["uid"]);
    let answers = workload.load(&Workload::url(&pod).unwrap(), LOAD.0, LOAD.1).unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
    assert_counted(&strata, &workload, "fixed", &[answers], &format!("pod/fixed-{node}"));
}

/// A static pod's file: the pod goes with it.
struct Manifest(PathBuf);

impl Drop for Manifest {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
