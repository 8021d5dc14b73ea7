//! The class `tx`: publishing and acknowledging at one stroke (section 1.9).

use super::class;

class! {
    class<'a> 90 "tx";

    /// Makes the channel transactional.
    Select = 10 "tx.select", Client, Sync {}

    /// It is.
    SelectOk = 11 "tx.select-ok", Server, Async {}

    /// Makes all since the last one count.
    Commit = 20 "tx.commit", Client, Sync {}

    /// It counts.
    CommitOk = 21 "tx.commit-ok", Server, Async {}

    /// Forgets all since the last one.
    Rollback = 30 "tx.rollback", Client, Sync {}

    /// It is forgotten.
    RollbackOk = 31 "tx.rollback-ok", Server, Async {}
}
