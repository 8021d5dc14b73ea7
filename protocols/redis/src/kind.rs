//! The three kinds of what can be subscribed to, for the server and the client alike.

/// What is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Channel,
    Pattern,
    /// A sharded channel (Redis 7), which is another one than the channel of that name.
    Shard,
}
