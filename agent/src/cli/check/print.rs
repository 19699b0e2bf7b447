//! How the findings are printed: sections for people, one JSON object a line
//! for programs, whose members are a promise.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::verdict::{LaneVerdict, Verdict};
use crate::app::examine::{Examination, GoProcess, PodNames, Program};
use crate::load::status::ProgramState;

/// Prints sections: host, lanes, programs.
///
/// # Errors
///
/// If `out` does not take it.
pub fn table(found: &Examination, verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    let yes_no = |error: &Option<String>| error.clone().unwrap_or_else(|| "found".to_owned());
    writeln!(out, "kernel   {} {}", found.kernel, std::env::consts::ARCH)?;
    writeln!(out, "BTF      {}", yes_no(&found.btf_error))?;
    let (Ok(cgroups) | Err(cgroups)) = &found.cgroups;
    writeln!(out, "cgroups  {cgroups}")?;
    match &found.pods {
        PodNames::Off => writeln!(out, "pods     without names: kubernetes.node_name is not set")?,
        PodNames::Known { node, pods } => writeln!(out, "pods     {pods} known by name on {node}")?,
        PodNames::Missing { reason, action } => {
            writeln!(out, "pods     without names: {reason}\n{:9}-> {action}", "")?;
        }
    }
    writeln!(out, "agent    {}", verdict.agent)?;
    writeln!(out)?;
    let width = found.capabilities.iter().map(|capability| capability.name.len()).max();
    let width = width.unwrap_or(0).max("CAPABILITY".len());
    writeln!(out, "{:width$}  STATE    FOR", "CAPABILITY")?;
    for capability in &found.capabilities {
        let state = if capability.is_there { "there" } else { "missing" };
        let purpose = capability.reason.strip_prefix("to ").unwrap_or(capability.reason);
        writeln!(out, "{:width$}  {state:7}  {purpose}", capability.name)?;
    }
    writeln!(out)?;
    writeln!(out, "LANE      STATE        WHY")?;
    let mut said = "";
    for lane in &verdict.lanes {
        // What stops the whole agent is said once.
        let is_said = !lane.reason.is_empty() && lane.reason == said;
        let reason = if is_said { "the same" } else { &lane.reason };
        said = &lane.reason;
        let line = format!("{:8}  {:11}  {reason}", lane.lane.as_str(), lane.state.as_str());
        writeln!(out, "{}", line.trim_end())?;
        if !lane.action.is_empty() && !is_said {
            writeln!(out, "{:21}  -> {}", "", lane.action)?;
        }
    }
    if let Ok(programs) = &found.programs {
        programs_table(programs, out)?;
    }
    if !found.go.is_empty() {
        go_table(&found.go, out)?;
    }
    if verdict.obstacle.is_none() {
        writeln!(out, "\nThe agent can run here.")?;
    }
    Ok(())
}

fn programs_table(programs: &[Program], out: &mut dyn Write) -> io::Result<()> {
    let width = programs.iter().map(|program| program.status.spec.name.len()).max();
    let width = width.unwrap_or(0).max("PROGRAM".len());
    writeln!(out, "\n{:width$}  STATE        VERIFIED  WHY", "PROGRAM")?;
    for program in programs {
        let (state, reason) = state(program);
        let verified = program.instructions.map(|count| count.to_string()).unwrap_or_default();
        let name = program.status.spec.name;
        let line = format!("{name:width$}  {state:11}  {verified:>8}  {reason}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn go_table(processes: &[GoProcess], out: &mut dyn Write) -> io::Result<()> {
    let width = processes.iter().map(|process| process.program.len()).max();
    let width = width.unwrap_or(0).max("GO PROCESS".len());
    writeln!(out, "\n{:width$}      PID  GO          SPLIT BY   WHY", "GO PROCESS")?;
    for GoProcess { pid, program, version, mode, reason } in processes {
        let line = format!("{program:width$}  {pid:>7}  {version:10}  {mode:9}  {reason}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// Prints an object with `host`, then one for each lane, one for each program,
/// and one for each Go process that would be watched.
///
/// # Errors
///
/// If `out` does not take it.
pub fn json(found: &Examination, verdict: &Verdict, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", host(found, verdict))?;
    for lane in &verdict.lanes {
        writeln!(out, "{}", lane_object(lane))?;
    }
    for program in found.programs.iter().flatten() {
        let (state, reason) = state(program);
        let object = json!({
            "program": program.status.spec.name,
            "state": state,
            "instructions": program.instructions,
            "reason": reason,
        });
        writeln!(out, "{object}")?;
    }
    for process in &found.go {
        let object = json!({
            "go_process": process.pid,
            "program": process.program,
            "version": process.version,
            "mode": process.mode,
            "reason": process.reason,
        });
        writeln!(out, "{object}")?;
    }
    Ok(())
}

fn host(found: &Examination, verdict: &Verdict) -> Value {
    let capabilities: Vec<Value> = found
        .capabilities
        .iter()
        .map(|capability| {
            json!({
                "name": capability.name,
                "has": capability.is_there,
                "for": capability.reason,
            })
        })
        .collect();
    let (cgroups, cgroups_error) = match &found.cgroups {
        Ok(layout) => (Some(layout), None),
        Err(error) => (None, Some(error)),
    };
    let (pods, pods_reason) = match &found.pods {
        PodNames::Off => (None, "kubernetes.node_name is not set"),
        PodNames::Known { pods, .. } => (Some(pods), ""),
        PodNames::Missing { reason, .. } => (None, reason.as_str()),
    };
    json!({ "host": {
        "kernel": found.kernel,
        "architecture": std::env::consts::ARCH,
        "version": env!("CARGO_PKG_VERSION"),
        "btf": found.btf_error.is_none(),
        "btf_error": found.btf_error,
        "cgroups": cgroups,
        "cgroups_error": cgroups_error,
        "capabilities": capabilities,
        "pods": pods,
        "pods_reason": pods_reason,
        "load_error": found.programs.as_ref().err(),
        "agent_runs": found.agent.is_some(),
        "agent_pid": found.agent.flatten(),
        "can_run": verdict.obstacle.is_none(),
        "reason": verdict.obstacle.as_deref().unwrap_or(""),
    }})
}

fn lane_object(lane: &LaneVerdict) -> Value {
    json!({
        "lane": lane.lane.as_str(),
        "state": lane.state.as_str(),
        "reason": lane.reason,
        "action": lane.action,
    })
}

/// A program's state and reason, in the words of the output.
fn state(program: &Program) -> (&'static str, &str) {
    match &program.status.state {
        ProgramState::Loaded | ProgramState::Attached => ("loads", &program.status.note),
        ProgramState::Unavailable { why } => ("unavailable", why),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::verdict::tests::host as examined;
    use super::*;
    use crate::probes::{ALL, Lane};

    fn printed(
        found: &Examination,
        print: impl Fn(&Examination, &Verdict, &mut dyn Write) -> io::Result<()>,
    ) -> String {
        let mut out = Vec::new();
        print(found, &Verdict::of(found, Path::new("/run/s.sock")), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_table_says_why_and_what_to_do() {
        let text = printed(&examined(|name| name == "sk_data_ready"), table);
        assert!(text.contains("sockets   unavailable  no tracepoint sk_data_ready"), "{text}");
        assert!(text.contains("-> run Linux 6.3 or newer"), "{text}");
        assert!(text.contains("cpu       works\n"), "{text}");
        assert!(text.contains("1234"), "{text}");
        assert!(text.ends_with("The agent can run here.\n"), "{text}");
        assert!(text.lines().all(|line| line == line.trim_end()), "{text}");
    }

    #[test]
    fn names_of_pods_that_cannot_be_had_are_no_obstacle_and_say_what_to_do() {
        let mut found = examined(|_| false);
        found.pods = PodNames::Known { node: "n1".to_owned(), pods: 7 };
        assert!(printed(&found, table).contains("pods     7 known by name on n1\n"));
        let reason = "forbidden: no".to_owned();
        found.pods = PodNames::Missing { reason, action: "let it list pods" };
        let text = printed(&found, table);
        assert!(
            text.contains("pods     without names: forbidden: no\n         -> let it list pods\n"),
            "{text}"
        );
        assert!(text.ends_with("The agent can run here.\n"), "{text}");
        let text = printed(&found, json);
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["host"]["pods_reason"], "forbidden: no");
        assert_eq!(first["host"]["pods"], Value::Null);
    }

    #[test]
    fn each_go_process_is_shown_with_what_its_time_is_split_by() {
        let mut found = examined(|_| false);
        let process = |pid, mode, reason| GoProcess {
            pid,
            program: "api".to_owned(),
            version: "go1.26.8".to_owned(),
            mode,
            reason,
        };
        found.go = vec![process(7, "goroutine", ""), process(8, "thread", "too old")];
        let text = printed(&found, table);
        assert!(text.contains("go1.26.8    goroutine\n"), "{text}");
        assert!(text.contains("go1.26.8    thread     too old\n"), "{text}");
        let text = printed(&found, json);
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["go_process"], &last["mode"]), (&json!(8), &json!("thread")));
    }

    #[test]
    fn what_stops_everything_is_said_once() {
        let mut found = examined(|_| false);
        found.btf_error = Some("no BTF here".to_owned());
        let text = printed(&found, table);
        assert_eq!(text.matches("unavailable  no BTF here").count(), 1, "{text}");
        assert_eq!(text.matches("unavailable  the same").count(), Lane::ALL.len() - 1);
        assert!(!text.contains("can run here"));
    }

    #[test]
    fn json_has_a_host_then_every_lane_then_every_program() {
        let text = printed(&examined(|name| name == "sched_wakeup"), json);
        let objects: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(objects.len(), 1 + Lane::ALL.len() + ALL.len());
        assert_eq!(objects[0]["host"]["can_run"], true);
        assert_eq!(objects[0]["host"]["btf"], true);
        for (object, lane) in objects[1..].iter().zip(Lane::ALL) {
            assert_eq!(object["lane"], lane.as_str());
            let is_fine = object["state"] == "works";
            assert_eq!(object["reason"] == "", is_fine, "{object}");
            assert!(object["action"].is_string());
        }
        for (object, spec) in objects[1 + Lane::ALL.len()..].iter().zip(ALL) {
            assert_eq!(object["program"], spec.name);
            let is_missing = spec.name == "sched_wakeup";
            assert_eq!(object["state"], if is_missing { "unavailable" } else { "loads" });
            assert_eq!(object["instructions"].is_null(), is_missing);
        }
    }
}
