//! The class `access`: tickets, a remnant of AMQP 0-8 that old clients still ask for.

use super::class;
use crate::codec::ShortStr;

class! {
    class<'a> 30 "access";

    /// Asks for a ticket.
    Request<'a> = 10 "access.request", Client, Sync {
        /// What for.
        realm: ShortStr<'a> = ShortStr::literal("/data"),
        /// To keep others out.
        exclusive: bool,
        /// To see whether things are there.
        passive: bool = true,
        /// To declare.
        active: bool = true,
        /// To publish.
        write: bool = true,
        /// To consume.
        read: bool = true,
    }

    /// Hands out a ticket, which later methods show in vain.
    RequestOk = 11 "access.request-ok", Server, Async {
        /// RabbitMQ's is always 1.
        ticket: u16 = 1,
    }
}
