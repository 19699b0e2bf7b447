//! What a guest said, and whether that is what its kernel must do. Separate
//! from booting so that the judgement is a pure function of two logs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Kernel, json};

/// Lanes that every guest must speak about, with a metric, or one series of it,
/// that the lane alone feeds and that the guest's requests make grow.
const LANES: [(&str, &str); 5] = [
    ("sockets", "http_server_request_duration_seconds_count"),
    ("cpu", "strata_runqueue_latency_seconds_count"),
    ("process", "strata_agent_program_runs_total{program=\"sched_process_exec\"}"),
    ("tcp", "strata_tcp_segments_sent_total"),
    ("syscalls", "strata_syscalls_total"),
];

/// The metric that shows the API to be known by its container.
const IDENTITY: &str = "strata_container_info";

/// The lives of the agent in a guest: with everything that root has, and with
/// the smallest capability set on a strict node.
const PHASES: [&str; 2] = ["root", "restricted"];

/// `CAP_DAC_READ_SEARCH`, `CAP_SYS_PTRACE`, `CAP_PERFMON`, `CAP_BPF`
/// (include/uapi/linux/capability.h): what the restricted phase may have.
const RESTRICTED_CAPABILITIES: u64 = 1 << 2 | 1 << 19 | 1 << 38 | 1 << 39;

/// A stop takes 5 s at most; emulation on a busy host gets as much again.
const STOP_DEADLINE_MS: u64 = 10_000;

/// What the kernel prints when something in it went wrong.
const KERNEL_COMPLAINTS: [&str; 7] = [
    "WARNING: CPU",
    "BUG: ",
    "Oops: ",
    "rcu: INFO: ",
    "Kernel panic",
    "INFO: task ",
    "segfault at",
];

/// The verdict of `strata check` on one lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lane {
    /// The lane's name.
    pub(crate) name: String,
    /// `works`, `degraded` or `unavailable`.
    pub(crate) state: String,
    /// Why it is not `works`; empty otherwise.
    pub(crate) reason: String,
}

/// All that one guest reported.
#[derive(Debug, Clone)]
pub(crate) struct GuestReport {
    /// The kernel that was asked for.
    pub(crate) kernel: Kernel,
    /// Facts by name, as tests/guest/init.sh wrote them.
    pub(crate) facts: BTreeMap<String, String>,
    /// Lanes as `strata check` sees them, in its order.
    pub(crate) lanes: Vec<Lane>,
    /// The last scrape of each phase: each series, and the sum of each metric's.
    scrapes: BTreeMap<String, BTreeMap<String, f64>>,
    /// Tails of what the programs printed, with the program's name before each.
    pub(crate) logs: Vec<String>,
    /// Lines of the console by which the kernel says that something is wrong.
    complaints: Vec<String>,
}

impl GuestReport {
    /// Reads the two logs of a guest. What is missing shows in [`Self::failures`].
    pub(super) fn parse(kernel: &Kernel, report: &str, console: &str) -> Self {
        let mut parsed = Self {
            kernel: *kernel,
            facts: BTreeMap::new(),
            lanes: Vec::new(),
            scrapes: BTreeMap::new(),
            logs: Vec::new(),
            complaints: Vec::new(),
        };
        for line in report.lines() {
            let line = line.trim_end_matches('\r');
            let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
            let (key, value) = rest.split_once(' ').unwrap_or((rest, ""));
            match kind {
                "STRATA-GUEST" => _ = parsed.facts.insert(key.to_owned(), value.to_owned()),
                "STRATA-CHECK" => parsed.lanes.extend(lanes_in(rest)),
                "STRATA-SCRAPE" => {
                    add_sample(parsed.scrapes.entry(key.to_owned()).or_default(), value)
                }
                "STRATA-LOG" => parsed.logs.push(rest.to_owned()),
                _ => {}
            }
        }
        let complains =
            |line: &&str| KERNEL_COMPLAINTS.iter().any(|complaint| line.contains(complaint));
        parsed.complaints =
            console.lines().filter(complains).map(|line| line.trim_end().to_owned()).collect();
        parsed
    }

    /// Requests that the agent counted in a phase; 0 where it was not scraped.
    pub(crate) fn counted(&self, phase: &str) -> u64 {
        let (_, metric) = LANES[0];
        // Counts of requests are small whole numbers: exact in a float.
        self.metric(phase, metric) as u64
    }

    /// Requests that the client saw answered in a phase.
    pub(crate) fn answered(&self, phase: &str) -> Option<u64> {
        self.number(&format!("{phase}.answered"))
    }

    /// What is not as it must be on this kernel; empty when all is well.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut claim = |holds: bool, failure: String| {
            if !holds {
                failures.push(format!("{}: {failure}", self.kernel.series));
            }
        };
        claim(
            self.fact("result") == "ok",
            format!("the guest did not come to its end: {:?}", self.fact("result")),
        );
        claim(
            self.fact("release").starts_with(self.kernel.series),
            format!("booted {:?}", self.fact("release")),
        );
        claim(
            self.complaints.is_empty(),
            format!("the kernel complains: {}", self.complaints.join(" | ")),
        );
        let panics = self.logs.iter().find(|line| line.contains("panicked at"));
        claim(panics.is_none(), format!("a program panicked: {panics:?}"));
        // A node on which a lane is unavailable may be told so by the exit code as well.
        let check = self.fact("check.exit");
        let lacking = check == "3" && !self.kernel.unavailable.is_empty();
        claim(check == "0" || lacking, format!("check left with {check:?}"));
        for (name, metric) in LANES {
            let missing = self.kernel.unavailable.contains(&name);
            let lane = self.lane(name);
            let (state, reason) =
                lane.map_or(("not reported", ""), |lane| (&lane.state, &lane.reason));
            let expected = match state {
                "works" => !missing,
                "degraded" => !missing && !reason.is_empty(),
                "unavailable" => missing && !reason.is_empty(),
                _ => false,
            };
            claim(expected, format!("lane {name} is {state}, reason {reason:?}"));
            for phase in PHASES {
                let sum = self.metric(phase, metric);
                claim(
                    (sum > 0.0) != missing,
                    format!("{phase}: lane {name} is {state}, but {metric} is {sum}"),
                );
            }
        }
        for phase in PHASES {
            let fact = |name: &str| self.fact(&format!("{phase}.{name}"));
            claim(
                !fact("ready_ms").is_empty(),
                format!("{phase}: the agent was not ready in time"),
            );
            claim(
                fact("answered") == self.fact("requests"),
                format!("{phase}: answered {:?}", fact("answered")),
            );
            if !self.kernel.unavailable.contains(&"sockets") {
                let (counted, answered) = (self.counted(phase), self.answered(phase));
                claim(
                    Some(counted) == answered,
                    format!("{phase}: {counted} requests counted, {answered:?} answered"),
                );
            }
            let containers = self.metric(phase, IDENTITY);
            claim(containers == 1.0, format!("{phase}: {IDENTITY} is {containers}"));
            claim(
                fact("exit") == "0",
                format!("{phase}: the agent left with {:?} on SIGTERM", fact("exit")),
            );
            claim(
                fact("pins") == "0",
                format!("{phase}: {:?} pinned objects were left", fact("pins")),
            );
            let stop_ms = self.number(&format!("{phase}.stop_ms"));
            claim(
                stop_ms.is_some_and(|ms| ms <= STOP_DEADLINE_MS),
                format!("{phase}: stopped after {stop_ms:?} ms"),
            );
        }
        let effective = u64::from_str_radix(self.fact("restricted.CapEff:"), 16).ok();
        claim(
            effective == Some(RESTRICTED_CAPABILITIES),
            format!("restricted ran with capabilities {effective:x?}"),
        );
        for (sysctl, strict) in [("unprivileged_bpf_disabled", "2"), ("perf_event_paranoid", "4")] {
            let value = self.fact(&format!("sysctl.{sysctl}"));
            claim(value == strict, format!("{sysctl} is {value:?} in the restricted phase"));
        }
        let denied = self.fact("denied.exit");
        claim(denied == "3", format!("without capabilities the agent left with {denied:?}, not 3"));
        failures
    }

    /// The lane of that name, if `strata check` spoke of it.
    pub(crate) fn lane(&self, name: &str) -> Option<&Lane> {
        self.lanes.iter().find(|lane| lane.name == name)
    }

    fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.fact(name).parse().ok()
    }

    fn metric(&self, phase: &str, name: &str) -> f64 {
        self.scrapes.get(phase).and_then(|scrape| scrape.get(name)).copied().unwrap_or(0.0)
    }
}

/// The README's kernel table: one row a guest, then why a lane is not `works`.
pub(crate) fn table(reports: &[GuestReport]) -> String {
    let mut out = String::from("| kernel |");
    for (lane, _) in LANES {
        // Writing to a string does not fail.
        let _ = write!(out, " {lane} |");
    }
    out.push_str(" requests counted | with the smallest capability set |\n|---|");
    out.push_str(&"---|".repeat(LANES.len() + 2));
    out.push('\n');
    for report in reports {
        let _ = write!(out, "| {} |", report.fact("release"));
        for (name, _) in LANES {
            let _ =
                write!(out, " {} |", report.lane(name).map_or("not reported", |lane| &lane.state));
        }
        for phase in PHASES {
            let sockets = report.lane("sockets").is_some_and(|lane| lane.state != "unavailable");
            let answered = report.answered(phase).filter(|_| sockets);
            let _ = match answered {
                Some(answered) => write!(out, " {} of {answered} |", report.counted(phase)),
                None => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
    let notes =
        reports.iter().flat_map(|report| report.lanes.iter().map(move |lane| (report, lane)));
    let mut separator = "\n";
    for (report, lane) in notes.filter(|(_, lane)| !lane.reason.is_empty()) {
        let _ =
            writeln!(out, "{separator}- {}, {}: {}.", report.kernel.series, lane.name, lane.reason);
        separator = "";
    }
    out
}

/// Every object in a line of `strata check -o json` that speaks of a lane.
fn lanes_in(line: &str) -> Vec<Lane> {
    let mut lanes = Vec::new();
    let Some(value) = json::parse(line) else { return lanes };
    value.walk(&mut |value| {
        if let (Some(name), Some(state)) = (value.text("lane"), value.text("state")) {
            let reason = value.text("reason").unwrap_or("").to_owned();
            lanes.push(Lane { name: name.to_owned(), state: state.to_owned(), reason });
        }
    });
    lanes
}

/// Takes a line of Prometheus text as a series, and into the sum of its metric.
fn add_sample(sums: &mut BTreeMap<String, f64>, line: &str) {
    let Some(name_end) = line.find(['{', ' ']).filter(|_| !line.starts_with('#')) else { return };
    // A label's value may hold anything but a line feed, so the last brace ends the labels.
    let series_end = line.rfind('}').map_or(name_end, |brace| brace + 1);
    let value = line[series_end..].split_whitespace().next();
    if let Some(value) = value.and_then(|value| value.parse::<f64>().ok()) {
        *sums.entry(line[..name_end].to_owned()).or_default() += value;
        if series_end > name_end {
            sums.insert(line[..series_end].to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::KERNELS;
    use super::{GuestReport, table};

    const SCRAPE: [&str; 5] = [
        "# TYPE strata_syscalls_total counter",
        "strata_syscalls_total{class=\"read\"} 9",
        "strata_runqueue_latency_seconds_count{container=\"a }b\"} 4",
        "strata_container_info{} 1",
        "strata_agent_program_runs_total{program=\"sched_process_exec\"} 5\nSTRATA-SCRAPE @ strata_tcp_segments_sent_total{scope=\"loopback\"} 8",
    ];

    /// What a guest of `KERNELS[index]` writes when all is well.
    fn good(index: usize) -> String {
        let kernel = KERNELS[index];
        let mut text = format!(
            "STRATA-GUEST release {}.5-cloud\nSTRATA-GUEST requests 75\nSTRATA-GUEST check.exit 0\n",
            kernel.series
        );
        for lane in ["sockets", "cpu", "process", "tcp", "syscalls"] {
            text += &if kernel.unavailable.contains(&lane) {
                format!(
                    "STRATA-CHECK {{\"lane\":\"{lane}\",\"state\":\"unavailable\",\"reason\":\"no hook\"}}\n"
                )
            } else {
                format!("STRATA-CHECK {{\"lane\":\"{lane}\",\"state\":\"works\"}}\n")
            };
        }
        for phase in ["root", "restricted"] {
            for (fact, value) in [
                ("ready_ms", "9"),
                ("answered", "75"),
                ("exit", "0"),
                ("pins", "0"),
                ("stop_ms", "80"),
            ] {
                text += &format!("STRATA-GUEST {phase}.{fact} {value}\n");
            }
            for line in SCRAPE {
                text += &format!("STRATA-SCRAPE {phase} {}\n", line.replace('@', phase));
            }
            if kernel.unavailable.is_empty() {
                let metric = "http_server_request_duration_seconds_count";
                text += &format!(
                    "STRATA-SCRAPE {phase} {metric}{{a=\"x\"}} 50\nSTRATA-SCRAPE {phase} {metric}{{}} 25\n"
                );
            }
        }
        text + "STRATA-GUEST restricted.CapEff: 000000c000080004\nSTRATA-GUEST denied.exit 3\n\
                STRATA-GUEST sysctl.unprivileged_bpf_disabled 2\nSTRATA-GUEST sysctl.perf_event_paranoid 4\n\
                STRATA-GUEST result ok\r\n"
    }

    #[test]
    fn a_good_guest_of_either_kernel_has_no_failures() {
        for (index, kernel) in KERNELS.iter().enumerate() {
            let report = GuestReport::parse(kernel, &good(index), "[    1.0] Linux version\n");
            assert_eq!(report.failures(), Vec::<String>::new());
        }
    }

    #[test]
    fn each_line_that_a_good_guest_writes_is_needed() {
        for (index, kernel) in KERNELS.iter().enumerate() {
            let text = good(index);
            // A comment of the exposition is the only line without a claim.
            for (skipped, line) in
                text.lines().enumerate().filter(|(_, line)| !line.contains("# TYPE"))
            {
                let rest: Vec<&str> = text
                    .lines()
                    .enumerate()
                    .filter(|(at, _)| *at != skipped)
                    .map(|(_, line)| line)
                    .collect();
                let report = GuestReport::parse(kernel, &rest.join("\n"), "");
                assert!(!report.failures().is_empty(), "{} without {line:?} passes", kernel.series);
            }
        }
    }

    #[test]
    fn wrong_facts_fail() {
        for (right, wrong) in [
            ("root.answered 75", "root.answered 74"),
            ("restricted.exit 0", "restricted.exit 137"),
            ("root.pins 0", "root.pins 1"),
            ("root.stop_ms 80", "root.stop_ms 10001"),
            ("000000c000080004", "000001ffffffffff"),
            ("denied.exit 3", "denied.exit 1"),
            ("check.exit 0", "check.exit 3"),
            ("result ok", "result failed the API does not listen"),
            ("{} 25", "{} 26"),
            ("info{} 1", "info{} 2"),
            ("\"sched_process_exec\"} 5", "\"sched_process_exec\"} 0"),
            ("\"works\"", "\"degraded\""),
            ("\"works\"", "\"unavailable\",\"reason\":\"no hook\""),
            (
                "STRATA-GUEST result",
                "STRATA-LOG root thread 'main' panicked at src\nSTRATA-GUEST result",
            ),
        ] {
            let text = good(1);
            assert!(text.contains(right), "{right}");
            let report = GuestReport::parse(&KERNELS[1], &text.replacen(right, wrong, 1), "");
            assert!(!report.failures().is_empty(), "{wrong} passes");
        }
    }

    #[test]
    fn what_the_kernel_complains_of_fails() {
        for line in
            ["WARNING: CPU: 0 PID: 1 at x", "strata[9]: segfault at 0", "BUG: unable to handle"]
        {
            let console = format!("[ 1.0] fine\n[ 2.0] {line}\r\n");
            let failures = GuestReport::parse(&KERNELS[0], &good(0), &console).failures();
            assert_eq!(failures.len(), 1);
            assert!(failures[0].contains(line));
        }
    }

    #[test]
    fn the_table_states_counts_only_where_the_lane_is() {
        let reports: Vec<GuestReport> =
            (0..2).map(|index| GuestReport::parse(&KERNELS[index], &good(index), "")).collect();
        let text = table(&reports);
        let rows: Vec<&str> = text.lines().collect();
        assert_eq!(
            rows[2],
            "| 6.1.5-cloud | unavailable | works | works | works | works | – | – |"
        );
        assert_eq!(
            rows[3],
            "| 6.12.5-cloud | works | works | works | works | works | 75 of 75 | 75 of 75 |"
        );
        assert_eq!(rows[4..], ["", "- 6.1, sockets: no hook."]);
    }
}
