//! Rows of several nodes as one table. Pure.
//!
//! Separate from the streams, and from the rates, which know one agent.

use crate::cli::net::{View, edges};
use crate::cli::top::rates::Sampled;
use crate::config::Unfit;
use crate::export::json::{Workload, Workloads};
use crate::kubectl::choose::Asked;
use crate::tap::pods::Pods;

/// Which rows of an agent are meant.
#[derive(Clone, Debug)]
pub(super) struct Meant {
    node: String,
    pods: Pods,
    container_ids: Vec<String>,
}

impl Meant {
    /// Those of the pods that it is asked for.
    ///
    /// # Errors
    ///
    /// If a name is no pattern.
    pub(super) fn new(asked: &Asked) -> Result<Self, Unfit> {
        Ok(Self {
            node: asked.agent.node.clone(),
            pods: Pods::new(&asked.targets)?,
            container_ids: asked.container_ids.clone(),
        })
    }

    /// What happened on the node, of what is meant; `None` if the agent said
    /// the same twice.
    pub(super) fn between(&self, earlier: &Workloads, later: &Workloads) -> Option<Sampled> {
        let mut sampled = Sampled::between(earlier, later)?;
        sampled.rows.retain(|row| {
            let who = &row.identity;
            self.pods.has(&who.namespace, &who.pod, &who.workload, "")
                || self.container_ids.contains(&who.container_id)
        });
        for row in &mut sampled.rows {
            row.identity.node.clone_from(&self.node);
        }
        Some(sampled)
    }
}

impl Meant {
    /// Whether a workload is meant.
    pub(super) fn has(&self, row: &Workload) -> bool {
        self.pods.has(&row.namespace, &row.pod, &row.workload, "")
            || self.container_ids.contains(&row.container_id)
    }

    /// What happened on the edges of what is meant; `None` if the agent said the
    /// same twice.
    pub(super) fn edges_between(
        &self,
        earlier: &Workloads,
        later: &Workloads,
        view: &View,
    ) -> Option<(f64, Vec<edges::Row>)> {
        let is_meant = |row: &Workload| self.has(row);
        let (interval_s, mut rows) = edges::between(earlier, later, view, is_meant)?;
        for row in &mut rows {
            row.node.clone_from(&self.node);
        }
        Some((interval_s, rows))
    }
}

/// The rows of every node; the interval is the mean of theirs.
pub(super) fn merged(all: Vec<Sampled>) -> Sampled {
    let count = all.len().max(1) as f64;
    let interval_s = all.iter().map(|sampled| sampled.interval_s).sum::<f64>() / count;
    let rows = all.into_iter().flat_map(|sampled| sampled.rows).collect();
    Sampled { interval_s, rows, ..Sampled::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::top::sample::sample;
    use crate::kubectl::choose::AgentPod;
    use crate::tap::query::Targets;

    fn meant(node: &str, targets: Targets, ids: &[&str]) -> Meant {
        let agent = AgentPod { node: node.to_owned(), ..AgentPod::default() };
        let container_ids = ids.iter().map(|&id| id.to_owned()).collect();
        Meant::new(&Asked { agent, targets, container_ids }).unwrap()
    }

    fn names(sampled: &Sampled) -> Vec<String> {
        sampled.rows.iter().map(|row| row.identity.name()).collect()
    }

    #[test]
    fn only_pods_that_are_meant_are_rows_and_each_has_its_node() {
        let (first, second) = (sample(10, 0), sample(12, 1));
        let all = meant("n1", Targets::default(), &[]).between(&first, &second).unwrap();
        assert_eq!(all.rows.len(), 3);
        let shop = Targets { pods: vec!["shop/*".to_owned()], ..Targets::default() };
        let of_shop = meant("n1", shop, &[]).between(&first, &second).unwrap();
        assert_eq!(names(&of_shop), ["shop/api-7d9f8b6c5-x2x4z/api@n1"]);
        let bank = Targets { pods: vec!["bank/*".to_owned()], ..Targets::default() };
        let nobody = meant("n1", bank.clone(), &[]).between(&first, &second).unwrap();
        assert_eq!(names(&nobody), [""; 0]);
        let mut second = second;
        second.workloads[0].container_id = "id-1".to_owned();
        let by_id = meant("n1", bank, &["id-1"]).between(&first, &second).unwrap();
        assert_eq!(by_id.rows.len(), 1, "an agent that knows no names");
    }

    #[test]
    fn edges_of_two_nodes_are_one_table_in_one_order() {
        use super::super::net::Net;
        use super::super::sampling::Picture as _;
        use crate::cli::net::edges::tests::sample;
        let net = Net { view: View::default() };
        let (first, second) = (sample(10, 1), sample(12, 2));
        let of =
            |node| net.between(&meant(node, Targets::default(), &[]), &first, &second).unwrap();
        let both = net.merged(vec![of("n1"), of("n2")]);
        let mut text = Vec::new();
        net.print(&both, crate::cli::Format::Table, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let starts: Vec<_> = text
            .lines()
            .skip(1)
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().take(2).collect();
                words.join(" ")
            })
            .collect();
        let expected = [
            "shop/cart-1/cart@n1 shop/deployment/pay",
            "shop/cart-1/cart@n2 shop/deployment/pay",
            "shop/cart-1/cart@n1 shop/deployment/db",
            "shop/cart-1/cart@n2 shop/deployment/db",
        ];
        assert_eq!(starts, expected);
        let bank = Targets { pods: vec!["bank/*".to_owned()], ..Targets::default() };
        let none = net.between(&meant("n1", bank, &[]), &first, &second).unwrap();
        assert!(net.nothing(&none).is_some() && net.nothing(&both).is_none());
    }

    #[test]
    fn rows_of_two_nodes_are_one_table() {
        let (first, second) = (sample(10, 0), sample(12, 1));
        let of = |node| meant(node, Targets::default(), &[]).between(&first, &second).unwrap();
        let both = merged(vec![of("n1"), of("n2")]);
        assert_eq!(both.rows.len(), 6);
        assert!((both.interval_s - 2.0).abs() < 1e-9, "{}", both.interval_s);
    }
}
