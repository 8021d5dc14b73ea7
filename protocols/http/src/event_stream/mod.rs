//! Server-sent events (WHATWG HTML §9.2): a response that never ends, on which a page hears of what
//! happens.
//!
//! [`Events`] is the place that pages subscribe to, and everything else in the program sends to;
//! [`Event`] is what is sent. The one rule: whoever sends waits for nobody, and a subscriber that does
//! not read costs a bounded amount of memory, then it is closed.

mod event;
mod events;
#[cfg(test)]
mod tests;

pub use event::Event;
pub use events::Events;
