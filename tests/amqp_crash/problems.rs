//! What was wrong, in words: the first of it, and how much more. A broker that loses everything
//! would fill the screen otherwise, and the counts say it better.

use std::fmt;

/// So many are told at a time.
const TOLD: usize = 10;

#[derive(Default)]
pub(crate) struct Problems {
    first: Vec<String>,
    more: u64,
}

impl Problems {
    pub(crate) fn add(&mut self, problem: impl fmt::Display) {
        match self.first.len() < TOLD {
            true => self.first.push(problem.to_string()),
            false => self.more += 1,
        }
    }

    /// Takes what there is since this was called last.
    pub(crate) fn take(&mut self) -> Vec<String> {
        let Problems { mut first, more } = std::mem::take(self);
        if more > 0 {
            first.push(format!("and {more} more"));
        }
        first
    }
}

#[test]
fn a_thousand_problems_are_told_in_few_lines() {
    let mut problems = Problems::default();
    (0..1000).for_each(|number| problems.add(number));
    let told = problems.take();
    assert_eq!((told.len(), &*told[0], &*told[TOLD]), (TOLD + 1, "0", "and 990 more"));
    assert!(problems.take().is_empty());
}
