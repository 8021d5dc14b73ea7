//! The event loop of Ropewalk: transports, timers, threads and the simulated network.
