//! Whole lives of containers, as the kernel and the API server tell them, with
//! what is shown at each step.

use super::*;
use crate::attribution::attributor::Change;
use crate::attribution::hierarchy::Hierarchy;
use crate::attribution::pods::tests::{all, applied, id, pod, uid};
use crate::attribution::procfs::ProcRoot;
use crate::attribution::reselect::Believed;
use crate::config::{Config, Environment, Sources};
use crate::event::cgroup::Cgroup;
use crate::event::pod::Pod;

/// A second, nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// An attributor of a node on which nothing runs but what the test says.
struct Node {
    attributor: Attributor,
    now_s: u64,
    /// Cgroups that exist: id, pod, container.
    _mount: tempfile::TempDir,
}

impl Node {
    fn new(variables: &[(&str, &str)]) -> Self {
        let environment = Environment::new(
            variables
                .iter()
                .map(|(key, value)| (format!("STRATA_WATCH_{key}").into(), (*value).into())),
        );
        let watch = Sources { environment, ..Sources::default() }.load().unwrap().config.watch;
        let mount = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::V2 { mount: mount.path().to_owned() };
        let proc = ProcRoot::new(mount.path());
        let mut attributor = Attributor::new(hierarchy, proc, watch, 1);
        attributor.expect_pods();
        let mut node = Self { attributor, now_s: 100, _mount: mount };
        node.pass(0, false);
        node
    }

    /// A container's cgroup comes; its id is the container's.
    fn start(&mut self, pod: &PodUid, container: u64) {
        let path = format!("/node2/kubepods/burstable/pod{pod}/{}", id(container));
        let cgroup = Cgroup { id: container, path: path.into(), is_made: true };
        self.attributor.on_cgroup(&cgroup);
        self.serve(container);
    }

    /// The container turns out to serve, if it is watched.
    fn serve(&mut self, container: u64) {
        if let Some(index) = self.index(container) {
            let owner = self.attributor.cgroups.get(&container).unwrap().owner.clone();
            let awaits_name = self.attributor.awaits_name(&owner);
            let unnamed = || (!awaits_name).then(|| Identity::without_metadata(&owner, "x", None));
            self.attributor.services.identify(index, unnamed);
        }
    }

    /// A sandbox's cgroup comes: it never serves.
    fn hold(&mut self, pod: &PodUid, container: u64) {
        let path = format!("/kubepods/burstable/pod{pod}/{}", id(container));
        self.attributor.on_cgroup(&Cgroup { id: container, path: path.into(), is_made: true });
    }

    fn end(&mut self, container: u64) {
        self.attributor.on_cgroup(&Cgroup { id: container, path: "".into(), is_made: false });
    }

    /// Seconds pass.
    fn pass(&mut self, seconds: u64, is_watching: bool) {
        self.now_s += seconds;
        self.attributor.tick(self.now_s * SECOND, is_watching);
        self.rescan();
    }

    fn tell(&mut self, update: PodUpdate) {
        if self.attributor.on_pods(update, self.now_s * SECOND) {
            self.look_again();
        }
        self.rescan();
    }

    /// What the worker does when the selection changed, without a `/proc`.
    fn rescan(&mut self) {
        if self.attributor.wants_rescan() {
            self.look_again();
        }
    }

    fn look_again(&mut self) {
        let existing: HashSet<u64> = self.cgroups().keys().copied().collect();
        for (id, path) in self.cgroups() {
            self.attributor.on_cgroup(&Cgroup { id, path: path.into(), is_made: true });
            self.serve(id);
        }
        self.attributor.drop_cgroups(&existing);
    }

    fn cgroups(&self) -> HashMap<u64, String> {
        let naming = self.attributor.naming.as_ref().unwrap();
        let left = naming.left.iter().map(|(id, left)| (*id, &left.owner));
        let selected = self.attributor.cgroups.iter().map(|(id, of)| (*id, &of.owner));
        left.chain(selected)
            .map(|(cgroup, owner)| {
                let pod = owner.pod_uid.as_ref().unwrap();
                (cgroup, format!("/node2/kubepods/burstable/pod{pod}/{}", id(cgroup)))
            })
            .collect()
    }

    fn index(&self, container: u64) -> Option<u16> {
        Some(self.attributor.cgroups.get(&container)?.service)
    }

    /// What is shown, as `namespace/pod/container workload`, in order.
    fn shown(&self) -> Vec<String> {
        let services = self.attributor.services.iter().filter(|(_, service)| service.serves);
        let mut shown: Vec<String> = services
            .filter_map(|(_, service)| service.identity.as_ref())
            .map(|of| format!("{}/{}/{} {}", of.namespace, of.pod, of.container, of.workload))
            .collect();
        shown.sort();
        shown
    }
}

/// A container's short id.
fn short(n: u64) -> String {
    id(n).short().to_owned()
}

#[test]
fn a_pod_that_is_known_before_its_container_is_named_as_soon_as_the_container_is() {
    let mut node = Node::new(&[]);
    node.tell(all([pod(1, "api-1", &[("api", 0)])]));
    node.start(&uid(1), 1);
    assert_eq!(node.shown(), [""; 0]);
    assert!(node.index(1).is_some(), "it is counted from its start");
    node.tell(applied(pod(1, "api-1", &[("api", 1)])));
    assert_eq!(node.shown(), ["shop/api-1/api pod/api-1"]);
    node.pass(60, true);
    assert_eq!(node.shown(), ["shop/api-1/api pod/api-1"]);
    assert_eq!(node.attributor.name_counts(), NameCounts { named: 1, waiting: 0, unnamed: 0 });
}

#[test]
fn before_the_first_list_every_container_is_counted_and_none_is_shown() {
    let mut node = Node::new(&[]);
    node.start(&uid(1), 1);
    node.start(&uid(9), 9);
    node.pass(10, false);
    assert_eq!(node.shown(), [""; 0]);
    assert_eq!(node.attributor.name_counts().waiting, 2);
    node.tell(all([pod(1, "api-1", &[("api", 1)])]));
    assert_eq!(node.shown(), ["shop/api-1/api pod/api-1"]);
    assert!(node.index(9).is_none(), "it is another node's");
    let gone = Change::CgroupGone { id: 9 };
    assert!(node.attributor.take_changes().contains(&gone));
    node.pass(300, true);
    assert_eq!(node.shown(), ["shop/api-1/api pod/api-1"], "and is never shown");
}

#[test]
fn without_an_answer_a_container_is_shown_by_its_pods_uid_and_stays_so() {
    let mut node = Node::new(&[]);
    node.start(&uid(1), 1);
    node.pass(29, false);
    assert_eq!(node.shown(), [""; 0]);
    node.pass(1, false);
    let unnamed = [format!("//{} pod/{}", short(1), uid(1))];
    assert_eq!(node.shown(), unnamed);
    assert_eq!(node.attributor.name_counts().unnamed, 1);
    // The API server is back: one container, one identity.
    node.tell(all([pod(1, "api-1", &[("api", 1)])]));
    node.pass(60, true);
    assert_eq!(node.shown(), unnamed);
    // The next container of the pod has its name.
    node.end(1);
    node.start(&uid(1), 2);
    node.tell(applied(pod(1, "api-1", &[("api", 2)])));
    assert!(node.shown().contains(&"shop/api-1/api pod/api-1".to_owned()));
}

#[test]
fn while_the_api_server_is_away_known_pods_keep_their_names_and_new_ones_have_none() {
    let mut node = Node::new(&[]);
    node.tell(all([pod(1, "api-1", &[("api", 1)])]));
    node.start(&uid(1), 1);
    node.start(&uid(8), 8);
    node.pass(31, true);
    node.pass(3_600, false);
    assert_eq!(node.shown(), ["shop/api-1/api pod/api-1"], "another node's stays that");
    node.start(&uid(2), 2);
    node.pass(31, false);
    let unnamed = format!("//{} pod/{}", short(2), uid(2));
    assert_eq!(node.shown(), [unnamed, "shop/api-1/api pod/api-1".to_owned()]);
}

#[test]
fn the_only_container_of_a_pod_is_named_though_nobody_told_its_id() {
    let mut node = Node::new(&[]);
    node.tell(all([pod(1, "api-1", &[("api", 1)]), pod(2, "two", &[("a", 0), ("b", 0)])]));
    node.start(&uid(1), 11);
    node.start(&uid(2), 12);
    node.pass(30, false);
    let expected = [format!("shop/two/{} pod/two", short(12)), "shop/api-1/api pod/api-1".into()];
    let mut shown = node.shown();
    shown.sort_by_key(|text| text.contains("api"));
    assert_eq!(shown, expected);
}

#[test]
fn a_sandbox_takes_nobodys_name_and_gives_its_index_back() {
    let mut node = Node::new(&[]);
    node.hold(&uid(1), 90);
    node.start(&uid(1), 1);
    node.tell(all([pod(1, "api-1", &[("api", 1)]), pod(2, "db-0", &[("db", 0)])]));
    assert!(node.index(90).is_none(), "all containers of its pod are told of");
    node.hold(&uid(2), 91);
    node.start(&uid(2), 2);
    let sandbox = node.index(91).unwrap();
    node.tell(applied(pod(2, "db-0", &[("db", 2)])));
    for _ in 0..100 {
        node.pass(1, true);
        assert_eq!(node.shown(), ["shop/api-1/api pod/api-1", "shop/db-0/db pod/db-0"]);
    }
    assert!(node.index(91).is_none());
    node.start(&uid(2), 3);
    assert_eq!(node.index(3), Some(sandbox), "the index is free again");
}

#[test]
fn a_container_that_is_started_again_takes_the_name_after_the_last_counts_were_shown() {
    let mut node = Node::new(&[]);
    node.tell(all([pod(1, "api-1", &[("api", 1)])]));
    node.start(&uid(1), 1);
    let first = node.index(1).unwrap();
    node.end(1);
    node.start(&uid(1), 2);
    node.tell(applied(pod(1, "api-1", &[("api", 2)])));
    let second = node.index(2).unwrap();
    let holder = |node: &Node| {
        let shown =
            node.attributor.services.iter().filter(|(_, service)| service.identity.is_some());
        shown.map(|(index, _)| index).collect::<Vec<_>>()
    };
    node.pass(1, true);
    assert_eq!(holder(&node), [first], "nobody has fetched its last counts");
    node.attributor.set_shown();
    node.pass(1, true);
    assert_eq!(holder(&node), [second]);
    assert_eq!(node.shown(), ["shop/api-1/api pod/api-1"]);
}

#[test]
fn of_two_that_live_under_one_name_the_newer_is_shown_after_a_while() {
    let mut node = Node::new(&[]);
    node.tell(all([pod(1, "db-0", &[("db", 1)])]));
    node.start(&uid(1), 1);
    node.pass(5, true);
    node.tell(applied(pod(2, "db-0", &[("db", 2)])));
    node.start(&uid(2), 2);
    node.attributor.set_shown();
    node.pass(29, true);
    assert_eq!(node.shown().len(), 1);
    let ended = node.attributor.tick((node.now_s + 1) * SECOND, true);
    assert_eq!(ended, [node.index(1).unwrap()]);
    assert_eq!(node.shown(), ["shop/db-0/db pod/db-0"]);
    assert!(node.attributor.services.get(node.index(2).unwrap()).unwrap().identity.is_some());
}

#[test]
fn a_pod_that_opts_out_or_is_not_selected_is_not_watched() {
    let mut node = Node::new(&[]);
    let out = Pod { is_opted_in: Some(false), ..pod(2, "out", &[("c", 2)]) };
    let system = Pod { namespace: "kube-system".into(), ..pod(3, "dns", &[("c", 3)]) };
    node.tell(all([pod(1, "in", &[("c", 1)]), out, system]));
    for n in 1..=3 {
        node.start(&uid(n), n);
    }
    assert_eq!(node.shown(), ["shop/in/c pod/in"]);
    assert_eq!(node.attributor.selected_cgroups(), 1);
    let by_reason = Unselected::ALL.iter().zip(node.attributor.unselected_pods());
    let counted: Vec<_> = by_reason.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(&Unselected::Annotation, 1), (&Unselected::Namespace, 1)]);
    // It changes its mind.
    node.tell(applied(Pod { is_opted_in: Some(true), ..pod(2, "out", &[("c", 2)]) }));
    assert_eq!(node.shown(), ["shop/in/c pod/in", "shop/out/c pod/out"]);
}

#[test]
fn containers_are_selected_by_their_names() {
    let mut node = Node::new(&[("CONTAINERS_IN", "api")]);
    node.tell(all([pod(1, "p", &[("api", 0), ("proxy", 2)])]));
    node.start(&uid(1), 1);
    node.start(&uid(1), 2);
    assert_eq!(node.shown(), [""; 0], "the name of one is not known yet");
    node.tell(applied(pod(1, "p", &[("api", 1), ("proxy", 2)])));
    assert_eq!(node.shown(), ["shop/p/api pod/p"]);
}

#[test]
fn another_selection_applies_at_once_but_for_labels_that_nobody_asked_for() {
    let mut node = Node::new(&[]);
    node.tell(all([pod(1, "p", &[("c", 1)])]));
    node.start(&uid(1), 1);
    let by = |variable: &str, value: &str| {
        let environment = Environment::new([(variable.into(), value.into())]);
        Sources { environment, ..Sources::default() }.load().unwrap().config.watch
    };
    let believed = Believed::default();
    // There is no /proc to look at: only the selection matters here.
    let owner = node.attributor.cgroups[&1].owner.clone();
    let _ = node.attributor.set_watch(by("STRATA_WATCH_LABELS_IN", "app=api"), &believed);
    assert_eq!(node.attributor.judge(&owner), Ok(()));
    let labels = [("app".into(), "web".into())].into();
    let told = Pod { labels, ..pod(1, "p", &[("c", 1)]) };
    let keys = ["app".to_owned()].into();
    node.attributor.on_pods(
        PodUpdate::All { pods: vec![told], left_out: 0, label_keys: keys },
        node.now_s * SECOND,
    );
    assert_eq!(node.attributor.judge(&owner), Err(Unselected::Labels));
    let _ = node.attributor.set_watch(by("STRATA_WATCH_NAMESPACES_IN", "jobs"), &believed);
    assert_eq!(node.attributor.judge(&owner), Err(Unselected::Namespace));
    let _ = node.attributor.set_watch(Config::default().watch, &believed);
    assert_eq!(node.attributor.judge(&owner), Ok(()));
}

#[test]
fn outside_of_pods_nothing_waits() {
    let mut node = Node::new(&[]);
    let path = format!("/docker/{}", id(5));
    node.attributor.on_cgroup(&Cgroup { id: 5, path: path.into(), is_made: true });
    node.serve(5);
    assert_eq!(node.shown(), [format!("//{} process/x", short(5))]);
}
