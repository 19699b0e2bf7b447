//! Attribution: who did it. Turns kernel names (cgroup ids, process numbers)
//! into names that people use.
//!
//! Separate from decoding because names need `/proc` and the cgroup tree, and
//! from aggregation because a name is decided once, not per series.

// Who is watched, and under which service.
pub mod attributor;
// What a cgroup's path alone says: container, pod, unit.
pub mod cgroup_path;
// The cgroup directories that exist, by id.
pub mod cgroup_tree;
// What samples say of time that nothing else tells.
pub mod estimate;
// Whether a program is Go, and where its runtime keeps what.
pub mod go_binary;
// Which Go programs run, and the entries of the kernel's table that they have.
pub mod go_programs;
// Which cgroup hierarchy is read, and a process's line in it.
pub mod hierarchy;
// The labels that users see.
pub mod identity;
// What follows from the names of pods.
pub mod naming;
// Who is at the other end of a connection.
pub mod peers;
// The pods of this node.
pub mod pods;
// Processes, their start, program, sockets, as `/proc` tells.
pub mod procfs;
// Containers and host workloads, by the index that the kernel uses.
// The same again: another selection, or after a time unseen.
pub mod reselect;
pub mod services;
// What the hypervisor and interrupts took of requests' time on the CPU.
pub mod steal;
// Which workloads the targets of a verb mean.
pub mod targets;
