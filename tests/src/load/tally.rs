//! What a client completed, by method and status: one side of every count test.
//!
//! Separate because every client gives one and tests compare them.

use std::collections::BTreeMap;

/// Completed requests by (method, status).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<(String, u16), u64>,
    /// Requests that were sent and got no whole response.
    pub failed: u64,
}

impl Tally {
    /// Adds one completed request.
    pub fn add(&mut self, method: &str, status: u16) {
        if let Some(count) = self.counts.get_mut(&(method.to_owned(), status)) {
            *count += 1;
        } else {
            self.counts.insert((method.to_owned(), status), 1);
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(key.clone()).or_insert(0) += count;
        }
        self.failed += other.failed;
    }

    /// Completed requests.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Completed requests with that method and status.
    #[must_use]
    pub fn count(&self, method: &str, status: u16) -> u64 {
        self.counts.get(&(method.to_owned(), status)).copied().unwrap_or(0)
    }

    /// Every (method, status) with its count.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u16, u64)> {
        self.counts.iter().map(|((method, status), count)| (method.as_str(), *status, *count))
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let by_status: serde_json::Map<_, _> = self
            .iter()
            .map(|(method, status, count)| (format!("{method} {status}"), count.into()))
            .collect();
        serde_json::json!({"completed": self.completed(), "failed": self.failed, "requests": by_status})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_tallies_add_up() {
        let mut one = Tally::default();
        one.add("GET", 200);
        let mut two = one.clone();
        two.add("GET", 200);
        two.add("POST", 500);
        two.failed = 1;
        one.merge(&two);
        assert_eq!((one.count("GET", 200), one.completed(), one.failed), (3, 4, 1));
    }
}
