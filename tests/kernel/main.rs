//! Kernel tests: the programs by the agent's own loader, one room per question.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops there, with its line")]
#![expect(clippy::print_stdout, reason = "measured times are printed beside the verdict")]

/// A server whose system calls are chosen, and a client that knows what it sent.
mod exchange;

/// Content of request records, and what makes none.
mod request;
/// Requests by every system call that reads or writes a socket.
mod request_calls;
/// Goroutines of requests.
mod request_goroutine;
/// Times of requests against the client's.
mod request_time;
/// The traces that requests say they belong to.
mod request_trace;

/// Where requests' time went.
mod parts;
/// Processes and cgroups that come and go.
mod process;

/// Calls whose request is lost on the wire.
mod call_loss;
/// Go programs by other releases, stripped, position independent.
mod go_builds;
/// Calls that Go programs make.
mod go_calls;
/// A program that calls another.
mod gocaller;
/// Calls that event loops make.
mod loop_calls;

/// What is left after the end.
mod lifecycle;
/// The books, when the ring is full and when it is not asked for all.
mod loss;
/// What the verifier says.
mod verifier;
