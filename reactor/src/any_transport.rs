//! What may be asked through any transport, whether it is a connection's, a child's or a datagram
//! socket's: it concerns the reactor, and not the one whose transport it is.

macro_rules! any_transport {
    () => {
        /// The monotonic clock, which stands still in a turn once it was read; virtual in a
        /// simulation.
        #[doc(alias = "seconds")]
        pub fn now(&self) -> std::time::Instant {
            self.core.clock.instant()
        }

        /// The wall clock; virtual in a simulation.
        pub fn wall_clock(&self) -> std::time::SystemTime {
            self.core.clock.wall()
        }

        /// Fills `bytes` with random numbers: secure ones in production, replayed in a simulation.
        ///
        /// # Errors
        /// The system's, if it has none to give; then nothing that needs a secret must go on.
        pub fn random(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
            self.core.random.fill(bytes)
        }

        /// Cancels a timer; false when it has fired or was cancelled before.
        pub fn cancel(&mut self, timer: $crate::TimerId) -> bool {
            self.core.cancel(timer)
        }

        /// Moves a timer to `delay` from now; false when it has fired or was cancelled.
        pub fn reset(&mut self, timer: $crate::TimerId, delay: std::time::Duration) -> bool {
            self.core.reset(timer, delay)
        }

        /// What futures and shared state of this thread may keep of the reactor.
        pub fn local(&self) -> $crate::Local {
            self.core.local.clone()
        }

        /// What other threads may keep of the reactor.
        pub fn handle(&self) -> $crate::Handle {
            $crate::Handle::new(&self.core.shared)
        }

        /// Asks the reactor to stop in order, once this callback has returned.
        pub fn stop(&mut self) {
            self.core.shutdown.request();
        }
    };
}

pub(crate) use any_transport;
