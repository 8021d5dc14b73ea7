//! Stories without TLS, where it is not built in: all is said in the open.

use ropewalk_reactor::{ConnectOptions, ListenOptions, Reason, Result, Transport};

use crate::common::Chance;
use crate::oracle::Side;

pub(crate) struct Secrecy;

#[derive(Clone)]
pub(crate) struct Opening;

#[derive(Clone)]
pub(crate) struct Turning {
    pub(crate) says: usize,
    pub(crate) awaits: usize,
}

impl Secrecy {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn choose(&self, _: &mut Chance) -> (Opening, Opening) {
        (Opening, Opening)
    }

    pub(crate) fn listening(&self, _: &Opening, options: ListenOptions) -> ListenOptions {
        options
    }

    pub(crate) fn connecting(&self, _: &Opening, options: ConnectOptions) -> ConnectOptions {
        options
    }
}

impl Opening {
    pub(crate) fn is_open(&self) -> bool {
        true
    }

    pub(crate) fn turning(&self) -> Option<Turning> {
        None
    }
}

impl Turning {
    pub(crate) fn begin(self, _: &mut Transport<'_>) -> Result {
        Ok(())
    }

    pub(crate) fn speaks_first(_: Side) -> bool {
        false
    }
}

pub(crate) fn was_cut_off(_: &Reason) -> bool {
    false
}
