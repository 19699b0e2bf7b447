//! Agents of a cluster, through the user's own `kubectl`.
//!
//! ```text
//! kubectl get pods  -> pods  -> choose (which agents, and what each is asked)
//! kubectl exec -i   -> stream -> the protocol of the unix socket
//! ```
//!
//! Separate from the verbs, which see nodes and lines. The program is run, not
//! its library: so every way to log in that works for the user works here, and
//! what the user may do is what `kubectl` may do.

pub mod choose;
mod error;
pub mod pods;
pub mod run;
mod said;
pub mod stream;

pub use error::Error;
