//! One folder or file a probe.

/// Waiting for a CPU, and being blocked (cpu lane).
mod cpu;
/// Calls that Go programs make (go lane).
mod go_client;
mod go_sample;
/// Processes and cgroups that come and go (process lane).
mod process;
/// Requests on server connections (sockets lane).
mod request;
/// Connections as they open and close (sockets and tcp lanes).
mod socket_state;
/// System calls by class, and accepted connections (syscalls lane).
mod syscalls;
/// Quality of connections (tcp lane).
mod tcp;
