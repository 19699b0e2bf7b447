//! Lines of several agents as one stream. Pure.
//!
//! Separate because order and number are decided here: of lines that come at
//! about the same time the one that finished first is first, and there are no
//! more than were asked for.

use serde::Deserialize;

use crate::tap::traced::NOTICE_PREFIX;

/// Bytes that wait, at most; who sends more waits as well.
const MAX_BYTES: usize = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Merge {
    /// Nodes of the streams by their number, as JSON.
    nodes: Vec<String>,
    /// Requests that may still come.
    left: u64,
    lines: Vec<(u64, Vec<u8>)>,
    bytes: usize,
}

/// What a line is ordered by.
#[derive(Deserialize)]
struct Finished {
    #[serde(default)]
    end_unix_ns: u64,
}

impl Merge {
    /// Of no node yet, with so many requests at most.
    pub(super) fn new(count: Option<u64>) -> Self {
        Self { nodes: Vec::new(), left: count.unwrap_or(u64::MAX), lines: Vec::new(), bytes: 0 }
    }

    /// One more stream, of this node: its number is the number of those before.
    pub(super) fn add(&mut self, node: &str) {
        self.nodes.push(serde_json::Value::from(node).to_string());
    }

    /// Takes whole lines of the stream of this number.
    pub(super) fn push(&mut self, node: usize, chunk: &[u8]) {
        for line in chunk.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(NOTICE_PREFIX) {
                self.keep(0, line.to_vec());
                continue;
            }
            if self.left == 0 {
                continue;
            }
            self.left -= 1;
            // What is no request is told by who prints it.
            let end = serde_json::from_slice(line).map_or(0, |line: Finished| line.end_unix_ns);
            let line = match (self.nodes.get(node), line.strip_prefix(b"{")) {
                (Some(node), Some(rest)) => [b"{\"node\":", node.as_bytes(), b",", rest].concat(),
                _ => line.to_vec(),
            };
            self.keep(end, line);
        }
    }

    fn keep(&mut self, end_unix_ns: u64, line: Vec<u8>) {
        self.bytes += line.len();
        self.lines.push((end_unix_ns, line));
    }

    /// Whether as many requests came as were asked for.
    pub(super) const fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Whether more may come now.
    pub(super) const fn has_room(&self) -> bool {
        self.bytes < MAX_BYTES
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// What waits, in order; notices first.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.bytes = 0;
        self.lines.sort_by_key(|(end_unix_ns, _)| *end_unix_ns);
        self.lines.drain(..).flat_map(|(_, line)| line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_nodes(count: Option<u64>) -> Merge {
        let mut merge = Merge::new(count);
        ["n1", "n\"2"].iter().for_each(|node| merge.add(node));
        merge
    }

    fn text(merge: &mut Merge) -> String {
        String::from_utf8(merge.take()).unwrap()
    }

    #[test]
    fn lines_of_two_nodes_come_in_order_of_their_end_with_their_node() {
        let mut merge = of_nodes(None);
        merge.push(0, b"{\"end_unix_ns\":3}\n{\"end_unix_ns\":5}\n");
        merge.push(1, b"{\"end_unix_ns\":4}\n");
        let expected = "{\"node\":\"n1\",\"end_unix_ns\":3}\n\
                        {\"node\":\"n\\\"2\",\"end_unix_ns\":4}\n\
                        {\"node\":\"n1\",\"end_unix_ns\":5}\n";
        assert_eq!(text(&mut merge), expected);
        assert!(merge.is_empty());
    }

    #[test]
    fn no_more_requests_come_than_were_asked_for_and_every_notice() {
        let mut merge = of_nodes(Some(2));
        merge.push(0, b"{\"end_unix_ns\":3}\n{\"end_unix_ns\":5}\n{\"end_unix_ns\":6}\n");
        assert!(merge.is_full());
        merge.push(1, b"{\"end_unix_ns\":4}\n{\"notice\":\"end\",\"requests\":1,\"dropped\":0}\n");
        let text = text(&mut merge);
        assert_eq!(text.lines().count(), 3);
        assert!(text.starts_with("{\"notice\":\"end\""), "{text}");
        assert!(!text.contains(":6}") && !text.contains(":4}"), "{text}");
    }

    #[test]
    fn what_is_taken_makes_room() {
        let mut merge = of_nodes(None);
        merge.push(0, &b"{\"a\":1}\n".repeat(MAX_BYTES / 8));
        assert!(!merge.has_room());
        merge.take();
        assert!(merge.has_room());
    }
}
