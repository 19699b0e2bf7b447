//! The tables, in Markdown: for a terminal, and for the README.
//!
//! Separate because it only arranges what the others found.

use std::fmt::Write as _;

use super::budget::{self, Budget};
use super::conditions::QUIET;
use super::fleet::{CONTAINERS, Fleet, SERVING};
use super::lanes::{self, LaneSet};
use super::micro::{Costs, Who};
use super::ops::Op;
use super::paired::{Figure, Pairs, ProgramCosts};
use super::response::{Counted, Visible};
use super::statistics::Estimate;
use super::windows::Load;

/// Requests a second of the paced load.
pub const PACED: f64 = 4_000.0;
/// The same of the row about the whole node.
pub const NODE: f64 = 5_000.0;

/// Everything that was measured.
#[derive(Debug)]
pub struct Findings {
    /// Where and when.
    pub conditions: String,
    /// Share of all CPUs that other processes used meanwhile, 0 to 1.
    pub others: f64,
    /// The micro method.
    pub micro: Vec<Costs>,
    /// The macro method.
    pub pairs: Vec<Pairs>,
    /// Kernel programs under each load.
    pub programs: Vec<(Load, ProgramCosts)>,
    /// The full node.
    pub fleet: Fleet,
    /// Freshness.
    pub visible: Visible,
    /// Whether all was counted.
    pub counted: Vec<(Load, Counted)>,
    /// CPU milliseconds of a scrape by format, if they were measured.
    pub scrapes: Vec<(String, f64)>,
}

/// A number that was measured once, or is the worst of several.
fn exactly(value: f64) -> Estimate {
    Estimate { median: value, low: value, high: value, count: 1 }
}

/// Two or three significant digits.
fn number(value: f64) -> String {
    let text = if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    };
    text.strip_prefix('-')
        .filter(|rest| rest.trim_matches(['0', '.']).is_empty())
        .map_or(text.clone(), str::to_owned)
}

fn interval(found: &Estimate) -> String {
    match found.count {
        1 => number(found.median),
        _ => format!("{} [{}, {}]", number(found.median), number(found.low), number(found.high)),
    }
}

impl Findings {
    fn pairs(&self, set: LaneSet, load: Load) -> Option<&Pairs> {
        self.pairs.iter().find(|pairs| pairs.set == set && pairs.load == load)
    }

    fn added(&self, set: LaneSet, load: Load, figure: Figure) -> Option<Estimate> {
        self.pairs(set, load)?.added(figure)
    }

    fn bystander(&self, set: LaneSet) -> Option<(Estimate, f64)> {
        let costs = self.micro.iter().find(|costs| costs.set == set)?;
        let cost = costs.of(Who::Bystander, Op::Pipe)?;
        Some((cost.added_ns, cost.floor_ns))
    }

    fn kernel_us(&self, load: Load) -> Option<Estimate> {
        let (_, costs) = self.programs.iter().find(|(other, _)| *other == load)?;
        Some(exactly(costs.per_request_us()))
    }

    /// Agent and kernel programs, percent of all CPUs.
    fn node_percent(&self) -> Option<Estimate> {
        let (_, costs) = self.programs.iter().find(|(load, _)| *load == Load::Paced(NODE))?;
        let cpus = std::thread::available_parallelism().ok()?.get() as f64;
        let kernel_ns = costs.per_request_us() * 1e3 * costs.window.requests as f64;
        let used_ns = costs.window.agent_ns as f64 + kernel_ns;
        Some(exactly(used_ns / 1e9 / costs.window.seconds / cpus * 100.0))
    }

    /// Lanes that do not work here, so that nothing is said of their cost.
    fn missing(&self) -> Vec<&'static str> {
        let micro = self.micro.iter().flat_map(|costs| &costs.missing);
        let mut missing: Vec<_> =
            micro.chain(self.pairs.iter().flat_map(|pairs| &pairs.missing)).copied().collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    fn rows(&self) -> Vec<(Budget, Option<Estimate>, Option<f64>)> {
        let paced = Load::Paced(PACED);
        let (but, every) = (lanes::ALL_BUT_SYSCALLS, lanes::EVERY);
        let app = |set, load| {
            let floor = self.pairs(set, load).and_then(|pairs| pairs.floor(Figure::App));
            (self.added(set, load, Figure::App), floor)
        };
        let agent = |load| self.pairs(every, load).and_then(Pairs::agent_us);
        let mebibytes = |kib: u64| Some(exactly(kib as f64 / 1024.0));
        let map_bytes: u64 = self.fleet.maps.iter().map(|map| map.bytes).sum();
        let plain = self.scrapes.iter().find(|(format, _)| format == "text 0.0.4");
        let lost = self.pairs(every, Load::Saturated);
        let (by_every, by_every_floor) = self.bystander(every).unzip();
        let (by_but, by_but_floor) = self.bystander(but).unzip();
        let mut without = budget::BYSTANDER_WITHOUT;
        without.aim = by_but_floor.unwrap_or(0.0);
        let with = |budget, (found, floor): (Option<Estimate>, Option<f64>)| (budget, found, floor);
        vec![
            with(budget::SATURATED, app(but, Load::Saturated)),
            with(budget::SATURATED_EVERY, app(every, Load::Saturated)),
            with(budget::PACED, app(but, paced)),
            with(budget::PACED_EVERY, app(every, paced)),
            (budget::AGENT_SATURATED, agent(Load::Saturated), None),
            (budget::AGENT_PACED, agent(paced), None),
            (budget::KERNEL_SATURATED, self.kernel_us(Load::Saturated), None),
            (budget::KERNEL_PACED, self.kernel_us(paced), None),
            (budget::BYSTANDER, by_every, by_every_floor),
            (without, by_but, by_but_floor),
            (
                budget::THROUGHPUT,
                lost.and_then(|pairs| pairs.added(Figure::Lost)),
                lost.and_then(|pairs| pairs.floor(Figure::Lost)),
            ),
            (budget::RESIDENT, mebibytes(self.fleet.steady.resident_kib), None),
            (budget::PEAK, mebibytes(self.fleet.steady.peak_kib), None),
            (budget::MAPS, Some(exactly(map_bytes as f64 / f64::from(1 << 20))), None),
            (budget::IDLE, Some(exactly(self.fleet.idle_percent)), None),
            (budget::NODE, self.node_percent(), None),
            (budget::SCRAPE, plain.map(|(_, ms)| exactly(*ms)), None),
            (budget::START, Some(exactly(self.fleet.start_seconds)), None),
            (budget::VISIBLE, Some(exactly(self.visible.p99_ms)), None),
        ]
    }

    /// The table of the budget.
    #[must_use]
    pub fn budget_table(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "{}.\n", self.conditions);
        out.push_str(
            "Medians with 95 % intervals; \"noise\" is how far two measurements without the agent \
             lie apart (nine of ten).\nServer, client and agent share one machine at nice -20, the \
             network is loopback; the governor is off.\n\n",
        );
        let percent = number(self.others * 100.0);
        if self.others > QUIET {
            let _ = writeln!(
                out,
                "**Other processes used {percent} % of the CPUs meanwhile, and their sockets count \
                 as runs of kernel programs: do not trust these numbers.**\n"
            );
        } else {
            let _ = writeln!(out, "Other processes used {percent} % of the CPUs meanwhile.\n");
        }
        let missing = self.missing();
        if !missing.is_empty() {
            let names = missing.join(", ");
            let _ = writeln!(out, "**Lanes that do not work here, so cost nothing: {names}.**\n");
        }
        out.push_str("| what | measured | noise | bar | aim | verdict | others |\n");
        out.push_str("|---|---|---|---|---|---|---|\n");
        for (budget, found, floor) in self.rows() {
            let Budget { what, unit, bar, aim, peers } = budget;
            let (measured, verdict) = match &found {
                Some(found) => (format!("{} {unit}", interval(found)), budget.judge(found).text()),
                None => ("not measured".to_owned(), ""),
            };
            let floor = floor.map(|floor| format!("±{}", number(floor))).unwrap_or_default();
            let (bar, aim) = (number(bar), number(aim));
            let _ = writeln!(
                out,
                "| {what} | {measured} | {floor} | {bar} | {aim} | {verdict} | {peers} |"
            );
        }
        for (load, counted) in &self.counted {
            let _ = writeln!(out, "{}", counted_row(*load, counted));
        }
        out
    }

    /// What stands behind the budget's table.
    #[must_use]
    pub fn details(&self) -> String {
        let mut out = String::new();
        self.micro_table(&mut out);
        self.macro_table(&mut out);
        self.program_tables(&mut out);
        self.memory(&mut out);
        out
    }

    fn micro_table(&self, out: &mut String) {
        out.push_str(
            "\nMicro: nanoseconds added to one operation, by lanes.\n\n| operation | off | noise |",
        );
        for costs in &self.micro {
            let _ = write!(out, " {} |", costs.set.name);
        }
        let _ = writeln!(out, "\n|---|---|---|{}", "---|".repeat(self.micro.len()));
        let cases = self.micro.first().map_or(0, |costs| costs.costs.len());
        for place in 0..cases {
            for (column, costs) in self.micro.iter().enumerate() {
                let Some(cost) = costs.costs.get(place) else { continue };
                if column == 0 {
                    let (off, floor) = (number(cost.off_ns), number(cost.floor_ns));
                    let _ = write!(out, "| {} | {off} | ±{floor} |", cost.case.name);
                }
                let _ = write!(out, " {} |", interval(&cost.added_ns));
            }
            out.push('\n');
        }
    }

    fn macro_table(&self, out: &mut String) {
        out.push_str("\nMacro: added by the agent, Go hello on one CPU, client on the other.\n\n");
        out.push_str(
            "| load | lanes | figure | off | added | noise |\n|---|---|---|---|---|---|\n",
        );
        for pairs in &self.pairs {
            let figures: &[(Figure, &str)] = match pairs.load {
                Load::Saturated => &[
                    (Figure::App, "server CPU, µs/request"),
                    (Figure::Client, "client CPU, µs/request"),
                    (Figure::Lost, "requests/s, % lost"),
                ],
                Load::Paced(_) => &[
                    (Figure::App, "server CPU, µs/request"),
                    (Figure::Client, "client CPU, µs/request"),
                    (Figure::P50, "p50, µs"),
                    (Figure::P99, "p99, µs"),
                ],
            };
            for (figure, name) in figures {
                let (Some(off), Some(added), Some(floor)) =
                    (pairs.off(*figure), pairs.added(*figure), pairs.floor(*figure))
                else {
                    continue;
                };
                let (off, added, floor) = (number(off), interval(&added), number(floor));
                let (load, set) = (load_name(pairs.load), pairs.set.name);
                let _ = writeln!(out, "| {load} | {set} | {name} | {off} | {added} | ±{floor} |");
            }
        }
    }

    fn program_tables(&self, out: &mut String) {
        for (load, costs) in &self.programs {
            let _ = writeln!(
                out,
                "\nKernel programs, {}, all lanes: {} runs and {} µs a request by the kernel's \
                 statistics, which add 20 to 50 ns a run.\n\n| program | runs/request | ns/run | \
                 ns/request |\n|---|---|---|---|",
                load_name(*load),
                number(costs.runs_per_request()),
                number(costs.per_request_us()),
            );
            for (name, runs, run_ns) in &costs.programs {
                let (all, runs, run_ns) = (number(runs * run_ns), number(*runs), number(*run_ns));
                let _ = writeln!(out, "| {name} | {runs} | {run_ns} | {all} |");
            }
        }
    }

    fn memory(&self, out: &mut String) {
        let Fleet { at_start, steady, maps, idle, series, starts, .. } = &self.fleet;
        let _ = writeln!(
            out,
            "\nThe agent with {CONTAINERS} containers, {SERVING} of them serving, {series} series: \
             resident {} MiB when ready, {} MiB after {} s (of that its own: {} MiB); {starts} \
             starts; a response is visible after {} ms (median of {}).",
            at_start.resident_kib / 1024,
            steady.resident_kib / 1024,
            idle.as_secs(),
            steady.anonymous_kib / 1024,
            number(self.visible.p50_ms),
            self.visible.count,
        );
        let largest: Vec<String> = maps
            .iter()
            .take(8)
            .map(|map| format!("{} {} KiB", map.name, map.bytes / 1024))
            .collect();
        let _ = writeln!(out, "Largest maps: {}.", largest.join(", "));
        for (format, ms) in &self.scrapes {
            let _ = writeln!(out, "Scrape of 30 000 series, {format}: {} ms CPU.", number(*ms));
        }
    }
}

fn load_name(load: Load) -> String {
    match load {
        Load::Saturated => "saturated".to_owned(),
        Load::Paced(rate) => format!("{rate} requests/s"),
    }
}

fn counted_row(load: Load, counted: &Counted) -> String {
    let Counted { window, exported, sampled, lost, dropped } = counted;
    let what = match load {
        Load::Saturated => "requests counted, as fast as this machine goes".to_owned(),
        Load::Paced(rate) => format!("requests counted, at {rate} requests/s"),
    };
    let sum = exported + sampled;
    let verdict = if sum == window.requests { "met, and the aim" } else { "**miss**" };
    format!(
        "| {what} | {sum} of {} ({sampled} sampled, {lost} lost, {dropped} dropped), {}/s | | all | \
         all | {verdict} | OBI all, Coroot 93-99.8 % |",
        window.requests,
        number(window.per_second()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_as_many_digits_as_they_deserve() {
        let shown = [123.456, 12.345, 1.2345, 0.004, -0.001, -1.5].map(number);
        assert_eq!(shown, ["123", "12.3", "1.23", "0.00", "0.00", "-1.50"]);
    }

    #[test]
    fn what_was_measured_once_has_no_interval() {
        assert_eq!(interval(&exactly(3.0)), "3.00");
        let several = Estimate { median: 3.0, low: 2.0, high: 4.0, count: 5 };
        assert_eq!(interval(&several), "3.00 [2.00, 4.00]");
    }
}
