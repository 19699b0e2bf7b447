//! Pods, containers, agents and API servers that go and come back: names stay
//! right, nothing is counted twice, and what has gone leaves.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use tests::cluster::{self, ApiServer, Strata, Workload, kubectl};
use tests::{eventually, require};

use crate::seen::{Name, assert_counted, nameless, requests};

/// Series leave two minutes after their container; the sweeps and this test's
/// own pauses come on top.
const LEAVES: Duration = Duration::from_secs(165);

fn names(pods: &[Value]) -> BTreeSet<String> {
    pods.iter().map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// The pods that any series of the namespace names.
fn seen_pods(strata: &Strata, namespace: &str) -> BTreeSet<String> {
    requests(strata, namespace).into_keys().map(|name| name.pod).collect()
}

#[test]
fn pods_that_are_replaced_restarted_and_scaled_keep_their_own_series() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("moving").unwrap();
    workload.serve("Deployment", "api", 2).unwrap();
    let url = workload.expose("api").unwrap();
    let first = workload.load(&url, 200, 100).unwrap();
    assert_counted(&strata, &workload, "api", std::slice::from_ref(&first), "deployment/api");
    let before = names(&workload.pods("api").unwrap());

    // Another ReplicaSet, the same Deployment.
    workload.kubectl(&["rollout", "restart", "deployment/api"]).unwrap();
    workload.rolled_out("deployment/api").unwrap();
    let second = workload.load(&url, 200, 100).unwrap();
    assert_eq!(second.failed, 0, "{second:?}");
    assert_counted(&strata, &workload, "api", std::slice::from_ref(&second), "deployment/api");
    assert!(names(&workload.pods("api").unwrap()).is_disjoint(&before));

    // A container that ends and is started again under the same name.
    let pod = &workload.pods("api").unwrap()[0];
    let pod_name = pod["metadata"]["name"].as_str().unwrap();
    workload.load(&format!("{}exit", Workload::url(pod).unwrap()), 1, 1).unwrap();
    let restarted = [
        "get",
        "pod",
        pod_name,
        "-o",
        "jsonpath={.status.containerStatuses[0].ready} {.status.containerStatuses[0].restartCount}",
    ];
    let is_back = eventually::until(Duration::from_secs(60), || {
        (workload.kubectl(&restarted).ok()? == "true 1").then_some(())
    });
    assert!(is_back.is_some(), "{pod_name} is not restarted");
    let third = workload.load(&Workload::url(pod).unwrap(), 100, 100).unwrap();
    assert_eq!(third.failed, 0, "{third:?}");
    let of_pod = || -> Vec<(Name, u64)> {
        let found = requests(&strata, workload.namespace()).into_iter();
        found.filter(|(name, _)| name.pod == pod_name).collect()
    };
    // One series, which begins anew as counters of a process do: Prometheus
    // sees a reset, and no second series of the container's other id.
    let wanted = |found: &Vec<(Name, u64)>| matches!(&found[..], [(_, 100)]);
    let found = eventually::settle(Duration::from_secs(45), of_pod, wanted);
    assert!(wanted(&found), "{found:#?}");

    // Twenty at once, then none.
    workload.kubectl(&["scale", "deployment/api", "--replicas=20"]).unwrap();
    workload.rolled_out("deployment/api").unwrap();
    let pods = workload.pods("api").unwrap();
    assert_eq!(pods.len(), 20);
    let fresh: Vec<_> = names(&pods)
        .into_iter()
        .filter(|name| !first.by_pod.contains_key(name) && !second.by_pod.contains_key(name))
        .collect();
    let all = workload.load(&url, 1_000, 100).unwrap();
    assert_eq!(all.failed, 0, "{all:?}");
    let counts_of_fresh = || {
        let found = requests(&strata, workload.namespace()).into_iter();
        let found = found.filter(|(name, _)| fresh.contains(&name.pod));
        found.map(|(name, count)| (name.pod, count)).collect::<std::collections::BTreeMap<_, _>>()
    };
    let mut expected = all.by_pod.clone();
    expected.retain(|pod, _| fresh.contains(pod));
    assert!(expected.len() > 10, "{all:?}");
    let found =
        eventually::settle(Duration::from_secs(45), counts_of_fresh, |found| *found == expected);
    assert_eq!(found, expected);
    let uids: Vec<_> =
        pods.iter().map(|pod| pod["metadata"]["uid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(nameless(&strata, &uids), [""; 0]);

    workload.kubectl(&["scale", "deployment/api", "--replicas=0"]).unwrap();
    let left =
        eventually::settle(LEAVES, || seen_pods(&strata, workload.namespace()), BTreeSet::is_empty);
    assert_eq!(left, BTreeSet::new(), "series of pods that are gone");
}

#[test]
fn an_agent_that_is_replaced_counts_on_from_its_own_start() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let mut strata = Strata::installed().unwrap();
    let workload = Workload::start("steady").unwrap();
    workload.serve("Deployment", "api", 2).unwrap();
    let url = workload.expose("api").unwrap();
    let first = workload.load(&url, 200, 100).unwrap();
    assert_counted(&strata, &workload, "api", &[first], "deployment/api");
    kubectl(&["rollout", "restart", "daemonset/strata", "-n", cluster::NAMESPACE], None).unwrap();
    strata.find_agents().unwrap();
    let second = workload.load(&url, 200, 100).unwrap();
    assert_eq!(second.failed, 0, "{second:?}");
    assert_counted(&strata, &workload, "api", &[second], "deployment/api");
}

#[test]
fn names_that_could_not_be_asked_for_come_when_the_api_server_is_back() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    require!(ApiServer::can_be_stopped(), "the API server of this cluster is not ours to stop");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("dark").unwrap();
    workload.serve("Deployment", "api", 2).unwrap();
    let url = workload.expose("api").unwrap();
    let first = workload.load(&url, 100, 100).unwrap();
    assert_counted(&strata, &workload, "api", std::slice::from_ref(&first), "deployment/api");

    let api_server = ApiServer::stop().unwrap();
    std::thread::sleep(Duration::from_secs(5));
    api_server.start().unwrap();
    // Pods made since have their names, and those of before have kept theirs.
    workload.kubectl(&["scale", "deployment/api", "--replicas=4"]).unwrap();
    workload.rolled_out("deployment/api").unwrap();
    let second = workload.load(&url, 400, 100).unwrap();
    assert_eq!(second.failed, 0, "{second:?}");
    // Forwarded ports went with the API server.
    let strata = Strata::installed().unwrap();
    assert_counted(&strata, &workload, "api", &[first, second], "deployment/api");
}
