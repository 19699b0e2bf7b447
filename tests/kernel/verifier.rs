//! What the verifier says: every program loads and attaches, and none grows
//! unseen towards the limit of a million instructions.

use agent::load::status::ProgramState;
use agent::probes::{self, Lane};
use tests::probe_run::{Probes, Setup};
use tests::{require, sys};

/// Instructions that the verifier may walk through, by program: a quarter more
/// than on Linux 6.18. A bound that is hit shows a change to look at.
const BOUNDS: &[(&str, u32)] = &[
    ("sk_data_ready", 875),
    ("sock_recv_length", 303_500),
    ("sock_send_length", 116_375),
    ("sweep_connections", 44_000),
    ("inet_sock_set_state", 43_375),
    ("tcp_destroy_sock", 17_250),
    ("tcp_retransmit_skb", 2_125),
    ("tcp_retransmit_synack", 1_500),
    ("tcp_send_reset", 750),
    ("tcp_receive_reset", 750),
    ("sched_wakeup", 500),
    ("sched_wakeup_new", 250),
    ("sched_switch", 77_875),
    ("sched_process_fork", 1_000),
    ("sched_process_exec", 2_125),
    ("sched_process_exit", 375),
    ("cgroup_mkdir", 500),
    ("cgroup_rmdir", 500),
    ("sys_exit", 2_250),
    ("sys_enter", 750),
    ("go_round_trip", 12_250),
    ("go_sample", 625),
];

#[test]
fn every_program_loads_attaches_and_stays_below_its_bound() {
    require!(sys::is_root(), "root is needed");
    let probes = Probes::start(Setup::default().lanes(&Lane::ALL).reads_trace()).unwrap();
    let statuses = probes.loaded().statuses();
    assert_eq!(statuses.len(), probes::ALL.len());
    let mut over = Vec::new();
    for status in statuses {
        let name = status.spec.name;
        assert_eq!(status.state, ProgramState::Attached, "{name}");
        let walked = probes.loaded().verified_instructions(status.spec).unwrap();
        let bound = BOUNDS.iter().find(|(of, _)| *of == name).map_or(0, |(_, bound)| *bound);
        println!("    (\"{name}\", {}),", walked.div_ceil(100) * 125);
        if walked > bound {
            over.push(format!("{name}: {walked}, more than {bound}"));
        }
    }
    assert_eq!(over, Vec::<String>::new());
    assert!(BOUNDS.iter().all(|(of, _)| probes::ALL.iter().any(|spec| spec.name == *of)));
}
