//! A cgroup whose CPU quota runs out during the request.
//!
//! Separate because the quota is set around each touched request, in the
//! cgroup that the server runs in.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use super::super::rig::{Act, Rig};
use super::plain;
use crate::cgroup::Cgroup;
use crate::load::Connection;
use crate::workload::Kind;

/// What it may use of a period: less than the request needs, more than half.
const QUOTA: Duration = Duration::from_millis(5);
/// What the request needs.
const WORK_US: u64 = 7_000;

struct Quota {
    cgroup: Rc<Cgroup>,
    connection: Option<Connection>,
}

impl Act for Quota {
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        if is_touched {
            self.cgroup.set_cpu_quota(QUOTA, QUOTA + size)?;
        }
        let path = format!("/spin/{id:06}?us={WORK_US}");
        let sent_ns = plain::get(&mut self.connection, server, &path);
        if is_touched {
            self.cgroup.lift_cpu_quota()?;
        }
        sent_ns
    }
}

pub(super) fn start() -> anyhow::Result<Rig> {
    let cgroup = Rc::new(Cgroup::create("strata-accuracy/quota")?);
    let act = Quota { cgroup: Rc::clone(&cgroup), connection: None };
    let start = |server: crate::workload::Server| server.start_with(|argv| cgroup.command(argv));
    let mut rig = plain::rig(Kind::C, Box::new(act), start)?;
    rig.keeps.push(Box::new(cgroup));
    Ok(rig)
}

pub(super) fn lacks() -> Option<String> {
    let can = Cgroup::create("strata-accuracy/probe")
        .and_then(|cgroup| cgroup.set_cpu_quota(QUOTA, QUOTA * 2));
    plain::lacks_c().or_else(|| can.err().map(|error| format!("no CPU quota: {error:#}")))
}
