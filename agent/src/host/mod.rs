//! What this host is: its kernel's types. Gathered once, passed down.

pub mod btf;
