//! Nouns of the flow: what was decoded, owned and plain.

pub mod call;
pub mod cgroup;
pub mod edge;
pub mod holder;
pub mod ids;
pub mod malformed;
pub mod owner;
pub mod peer;
pub mod pod;
pub mod point;
pub mod process;
pub mod request;

pub use malformed::Malformed;

/// What the kernel said.
#[expect(
    clippy::large_enum_variant,
    reason = "most events are requests: a box for each would cost more than the others' room"
)]
#[derive(Clone, Debug)]
pub enum Event {
    /// A request finished.
    Request(request::Request),
    /// A call to a downstream finished.
    Call(call::Call),
    /// A process did something.
    Process(process::Process),
    /// A cgroup came or went.
    Cgroup(cgroup::Cgroup),
    /// A captured thread did something.
    Point(point::Point),
}
