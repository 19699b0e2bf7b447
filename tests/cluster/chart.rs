//! The chart as Helm installs, upgrades and removes it, with values of its own.

use serde_json::json;
use tests::cluster::{self, Chart, Place, Strata, Workload, daemon_set, kubectl, kubectl_json};
use tests::require;

use crate::seen::{assert_counted, requests};
use crate::switch::{awaits, poke};

/// Other than what the manifests make.
const PLACE: Place = Place { namespace: "observe", port: 9500 };
/// What Helm labels the objects of the release with.
const RELEASE: &str = "app.kubernetes.io/instance=strata";

#[test]
fn the_chart_installs_what_its_values_say_is_switched_off_and_leaves_nothing() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    require!(Chart::can_be_installed(), "no Helm, or no image by name (STRATA_HELM, STRATA_IMAGE)");
    // Two agents of a node would both count.
    Strata::uninstalled().unwrap();
    let values = json!({
        "config": {
            "listen": format!("0.0.0.0:{}", PLACE.port),
            "watch": {"namespaces_in": ["chosen"]},
        },
        "podLabels": {"team": "platform"},
        "updateStrategy": {"rollingUpdate": {"maxUnavailable": "100%"}},
    });
    let mut chart = Chart::install(PLACE.namespace, &values).unwrap();
    let strata = Strata::at(PLACE).unwrap();
    let made = daemon_set(PLACE.namespace).unwrap();
    assert_eq!(made["spec"]["template"]["metadata"]["labels"]["team"], "platform", "{made:#}");
    assert_eq!(made["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "100%");

    let (other, chosen) = (Workload::start("other").unwrap(), Workload::start("chosen").unwrap());
    for workload in [&other, &chosen] {
        workload.serve("Deployment", "api", 2).unwrap();
        let answers = workload.load(&workload.expose("api").unwrap(), 200, 100).unwrap();
        assert_eq!(answers.failed, 0, "{answers:?}");
        if std::ptr::eq(workload, &chosen) {
            assert_counted(&strata, workload, "api", &[answers], "deployment/api");
        }
    }
    // Loaded before the one that is counted by now.
    assert!(requests(&strata, other.namespace()).is_empty());

    chart.upgrade("config.off=true").unwrap();
    for agent in strata.agents() {
        poke(PLACE.namespace, agent, "upgrade");
    }
    for agent in strata.agents() {
        awaits(&strata, agent, true);
    }

    drop(strata);
    chart.uninstall().unwrap();
    let left = ["get", "clusterroles,clusterrolebindings", "-l", RELEASE];
    assert_eq!(kubectl_json(&left).unwrap()["items"], json!([]));
    let kinds = "daemonsets,configmaps,serviceaccounts,networkpolicies,services,secrets,roles";
    let left = ["get", kinds, "-n", PLACE.namespace, "-l", RELEASE];
    assert_eq!(kubectl_json(&left).unwrap()["items"], json!([]));
    kubectl(
        &["wait", "--for=delete", "pod", "--all", "-n", PLACE.namespace, "--timeout=60s"],
        None,
    )
    .unwrap();
}
