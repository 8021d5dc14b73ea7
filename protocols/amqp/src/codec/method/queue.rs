//! The class `queue`: where messages wait (section 1.7).

use super::class;
use crate::codec::{ShortStr, Table};

class! {
    class<'a> 50 "queue";

    /// Makes sure that a queue is there.
    Declare<'a> = 10 "queue.declare", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// Its name; empty for one that the server chooses.
        queue: ShortStr<'a>,
        /// Only asks whether it is there.
        passive: bool,
        /// Outlives a restart.
        durable: bool,
        /// Only for this connection, and gone with it.
        exclusive: bool,
        /// Goes with its last consumer.
        auto_delete: bool,
        /// Sends no answer.
        nowait: bool,
        /// Such as `x-message-ttl`.
        arguments: Table<'a>,
    }

    /// The queue is there.
    DeclareOk<'a> = 11 "queue.declare-ok", Server, Async {
        /// Its name.
        queue: ShortStr<'a>,
        /// Messages that are ready.
        message_count: u32,
        /// Consumers.
        consumer_count: u32,
    }

    /// Binds a queue to an exchange.
    Bind<'a> = 20 "queue.bind", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The queue; empty for the last one declared.
        queue: ShortStr<'a>,
        /// The exchange.
        exchange: ShortStr<'a>,
        /// Which messages, by the exchange's type.
        routing_key: ShortStr<'a>,
        /// Sends no answer.
        nowait: bool,
        /// Which messages, for a headers exchange.
        arguments: Table<'a>,
    }

    /// The binding is there.
    BindOk = 21 "queue.bind-ok", Server, Async {}

    /// Drops every message that is ready.
    Purge<'a> = 30 "queue.purge", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The queue; empty for the last one declared.
        queue: ShortStr<'a>,
        /// Sends no answer.
        nowait: bool,
    }

    /// The messages are gone.
    PurgeOk = 31 "queue.purge-ok", Server, Async {
        /// How many.
        message_count: u32,
    }

    /// Deletes a queue.
    Delete<'a> = 40 "queue.delete", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The queue; empty for the last one declared.
        queue: ShortStr<'a>,
        /// Only if it has no consumers.
        if_unused: bool,
        /// Only if it has no messages.
        if_empty: bool,
        /// Sends no answer.
        nowait: bool,
    }

    /// The queue is gone.
    DeleteOk = 41 "queue.delete-ok", Server, Async {
        /// Messages that were ready, and are gone too.
        message_count: u32,
    }

    /// Takes back a binding.
    Unbind<'a> = 50 "queue.unbind", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The queue; empty for the last one declared.
        queue: ShortStr<'a>,
        /// The exchange.
        exchange: ShortStr<'a>,
        /// As when it was bound.
        routing_key: ShortStr<'a>,
        /// As when it was bound.
        arguments: Table<'a>,
    }

    /// The binding is gone.
    UnbindOk = 51 "queue.unbind-ok", Server, Async {}
}
