//! Rule: which room of the agent may name which, and which guests it may have.
//!
//! Data goes one way, from the kernel to the exposition; a room names those
//! before it, never those after it. The two tables are the rule: to change who
//! may name whom, change a row and say why in the commit. Code that is compiled
//! only for tests may name anything.

use super::Problem;
use super::paths::{Path, paths};
use super::source::{Source, without_tests};

/// A top-level module of the agent.
struct Room {
    name: &'static str,
    /// Rooms, or parts of one (`load::status`), that it may name.
    may_name: &'static [&'static str],
}

const fn room(name: &'static str, may_name: &'static [&'static str]) -> Room {
    Room { name, may_name }
}

/// Stands for every room.
const EVERY: &str = "*";

/// Rooms in the order of the flow.
const ROOMS: &[Room] = &[
    room("sys", &[]),
    room("event", &[]),
    room("metrics", &[]),
    // It counts by the reasons that are nouns of the flow.
    room("telemetry", &["metrics", "event"]),
    room("config", &[]),
    room("host", &["sys"]),
    room("probes", &["event", "metrics"]),
    room("load", &["probes", "host", "config", "telemetry", "sys"]),
    // A source takes its map out of what was loaded.
    room("source", &["event", "probes", "telemetry", "sys", "load"]),
    room("decode", &["probes", "event", "telemetry"]),
    // It tells who the pods are; what follows from that is decided after it.
    room("cluster", &["sys", "event", "telemetry"]),
    room("attribution", &["event", "config", "telemetry", "host"]),
    // Of attribution it uses the nouns, never the engine.
    room("aggregate", &["event", "probes", "metrics", "config", "telemetry", "attribution"]),
    // It shows events to who listens, under the names of attribution.
    room("tap", &["sys", "event", "config", "attribution"]),
    // It holds requests and their calls together as the tap does.
    room("spans", &["sys", "event", "telemetry", "attribution", "tap"]),
    // Where the stages meet; nothing but `app` may name it.
    room(
        "worker",
        &[
            "sys",
            "host",
            "event",
            "metrics",
            "telemetry",
            "config",
            "probes",
            "load",
            "source",
            "attribution",
            "aggregate",
            "tap",
            "spans",
        ],
    ),
    room(
        "export",
        &["aggregate", "event", "metrics", "config", "telemetry", "spans", "attribution"],
    ),
    room(
        "admin",
        &[
            "export",
            "aggregate::snapshot",
            "aggregate::channel",
            "load::status",
            "telemetry",
            "metrics",
            "tap",
        ],
    ),
    // A program of its own, which has no worker and no lanes, and who asks it.
    room("peers", &["sys", "host", "event", "metrics", "telemetry", "aggregate", "export"]),
    // Agents of a cluster, by another program.
    room("kubectl", &["event", "admin", "tap", "export"]),
    room(
        "cli",
        &[
            "app",
            "config",
            "probes",
            "metrics",
            "load",
            "host",
            "export",
            "aggregate::snapshot",
            "aggregate::histogram",
            "admin",
            "tap",
            "kubectl",
            // Points of a capture, which are put together here.
            "event::point",
            // Keys of a terminal are waited for.
            "sys",
        ],
    ),
    room("app", &[EVERY]),
];

/// Something from outside that only some rooms may name.
struct Guest {
    /// A path, or with `*` at its end the beginning of a crate's name.
    path: &'static str,
    rooms: &'static [&'static str],
}

const GUESTS: &[Guest] = &[
    Guest { path: "aya", rooms: &["load", "source", "host"] },
    Guest { path: "aya_obj", rooms: &["load", "host"] },
    Guest { path: "kube", rooms: &["cluster"] },
    Guest { path: "k8s_openapi", rooms: &["cluster"] },
    Guest { path: "tower", rooms: &["cluster"] },
    Guest { path: "futures", rooms: &["cluster"] },
    Guest { path: "prometheus_client", rooms: &["export"] },
    Guest { path: "opentelemetry*", rooms: &["export"] },
    Guest { path: "rustls", rooms: &["export"] },
    Guest { path: "hyper_rustls", rooms: &["export"] },
    Guest { path: "clap", rooms: &["cli"] },
    Guest { path: "libc", rooms: &["sys"] },
    // What runs at the same time is decided, and visible, in one file.
    Guest { path: "tokio::spawn", rooms: &["app"] },
    Guest { path: "tokio::task::spawn", rooms: &["app"] },
    // A scrape is encoded beside the one thread, not on it.
    Guest { path: "tokio::task::spawn_blocking", rooms: &["app", "export"] },
    Guest { path: "tokio::task::spawn_local", rooms: &["app"] },
    Guest { path: "unsafe", rooms: &["sys"] },
];

/// Checks one file, if it is the agent's.
pub(super) fn check(path: &str, text: &str) -> Vec<Problem> {
    let Some(inside) = path.strip_prefix("agent/src/") else {
        return Vec::new();
    };
    let modules = module_path(inside);
    let Some(name) = modules.first() else {
        // `lib.rs` and `main.rs` declare the rooms.
        return Vec::new();
    };
    let Some(room) = ROOMS.iter().find(|room| room.name == *name) else {
        let message = format!("`{name}` has no row in xtask/src/tidy/imports.rs");
        return vec![Problem::error(path, 0, message)];
    };
    if inside.ends_with("/tests.rs") {
        return Vec::new();
    }
    let code = without_tests(&Source::parse(text).code);
    let mut problems = Vec::new();
    for named in paths(&code) {
        if let Some(target) = target(&named, modules.len())
            && !may_name(room, target)
        {
            let message = format!("`{name}` may not name `{}`", target.join("::"));
            problems.push(Problem::error(path, named.line, message));
        }
        if let Some(guest) = GUESTS.iter().find(|guest| is_guest(guest, &named))
            && !guest.rooms.contains(name)
        {
            let allowed = guest.rooms.join("`, `");
            let message = format!("`{}` belongs to `{allowed}`, not to `{name}`", guest.path);
            problems.push(Problem::error(path, named.line, message));
        }
    }
    problems
}

/// The modules of a file of the agent; none for the crate's root.
fn module_path(inside: &str) -> Vec<&str> {
    let mut modules: Vec<&str> = inside.trim_end_matches(".rs").split('/').collect();
    if matches!(modules.as_slice(), ["lib" | "main"] | ["bin", _]) {
        modules.clear();
    } else if modules.last() == Some(&"mod") {
        modules.pop();
    }
    modules
}

/// What a path names, from the crate's root, if it names something there.
/// `depth` is that of the module: as many `super` lead to the root.
fn target(path: &Path, depth: usize) -> Option<&[String]> {
    let first = path.segments.first()?.as_str();
    let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
    let start = match first {
        "crate" => 1,
        "super" if ups >= depth => ups,
        _ => return None,
    };
    let target = path.segments.get(start..)?;
    let name = target.first()?;
    ROOMS.iter().any(|room| room.name == name).then_some(target)
}

fn may_name(room: &Room, target: &[String]) -> bool {
    let is_own = target.first().is_some_and(|name| name == room.name);
    is_own
        || room.may_name.iter().any(|allowed| {
            *allowed == EVERY
                || allowed.split("::").zip(target).filter(|(may, is)| may == is).count()
                    == allowed.split("::").count()
        })
}

fn is_guest(guest: &Guest, path: &Path) -> bool {
    let Some(first) = path.segments.first() else {
        return false;
    };
    if let Some(prefix) = guest.path.strip_suffix('*') {
        return path.segments.len() > 1 && first.starts_with(prefix);
    }
    // `unsafe` is a word of the language; a crate's name alone may be a variable.
    let is_long_enough = guest.path == "unsafe" || path.segments.len() > 1;
    let segments = guest.path.split("::");
    is_long_enough
        && segments.clone().zip(&path.segments).filter(|(is, may)| is == may).count()
            == segments.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(path: &str, text: &str) -> Vec<String> {
        check(path, text).into_iter().map(|problem| problem.message).collect()
    }

    fn is_refused(path: &str, text: &str) -> bool {
        !messages(path, text).is_empty()
    }

    #[test]
    fn a_room_may_not_name_what_comes_after_it() {
        for text in [
            "use crate::export::Text;",
            "use crate::{event::Event, export::Text};",
            "fn f() { crate::export::g() }",
            "use super::export::Text;",
        ] {
            assert_eq!(messages("agent/src/decode/mod.rs", text).len(), 1, "{text}");
        }
        assert!(is_refused("agent/src/decode/head.rs", "use super::super::app::App;"));
    }

    #[test]
    fn a_room_may_name_itself_and_what_its_row_says() {
        for text in [
            "use crate::event::Event;",
            "use crate::{event::{self, Event}, probes::ALL};",
            "use crate::decode::head;",
            "use super::head;",
            "pub(crate) fn f(crate_export: u8) {}",
            "use crate::SomeRootItem;",
        ] {
            assert_eq!(messages("agent/src/decode/mod.rs", text), [""; 0], "{text}");
        }
    }

    #[test]
    fn a_part_of_a_room_is_not_the_room() {
        let path = "agent/src/admin/server.rs";
        assert!(!is_refused(path, "use crate::aggregate::snapshot::Snapshot;"));
        assert!(is_refused(path, "use crate::aggregate::Worker;"));
        assert!(is_refused(path, "use crate::aggregate;"));
    }

    #[test]
    fn guests_stay_in_their_rooms() {
        assert!(is_refused("agent/src/decode/mod.rs", "use aya::maps::RingBuf;"));
        assert!(!is_refused("agent/src/source/ring.rs", "use aya::maps::RingBuf;"));
        assert!(is_refused("agent/src/admin/mod.rs", "use prometheus_client::registry::Registry;"));
        assert!(is_refused("agent/src/attribution/pods/mod.rs", "use kube::Api;"));
        assert!(!is_refused("agent/src/cluster/watch.rs", "use kube::Api;"));
        assert!(is_refused("agent/src/admin/mod.rs", "use opentelemetry_otlp::Exporter;"));
        assert!(is_refused("agent/src/host/mod.rs", "let id = libc::getpid();"));
        assert!(is_refused("agent/src/source/ring.rs", "tokio::spawn(async {});"));
        assert!(is_refused("agent/src/source/ring.rs", "use tokio::{spawn, time};"));
        assert!(!is_refused("agent/src/app.rs", "tokio::spawn(async {});"));
        assert!(is_refused("agent/src/load/mod.rs", "unsafe { f() }"));
        assert!(!is_refused("agent/src/sys/mod.rs", "unsafe { f() }"));
    }

    #[test]
    fn words_in_comments_strings_and_tests_are_free() {
        for text in [
            "// crate::export::Text",
            "const A: &str = \"unsafe aya::maps\";",
            "#[cfg(test)]\nmod tests { use crate::export::Text; }",
            "let aya = 1;",
            "#![deny(unsafe_code)]",
        ] {
            assert_eq!(messages("agent/src/decode/mod.rs", text), [""; 0], "{text}");
        }
        assert!(!is_refused("agent/src/decode/tests.rs", "use crate::export::Text;"));
    }

    #[test]
    fn a_room_without_a_row_is_refused() {
        assert!(is_refused("agent/src/util/mod.rs", ""));
        assert!(is_refused("agent/src/util.rs", ""));
        assert!(!is_refused("agent/src/lib.rs", "pub mod export;"));
    }

    #[test]
    fn rows_name_rooms_that_are_there_and_no_cycle() {
        for (position, room) in ROOMS.iter().enumerate() {
            for named in room.may_name.iter().filter(|named| **named != EVERY) {
                let name = named.split("::").next().unwrap();
                let other = ROOMS.iter().position(|other| other.name == name);
                // The client verbs start the agent: `cli` names `app`.
                let is_start = room.name == "cli" && name == "app";
                assert!(other.is_some_and(|other| other < position) || is_start, "{named}");
            }
        }
        for guest in GUESTS {
            assert!(guest.rooms.iter().all(|name| ROOMS.iter().any(|room| room.name == *name)));
        }
    }
}
