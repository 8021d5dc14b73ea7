//! The class `confirm`: the server says what it has taken charge of (RabbitMQ's extension).

use super::class;

class! {
    class<'a> 85 "confirm";

    /// Asks for confirms on this channel.
    Select = 10 "confirm.select", Client, Sync {
        /// Sends no answer.
        nowait: bool,
    }

    /// They begin with the next message.
    SelectOk = 11 "confirm.select-ok", Server, Async {}
}
