//! Whether a process's memory looks as its program's layout says.
//!
//! Separate because it is the one look at a process instead of its file: a
//! runtime that was changed under the version of a release would otherwise give
//! wrong numbers and not fail. Read only, a few hundred bytes.

use std::io::{self, Read, Seek, SeekFrom};

use agent_common::go::{GO_REASONS, GoLayout, GoWait};

/// Goroutines that are looked at, dead ones included.
const MAX_GOROUTINES: u64 = 8;

/// No process has had more goroutines, and addresses of the heap, which begin
/// at `0xc0_0000_0000`, are higher.
const MAX_GOID: u64 = 1 << 39;

/// Whether goroutines that the runtime lists have fields that cannot be what
/// the layout says. Memory that cannot be read, or a runtime that has not begun,
/// contradicts nothing.
///
/// `all_goroutines_at` is the address of `runtime.allgs`, a slice of pointers.
pub(in crate::attribution) fn contradicts(
    memory: impl Read + Seek,
    all_goroutines_at: u64,
    layout: &GoLayout,
) -> bool {
    looks_wrong(memory, all_goroutines_at, layout).unwrap_or(false)
}

fn looks_wrong(
    mut memory: impl Read + Seek,
    all_goroutines_at: u64,
    layout: &GoLayout,
) -> io::Result<bool> {
    let list = word(&mut memory, all_goroutines_at)?;
    let count = word(&mut memory, all_goroutines_at.saturating_add(8))?;
    let mut ids = Vec::new();
    for index in 0..count.min(MAX_GOROUTINES) {
        let g = word(&mut memory, list.saturating_add(index * 8))?;
        let field = |offset: u32| g.saturating_add(u64::from(offset));
        let id = word(&mut memory, field(layout.goid))?;
        let parent = match layout.parent_goid {
            0 => 0,
            offset => word(&mut memory, field(offset))?,
        };
        let reason = word(&mut memory, field(layout.wait_reason))? & 0xff;
        if id >= MAX_GOID || parent >= MAX_GOID || !is_reason(reason, layout) {
            return Ok(true);
        }
        // One that is just being made has none yet.
        if id != 0 {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    let has_twice = ids.windows(2).any(|pair| pair.first() == pair.last());
    // The runtime has goroutines of its own from the start.
    Ok(has_twice || (count >= 2 && ids.is_empty()))
}

/// Whether a number is one that the program's table of reasons has.
fn is_reason(number: u64, layout: &GoLayout) -> bool {
    let highest = layout.reasons.iter().rposition(|wait| *wait != GoWait::Unknown as u8);
    let count = highest.map_or(GO_REASONS, |highest| highest + 1);
    usize::try_from(number).is_ok_and(|number| number < count)
}

fn word(memory: &mut (impl Read + Seek), address: u64) -> io::Result<u64> {
    let mut bytes = [0; 8];
    memory.seek(SeekFrom::Start(address))?;
    memory.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::{any, proptest};

    use super::*;

    const LAYOUT: GoLayout = {
        let mut layout = GoLayout::new();
        layout.goid = 16;
        layout.wait_reason = 24;
        layout.parent_goid = 32;
        layout.reasons[9] = GoWait::Sleep as u8;
        layout
    };

    /// A slice at 0 of goroutines with these ids, reasons and parents.
    fn memory(goroutines: &[(u64, u64, u64)]) -> Cursor<Vec<u8>> {
        let count = goroutines.len() as u64;
        let mut words = vec![24, count, count];
        words.extend((0..count).map(|index| 24 + count * 8 + index * 40));
        for (id, reason, parent) in goroutines {
            words.extend([0, 0, *id, *reason, *parent]);
        }
        Cursor::new(words.iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    #[test]
    fn goroutines_as_they_should_be_contradict_nothing() {
        for goroutines in
            [[(1, 9, 0), (2, 0, 1), (3, 0x0100, 1)].as_slice(), &[(1, 9, 0), (0, 0, 0)], &[]]
        {
            assert!(!contradicts(memory(goroutines), 0, &LAYOUT), "{goroutines:?}");
        }
        assert!(!contradicts(Cursor::new(Vec::new()), 0, &LAYOUT), "cannot be read");
    }

    #[test]
    fn numbers_that_no_goroutine_has_do() {
        for goroutines in [
            [(1, 9, 0), (1 << 60, 0, 1)].as_slice(),
            &[(1, 10, 0)],
            &[(1, 9, u64::MAX)],
            &[(7, 9, 0), (7, 9, 0)],
            &[(0, 0, 0), (0, 0, 0)],
        ] {
            assert!(contradicts(memory(goroutines), 0, &LAYOUT), "{goroutines:?}");
        }
    }

    proptest! {
        #[test]
        fn any_memory_is_looked_at_without_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
            at in any::<u64>(),
        ) {
            contradicts(Cursor::new(&bytes), at, &LAYOUT);
            contradicts(Cursor::new(&bytes), at % 400, &LAYOUT);
        }
    }
}
