//! The wire contract's layout against a committed snapshot.
//!
//! Separate from the types because a change of layout must be seen in a diff:
//! kernel programs and agent are built apart. `cargo xtask tidy --bless`
//! writes `layout.txt` anew.

use std::mem::{align_of, offset_of, size_of};
use std::path::Path;

use agent_common::conn::Conn;
use agent_common::counter::cpu::CpuCounters;
use agent_common::counter::edge::{EdgeCounters, EdgeHistogram, EdgeKey};
use agent_common::counter::requests::RequestCounters;
use agent_common::counter::syscalls::{ClassCounters, SyscallCounters};
use agent_common::counter::tcp::{ScopeCounters, TcpCounters};
use agent_common::go::GoLayout;
use agent_common::head::{Head, Opened};
use agent_common::histogram::Histogram;
use agent_common::policy::{CgroupPolicy, Control, Listener, ListenerKey, ProcessPolicy};
use agent_common::record::call::CallRecord;
use agent_common::record::cgroup::CgroupRecord;
use agent_common::record::point::PointRecord;
use agent_common::record::process::ProcessRecord;
use agent_common::record::request::{RequestHeadRecord, RequestParts, RequestRecord, TraceContext};
use agent_common::stats::ProgramStats;
use agent_common::work::{Busy, Goroutine, Line, LongRun, Parked, Runs};

/// A field: name, offset and size in bytes.
type Field = (&'static str, usize, usize);

/// A type of the contract.
struct Layout {
    name: &'static str,
    size: usize,
    align: usize,
    fields: Vec<Field>,
}

/// The layout of a struct. All of its fields must be listed, else this does
/// not compile.
macro_rules! layout {
    ($name:ident { $($field:ident),+ $(,)? }) => {{
        fn is_complete(value: &$name) {
            let $name { $($field: _),+ } = value;
        }
        let _: fn(&$name) = is_complete;
        Layout {
            name: stringify!($name),
            size: size_of::<$name>(),
            align: align_of::<$name>(),
            fields: vec![$((
                stringify!($field),
                offset_of!($name, $field),
                size_of_field(|value: &$name| &value.$field),
            )),+],
        }
    }};
}

fn size_of_field<T, F>(_: impl Fn(&T) -> &F) -> usize {
    size_of::<F>()
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!(Opened { opening, method, target_at, path_len, _pad, path_hash }),
        layout!(Head {
            body_left,
            wants_stream,
            pipelined,
            pipelined_methods,
            may_have_more,
            is_complete,
            is_scanned,
            next_at,
            body,
            trace_at,
            trace_lines,
            is_trace_over,
            _pad,
        }),
        layout!(Conn {
            service,
            role,
            protocol,
            phase,
            method,
            status,
            flags,
            tgid,
            tid,
            stash_len,
            is_head_pending,
            _pad0,
            is_streaming,
            goid,
            cgroup_id,
            ready_ns,
            arrival_ns,
            read_ns,
            end_ns,
            bytes_in,
            bytes_out,
            retransmits_at_start,
            retransmits_at_end,
            has_server_sent,
            is_tls13,
            tls_records,
            is_handshake_done,
            is_accepted,
            is_accepted_at_ready,
            _pad1,
            head,
            opened,
            stash_ready_ns,
            stash,
            opened_ns,
            sampled_ns,
            segments_counted,
            retransmits_counted,
            delivered_sampled,
            generation,
            scope,
            _pad,
            epoch,
            path,
            trace,
            parts,
            id,
            booked_ns,
            accepted_ns,
            reply_ready_ns,
            sent_ns,
            caller,
            is_send_full,
            call,
            is_announced,
            resent_rtt_us,
            resent_ns,
            loss_ns,
            owner,
            owner_read_ns,
            out_of_order_counted,
            window_ticks,
            stall,
            new_out_of_order,
            new_stalls,
            new_stall_ticks
        }),
        layout!(RequestRecord {
            kind,
            method,
            protocol,
            path_len,
            status,
            service,
            flags,
            tgid,
            tid,
            retransmits_during,
            retransmits_after,
            arrival_ns,
            read_ns,
            end_ns,
            bytes_in,
            bytes_out,
            goid,
            cgroup_id,
            srtt_us,
            mdev_us,
            local_port,
            remote_port,
            netns,
            local_addr,
            remote_addr,
            parts,
        }),
        layout!(RequestParts {
            ns,
            zone_ns,
            runqueue_worst_ns,
            wait_worst_ns,
            culprit_comm,
            culprit_tgid,
            estimated,
            stops,
            samples,
            calls,
            unit,
            wait_reason
        }),
        layout!(CallRecord {
            kind,
            method,
            protocol,
            caller,
            status,
            service,
            flags,
            tgid,
            tid,
            retransmits,
            goid,
            sent_ns,
            ready_ns,
            read_ns,
            end_ns,
            bytes_out,
            bytes_in,
            loss_ns,
            local_port,
            remote_port,
            netns,
            local_addr,
            remote_addr
        }),
        layout!(GoLayout {
            gcwaiting_at,
            g_tls_offset,
            goid,
            wait_reason,
            tracking_seq,
            parent_goid,
            sleep_when,
            sched_sp,
            persist_conn_conn,
            counts_syscalls,
            _pad,
            reasons
        }),
        layout!(Busy { done_ns, running, since_ns }),
        layout!(Goroutine { id, at, seq, reason, is_waiting, is_followed, _pad }),
        layout!(Line {
            owner,
            request_ns,
            since_ns,
            point_ns,
            in_ns,
            ready_ns,
            known_ns,
            doubt_ns,
            off_ns,
            offs_ns,
            kernel_ns,
            kernel_off_ns,
            peer_worst_ns,
            peer_worst_end_ns,
            runqueue_worst_ns,
            culprit_comm,
            culprit_tgid,
            epoch,
            samples,
            doubt_samples,
            stops,
            calls,
            seq,
            reason,
            open,
            has_parked,
            is_loop,
            calls_open,
            is_receiving,
            was_idle,
            is_goroutine,
            counted,
            was_lost,
            turn,
            peer_worst_reason,
            _pad,
            left
        }),
        layout!(LongRun { ended_ns, ran_ns, comm, tgid, _pad }),
        layout!(Runs { runs, next }),
        layout!(Parked {
            parts,
            request_ns,
            booked_ns,
            came_ns,
            parked_ns,
            deadline_ns,
            called_ns,
            loss_ns,
            unread_ns,
            calling_ns,
            busy_ns,
            calls_sent,
            calls_done,
            seq,
            reason,
            samples,
            is_seen,
            _pad
        }),
        layout!(TraceContext { trace_id, parent_id, flags, outcome }),
        layout!(RequestHeadRecord { request, trace, path }),
        layout!(ProcessRecord {
            kind,
            _pad,
            port,
            tgid,
            ktime_ns,
            cgroup_id,
            start_boottime_ns,
            netns,
            _pad2,
        }),
        layout!(PointRecord {
            kind,
            what,
            off,
            is_go,
            service,
            nr,
            tgid,
            tid,
            at_ns,
            in_ns,
            since_ns,
            goid,
            left,
            seq,
            reason,
            left_seq,
            left_reason,
            left_is_waiting,
            _pad,
        }),
        layout!(CgroupRecord { kind, _pad, path_len, ktime_ns, cgroup_id, path }),
        layout!(Histogram { sum_ns, buckets }),
        layout!(RequestCounters {
            finished,
            sampled,
            filtered,
            lost,
            sampled_classic,
            _pad,
            sampled_durations,
        }),
        layout!(CpuCounters { off_cpu_ns, runqueue_classic, _pad, runqueue }),
        layout!(ClassCounters { time_ns, calls, errors }),
        layout!(SyscallCounters { classes }),
        layout!(ScopeCounters { segments_sent, retransmits, rtt, jitter }),
        layout!(TcpCounters { scopes, resets, connects, connect_time, accept_wait }),
        layout!(EdgeKey { service, remote }),
        layout!(EdgeHistogram { sum_ns, pairs }),
        layout!(EdgeCounters {
            segments_sent,
            retransmits,
            resets,
            connects,
            connect_ns,
            out_of_order,
            stalls,
            stall_ns,
            rtt,
            jitter,
        }),
        layout!(CgroupPolicy { service, _pad }),
        layout!(ProcessPolicy { service, flags, g_tls_offset, goid_offset, go_layout }),
        layout!(ListenerKey { netns, port, _pad }),
        layout!(Listener { service, _pad, sockets }),
        layout!(Control {
            generation,
            sample_shift,
            keep_paths,
            epoch,
            ignored_bits,
            lanes,
            connections_epoch,
            is_capturing,
            _pad,
        }),
        layout!(ProgramStats { runs, timed_runs, timed_ns }),
    ]
}

fn render(layouts: &[Layout]) -> String {
    let mut text = String::from("type: size, align; field: offset, size (bytes)\n");
    for Layout { name, size, align, fields } in layouts {
        text.push_str(&format!("\n{name}: {size}, {align}\n"));
        for (field, offset, size) in fields {
            text.push_str(&format!("  {field}: {offset}, {size}\n"));
        }
    }
    text
}

#[test]
fn the_layout_is_that_of_the_snapshot() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout.txt");
    let now = render(&layouts());
    if std::env::var_os("STRATA_BLESS").is_some() {
        std::fs::write(&path, &now).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let mut differences = before.lines().zip(now.lines()).filter(|(before, now)| before != now);
    assert!(
        before == now,
        "the wire contract changed; if that is meant, run `cargo xtask tidy --bless`\n\
         first difference (snapshot, now): {:?}",
        differences.next().unwrap_or(("end of the snapshot", "end of the layout"))
    );
}

#[test]
fn no_type_has_padding_without_a_name() {
    for layout in layouts() {
        let mut end = 0;
        for (field, offset, size) in layout.fields {
            assert_eq!(offset, end, "hole before {}::{field}", layout.name);
            end = offset + size;
        }
        assert_eq!(end, layout.size, "hole at the end of {}", layout.name);
    }
}

#[test]
fn no_type_needs_more_alignment_than_ring_and_maps_give() {
    for layout in layouts() {
        assert!(layout.align <= 8, "{}", layout.name);
    }
}
