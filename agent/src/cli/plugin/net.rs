//! `kubectl strata net`: with whom pods talk, a table of all nodes together.
//!
//! Separate from the workloads' table because it has other rows, in an order
//! that the user chooses; an edge between two nodes is there twice, once by each
//! end that is watched.

use std::io::{self, Write};

use super::rows::Meant;
use super::sampling::Picture;
use super::top::NOTHING;
use crate::cli::Format;
use crate::cli::net::edges::{Row, sort};
use crate::cli::net::{View, print};
use crate::export::json::Workloads;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Net {
    pub(super) view: View,
}

/// Edges of an interval.
#[derive(Debug)]
pub(super) struct Edges {
    interval_s: f64,
    rows: Vec<Row>,
    /// Whether there is a pod at all of those that are meant.
    has_pods: bool,
}

impl Picture for Net {
    type Rows = Edges;

    fn between(&self, meant: &Meant, earlier: &Workloads, later: &Workloads) -> Option<Edges> {
        let (interval_s, rows) = meant.edges_between(earlier, later, &self.view)?;
        let has_pods = later.workloads.iter().any(|workload| meant.has(workload));
        Some(Edges { interval_s, rows, has_pods })
    }

    fn merged(&self, all: Vec<Edges>) -> Edges {
        let interval_s = all.iter().map(|edges| edges.interval_s).sum::<f64>();
        let interval_s = interval_s / all.len().max(1) as f64;
        let has_pods = all.iter().any(|edges| edges.has_pods);
        let mut rows: Vec<Row> = all.into_iter().flat_map(|edges| edges.rows).collect();
        sort(&mut rows, self.view.sort);
        Edges { interval_s, rows, has_pods }
    }

    fn print(&self, edges: &Edges, format: Format, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Table => print::table(&edges.rows, usize::MAX, out),
            Format::Json => print::json(&edges.rows, edges.interval_s, out),
        }
    }

    fn nothing(&self, edges: &Edges) -> Option<&'static str> {
        (!edges.has_pods).then_some(NOTHING)
    }
}
