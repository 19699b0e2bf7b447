//! A way between two programs, by TCP, that may be cut: packets vanish, and
//! neither end is told.
//!
//! Separate because it is in front of the API server as well as of replicas. In
//! front of several it is what a Service is: each connection goes to the next.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Debug, Default)]
struct State {
    /// Connections so far.
    made: usize,
    /// Of these the first so many are dead.
    dead: usize,
    is_cut: bool,
    is_over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a connection may go on; whether it ever may.
    fn may_go_on(&self, number: usize) -> bool {
        let mut state = self.state();
        loop {
            if state.is_over {
                return false;
            }
            if !state.is_cut && number >= state.dead {
                return true;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// See the module. Its connections end with it.
#[derive(Debug)]
pub struct Way {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Way {
    /// A way to these, one after another.
    ///
    /// # Errors
    /// When there is no port.
    pub fn to(ends: &[SocketAddr]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let (addr, shared) = (listener.local_addr()?, Arc::new(Shared::default()));
        let (carrying, ends) = (Arc::clone(&shared), ends.to_vec());
        std::thread::spawn(move || {
            for (near, end) in listener.incoming().map_while(Result::ok).zip(ends.iter().cycle()) {
                let mut state = carrying.state();
                if state.is_over {
                    return;
                }
                let number = state.made;
                state.made += 1;
                drop(state);
                let (shared, end) = (Arc::clone(&carrying), *end);
                std::thread::spawn(move || carry(near, end, number, &shared));
            }
        });
        Ok(Self { addr, shared })
    }

    /// Where it begins.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on nothing arrives, on connections old or new.
    pub fn cut(&self) {
        self.shared.state().is_cut = true;
    }

    /// From now on nothing arrives on the connections that there are, as when
    /// something between has forgotten them; new ones work.
    pub fn forget_connections(&self) {
        let mut state = self.shared.state();
        state.dead = state.made;
    }

    /// What was held back arrives, but for connections that are forgotten.
    pub fn mend(&self) {
        self.shared.state().is_cut = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.state().is_over = true;
        self.shared.changed.notify_all();
        // Whoever waits for a connection gets one, and sees that it is over.
        let _ = TcpStream::connect(self.addr);
    }
}

fn carry(near: TcpStream, end: SocketAddr, number: usize, shared: &Arc<Shared>) {
    if !shared.may_go_on(number) {
        return;
    }
    let Ok(far) = TcpStream::connect(end) else { return };
    let (Ok(from_far), Ok(to_near)) = (far.try_clone(), near.try_clone()) else { return };
    let back = Arc::clone(shared);
    let back = std::thread::spawn(move || copy(from_far, to_near, number, &back));
    copy(near, far, number, shared);
    let _ = back.join();
}

/// Carries bytes one way until either end is gone.
fn copy(mut from: TcpStream, mut to: TcpStream, number: usize, shared: &Shared) {
    let mut buffer = [0; 16 << 10];
    loop {
        let size = from.read(&mut buffer).unwrap_or_default();
        // The end of it vanishes as well.
        if !shared.may_go_on(number) {
            break;
        }
        let Some(bytes) = buffer.get(..size).filter(|bytes| !bytes.is_empty()) else { break };
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Read);
}
