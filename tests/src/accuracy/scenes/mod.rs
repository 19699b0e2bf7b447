//! Every injection, one line each: what is done, and where it must be shown.
//!
//! Separate so that the table can be read as the list of claims that it is. A
//! new injection is a line here and what it needs beside it.

mod accept;
mod client;
mod crowd;
mod disk;
mod loss;
mod neighbour;
mod plain;
mod quota;
mod reclaim;

use agent_common::parts::Part;

use loss::Lost;

use super::rig::{Join, Rig, Scene};

const PLAIN: Scene = Scene {
    name: "",
    what: "",
    parts: &[],
    words: &[],
    join: Join::Nothing,
    culprit: None,
    build: plain::c,
    lacks: plain::lacks_c,
};

const GO: Scene = Scene { lacks: plain::lacks_go, ..PLAIN };

const fn in_go(
    name: &'static str,
    what: &'static str,
    parts: &'static [Part],
    build: fn() -> anyhow::Result<Rig>,
) -> Scene {
    Scene { name, what, parts, build, ..GO }
}

const fn in_c(
    name: &'static str,
    what: &'static str,
    parts: &'static [Part],
    build: fn() -> anyhow::Result<Rig>,
) -> Scene {
    Scene { name, what, parts, build, ..PLAIN }
}

const fn in_python(
    name: &'static str,
    what: &'static str,
    parts: &'static [Part],
    build: fn() -> anyhow::Result<Rig>,
) -> Scene {
    Scene { name, what, parts, build, lacks: plain::lacks_python, ..PLAIN }
}

/// All of them, in the order of the parts that they are to be shown in.
pub const ALL: &[Scene] = &[
    in_c("spin-c", "C: busy loop", &[Part::Cpu], || plain::start_c("spin")),
    in_go("spin-go", "Go: busy loop", &[Part::Cpu], || plain::start_go("busy")),
    in_python("spin-python", "Python: busy loop", &[Part::Cpu], || plain::start_python("spin")),
    in_go("gc-go", "Go: forced collection of a large heap", &[Part::Gc], || plain::start_go("gc")),
    Scene {
        join: Join::UntilStart(Part::Sched),
        ..in_go("sched-go", "Go: one P, goroutines that compute", &[Part::Sched], crowd::start)
    },
    in_go("chan-go", "Go: channel, answered late", &[Part::Wait], || plain::start_go("chan")),
    in_go("mutex-go", "Go: mutex, held by another", &[Part::Wait], || plain::start_go("mutex")),
    in_go("sleep-go", "Go: time.Sleep", &[Part::Wait], || plain::start_go("doze")),
    in_go("fanout-go", "Go: four children, WaitGroup", &[Part::Wait], || plain::start_go("fanout")),
    Scene {
        culprit: Some(neighbour::NAME),
        join: Join::UntilStart(Part::Runqueue),
        ..in_c("runqueue-c", "C: a neighbour on its CPU", &[Part::Runqueue], neighbour::start)
    },
    Scene {
        words: &[("out", Part::Throttled)],
        lacks: quota::lacks,
        ..in_c("quota-c", "C: CPU quota used up", &[Part::Throttled], quota::start)
    },
    in_c("lock-c", "C: pthread mutex, held by another", &[Part::Lock], || plain::start_c("lock")),
    in_python("lock-python", "Python: lock, held by another", &[Part::Lock], || {
        plain::start_python("lock")
    }),
    Scene {
        lacks: disk::lacks,
        ..in_c("disk-c", "C: fsync on a slow device", &[Part::Disk], disk::start)
    },
    in_c("memory-c", "C: page delivered late", &[Part::Memory], || plain::start_c("fault")),
    Scene {
        lacks: reclaim::lacks,
        ..in_c("reclaim-c", "C: file larger than the memory limit", &[Part::Memory], reclaim::start)
    },
    Scene {
        join: Join::UntilAccept(Part::Accept),
        ..in_c("accept-c", "C: accepted late", &[Part::Accept], accept::start)
    },
    in_c("sleep-c", "C: nanosleep", &[Part::Sleep], || plain::start_c("sleep")),
    in_python("sleep-python", "Python: time.sleep", &[Part::Sleep], || {
        plain::start_python("sleep")
    }),
    in_go("sleep-os-go", "Go: nanosleep in the kernel", &[Part::Sleep], || plain::start_go("nap")),
    in_c("receive-c", "C: body sent slowly", &[Part::Receive], client::slow_sender),
    in_c("send-c", "C: 8 MB response read slowly", &[Part::Send], client::slow_reader),
    Scene {
        words: &[("down", Part::Loss)],
        lacks: loss::lacks,
        ..in_c("loss-c", "C: segment to the downstream lost", &[Part::Loss], || {
            loss::start(Lost::Call)
        })
    },
    Scene {
        words: &[("post", Part::Loss)],
        lacks: loss::lacks,
        ..in_c("loss-body-c", "C: loss inside a 1 MB request to it", &[Part::Loss], || {
            loss::start(Lost::Body)
        })
    },
    Scene {
        words: &[("big", Part::Loss)],
        lacks: loss::lacks,
        ..in_c("loss-response-c", "C: loss inside a 1 MB response", &[Part::Loss], || {
            loss::start(Lost::Response)
        })
    },
    in_c("down-c", "C: slow downstream", &[Part::Downstream], || plain::start_c("down")),
    in_python("down-python", "Python: slow downstream", &[Part::Downstream], || {
        plain::start_python("down")
    }),
    in_go("down-go", "Go: slow downstream, net/http", &[Part::Downstream], || {
        plain::start_go("down")
    }),
    Scene {
        lacks: plain::lacks_redis,
        ..in_go("redis-go", "Go: slow redis", &[Part::Downstream], plain::start_go_redis)
    },
    in_c("both-c", "C: busy loop and slow downstream", &[Part::Cpu, Part::Downstream], || {
        plain::start_c("both")
    }),
    in_go("both-go", "Go: busy loop and slow downstream", &[Part::Cpu, Part::Downstream], || {
        plain::start_go("both")
    }),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_scene_has_a_name_of_its_own_and_a_part() {
        let names: BTreeSet<_> = ALL.iter().map(|scene| scene.name).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|scene| !scene.what.is_empty() && !scene.parts.is_empty()));
    }

    #[test]
    fn every_part_that_can_be_injected_is() {
        let injected: BTreeSet<_> = ALL.iter().flat_map(|scene| scene.parts).collect();
        // On the CPU in the kernel, stolen by the hypervisor, and not known:
        // those cannot be asked for by the millisecond.
        let not = [Part::OsCpu, Part::Steal, Part::Unknown, Part::Sampled];
        for part in Part::ALL {
            assert_eq!(injected.contains(&part), !not.contains(&part), "{part:?}");
        }
    }
}
