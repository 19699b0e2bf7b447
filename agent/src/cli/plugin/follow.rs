//! Who is asked, while pods come and go.
//!
//! Separate from the streams: what the cluster has now is compared with what
//! they are for, and only the difference is acted on.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Error, Way};
use crate::kubectl::choose::{self, Asked, Plan, Scope};

/// How often the cluster is asked again.
const EVERY: Duration = Duration::from_secs(10);
/// Streams of one run, those that have ended too, at most.
const MAX_STREAMS: usize = 1_024;

/// What the cluster has, again and again; it is asked until the drop.
pub(super) struct Plans {
    received: mpsc::Receiver<Result<Plan, Error>>,
    _task: JoinSet<()>,
}

impl Plans {
    /// The next one. Safe to cancel.
    pub(super) async fn next(&mut self) -> Option<Result<Plan, Error>> {
        self.received.recv().await
    }
}

/// Asks the cluster again and again.
pub(super) fn look(way: &Way, scope: &Scope) -> Plans {
    let (plans, received) = mpsc::channel(1);
    let (way, scope) = (way.clone(), scope.clone());
    let mut task = JoinSet::new();
    task.spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let plan = choose::plan(&way.kubectl, &scope, &way.agent_namespace).await;
            if plans.send(plan.map_err(Error::from)).await.is_err() {
                return;
            }
        }
    });
    Plans { received, _task: task }
}

/// A stream that is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// To an agent that is not asked yet.
    Open(Asked),
    /// That of this number is for other pods from now on.
    Replace(usize, Asked),
}

/// What the streams are for, by their number.
#[derive(Debug, Default)]
pub(super) struct Followed {
    streams: Vec<Option<Asked>>,
    without_agent: Vec<String>,
    has_failed: bool,
}

impl Followed {
    /// Streams that are opened next are the first; it was said which nodes
    /// have no agent.
    pub(super) fn new(plan: &Plan) -> Self {
        Self { without_agent: plan.without_agent.clone(), ..Self::default() }
    }

    /// A stream was opened: its number is the number of those before.
    pub(super) fn opened(&mut self, asked: Asked) {
        self.streams.push(Some(asked));
    }

    /// A stream ended that its agent had begun; one that never begins is not
    /// tried again.
    pub(super) fn ended(&mut self, index: usize) {
        if let Some(stream) = self.streams.get_mut(index) {
            *stream = None;
        }
    }

    /// What is to be changed, and what the user is to be told.
    pub(super) fn changes(&mut self, plan: Result<Plan, Error>) -> (Vec<Change>, Option<String>) {
        let plan = match plan {
            Ok(plan) => plan,
            // They may be about to be replaced.
            Err(Error::Cluster(crate::kubectl::Error::NoPod { .. })) => return (Vec::new(), None),
            Err(error) if std::mem::replace(&mut self.has_failed, true) => {
                tracing::debug!(%error, "the cluster cannot be asked again");
                return (Vec::new(), None);
            }
            Err(error) => {
                return (Vec::new(), Some(format!("pods that come now are not shown: {error}")));
            }
        };
        self.has_failed = false;
        let news = plan.without_agent.iter().filter(|node| !self.without_agent.contains(node));
        let news: Vec<&str> = news.map(String::as_str).collect();
        let told = (!news.is_empty())
            .then(|| format!("no agent runs on {}: pods there are not shown", news.join(", ")));
        self.without_agent.clone_from(&plan.without_agent);
        let mut changes = Vec::new();
        for asked in plan.asked {
            let is_same = |stream: &Option<Asked>| {
                stream.as_ref().is_some_and(|stream| {
                    stream.agent.namespace == asked.agent.namespace
                        && stream.agent.name == asked.agent.name
                })
            };
            match self.streams.iter().position(is_same) {
                None if self.streams.len() + changes.len() < MAX_STREAMS => {
                    changes.push(Change::Open(asked));
                }
                None => {}
                Some(index) => {
                    let stream = self.streams.get_mut(index).and_then(Option::as_mut);
                    if let Some(stream) = stream.filter(|stream| !covers(stream, &asked)) {
                        stream.clone_from(&asked);
                        changes.push(Change::Replace(index, asked));
                    }
                }
            }
        }
        (changes, told)
    }
}

/// Whether all that is asked for now is what a stream is for. Pods that are
/// gone do no harm.
fn covers(stream: &Asked, asked: &Asked) -> bool {
    let has = |all: &[String], some: &[String]| some.iter().all(|one| all.contains(one));
    has(&stream.targets.pods, &asked.targets.pods)
        && has(&stream.targets.pod_workloads, &asked.targets.pod_workloads)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubectl::choose::AgentPod;
    use crate::tap::query::Targets;

    fn asked(agent: &str, pods: &[&str]) -> Asked {
        let pods = pods.iter().map(|&pod| pod.to_owned()).collect();
        Asked {
            agent: AgentPod { name: agent.to_owned(), ..AgentPod::default() },
            targets: Targets { pods, ..Targets::default() },
            container_ids: Vec::new(),
        }
    }

    fn plan(asked: &[Asked], without_agent: &[&str]) -> Result<Plan, Error> {
        let without_agent = without_agent.iter().map(|&node| node.to_owned()).collect();
        Ok(Plan { asked: asked.to_vec(), without_agent, pods: None })
    }

    fn following(streams: &[Asked]) -> Followed {
        let mut followed = Followed::new(&plan(&[], &[]).unwrap());
        streams.iter().for_each(|asked| followed.opened(asked.clone()));
        followed
    }

    #[test]
    fn an_agent_that_comes_is_asked_and_one_that_is_asked_is_left_alone() {
        let mut followed = following(&[asked("a", &["shop/*"])]);
        let now = [asked("a", &["shop/*"]), asked("b", &["shop/*"])];
        let (changes, told) = followed.changes(plan(&now, &[]));
        assert_eq!(changes, [Change::Open(now[1].clone())]);
        assert_eq!(told, None);
    }

    #[test]
    fn a_stream_is_replaced_for_a_pod_that_it_is_not_for_and_not_for_one_that_is_gone() {
        let mut followed = following(&[asked("a", &["shop/api-1", "shop/api-2"])]);
        let (changes, _) = followed.changes(plan(&[asked("a", &["shop/api-2"])], &[]));
        assert_eq!(changes, []);
        let more = asked("a", &["shop/api-2", "shop/api-3"]);
        let (changes, _) = followed.changes(plan(std::slice::from_ref(&more), &[]));
        assert_eq!(changes, [Change::Replace(0, more.clone())]);
        let (changes, _) = followed.changes(plan(&[more], &[]));
        assert_eq!(changes, [], "once");
    }

    #[test]
    fn an_agent_whose_stream_ended_is_asked_again() {
        let mut followed = following(&[asked("a", &[])]);
        assert_eq!(followed.changes(plan(&[asked("a", &[])], &[])).0, []);
        followed.ended(0);
        let (changes, _) = followed.changes(plan(&[asked("a", &[])], &[]));
        assert_eq!(changes, [Change::Open(asked("a", &[]))]);
    }

    #[test]
    fn what_is_wrong_is_said_once() {
        let mut followed = following(&[]);
        let failure =
            || Err(Error::Cluster(crate::kubectl::Error::Run(std::io::Error::other("x"))));
        assert!(followed.changes(failure()).1.is_some());
        assert_eq!(followed.changes(failure()).1, None);
        assert!(followed.changes(plan(&[], &["n3"])).1.is_some());
        assert_eq!(followed.changes(plan(&[], &["n3"])).1, None);
        assert!(followed.changes(failure()).1.is_some(), "it had been well meanwhile");
    }
}
