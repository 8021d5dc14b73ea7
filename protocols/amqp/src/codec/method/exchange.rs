//! The class `exchange`: where messages are published, and how they are routed (section 1.6).

use super::class;
use crate::codec::{ShortStr, Table};

class! {
    class<'a> 40 "exchange";

    /// Makes sure that an exchange is there.
    Declare<'a> = 10 "exchange.declare", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// Its name.
        exchange: ShortStr<'a>,
        /// `direct`, `fanout`, `topic`, `headers` or another type that the server has.
        exchange_type: ShortStr<'a> = ShortStr::literal("direct"),
        /// Only asks whether it is there.
        passive: bool,
        /// Outlives a restart.
        durable: bool,
        /// Goes with its last binding.
        auto_delete: bool,
        /// Takes messages only from exchanges.
        internal: bool,
        /// Sends no answer.
        nowait: bool,
        /// Such as `alternate-exchange`.
        arguments: Table<'a>,
    }

    /// The exchange is there.
    DeclareOk = 11 "exchange.declare-ok", Server, Async {}

    /// Deletes an exchange.
    Delete<'a> = 20 "exchange.delete", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// Its name.
        exchange: ShortStr<'a>,
        /// Only if it has no bindings.
        if_unused: bool,
        /// Sends no answer.
        nowait: bool,
    }

    /// The exchange is gone.
    DeleteOk = 21 "exchange.delete-ok", Server, Async {}

    /// Binds an exchange to an exchange (RabbitMQ's extension).
    Bind<'a> = 30 "exchange.bind", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The exchange that gets messages.
        destination: ShortStr<'a>,
        /// The exchange that passes them on.
        source: ShortStr<'a>,
        /// Which ones, by the source's type.
        routing_key: ShortStr<'a>,
        /// Sends no answer.
        nowait: bool,
        /// Which ones, for a headers exchange.
        arguments: Table<'a>,
    }

    /// The binding is there.
    BindOk = 31 "exchange.bind-ok", Server, Async {}

    /// Takes back such a binding.
    Unbind<'a> = 40 "exchange.unbind", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The exchange that got messages.
        destination: ShortStr<'a>,
        /// The exchange that passed them on.
        source: ShortStr<'a>,
        /// As when it was bound.
        routing_key: ShortStr<'a>,
        /// Sends no answer.
        nowait: bool,
        /// As when it was bound.
        arguments: Table<'a>,
    }

    /// The binding is gone.
    UnbindOk = 51 "exchange.unbind-ok", Server, Async {}
}
