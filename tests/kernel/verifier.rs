//! What the verifier says: every program loads and attaches, and none grows
//! unseen towards the limit of a million instructions.

use agent::load::status::ProgramState;
use agent::probes::{self, Lane};
use tests::probe_run::{Probes, Setup};
use tests::{require, sys};

/// Instructions that the verifier may walk through, by program: a quarter more
/// than on Linux 6.18. A bound that is hit shows a change to look at.
const BOUNDS: &[(&str, u32)] = &[
    ("sk_data_ready", 750),
    ("sock_recv_length", 382_000),
    ("sock_send_length", 164_000),
    ("sweep_connections", 54_500),
    ("inet_sock_set_state", 31_250),
    ("tcp_destroy_sock", 5_125),
    ("tcp_retransmit_skb", 375),
    ("tcp_retransmit_synack", 625),
    ("tcp_send_reset", 250),
    ("tcp_receive_reset", 250),
    ("sched_wakeup", 375),
    ("sched_wakeup_new", 250),
    ("sched_switch", 184_000),
    ("sched_process_fork", 875),
    ("sched_process_exec", 1_500),
    ("sched_process_exit", 375),
    ("cgroup_mkdir", 625),
    ("cgroup_rmdir", 625),
    ("sys_exit", 1_125),
    ("sys_enter", 750),
    ("go_round_trip", 40_000),
    ("go_sample", 875),
];

#[test]
fn every_program_loads_attaches_and_stays_below_its_bound() {
    require!(sys::is_root(), "root is needed");
    let probes = Probes::start(Setup::default().lanes(&Lane::ALL)).unwrap();
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
