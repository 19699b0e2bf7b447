//! The only unsafe code of the agent: safe wrappers over system calls that no
//! crate here has.

#![expect(unsafe_code, reason = "system calls and mapped kernel memory, wrapped once")]

pub mod bpf;
pub mod clock;
pub mod heap;
pub mod mapping;
pub mod readable;
pub mod uprobe;
