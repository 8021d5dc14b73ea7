//! What happened when, for whoever looks into a failure: written down only where it was asked for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::Simulation;
use crate::clock::Nanos;

/// Lines that are kept: the last of them. A failure is seldom explained by what was long before.
const MOST_LINES: usize = 100_000;

/// The record of a simulation: connections, segments, losses, faults, and what the test notes. Clones
/// are the same record.
///
/// It is shown with a line for each event, the time before it:
///
/// ```text
///     0.012304s client: tcp://172.16.0.3:49153 ↔ tcp://172.16.0.2:7 is connected
///     0.500000s the line from client to server is cut
/// ```
#[derive(Debug, Clone)]
pub struct Trace(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    on: Cell<bool>,
    clock: Rc<Cell<Nanos>>,
    lines: RefCell<VecDeque<String>>,
    left_out: Cell<usize>,
}

impl Trace {
    pub(super) fn new(clock: Rc<Cell<Nanos>>) -> Self {
        Self(Rc::new(Inner { clock, ..Inner::default() }))
    }

    /// Adds a line, if a record is kept; protocols under test may hold a clone for this.
    pub fn note(&self, what: impl fmt::Display) {
        self.add(format_args!("{what}"));
    }

    /// The lines, oldest first: the last hundred thousand of them.
    pub fn lines(&self) -> Vec<String> {
        self.0.lines.borrow().iter().cloned().collect()
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.on.get()
    }

    pub(super) fn turn_on(&self) {
        self.0.on.set(true);
    }

    pub(super) fn add(&self, what: fmt::Arguments<'_>) {
        if !self.is_on() {
            return;
        }
        let mut lines = self.0.lines.borrow_mut();
        if lines.len() >= MOST_LINES {
            lines.pop_front();
            self.0.left_out.set(self.0.left_out.get() + 1);
        }
        let now = Duration::from_nanos(self.0.clock.get()).as_secs_f64();
        lines.push_back(format!("{now:>14.6}s {what}"));
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.left_out.get() {
            0 => {}
            count => writeln!(f, "({count} lines before these are left out)")?,
        }
        for line in self.0.lines.borrow().iter() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl Simulation {
    /// From now on, keeps a record of what happens. (Nothing else changes by it.)
    pub fn record(&mut self) {
        self.trace().turn_on();
    }

    /// The record, empty unless it was [asked for](Self::record).
    pub fn trace(&self) -> Trace {
        self.net.borrow().trace.clone()
    }

    pub(super) fn say(&self, what: fmt::Arguments<'_>) {
        self.net.borrow().say(what);
    }
}
