//! Whether a pod is watched: its own annotation, then the configuration. Pure.
//!
//! Separate because the order is a promise: `docs/kubernetes.md` has it.

use crate::config::{Requirement, Selector, Watch};
use crate::event::pod::Pod;

/// Why a container is not watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Unselected {
    /// Its pod is not one of this node's, or not known yet.
    Unknown,
    /// Its pod's annotation says so.
    Annotation,
    /// The namespaces of the configuration say so.
    Namespace,
    /// The labels of the configuration say so.
    Labels,
    /// The containers of the configuration say so.
    Container,
    /// It is none of the containers of its pod: it holds the pod's namespaces.
    Sandbox,
}

impl Unselected {
    /// Every reason that somebody had; each pod has a sandbox.
    pub const ALL: [Self; 5] =
        [Self::Unknown, Self::Annotation, Self::Namespace, Self::Labels, Self::Container];

    /// The value of the `reason` label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown_pod",
            Self::Annotation => "annotation",
            Self::Namespace => "namespace",
            Self::Labels => "labels",
            Self::Container => "container",
            Self::Sandbox => "sandbox",
        }
    }
}

/// Why a pod is not watched; `None` if it is.
///
/// Its annotation comes first, where the configuration heeds it. Then, of an
/// `_in` and an `_out` list, what `_out` names is not watched, and what `_in`
/// does not name is not either, unless it is empty.
#[must_use]
pub fn unselected(pod: &Pod, watch: &Watch) -> Option<Unselected> {
    if watch.annotations
        && let Some(is_in) = pod.is_opted_in
    {
        return (!is_in).then_some(Unselected::Annotation);
    }
    let is_named =
        |globs: &[crate::config::Glob]| globs.iter().any(|glob| glob.matches(&pod.namespace));
    let is_in = watch.namespaces_in.is_empty() || is_named(&watch.namespaces_in);
    if !is_in || is_named(&watch.namespaces_out) {
        return Some(Unselected::Namespace);
    }
    let label = |key: &str| pod.labels.get(key).map(|value| &**value);
    let is_labelled =
        |selectors: &[Selector]| selectors.iter().any(|selector| selector.matches(label));
    let is_in = watch.labels_in.is_empty() || is_labelled(&watch.labels_in);
    (!is_in || is_labelled(&watch.labels_out)).then_some(Unselected::Labels)
}

/// Labels that the selection looks at, each once.
#[must_use]
pub fn label_keys(watch: &Watch) -> Vec<String> {
    let selectors = watch.labels_in.iter().chain(&watch.labels_out);
    let mut keys: Vec<String> = selectors
        .flat_map(|selector| &selector.requirements)
        .map(|requirement| match requirement {
            Requirement::Exists(key)
            | Requirement::Missing(key)
            | Requirement::In(key, _)
            | Requirement::NotIn(key, _) => key.clone(),
        })
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;
    use crate::config::{Config, Environment, Sources};

    /// The selection that these variables configure.
    fn watch(variables: &[(&str, &str)]) -> Watch {
        let environment = Environment::new(
            variables
                .iter()
                .map(|(key, value)| (format!("STRATA_WATCH_{key}").into(), (*value).into())),
        );
        Sources { environment, ..Sources::default() }.load().unwrap().config.watch
    }

    fn pod(namespace: &str, labels: &[(&str, &str)], is_opted_in: Option<bool>) -> Pod {
        let labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Pod { namespace: namespace.into(), labels, is_opted_in, ..Pod::default() }
    }

    #[test]
    fn namespaces_in_and_out_select_and_out_wins() {
        let by_default = Config::default().watch;
        assert_eq!(unselected(&pod("shop", &[], None), &by_default), None);
        let system = pod("kube-system", &[], None);
        assert_eq!(unselected(&system, &by_default), Some(Unselected::Namespace));
        let shops = watch(&[("NAMESPACES_IN", "shop-*"), ("NAMESPACES_OUT", "shop-test")]);
        for (namespace, expected) in [
            ("shop-eu", None),
            ("shop-test", Some(Unselected::Namespace)),
            ("jobs", Some(Unselected::Namespace)),
        ] {
            assert_eq!(unselected(&pod(namespace, &[], None), &shops), expected, "{namespace}");
        }
    }

    #[test]
    fn labels_in_and_out_select_and_out_wins() {
        let selection = watch(&[("LABELS_IN", "tier=web;tier=edge"), ("LABELS_OUT", "canary")]);
        let web = [("tier", "web")];
        assert_eq!(unselected(&pod("shop", &web, None), &selection), None);
        for labels in [vec![], vec![("tier", "db")], vec![("tier", "web"), ("canary", "")]] {
            let verdict = unselected(&pod("shop", &labels, None), &selection);
            assert_eq!(verdict, Some(Unselected::Labels), "{labels:?}");
        }
        assert_eq!(label_keys(&selection), ["canary", "tier"]);
    }

    #[test]
    fn the_annotation_overrules_the_lists_unless_the_configuration_does_not_heed_it() {
        let by_default = watch(&[]);
        assert_eq!(unselected(&pod("kube-system", &[], Some(true)), &by_default), None);
        let opted_out = pod("shop", &[], Some(false));
        assert_eq!(unselected(&opted_out, &by_default), Some(Unselected::Annotation));
        let strict = watch(&[("ANNOTATIONS", "false")]);
        assert_eq!(unselected(&opted_out, &strict), None);
        let system = pod("kube-system", &[], Some(true));
        assert_eq!(unselected(&system, &strict), Some(Unselected::Namespace));
    }

    proptest! {
        #[test]
        fn who_is_named_out_is_never_in(namespace in "[a-c]{1,2}", label in "[ab]", is_annotated in any::<bool>()) {
            let selection = watch(&[("NAMESPACES_IN", "*"), ("NAMESPACES_OUT", "a*"), ("LABELS_OUT", "app=a")]);
            let pod = pod(&namespace, &[("app", &label)], is_annotated.then_some(true));
            let is_out = namespace.starts_with('a') || label == "a";
            prop_assert_eq!(unselected(&pod, &selection).is_some(), is_out && !is_annotated);
        }
    }
}
