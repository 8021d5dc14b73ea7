//! The message queue of Ropewalk as a state machine: exchanges, bindings, queues.
