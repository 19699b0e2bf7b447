//! The workload that a pod belongs to, by what the pod itself says of its
//! owner. Pure.
//!
//! Separate because it is guesswork by names, done so that no right on
//! ReplicaSets or Jobs is needed, and each guess has its reason.

use super::pod::Pod;

/// Minutes since 1970 that a CronJob may have put after its name: from 2017 to
/// 2084. A date as people write it (`20261125`) is not among them.
const CRON_MINUTES: std::ops::Range<u32> = 25_000_000..60_000_000;

/// The `workload` label: `deployment/api`, `statefulset/db`, `daemonset/proxy`,
/// `job/import`, `cronjob/backup`, `pod/debug`.
#[must_use]
pub fn workload(pod: &Pod) -> String {
    let Some(owner) = &pod.owner else { return format!("pod/{}", pod.name) };
    let name = &*owner.name;
    match &*owner.kind {
        // The node itself owns static pods, whose name ends with the node's.
        "Node" => format!("pod/{}", pod.name),
        "ReplicaSet" => match strip_hash(name, &pod.template_hash) {
            Some(deployment) => format!("deployment/{deployment}"),
            None => format!("replicaset/{name}"),
        },
        "Job" => match strip_minutes(name) {
            Some(cronjob) => format!("cronjob/{cronjob}"),
            None => format!("job/{name}"),
        },
        kind => format!("{}/{name}", kind.to_lowercase()),
    }
}

/// The Deployment's name: the ReplicaSet's is `<deployment>-<pod-template-hash>`.
fn strip_hash<'a>(name: &'a str, hash: &str) -> Option<&'a str> {
    let deployment = name.strip_suffix(hash)?.strip_suffix('-')?;
    (!hash.is_empty() && !deployment.is_empty()).then_some(deployment)
}

/// The CronJob's name: its Jobs' are `<cronjob>-<scheduled minute>`.
fn strip_minutes(name: &str) -> Option<&str> {
    let (cronjob, minutes) = name.rsplit_once('-')?;
    let is_number = minutes.len() == 8 && minutes.bytes().all(|byte| byte.is_ascii_digit());
    let is_minute = is_number && minutes.parse().is_ok_and(|at| CRON_MINUTES.contains(&at));
    (is_minute && !cronjob.is_empty()).then_some(cronjob)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};

    use super::super::pod::Owner;
    use super::*;

    fn owned(kind: &str, name: &str, hash: &str) -> String {
        let owner = Some(Owner { kind: kind.into(), name: name.into() });
        workload(&Pod { name: "p-1".into(), owner, template_hash: hash.into(), ..Pod::default() })
    }

    #[test]
    fn the_owner_names_the_workload() {
        assert_eq!(owned("ReplicaSet", "api-7d9f8b6c5", "7d9f8b6c5"), "deployment/api");
        assert_eq!(owned("ReplicaSet", "a-b-7d9f8b6c5", "7d9f8b6c5"), "deployment/a-b");
        assert_eq!(owned("ReplicaSet", "api", ""), "replicaset/api");
        assert_eq!(owned("ReplicaSet", "api-x", "other"), "replicaset/api-x");
        assert_eq!(owned("ReplicaSet", "-x", "x"), "replicaset/-x");
        assert_eq!(owned("StatefulSet", "db", ""), "statefulset/db");
        assert_eq!(owned("DaemonSet", "proxy", "ignored"), "daemonset/proxy");
        assert_eq!(owned("Job", "import", ""), "job/import");
        assert_eq!(owned("Rollout", "web", ""), "rollout/web");
        assert_eq!(owned("Node", "n1", ""), "pod/p-1");
        assert_eq!(workload(&Pod { name: "debug".into(), ..Pod::default() }), "pod/debug");
    }

    #[test]
    fn jobs_of_a_cronjob_are_one_workload_and_a_date_is_no_minute() {
        assert_eq!(owned("Job", "backup-29907000", ""), "cronjob/backup");
        assert_eq!(owned("Job", "report-20261125", ""), "job/report-20261125");
        assert_eq!(owned("Job", "x-1764072000", ""), "job/x-1764072000");
        assert_eq!(owned("Job", "x-2990700a", ""), "job/x-2990700a");
        assert_eq!(owned("Job", "-29907000", ""), "job/-29907000");
    }

    proptest! {
        #[test]
        fn a_deployments_name_is_what_its_replica_set_was_made_of(name in "[a-z][-a-z0-9]{0,20}", hash in "[a-z0-9]{1,10}") {
            let workload = owned("ReplicaSet", &format!("{name}-{hash}"), &hash);
            prop_assert_eq!(workload, format!("deployment/{name}"));
        }

        #[test]
        fn every_owner_gives_a_kind_and_a_name(kind in "\\PC{1,10}", name in "\\PC{1,30}", hash in "\\PC{0,10}") {
            let workload = owned(&kind, &name, &hash);
            prop_assert!(workload.split_once('/').is_some_and(|(_, name)| !name.is_empty()));
        }
    }
}
