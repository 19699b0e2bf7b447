//! From what was found to what it means: lanes, actions, and whether the agent
//! could run. Pure.

use std::path::Path;

use crate::app::examine::{Examination, Program};
use crate::load::status::{LaneState, ProgramState, lane_status};
use crate::probes::Lane;

/// What the findings mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Every lane, in the order in which they are shown.
    pub lanes: Vec<LaneVerdict>,
    /// Why the agent could not run at all; `None` if it could.
    pub obstacle: Option<String>,
    /// Whether an agent runs now, in words.
    pub agent: String,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneVerdict {
    /// Which.
    pub lane: Lane,
    /// Its state, if the agent ran.
    pub state: LaneState,
    /// Why it is not at its best; empty only if it works.
    pub reason: String,
    /// What to do about it; empty if there is nothing.
    pub action: String,
}

/// What makes the whole agent impossible, and what to do.
struct Obstacle {
    reason: String,
    action: String,
}

impl Verdict {
    /// Judges what was found.
    #[must_use]
    pub fn of(found: &Examination, socket: &Path) -> Self {
        let obstacle = obstacle(found);
        let lanes: Vec<LaneVerdict> =
            Lane::ALL.iter().map(|lane| judge(*lane, found, obstacle.as_ref())).collect();
        let is_on = |lane: &&LaneVerdict| lane.state != LaneState::Off;
        let is_useless = lanes.iter().any(|lane| is_on(&lane))
            && lanes.iter().filter(is_on).all(|lane| lane.state == LaneState::Unavailable);
        let obstacle = match obstacle {
            Some(obstacle) => Some(format!("{}; {}", obstacle.reason, obstacle.action)),
            None => is_useless.then(|| "no lane that is on works on this kernel".to_owned()),
        };
        let agent = match found.agent {
            Some(Some(pid)) => format!("runs, pid {pid}, socket {}", socket.display()),
            Some(None) => format!("runs, socket {}", socket.display()),
            None => format!("none answers on {}", socket.display()),
        };
        Self { lanes, obstacle, agent }
    }
}

fn obstacle(found: &Examination) -> Option<Obstacle> {
    let obstacle =
        |reason: String, action: &str| Some(Obstacle { reason, action: action.to_owned() });
    let missing: Vec<&str> = found
        .capabilities
        .iter()
        .filter(|capability| !capability.is_there)
        .map(|capability| capability.name)
        .collect();
    if !missing.is_empty() {
        let reason = format!("{} missing", missing.join(", "));
        return obstacle(reason, "run as root, or give exactly these");
    }
    if let Some(reason) = &found.btf_error {
        return obstacle(reason.clone(), "run a kernel of the distribution, which has it");
    }
    if let Err(reason) = &found.cgroups {
        return obstacle(reason.clone(), "mount the cgroup hierarchy, or set cgroup_root");
    }
    if let Err(reason) = &found.programs {
        return obstacle(reason.clone(), "if that says nothing to you, report it with this output");
    }
    None
}

const REPORT: &str = "please report it with the output of `strata check -o json`";

fn judge(lane: Lane, found: &Examination, obstacle: Option<&Obstacle>) -> LaneVerdict {
    let is_on = found.lanes.get(lane as usize).copied().unwrap_or(false);
    if !is_on {
        return LaneVerdict {
            lane,
            state: LaneState::Off,
            reason: "switched off by the configuration".to_owned(),
            action: format!("set lanes.{} to true, and off to false", lane.as_str()),
        };
    }
    let programs = match (&found.programs, obstacle) {
        (_, Some(obstacle)) => {
            return LaneVerdict {
                lane,
                state: LaneState::Unavailable,
                reason: obstacle.reason.clone(),
                action: obstacle.action.clone(),
            };
        }
        (Ok(programs), None) => programs.as_slice(),
        (Err(_), None) => &[],
    };
    let statuses: Vec<_> = programs.iter().map(|program| program.status.clone()).collect();
    let status = lane_status(lane, &statuses, false);
    let has_no_reason = status.why.is_empty() && status.state != LaneState::Works;
    LaneVerdict {
        lane,
        state: status.state,
        reason: if has_no_reason { "its programs were not loaded".to_owned() } else { status.why },
        action: if status.state == LaneState::Works {
            String::new()
        } else {
            action(lane, programs, &found.kernel)
        },
    }
}

/// What to do about a lane: a newer kernel where this one is too old for one of
/// its hooks.
fn action(lane: Lane, programs: &[Program], kernel: &str) -> String {
    let refused = programs.iter().filter(|program| {
        program.status.spec.lanes.contains(&lane)
            && matches!(program.status.state, ProgramState::Unavailable { .. })
    });
    let needed = refused
        .map(|program| program.status.spec.since)
        .filter(|since| version(kernel) < version(since))
        .max_by_key(|since| version(since));
    match needed {
        Some(since) => format!("run Linux {since} or newer; the other lanes work without"),
        None => REPORT.to_owned(),
    }
}

/// Major and minor of a release: `6.18` of `6.18.44-cloud`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::app::examine::{Capability, PodNames};
    use crate::load::status::ProgramStatus;
    use crate::probes::ALL;

    /// A host on which programs whose name `is_missing` are not to be had.
    pub(in crate::cli::check) fn host(is_missing: impl Fn(&str) -> bool) -> Examination {
        let programs = ALL.iter().map(|spec| {
            let state = if is_missing(spec.name) {
                ProgramState::Unavailable { why: format!("no tracepoint {}", spec.name) }
            } else {
                ProgramState::Loaded
            };
            let instructions = (state == ProgramState::Loaded).then_some(1234);
            Program { status: ProgramStatus { spec, state, note: String::new() }, instructions }
        });
        Examination {
            kernel: "5.15.0-91-generic".to_owned(),
            btf_error: None,
            capabilities: vec![Capability { name: "CAP_BPF", reason: "to load", is_there: true }],
            cgroups: Ok("v2 at /sys/fs/cgroup".to_owned()),
            lanes: [true; Lane::ALL.len()],
            programs: Ok(programs.collect()),
            go: Vec::new(),
            pods: PodNames::Off,
            agent: None,
        }
    }

    fn verdict(found: &Examination) -> Verdict {
        Verdict::of(found, Path::new("/run/s.sock"))
    }

    fn lane(verdict: &Verdict, lane: Lane) -> &LaneVerdict {
        verdict.lanes.iter().find(|judged| judged.lane == lane).unwrap()
    }

    #[test]
    fn where_everything_loads_every_lane_works() {
        let verdict = verdict(&host(|_| false));
        assert_eq!(verdict.obstacle, None);
        for judged in &verdict.lanes {
            assert_eq!((judged.state, judged.reason.as_str()), (LaneState::Works, ""));
        }
    }

    #[test]
    fn an_old_kernel_costs_a_lane_and_the_needed_one_is_named() {
        let verdict = verdict(&host(|name| name.starts_with("sk_data_ready")));
        let sockets = lane(&verdict, Lane::Sockets);
        assert_eq!(sockets.state, LaneState::Unavailable);
        assert_eq!(sockets.reason, "no tracepoint sk_data_ready");
        assert!(sockets.action.contains("Linux 6.3 or newer"), "{}", sockets.action);
        assert_eq!(lane(&verdict, Lane::Cpu).state, LaneState::Works);
        assert_eq!(verdict.obstacle, None, "the others are worth running for");
    }

    #[test]
    fn a_refusal_on_a_new_kernel_is_to_be_reported() {
        let mut found = host(|name| name == "sched_switch");
        found.kernel = "6.18.0".to_owned();
        let verdict = verdict(&found);
        let cpu = lane(&verdict, Lane::Cpu);
        assert_eq!(cpu.state, LaneState::Degraded);
        assert!(cpu.action.contains("report"), "{}", cpu.action);
    }

    #[test]
    fn a_missing_capability_stops_everything_and_is_named() {
        let mut found = host(|_| false);
        found.capabilities[0].is_there = false;
        let verdict = verdict(&found);
        assert!(verdict.obstacle.as_ref().unwrap().contains("CAP_BPF"));
        for judged in &verdict.lanes {
            assert_eq!(judged.state, LaneState::Unavailable);
            assert!(judged.reason.contains("CAP_BPF") && judged.action.contains("root"));
        }
    }

    #[test]
    fn nothing_at_all_is_an_obstacle() {
        assert!(verdict(&host(|_| true)).obstacle.is_some());
        for break_it in [
            |found: &mut Examination| found.btf_error = Some("no BTF".to_owned()),
            |found: &mut Examination| found.cgroups = Err("no cgroup".to_owned()),
            |found: &mut Examination| found.programs = Err("no map".to_owned()),
        ] {
            let mut found = host(|_| false);
            break_it(&mut found);
            let verdict = verdict(&found);
            assert!(verdict.obstacle.is_some_and(|reason| reason.contains("no ")));
        }
    }

    #[test]
    fn what_is_switched_off_is_no_obstacle() {
        let mut found = host(|_| false);
        found.lanes = [false; Lane::ALL.len()];
        if let Ok(programs) = &mut found.programs {
            programs.iter_mut().for_each(|program| program.status.state = ProgramState::Loaded);
        }
        let verdict = verdict(&found);
        assert_eq!(verdict.obstacle, None);
        for judged in &verdict.lanes {
            assert_eq!(judged.state, LaneState::Off);
            assert!(!judged.reason.is_empty() && judged.action.contains(judged.lane.as_str()));
        }
    }

    #[test]
    fn releases_are_compared_by_number() {
        assert!(version("6.18.44-cloud") > version("6.3"));
        assert!(version("5.15.0-91-generic") < version("6.3"));
        assert_eq!(version("strange"), (0, 0));
    }
}
