//! The state machine without a network.
