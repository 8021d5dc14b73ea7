//! The headers exchange: bindings whose arguments are compared with a message's headers.
//!
//! A scan over all bindings, as everywhere: headers have no order to index. `x-match` says
//! whether all arguments must match or any; those named `x-…` take part only in the `-with-x`
//! forms. An argument without a value asks only that the header is there.

use super::{Bound, same_binding};
use crate::binding::{Binding, Target};
use crate::error::{Result, precondition_failed};
use crate::ids::{BindingId, Slots};
use crate::value::{Table, Value};

#[derive(Default)]
pub(crate) struct Headers {
    all: Vec<HeadersBinding>,
}

struct HeadersBinding {
    bound: Bound,
    all: bool,
    /// Those that take part.
    arguments: Table,
}

/// How a binding's arguments are put together.
#[derive(Clone, Copy)]
struct Match {
    all: bool,
    with_x: bool,
}

impl Headers {
    pub(super) fn find(
        &self,
        bindings: &Slots<BindingId, Binding>,
        target: Target,
        key: &[u8],
        arguments: &Table,
    ) -> Option<BindingId> {
        let candidates = self.all.iter().map(|binding| &binding.bound);
        same_binding(candidates, bindings, target, key, arguments)
    }

    pub(super) fn insert(&mut self, bound: Bound, arguments: &Table) {
        let how = Match::of(arguments).unwrap_or(Match { all: true, with_x: false });
        let takes_part =
            |name: &[u8]| name != b"x-match" && (how.with_x || !name.starts_with(b"x-"));
        let arguments =
            arguments.iter().filter(|(name, _)| takes_part(name)).map(|(n, v)| (n, v.clone()));
        self.all.push(HeadersBinding { bound, all: how.all, arguments: arguments.collect() });
    }

    pub(super) fn remove(&mut self, id: BindingId) {
        self.all.retain(|binding| binding.bound.id != id);
    }

    pub(super) fn find_matches(&self, headers: &Table, mut take: impl FnMut(Target)) {
        for binding in &self.all {
            let mut arguments = binding.arguments.iter();
            let is_there = |(name, wanted): (&[u8], &Value)| match headers.get(name) {
                Some(_) if *wanted == Value::Void => true,
                Some(value) => value.matches(wanted),
                None => false,
            };
            // Without arguments "all" matches everything and "any" nothing.
            if if binding.all { arguments.all(is_there) } else { arguments.any(is_there) } {
                take(binding.bound.target);
            }
        }
    }
}

impl Match {
    fn of(arguments: &Table) -> Result<Match> {
        let Some(how) = arguments.get("x-match") else {
            return Ok(Match { all: true, with_x: false });
        };
        Ok(match how.as_text() {
            Some(b"all") => Match { all: true, with_x: false },
            Some(b"any") => Match { all: false, with_x: false },
            Some(b"all-with-x") => Match { all: true, with_x: true },
            Some(b"any-with-x") => Match { all: false, with_x: true },
            Some(_) => {
                return Err(precondition_failed(format!(
                    "Invalid x-match field value <<{how:?}>>; expected all, any, all-with-x, or \
                     any-with-x",
                    how = how.to_string()
                )));
            }
            None => {
                return Err(precondition_failed(format!(
                    "Invalid x-match field type {} (value {how}); expected longstr",
                    how.type_name()
                )));
            }
        })
    }
}

/// Refuses an `x-match` that is not one of the four.
pub(super) fn check(arguments: &Table) -> Result<()> {
    Match::of(arguments).map(drop)
}
