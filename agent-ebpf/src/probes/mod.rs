//! One folder or file a probe.

/// Processes and cgroups that come and go (process lane).
mod process;
/// Requests on server connections (sockets lane).
mod request;
/// Connections as they open and close (sockets and tcp lanes).
mod socket_state;
/// Quality of connections (tcp lane).
mod tcp;
