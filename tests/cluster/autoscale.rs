//! A Deployment that KEDA scales on what strata sees of it, by the example that
//! is shipped.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tests::cluster::{self, Keda, Strata, Workload, kubectl, kubectl_json};
use tests::prometheus::Prometheus;
use tests::{eventually, require};

/// Requests a second that one replica is to have, and that all get.
const PER_REPLICA: u64 = 20;
const RATE: u64 = 60;
/// Replicas at rest, with the load by the requests alone, and at most: on a
/// busy machine the run queue may ask for more.
const AT_REST: u64 = 1;
const LOADED: u64 = 3;
const MOST: u64 = 4;
/// How long scaling may take: Prometheus, KEDA and the autoscaler ask each
/// other every few seconds, and a pod has to start.
const SCALES: Duration = Duration::from_secs(150);

/// The example for this workload, with times of a test.
fn scaled_object(namespace: &str, prometheus: &Prometheus) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/autoscaling/keda.yaml");
    let mut text = std::fs::read_to_string(file).unwrap();
    let server = format!("http://{}", prometheus.addr());
    for (from, to) in [
        ("namespace: shop", format!("namespace: {namespace}")),
        ("namespace=\"shop\"", format!("namespace=\"{namespace}\"")),
        ("http://prometheus.monitoring.svc:9090", server),
        ("minReplicaCount: 2", format!("minReplicaCount: {AT_REST}")),
        ("maxReplicaCount: 20", format!("maxReplicaCount: {MOST}")),
        ("pollingInterval: 15", "pollingInterval: 2".to_owned()),
        ("stabilizationWindowSeconds: 300", "stabilizationWindowSeconds: 0".to_owned()),
        ("threshold: \"200\"", format!("threshold: \"{PER_REPLICA}\"")),
        ("[2m]", "[15s]".to_owned()),
    ] {
        assert!(text.contains(from), "the example has no {from}");
        text = text.replace(from, &to);
    }
    text
}

fn replicas(workload: &Workload) -> u64 {
    let deployment =
        kubectl_json(&["get", "deployment", "checkout", "-n", workload.namespace()]).unwrap();
    deployment["status"]["readyReplicas"].as_u64().unwrap_or(0)
}

#[test]
fn keda_scales_out_under_load_and_in_after_it() {
    require!(cluster::is_there(), "no cluster (KUBECONFIG, STRATA_MANIFEST, STRATA_APP_IMAGE)");
    require!(Keda::is_there(), "no KEDA (STRATA_KEDA_CRDS; built for `test --full`)");
    let strata = Strata::installed().unwrap();
    let workload = Workload::start("scaled").unwrap();
    workload.serve("Deployment", "checkout", u32::try_from(AT_REST).unwrap()).unwrap();
    let url = workload.expose("checkout").unwrap();
    let prometheus = Prometheus::start_all(&strata.addrs()).unwrap();
    // Who was never asked has no series, which is no reason to scale.
    workload.load(&url, 20, 10).unwrap();
    let query = format!("sum(strata_requests_total{{namespace=\"{}\"}})", workload.namespace());
    let is_seen = || prometheus.scalar(&query).ok().flatten().filter(|count| *count >= 20.0);
    eventually::until(Duration::from_secs(30), is_seen).expect("the first requests are scraped");
    let keda = Keda::start().unwrap();
    kubectl(&["apply", "-f", "-"], Some(&scaled_object(workload.namespace(), &prometheus)))
        .unwrap();
    let ready = ["wait", "--for=condition=Ready", "--timeout=60s", "scaledobject/checkout"];
    workload.kubectl(&ready).unwrap_or_else(|error| panic!("{error}\n{}", keda.said()));

    let is_over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                workload.load(&url, 2 * RATE, RATE).unwrap();
            }
        });
        let most = eventually::settle(SCALES, || replicas(&workload), |count| *count >= LOADED);
        is_over.store(true, Ordering::Relaxed);
        most
    });
    let autoscaler = || workload.kubectl(&["get", "scaledobject,hpa"]).unwrap_or_default();
    assert!((LOADED..=MOST).contains(&most), "{most}\n{}\n{}", autoscaler(), keda.said());
    println!("scaled from {AT_REST} to {most}\n{}", autoscaler());
    let least = eventually::settle(SCALES, || replicas(&workload), |count| *count == AT_REST);
    assert_eq!(least, AT_REST, "{}\n{}", autoscaler(), keda.said());
    // While there is a KEDA that takes its finalizer off.
    workload.kubectl(&["delete", "scaledobject", "checkout", "--timeout=30s"]).unwrap();
}
