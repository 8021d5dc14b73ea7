//! The cryptography, and the seam to the reactor: in production, time and secure random numbers are
//! the system's; in a simulation both are the simulation's, so that a run replays.
//!
//! What rustls asks for itself comes through here. Keys of a key exchange are made by the library
//! below it, and differ from run to run; their lengths do not, and a simulated network looks at
//! nothing but lengths.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, GetRandomFailed, SecureRandom};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

use crate::clock::Clock;
use crate::random::Random;

#[cfg(feature = "tls")]
use rustls::crypto::aws_lc_rs as library;
#[cfg(not(feature = "tls"))]
use rustls::crypto::ring as library;

pub(super) use library::Ticketer;

/// The chances and the time of the simulation whose session is at work.
struct Simulated {
    chances: crate::random::Seeded,
    now: UnixTime,
}

thread_local! {
    static SIMULATED: RefCell<Option<Simulated>> = const { RefCell::new(None) };
}

/// Lets rustls work with the time and the chances of a reactor. Outside of a simulation this is
/// nothing but the call.
pub(crate) fn within<R>(random: &mut Random, clock: &Clock, call: impl FnOnce() -> R) -> R {
    let Random::Seeded(chances) = random else { return call() };
    /// Takes the simulation's chances away whatever happens: nothing else may ever draw from them.
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            SIMULATED.take();
        }
    }
    let since_1970 = clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(since_1970);
    SIMULATED.set(Some(Simulated { chances: chances.clone(), now }));
    let guard = Guard;
    let answer = call();
    if let Some(simulated) = SIMULATED.take() {
        *chances = simulated.chances;
    }
    drop(guard);
    answer
}

#[derive(Debug)]
struct Chance;

impl SecureRandom for Chance {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        let simulated = SIMULATED.with_borrow_mut(|simulated| {
            simulated.as_mut().map(|simulated| simulated.chances.fill(bytes))
        });
        match simulated {
            Some(()) => Ok(()),
            None => secure().fill(bytes),
        }
    }
}

/// The library's own random numbers.
fn secure() -> &'static dyn SecureRandom {
    static SECURE: OnceLock<&'static dyn SecureRandom> = OnceLock::new();
    *SECURE.get_or_init(|| library::default_provider().secure_random)
}

/// The time that rustls sees.
#[derive(Debug)]
pub(super) struct Time;

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let simulated = SIMULATED.with_borrow(|simulated| simulated.as_ref().map(|it| it.now));
        Some(simulated.unwrap_or_else(UnixTime::now))
    }
}

/// What encrypts, signs and draws random numbers.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make =
        || Arc::new(CryptoProvider { secure_random: &Chance, ..library::default_provider() });
    PROVIDER.get_or_init(make).clone()
}
