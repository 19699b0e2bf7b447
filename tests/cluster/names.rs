//! Pods of every kind under load: each of their requests is counted once, by
//! their own node's agent, under the name that Kubernetes knows them by.

use serde_json::{Value, json};
use tests::cluster::{self, Answers, Strata, Workload};
use tests::require;

use crate::seen::{assert_counted, nameless, requests};

/// Requests to each pod, and how many of them a second.
const LOAD: (u64, u64) = (200, 100);

/// Loads every pod of an app by its own address.
fn load_each(workload: &Workload, app: &str) -> Vec<Answers> {
    let pods = workload.pods(app).unwrap();
    let answers = pods.iter().map(|pod| {
        let answers = workload.load(&Workload::url(pod).unwrap(), LOAD.0, LOAD.1).unwrap();
        assert_eq!(answers.failed, 0, "{answers:?}");
        answers
    });
    answers.collect()
}

fn uids(pods: &[Value]) -> Vec<String> {
    pods.iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_service_is_counted_pod_by_pod_as_its_client_counts() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("shop").unwrap();
    workload.serve("Deployment", "checkout", 4).unwrap();
    let url = workload.expose("checkout").unwrap();
    let answers = workload.load(&url, 1_000, 100).unwrap();
    assert_eq!(answers.failed, 0, "{answers:?}");
    assert!(answers.by_pod.len() > 1, "the service chose one pod only: {answers:?}");
    assert_counted(&strata, &workload, "checkout", &[answers], "deployment/checkout");
    assert_eq!(nameless(&strata, &uids(&workload.pods("checkout").unwrap())), [""; 0]);
}

#[test]
fn every_kind_of_workload_has_its_name() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("kinds").unwrap();
    for (kind, name) in [("StatefulSet", "store"), ("DaemonSet", "edge")] {
        workload.serve(kind, name, 2).unwrap();
        let answers = load_each(&workload, name);
        let as_workload = format!("{}/{name}", kind.to_lowercase());
        assert_counted(&strata, &workload, name, &answers, &as_workload);
    }
    // A pod of its own, and one of a job.
    let mut alone = workload.pod("alone", &[], &json!({}));
    alone["spec"] = workload.server("alone")["spec"].clone();
    workload.apply(&alone).unwrap();
    let mut of_job = workload.server("batch");
    of_job["spec"]["restartPolicy"] = "Never".into();
    workload
        .apply(&json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "batch", "namespace": workload.namespace()},
            "spec": {"template": of_job},
        }))
        .unwrap();
    for (app, as_workload) in [("alone", "pod/alone"), ("batch", "job/batch")] {
        let selector = format!("app={app}");
        let ready = ["wait", "--for=condition=Ready", "pod", "-l", &selector, "--timeout=60s"];
        workload.kubectl(&ready).unwrap();
        let answers = load_each(&workload, app);
        assert_counted(&strata, &workload, app, &answers, as_workload);
    }
}

#[test]
fn containers_of_one_pod_are_told_apart() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("sidecars").unwrap();
    let mut sidecar = workload.container("proxy", &["serve", ":8081"]);
    sidecar["restartPolicy"] = "Always".into();
    let more = json!({
        "initContainers": [sidecar],
        "containers": [workload.container("server", &["serve", ":8080"])],
    });
    workload.apply(&workload.pod("pair", &[], &more)).unwrap();
    workload.kubectl(&["wait", "--for=condition=Ready", "pod/pair", "--timeout=60s"]).unwrap();
    let [pod] = &workload.pods("pair").unwrap()[..] else { panic!("not one pod") };
    let url = Workload::url(pod).unwrap();
    let of_server = workload.load(&url, LOAD.0, LOAD.1).unwrap();
    let of_proxy = workload.load(&url.replace(":8080", ":8081"), LOAD.0 / 2, LOAD.1).unwrap();
    assert_eq!((of_server.failed, of_proxy.failed), (0, 0));
    let by_container = || {
        let found = requests(&strata, workload.namespace());
        found.into_iter().map(|(name, count)| (name.container, count)).collect::<Vec<_>>()
    };
    let expected = vec![("proxy".to_owned(), LOAD.0 / 2), ("server".to_owned(), LOAD.0)];
    let limit = std::time::Duration::from_secs(45);
    let found = tests::eventually::settle(limit, by_container, |found| *found == expected);
    assert_eq!(found, expected);
}

#[test]
fn a_pod_that_opts_out_is_not_counted() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("opted").unwrap();
    for (name, annotation) in [("seen", "true"), ("hidden", "false")] {
        let mut pod = workload.pod(name, &["serve", ":8080"], &json!({}));
        pod["spec"]["containers"][0]["name"] = "server".into();
        pod["metadata"]["annotations"] = json!({OPT: annotation});
        workload.apply(&pod).unwrap();
        let ready = ["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"];
        workload.kubectl(&ready).unwrap();
    }
    let hidden = load_each(&workload, "hidden");
    let seen = load_each(&workload, "seen");
    assert_eq!(hidden.len(), 1);
    assert_counted(&strata, &workload, "seen", &seen, "pod/seen");
    let pods: Vec<_> =
        requests(&strata, workload.namespace()).into_keys().map(|name| name.pod).collect();
    assert_eq!(pods, ["seen"]);
}

/// The annotation by which a pod opts in or out.
const OPT: &str = "strata.dev/watch";
