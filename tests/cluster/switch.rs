//! The configuration of a running DaemonSet: its ConfigMap is its file.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tests::cluster::{self, AgentPod, NAMESPACE, Strata, config_reached, kubectl, kubectl_json};
use tests::{eventually, require};

/// The kubelet brings a changed ConfigMap into a pod within its sync period
/// and the life of its cache, a minute each, where nothing hurries it.
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

/// The kill switch's promise from when its configuration is there, and what
/// this test's own looking adds.
const DETACHES: Duration = Duration::from_secs(2);
const LOOKING: Duration = Duration::from_secs(3);

/// Waits until an agent has its lanes held off, or not; gives when that was
/// seen, at the latest.
#[track_caller]
pub(crate) fn awaits(strata: &Strata, agent: &AgentPod, is_off: bool) -> SystemTime {
    let held = || strata.scrape(&agent.node).unwrap().sum("strata_agent_lanes_held", &[]) > 0.0;
    let seen = eventually::settle(REACHES, held, |held| *held == is_off);
    assert_eq!(seen, is_off, "{agent:?}");
    SystemTime::now()
}

/// Has the kubelet look at an agent's pod at once, not within a minute.
pub(crate) fn poke(namespace: &str, agent: &AgentPod, word: &str) {
    let poke = format!("strata.dev/test-poked-for={word}");
    let args = ["annotate", "pod", &agent.pod, "-n", namespace, "--overwrite", &poke];
    kubectl(&args, None).unwrap();
}

#[test]
fn the_kill_switch_detaches_every_agent_and_attaches_them_again() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    let strata = Strata::installed().unwrap();
    let (map, key) = config();
    let before = map["data"][&key].as_str().unwrap().to_owned();
    for agent in strata.agents() {
        awaits(&strata, agent, false);
    }
    for (text, is_off) in [(format!("{before}\noff: true\n"), true), (before.clone(), false)] {
        set(&map, &key, &text);
        for agent in strata.agents() {
            poke(NAMESPACE, agent, &is_off.to_string());
        }
        // All at once, so that none is looked at late.
        std::thread::scope(|scope| {
            for agent in strata.agents() {
                let strata = &strata;
                scope.spawn(move || {
                    let seen = awaits(strata, agent, is_off);
                    // Known only where the node is this machine.
                    if let Some(reached) = config_reached(agent).unwrap() {
                        let took = seen.duration_since(reached).unwrap_or_default();
                        println!("off: {is_off} on {}: {took:?} after its file", agent.node);
                        assert!(took <= DETACHES + LOOKING, "{agent:?}: {took:?}");
                    }
                });
            }
        });
    }
}
