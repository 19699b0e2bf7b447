//! Counter values: what the kernel adds up per service, swept by the agent.
//!
//! One array a lane, indexed by service; each is mapped into the agent, so a
//! sweep makes no system call. (Edges, by service and peer, are a hash and
//! read in batches.) Values only grow; the agent takes differences
//! when a service index is given to another service.

pub mod cpu;
pub mod edge;
pub mod requests;
pub mod syscalls;
pub mod tcp;
