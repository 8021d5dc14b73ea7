//! Randomness for the broker, drawn from the reactor ahead of need: the broker asks in the middle
//! of a call, when no reactor is at hand.

use std::sync::{Arc, Mutex, PoisonError};

use ropewalk_broker::Entropy;
use ropewalk_reactor::Transport;

/// Octets drawn at once: 63 names of 16 octets.
pub(crate) const POOL: usize = 1024;
/// As much as one call of the broker may take: a name takes 16.
const RESERVE: usize = 64;

/// What was drawn and not yet used. Behind a lock only because the broker could be moved to
/// another thread; it is never contended.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Vec<u8>>>);

impl Pool {
    pub(crate) fn new(seed: &[u8; POOL]) -> Pool {
        Pool(Arc::new(Mutex::new(seed.to_vec())))
    }

    /// Sees to it that the next call of the broker finds enough.
    pub(crate) fn refill(&self, transport: &mut Transport<'_>) -> std::io::Result<()> {
        let mut octets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if octets.len() < RESERVE {
            octets.resize(POOL, 0);
            if let Err(error) = transport.random(&mut octets) {
                octets.clear();
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Entropy for Pool {
    /// # Panics
    /// If a call took more than the reserve: a secret that can be guessed would be worse.
    fn fill(&mut self, bytes: &mut [u8]) {
        let mut octets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = octets.len().checked_sub(bytes.len()).expect("refilled before each call");
        bytes.copy_from_slice(&octets[left..]);
        octets.truncate(left);
    }
}
