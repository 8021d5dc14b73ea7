//! How a child ended.

use std::fmt;

use crate::Signal;

/// How a child ended, as the kernel tells it to its parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProcessStatus {
    /// It ended by itself, with this code; 0 says that all went well.
    Exited(i32),
    /// A signal ended it.
    Killed {
        /// Which one.
        signal: Signal,
        /// Whether it left a core.
        core_dumped: bool,
    },
    /// It has ended, but somebody else has heard how: another part of the program waits for
    /// children that are not its own, or SIGCHLD is ignored.
    Unknown,
}

impl ProcessStatus {
    /// Whether it ended by itself, with 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The code with which it ended by itself.
    #[doc(alias = "exitCode")]
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended it.
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Killed { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// Whether it left a core.
    pub fn core_dumped(self) -> bool {
        matches!(self, Self::Killed { core_dumped: true, .. })
    }
}

impl fmt::Display for ProcessStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed { signal, core_dumped: false } => write!(f, "killed by {signal}"),
            Self::Killed { signal, core_dumped: true } => {
                write!(f, "killed by {signal}, and left a core")
            }
            Self::Unknown => f.write_str("ended, and somebody else has heard how"),
        }
    }
}
