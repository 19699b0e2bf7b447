//! The ring: drained at the reader's pace. It becomes readable, to those who
//! wait, when the kernel has something that is to be acted on at once.

use std::os::fd::{AsFd as _, OwnedFd};

use aya::maps::{MapData, RingBuf};

use crate::load::{Error, Loaded};

/// The reading end of the ring.
pub struct Ring {
    ring: RingBuf<MapData>,
}

impl Ring {
    /// Takes the ring out of what was loaded.
    ///
    /// # Errors
    ///
    /// If it is not there.
    pub fn new(loaded: &mut Loaded) -> Result<Self, Error> {
        let ring = RingBuf::try_from(loaded.take_map("RING")?)
            .map_err(|source| Error::Map { name: "RING", source })?;
        Ok(Self { ring })
    }

    /// Hands every record that is there to `each`, at most `max`. The bytes
    /// are the ring's own: nothing is copied. Returns how many there were.
    pub fn drain(&mut self, max: usize, mut each: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < max
            && let Some(record) = self.ring.next()
        {
            each(&record);
            count += 1;
        }
        count
    }

    /// A descriptor that becomes readable when the kernel has something that
    /// is to be acted on at once.
    ///
    /// # Errors
    ///
    /// If the agent has no descriptor left.
    pub fn wake_ups(&self) -> std::io::Result<OwnedFd> {
        self.ring.as_fd().try_clone_to_owned()
    }
}
