//! What this host is, and what this process may do. Gathered once, passed down.

pub mod btf;
pub mod capabilities;
pub mod cpus;
pub mod process;
