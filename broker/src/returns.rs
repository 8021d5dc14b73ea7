//! How often a message came back to its queue, with two marks, in four bytes of its entry.

/// The count takes the lower 30 bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Returns(u32);

/// The entry's message is in the store under the entry's position: its end must be journaled.
const STORED: u32 = 1 << 31;
/// It may have been handed out before the broker was restored.
const SEEN: u32 = 1 << 30;
const COUNT: u32 = SEEN - 1;

impl Returns {
    /// How often it came back without being acknowledged.
    #[inline]
    pub(crate) fn count(self) -> u32 {
        self.0 & COUNT
    }

    /// Whether it was handed out before, or may have been.
    #[inline]
    pub(crate) fn redelivered(self) -> bool {
        self.0 & !STORED != 0
    }

    #[inline]
    pub(crate) fn is_stored(self) -> bool {
        self.0 & STORED != 0
    }

    #[inline]
    pub(crate) fn stored(self) -> Returns {
        Returns(self.0 | STORED)
    }

    pub(crate) fn seen(self) -> Returns {
        Returns(self.0 | SEEN)
    }

    pub(crate) fn one_more(self) -> Returns {
        match self.count() {
            COUNT => self,
            _ => Returns(self.0 + 1),
        }
    }

    /// As the journal keeps it.
    pub(crate) fn to_journal(self) -> u32 {
        self.0 & !STORED
    }

    /// As the journal gave it back, for a message from the store.
    pub(crate) fn from_journal(returns: u32) -> Returns {
        Returns(returns).stored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_count_do_not_disturb_each_other() {
        let fresh = Returns::default();
        assert!(!fresh.redelivered() && !fresh.stored().redelivered());
        assert!(fresh.seen().redelivered() && fresh.one_more().redelivered());
        let marked = fresh.stored().seen().one_more().one_more();
        assert_eq!((marked.count(), marked.is_stored()), (2, true));
        assert_eq!(Returns::from_journal(marked.to_journal()), marked);
        let most = Returns(COUNT).stored();
        assert_eq!(most.one_more(), most);
    }
}
