//! The wire contract between the kernel programs and the agent.
//!
//! Everything here is read on both sides of the kernel boundary, so the layout
//! rules are strict: `repr(C)`, fixed-width integers and byte arrays only, no
//! `bool`, `enum`, `usize`, `Option` or implicit padding. Kinds travel as
//! integers with a checked `from_raw`. Logic that both sides need (bucket
//! arithmetic, the request state machine, head parsing) lives here as pure
//! functions, so that it is tested without a kernel.

#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

pub mod conn;
pub mod counter;
pub mod go;
pub mod head;
pub mod histogram;
pub mod limits;
pub mod off_cpu;
pub mod parts;
pub mod policy;
pub mod record;
pub mod stats;
pub mod syscall;
pub mod work;
