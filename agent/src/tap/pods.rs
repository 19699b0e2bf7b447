//! Which pods are meant, by name, uid or workload. Pure.
//!
//! Separate because both ends compare: the agent its services, and who shows
//! workloads the rows that it is sent.

use super::query::Targets;
use crate::config::{Glob, Unfit};

/// Pods of a query, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// Namespace, if one is named, and name.
    names: Vec<(Option<Glob>, Glob)>,
    uids: Vec<String>,
    /// Namespace, if one is named, and label.
    workloads: Vec<(Option<String>, String)>,
    /// Nothing outside of pods.
    in_pods: bool,
}

impl Pods {
    /// Reads the pods of a query.
    ///
    /// # Errors
    ///
    /// If a pattern is none.
    pub fn new(targets: &Targets) -> Result<Self, Unfit> {
        let name = |text: &String| match text.split_once('/') {
            Some((namespace, name)) => Ok((Some(Glob::name(namespace)?), Glob::name(name)?)),
            None => Ok((None, Glob::name(text)?)),
        };
        let workload = |text: &String| match text.split_once('/') {
            // `shop/deployment/api`; a kind has no `/` behind its name.
            Some((namespace, label)) if label.contains('/') => {
                (Some(namespace.to_owned()), label.to_owned())
            }
            _ => (None, text.clone()),
        };
        Ok(Self {
            names: targets.pods.iter().map(name).collect::<Result<_, Unfit>>()?,
            uids: targets.pod_uids.clone(),
            workloads: targets.pod_workloads.iter().map(workload).collect(),
            in_pods: targets.in_pods,
        })
    }

    /// Whether everything is meant, in pods and outside.
    #[must_use]
    pub const fn is_all(&self) -> bool {
        !self.in_pods && self.is_nobody_named()
    }

    const fn is_nobody_named(&self) -> bool {
        self.names.is_empty() && self.uids.is_empty() && self.workloads.is_empty()
    }

    /// Whether this pod is meant, by its labels or its uid; what is not known
    /// is empty.
    #[must_use]
    pub fn has(&self, namespace: &str, pod: &str, workload: &str, uid: &str) -> bool {
        let is_in = |wanted: &Option<String>| wanted.as_deref().is_none_or(|it| it == namespace);
        // One whose name is not known has its uid for a label.
        let is_pod = || !pod.is_empty() || !uid.is_empty() || workload.starts_with("pod/");
        (self.is_nobody_named() && (!self.in_pods || is_pod()))
            || (!uid.is_empty() && self.uids.iter().any(|wanted| wanted == uid))
            || (!pod.is_empty()
                && (self.names.iter().any(|(within, name)| {
                    within.as_ref().is_none_or(|within| within.matches(namespace))
                        && name.matches(pod)
                }) || self
                    .workloads
                    .iter()
                    .any(|(within, label)| is_in(within) && label == workload)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pods(pods: &[&str], uids: &[&str], workloads: &[&str]) -> Pods {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let targets = Targets {
            pods: texts(pods),
            pod_uids: texts(uids),
            pod_workloads: texts(workloads),
            ..Targets::default()
        };
        Pods::new(&targets).unwrap()
    }

    #[test]
    fn no_pod_means_every_workload_also_one_outside_of_pods() {
        assert!(pods(&[], &[], &[]).has("", "", "process/api", ""));
        assert!(!pods(&["*"], &[], &[]).has("", "", "process/api", ""));
        assert!(!pods(&[], &[""], &[]).has("", "", "process/api", ""));
    }

    #[test]
    fn every_pod_means_nothing_outside_of_pods() {
        let pods = Pods::new(&Targets { in_pods: true, ..Targets::default() }).unwrap();
        assert!(!pods.is_all());
        assert!(
            !pods.has("", "", "process/api", "") && !pods.has("", "", "systemd/ssh.service", "")
        );
        assert!(pods.has("shop", "api-1", "deployment/api", "u1"));
        assert!(pods.has("", "", "pod/u1", "") && pods.has("", "", "", "u1"));
    }

    #[test]
    fn a_pod_is_meant_by_its_name_and_its_namespace_if_one_is_named() {
        let has = |wanted, namespace| {
            pods(&[wanted], &[], &[]).has(namespace, "api-1", "deployment/api", "u1")
        };
        assert!(has("api-1", "shop") && has("shop/api-1", "shop") && has("shop/*", "shop"));
        assert!(!has("shop/api-1", "bank") && !has("shop/*", "bank") && !has("api-2", "shop"));
    }

    #[test]
    fn a_workload_is_meant_by_its_whole_label() {
        let has = |wanted, workload| pods(&[], &[], &[wanted]).has("shop", "api-1", workload, "");
        assert!(has("deployment/api", "deployment/api"));
        assert!(has("shop/deployment/api", "deployment/api"));
        assert!(!has("bank/deployment/api", "deployment/api"));
        assert!(!has("deployment/api", "deployment/api-2"));
        assert!(!has("deployment/api", "statefulset/api"));
    }

    #[test]
    fn a_uid_is_enough_where_no_name_is_known() {
        let wanted = pods(&["shop/api-1"], &["u1"], &[]);
        assert!(wanted.has("", "", "pod/u1", "u1"));
        assert!(!wanted.has("", "", "pod/u2", "u2"));
    }
}
