//! A neighbour that computes on the server's CPU.
//!
//! Separate because the neighbour is a thread of ours, of known name, which
//! runs only while a request is touched.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::super::rig::{Act, Rig};
use super::plain;
use crate::load::Connection;
use crate::sys;
use crate::workload::{Kind, Server, Workload};

/// Name of the neighbour's thread.
pub(super) const NAME: &str = "batch-7";

/// CPU of the server and of its neighbour.
const CPU: usize = 0;

/// The thread; it ends with this value.
struct Neighbour {
    runs: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Neighbour {
    fn start() -> anyhow::Result<Self> {
        let (runs, is_over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (its_runs, its_is_over) = (runs.clone(), is_over.clone());
        let thread = thread::Builder::new().name(NAME.to_owned()).spawn(move || {
            // Without its CPU it disturbs nobody, and the verdict says so.
            let _ = sys::pin_to_cpu(CPU);
            while !its_is_over.load(Ordering::Acquire) {
                if its_runs.load(Ordering::Acquire) {
                    std::hint::spin_loop();
                } else {
                    thread::park();
                }
            }
        })?;
        Ok(Self { runs, is_over, thread: Some(thread) })
    }

    fn set(&self, runs: bool) {
        self.runs.store(runs, Ordering::Release);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        self.set(false);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

struct Crowded {
    neighbour: Neighbour,
    connection: Option<Connection>,
}

impl Act for Crowded {
    fn request(
        &mut self,
        server: SocketAddr,
        id: u64,
        size: Duration,
        is_touched: bool,
    ) -> anyhow::Result<u64> {
        self.neighbour.set(is_touched);
        // All of them compute for as long; with a neighbour it takes twice that.
        let path = format!("/spin/{id:06}?us={}", size.as_micros());
        let sent_ns = plain::get(&mut self.connection, server, &path);
        self.neighbour.set(false);
        sent_ns
    }
}

pub(super) fn start() -> anyhow::Result<Rig> {
    let act = Crowded { neighbour: Neighbour::start()?, connection: None };
    plain::rig(Kind::C, Box::new(act), pinned)
}

/// Starts a server on the neighbour's CPU.
fn pinned(server: Server) -> anyhow::Result<Workload> {
    server.start_with(|argv| {
        let mut command = std::process::Command::new("taskset");
        command.arg("-c").arg(CPU.to_string()).args(argv);
        command
    })
}
