//! Compares requests with what a listener means, in the agent.
//!
//! Separate from the query because only this end knows services.

use super::pods::Pods;
use super::query::Query;
use crate::attribution::identity::Identity;
use crate::attribution::services::Service;
use crate::config::{Glob, Unfit};
use crate::event::ids::PodUid;
use crate::event::request::Request;

/// Status from which on a response is the server's error.
const ERROR_STATUS: u16 = 500;

/// What a service is to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// None of its requests are meant.
    No,
    /// Those of a process or a port that is named.
    Some,
    /// All are.
    All,
}

/// A query that compares fast.
#[derive(Debug)]
pub(super) struct Filter {
    query: Query,
    path: Option<Glob>,
    namespaces: Vec<Glob>,
    containers: Vec<Glob>,
    pods: Pods,
}

impl Filter {
    /// Reads the patterns of a query.
    ///
    /// # Errors
    ///
    /// If one is none.
    pub(super) fn new(query: &Query) -> Result<Self, Unfit> {
        let names =
            |texts: &[String]| texts.iter().map(|text| Glob::name(text)).collect::<Result<_, _>>();
        Ok(Self {
            path: query.path.as_deref().map(Glob::path).transpose()?,
            namespaces: names(&query.targets.namespaces)?,
            containers: names(&query.targets.containers)?,
            pods: Pods::new(&query.targets)?,
            query: query.clone(),
        })
    }

    /// The query.
    pub(super) const fn query(&self) -> &Query {
        &self.query
    }

    /// What a service is to the listener; to be kept, it takes comparisons of
    /// text. One that is not known yet has no names.
    pub(super) fn fit(&self, service: Option<&Service>) -> Fit {
        let identity = service.and_then(|service| service.identity.as_ref());
        let (namespace, pod, container, workload) = identity.map_or(("", "", "", ""), |identity| {
            let Identity { namespace, pod, container, workload } = identity;
            (&**namespace, &**pod, &**container, &**workload)
        });
        let info = service.and_then(|service| service.info.as_ref());
        let id = info.map_or("", |info| info.container_id.as_str());
        let uid = info.and_then(|info| info.pod_uid.as_ref()).map_or("", PodUid::as_str);
        if !self.pods.has(namespace, pod, workload, uid) {
            return Fit::No;
        }
        let targets = &self.query.targets;
        if !self.namespaces.is_empty()
            && !self.namespaces.iter().any(|glob| glob.matches(namespace))
        {
            return Fit::No;
        }
        let is_container = || {
            !(container.is_empty() && id.is_empty())
                && self.containers.iter().any(|glob| glob.matches_container(container, id))
        };
        let is_sought = || {
            targets.container_ids.iter().any(|sought| sought == id)
                || (id.is_empty() && targets.workloads.iter().any(|sought| sought == workload))
        };
        if targets.is_every_service() || is_container() || is_sought() {
            Fit::All
        } else if targets.pids.is_empty() && targets.ports.is_empty() {
            Fit::No
        } else {
            Fit::Some
        }
    }

    /// Whether the listener means a request of a service that is `fit`.
    pub(super) fn has(&self, request: &Request, fit: Fit) -> bool {
        let query = &self.query;
        let is_target = match fit {
            Fit::No => false,
            Fit::Some => {
                query.targets.pids.contains(&request.tgid)
                    || query.targets.ports.contains(&request.local.1)
            }
            Fit::All => true,
        };
        is_target
            && request.wall_ns() >= query.slower_ns
            && (!query.errors || is_error(request))
            && self
                .path
                .as_ref()
                .is_none_or(|glob| request.path.as_deref().is_some_and(|path| glob.matches(path)))
    }
}

/// Whether a request failed by the server's fault, as `strata top` counts it.
const fn is_error(request: &Request) -> bool {
    request.status >= ERROR_STATUS || request.is_aborted()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use agent_common::record::request::FLAG_ABORTED;

    use super::super::query::Targets;
    use super::super::tests::{identity, request, services};
    use super::*;

    fn has(query: Query, request: &Request) -> bool {
        let filter = Filter::new(&query).unwrap();
        filter.has(request, filter.fit(services(identity("process/api"), "").get(0)))
    }

    #[test]
    fn without_a_condition_every_request_is_meant() {
        assert!(has(Query::default(), &request(1)));
        let filter = Filter::new(&Query::default()).unwrap();
        assert_eq!(filter.fit(None), Fit::All, "also of a service that is not known yet");
    }

    #[test]
    fn slower_means_at_least_that_long() {
        let request = request(1);
        let slower = |slower_ns| Query { slower_ns, ..Query::default() };
        assert!(has(slower(request.wall_ns()), &request));
        assert!(!has(slower(request.wall_ns() + 1), &request));
    }

    #[test]
    fn errors_are_those_of_the_server_and_missing_responses() {
        let errors = || Query { errors: true, ..Query::default() };
        for (status, flags, is_error) in
            [(200, 0, false), (404, 0, false), (500, 0, true), (503, 0, true)]
                .into_iter()
                .chain([(0, FLAG_ABORTED, true), (0, 0, false)])
        {
            let request = Request { status, flags, ..request(1) };
            assert_eq!(has(errors(), &request), is_error, "{status} {flags}");
        }
    }

    #[test]
    fn a_path_is_a_pattern_and_a_request_without_one_does_not_fit() {
        let of = |path: &str| Query { path: Some(path.to_owned()), ..Query::default() };
        let with = |path: Option<&str>| Request { path: path.map(Into::into), ..request(1) };
        for (pattern, path, fits) in [
            ("/v1/*", Some("/v1/users/7"), true),
            ("/v1/*", Some("/v2/users"), false),
            ("/v1/*", Some("/v1"), false),
            ("*", Some("/"), true),
            ("*", None, false),
            ("/v?/x", Some("/v9/x"), true),
        ] {
            assert_eq!(has(of(pattern), &with(path)), fits, "{pattern} {path:?}");
        }
        assert!(Filter::new(&of("/a b")).is_err());
    }

    #[test]
    fn targets_are_one_of_the_named_in_one_of_the_namespaces() {
        let id = "a".repeat(64);
        let fit = |targets: Targets, workload: &str, id: &str| {
            let identity = Identity { namespace: Arc::from("shop"), ..identity(workload) };
            let query = Query { targets, ..Query::default() };
            Filter::new(&query).unwrap().fit(services(identity, id).get(0))
        };
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let of_workload = Targets { workloads: names(&["process/api"]), ..Targets::default() };
        assert_eq!(fit(of_workload.clone(), "process/api", ""), Fit::All);
        assert_eq!(fit(of_workload.clone(), "process/web", ""), Fit::No);
        assert_eq!(fit(of_workload, "process/api", &id), Fit::No, "in a container");
        let of_id = Targets { container_ids: vec![id.clone()], ..Targets::default() };
        assert_eq!(fit(of_id, "pod/x", &id), Fit::All);
        let of_port = Targets { ports: vec![80], ..Targets::default() };
        assert_eq!(fit(of_port.clone(), "process/api", ""), Fit::Some);
        let elsewhere = Targets { namespaces: names(&["bank"]), ..of_port };
        assert_eq!(fit(elsewhere, "process/api", ""), Fit::No);
        let here = Targets { namespaces: names(&["sh*"]), ..Targets::default() };
        assert_eq!(fit(here, "process/api", ""), Fit::All);
        let of_pod = |pod: &str| Targets { pods: names(&[pod]), ..Targets::default() };
        assert_eq!(fit(of_pod("shop/*"), "pod/x", &id), Fit::No, "without a pod's name");
        let of_both = Targets { ports: vec![80], ..of_pod("p-1") };
        assert_eq!(fit(of_both, "process/api", ""), Fit::No, "a port of another pod");
        let of_prefix = Targets { containers: names(&["aaaaaaaa"]), ..Targets::default() };
        assert_eq!(fit(of_prefix, "pod/x", &id), Fit::All);
    }

    #[test]
    fn a_process_and_a_port_are_told_from_others_of_their_service() {
        let query = |targets| Query { targets, ..Query::default() };
        let request = Request { tgid: 7, ..request(1) };
        let port = request.local.1;
        for (pids, ports, fits) in [
            (vec![7], vec![], true),
            (vec![8], vec![], false),
            (vec![], vec![port], true),
            (vec![], vec![port + 1], false),
            (vec![8], vec![port], true),
        ] {
            let targets = Targets { pids, ports, ..Targets::default() };
            assert_eq!(has(query(targets), &request), fits);
        }
    }
}
