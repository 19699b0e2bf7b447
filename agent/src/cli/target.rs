//! Pods and workloads as users name them: `pod/NAME`, `deploy/NAME`.
//!
//! Separate because every verb that looks at requests takes them alike, on a
//! node and from afar.

use std::fmt;

use crate::tap::query::Targets;

/// Kinds, in every spelling that kubectl knows of them.
const KINDS: [(&str, &[&str]); 7] = [
    ("pod", &["pods", "po"]),
    ("deployment", &["deployments", "deploy"]),
    ("statefulset", &["statefulsets", "sts"]),
    ("daemonset", &["daemonsets", "ds"]),
    ("replicaset", &["replicasets", "rs"]),
    ("job", &["jobs"]),
    ("cronjob", &["cronjobs", "cj"]),
];

/// One target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A pod, by its name.
    Pod(String),
    /// A workload, by its label: `deployment/api`.
    Workload(String),
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The kind is another.
    #[error("{kind:?} is no kind that has pods; use pod, {}", kinds())]
    Kind {
        /// As it was written.
        kind: String,
    },
    /// The name can be none.
    #[error("{name:?} is no name of a pod or workload; write such as pod/api-1 or deploy/api")]
    Name {
        /// As it was written.
        name: String,
    },
}

fn kinds() -> String {
    let names: Vec<&str> = KINDS.iter().skip(1).map(|(kind, _)| *kind).collect();
    names.join(", ")
}

/// Reads `KIND/NAME`, or the `NAME` of a pod.
///
/// # Errors
///
/// If it is neither.
pub fn target(text: &str) -> Result<Target, Unfit> {
    let (kind, name) = text.split_once('/').unwrap_or(("pod", text));
    let is_in_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if name.is_empty() || name.len() > 253 || !name.chars().all(is_in_name) || name.starts_with('-')
    {
        return Err(Unfit::Name { name: name.to_owned() });
    }
    let known = KINDS.iter().find(|(known, others)| *known == kind || others.contains(&kind));
    match known {
        Some(("pod", _)) => Ok(Target::Pod(name.to_owned())),
        Some((kind, _)) => Ok(Target::Workload(format!("{kind}/{name}"))),
        None => Err(Unfit::Kind { kind: kind.to_owned() }),
    }
}

/// Pods of this node, for a verb that runs on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct PodTargets {
    /// Only these pods and workloads: pod/NAME, deploy/NAME, sts/, ds/, job/
    #[arg(value_name = "KIND/NAME", value_parser = target)]
    pub targets: Vec<Target>,
    /// Only pods of this namespace
    #[arg(short, long, value_name = "NAMESPACE", value_parser = namespace)]
    pub namespace: Option<String>,
}

/// Reads a namespace.
///
/// # Errors
///
/// If it can be none.
pub fn namespace(text: &str) -> Result<String, Unfit> {
    match target(text)? {
        Target::Pod(name) if !text.contains('/') => Ok(name),
        _ => Err(Unfit::Name { name: text.to_owned() }),
    }
}

impl PodTargets {
    /// The same as an agent is asked for it.
    #[must_use]
    pub fn query(&self) -> Targets {
        let mut query = Targets::default();
        let within = |text: &String| match &self.namespace {
            Some(namespace) => format!("{namespace}/{text}"),
            None => text.clone(),
        };
        for target in &self.targets {
            match target {
                Target::Pod(name) => query.pods.push(within(name)),
                Target::Workload(label) => query.pod_workloads.push(within(label)),
            }
        }
        if self.targets.is_empty()
            && let Some(namespace) = &self.namespace
        {
            query.pods.push(format!("{namespace}/*"));
        }
        query
    }
}

impl fmt::Display for PodTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let targets = self.targets.iter().map(|target| match target {
            Target::Pod(name) => format!("pod/{name}"),
            Target::Workload(label) => label.clone(),
        });
        let namespace = self.namespace.iter().map(|namespace| format!("-n {namespace}"));
        f.write_str(&targets.chain(namespace).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_in_every_spelling_and_none_is_a_pod() {
        for (text, label) in [
            ("deploy/api", "deployment/api"),
            ("deployments/api", "deployment/api"),
            ("sts/db", "statefulset/db"),
            ("daemonset/proxy", "daemonset/proxy"),
            ("job/import", "job/import"),
        ] {
            assert_eq!(target(text), Ok(Target::Workload(label.to_owned())));
        }
        for text in ["pod/api-1", "po/api-1", "api-1"] {
            assert_eq!(target(text), Ok(Target::Pod("api-1".to_owned())));
        }
        for bad in ["", "pod/", "svc/api", "Pod/api", "pod/a/b", "pod/a b", "pod/-o", "--x"] {
            assert!(target(bad).is_err(), "{bad}");
        }
        assert!(namespace("shop").is_ok() && namespace("pod/shop").is_err());
    }

    #[test]
    fn targets_are_asked_for_within_their_namespace() {
        let targets = |targets: &[&str], namespace: Option<&str>| {
            let targets = targets.iter().map(|text| target(text).unwrap()).collect();
            PodTargets { targets, namespace: namespace.map(str::to_owned) }
        };
        let query = targets(&["api-1", "deploy/api"], Some("shop")).query();
        assert_eq!(query.pods, ["shop/api-1"]);
        assert_eq!(query.pod_workloads, ["shop/deployment/api"]);
        assert_eq!(targets(&["api-1"], None).query().pods, ["api-1"]);
        assert_eq!(targets(&[], Some("shop")).query().pods, ["shop/*"]);
        assert_eq!(targets(&[], None).query(), Targets::default());
        let shown = targets(&["api-1", "deploy/api"], Some("shop")).to_string();
        assert_eq!(shown, "pod/api-1 deployment/api -n shop");
    }
}
