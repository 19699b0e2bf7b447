//! Who is at the other end, for a whole cluster: `strata peers`, which watches
//! once and answers, and the agents' side, which asks.
//!
//! ```text
//! API server --watch--> cluster::wide -> directory <- server <--HTTP-- client <- worker
//!                                                              wire      +-> event::peer -> worker
//! ```
//!
//! A room of its own because it is a program of its own as well: it loads
//! nothing, reads nothing of a node and has no privilege. No agent watches the
//! cluster: five thousand watches of all pods would take the API server down.

// Asks, from an agent.
pub mod client;
// Who has an address, and what changed.
pub mod directory;
// What is told of itself.
mod own;
// Answers.
pub mod server;
// What is said between them.
pub mod wire;

#[cfg(test)]
mod tests;
