//! The goroutine that runs on a thread, read from the runtime's memory.

use super::arch::read_user_word;
use super::field;
use super::task::Task;
use crate::globals;

/// Id of the goroutine that `task`, the current one, runs; 0 if unknown.
///
/// A static Go program keeps its `g` at a fixed place below the thread
/// pointer; system calls are made on the goroutine's own `g`.
#[inline(always)]
pub(crate) fn goroutine_id(task: Task, g_tls_offset: i32, goid_offset: u32) -> u64 {
    if goid_offset == 0 {
        return 0;
    }
    // SAFETY: eight bytes of a live task.
    let thread_pointer: u64 = unsafe { field(task.as_ptr(), &globals::TASK_FSBASE) };
    let g_at = thread_pointer.wrapping_add_signed(i64::from(g_tls_offset));
    match read_user_word(g_at) {
        Some(g) if g != 0 => read_user_word(g + u64::from(goid_offset)).unwrap_or(0),
        _ => 0,
    }
}
