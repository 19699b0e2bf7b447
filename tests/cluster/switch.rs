//! The configuration of a running DaemonSet: its ConfigMap is its file.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::cluster::{self, NAMESPACE, Strata, kubectl, kubectl_json};
use tests::{eventually, require};

/// The kubelet brings a changed ConfigMap into a pod within its sync period
/// and the life of its cache: a minute each.
const REACHES: Duration = Duration::from_secs(150);

/// The ConfigMap with the agent's configuration, and the key of the file in it.
fn config() -> (Value, String) {
    let list = kubectl_json(&["get", "configmaps", "-n", NAMESPACE]).unwrap();
    let maps = list["items"].as_array().unwrap().iter();
    let ours = maps.filter(|map| map["metadata"]["labels"]["app.kubernetes.io/name"] == "strata");
    let found: Vec<_> = ours
        .filter_map(|map| {
            let files = map["data"].as_object()?;
            let key = files.keys().find(|key| key.ends_with(".yaml"))?;
            Some((map.clone(), key.clone()))
        })
        .collect();
    let [one] = &found[..] else { panic!("{} ConfigMaps with a .yaml: {list:#}", found.len()) };
    one.clone()
}

fn set(map: &Value, key: &str, text: &str) {
    let name = map["metadata"]["name"].as_str().unwrap();
    let patch = json!({"data": {key: text}}).to_string();
    kubectl(&["patch", "configmap", name, "-n", NAMESPACE, "--type=merge", "-p", &patch], None)
        .unwrap();
}

/// Whether the agent of a node has its lanes held off.
fn is_off(strata: &Strata, node: &str) -> bool {
    strata.scrape(node).unwrap().sum("strata_agent_lanes_held", &[]) > 0.0
}

#[test]
fn the_kill_switch_detaches_every_agent_and_attaches_them_again() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let (map, key) = config();
    let before = map["data"][&key].as_str().unwrap().to_owned();
    let nodes: Vec<_> = strata.agents().map(|agent| agent.node.clone()).collect();
    assert!(nodes.iter().all(|node| !is_off(&strata, node)));
    for (text, wanted) in [(format!("{before}\noff: true\n"), true), (before.clone(), false)] {
        set(&map, &key, &text);
        let changed = Instant::now();
        let is_so = || nodes.iter().map(|node| is_off(&strata, node)).collect::<Vec<_>>();
        let all = vec![wanted; nodes.len()];
        let found = eventually::settle(REACHES, is_so, |found| *found == all);
        assert_eq!(found, all);
        println!("off: {wanted} reached every agent after {:?}", changed.elapsed());
    }
}
