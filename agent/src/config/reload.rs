//! What a new configuration changes in a running agent.
//!
//! Separate because it is a pure decision: the agent applies what is named
//! here and reports the rest, so nothing is ever silently ignored.

use super::{Config, KEYS};

/// The keys whose values differ between two configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reload {
    /// Taken up at once.
    pub applied: Vec<&'static str>,
    /// Left as they are until the agent is started again.
    pub need_restart: Vec<&'static str>,
}

/// What changes from `old` to `new`, in the order of the table.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Reload {
    let mut reload = Reload::default();
    for key in KEYS.iter().filter(|key| key.show(old) != key.show(new)) {
        if key.is_live {
            reload.applied.push(key.name);
        } else {
            reload.need_restart.push(key.name);
        }
    }
    reload
}

/// Puts the values of the keys that can be taken up into the running
/// configuration; those that need a restart stay.
#[cfg(any(test, feature = "agent"))]
pub(super) fn take_up(running: &mut Config, new: &Config, reload: &Reload) {
    for key in KEYS.iter().filter(|key| reload.applied.contains(&key.name)) {
        // A value that was shown is always taken.
        let _ = key.slot.set(running, &key.show(new));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_configurations_change_nothing() {
        assert_eq!(diff(&Config::default(), &Config::default()), Reload::default());
    }

    #[test]
    fn each_change_is_named_and_told_apart() {
        let old = Config::default();
        let mut new = old.clone();
        new.off = true;
        new.watch.ports.push(8080);
        new.listen.set_port(1);
        new.ring.bytes *= 2;
        let reload = diff(&old, &new);
        assert_eq!(reload.applied, ["off", "watch.ports"]);
        assert_eq!(reload.need_restart, ["listen", "ring.bytes"]);
    }

    #[test]
    fn what_needs_a_restart_is_not_taken_up() {
        let old = Config::default();
        let mut new = old.clone();
        new.governor.budget = 0.25;
        new.paths.ignore = vec!["/ping".to_owned()];
        new.ring.bytes *= 2;
        let mut running = old.clone();
        take_up(&mut running, &new, &diff(&old, &new));
        new.ring = old.ring;
        assert_eq!(running, new);
    }

    #[test]
    fn the_sections_that_may_change_live_are_those_that_the_agent_can_apply() {
        for key in KEYS {
            let section = key.name.split('.').next().unwrap();
            let is_live = ["off", "paths", "watch", "governor", "detail", "lanes", "network"]
                .contains(&section);
            // Whom to ask about peers is known from the start on.
            assert_eq!(key.is_live, is_live && key.name != "network.peers", "{key:?}");
        }
    }
}
