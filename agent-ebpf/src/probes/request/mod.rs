//! The sockets lane: where each request begins and ends.
//!
//! - hooks: `sk_data_ready`, `sock_recv_length`, `sock_send_length` (6.3), and
//!   an iterator over socket storage (5.11) for connections that stay idle
//! - emits: `RequestRecord`, one a finished request
//! - adds: `RequestCounters`
//! - rate: four runs a keep-alive request; one storage look-up for a socket
//!   that nobody watches

mod call;
mod finish;
mod ready;
mod recv;
mod send;
mod sweep;

pub(crate) use call::finish as finish_call;
pub(crate) use finish::finish;
