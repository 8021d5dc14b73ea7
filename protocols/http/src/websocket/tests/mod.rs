//! The handshake, and stories over simulated connections.
