//! The class `connection`: from the first greeting to the last (AMQP 0-9-1 section 1.4).

use super::class;
use crate::codec::{LongStr, Secret, ShortStr, Table};

class! {
    class<'a> 10 "connection";

    /// Greets, and says how one may log in.
    Start<'a> = 10 "connection.start", Server, Sync {
        /// 0.
        version_major: u8,
        /// 9.
        version_minor: u8 = 9,
        /// Product, version, capabilities.
        server_properties: Table<'a>,
        /// Names of SASL mechanisms with blanks between them.
        mechanisms: LongStr<'a> = LongStr(b"PLAIN"),
        /// Names of locales with blanks between them.
        locales: LongStr<'a> = LongStr(b"en_US"),
    }

    /// Logs in.
    StartOk<'a> = 11 "connection.start-ok", Client, Async {
        /// Product, version, capabilities.
        client_properties: Table<'a>,
        /// The SASL mechanism chosen.
        mechanism: ShortStr<'a> = ShortStr::literal("PLAIN"),
        /// What the mechanism asks for: for `PLAIN`, `\0user\0password`.
        response: Secret<'a>,
        /// The locale chosen.
        locale: ShortStr<'a> = ShortStr::literal("en_US"),
    }

    /// Goes on with a SASL mechanism that asks.
    Secure<'a> = 20 "connection.secure", Server, Sync {
        /// What is asked.
        challenge: LongStr<'a>,
    }

    /// Answers the challenge.
    SecureOk<'a> = 21 "connection.secure-ok", Client, Async {
        /// The answer.
        response: Secret<'a>,
    }

    /// Proposes limits.
    Tune = 30 "connection.tune", Server, Sync {
        /// The most channels; 0 for no limit.
        channel_max: u16,
        /// The largest frame, overhead included; 0 for no limit.
        frame_max: u32,
        /// The interval of heartbeats in seconds; 0 for none.
        heartbeat: u16,
    }

    /// Settles the limits.
    TuneOk = 31 "connection.tune-ok", Client, Async {
        /// The most channels, no more than proposed.
        channel_max: u16,
        /// The largest frame, no larger than proposed.
        frame_max: u32,
        /// The interval of heartbeats in seconds; 0 for none.
        heartbeat: u16,
    }

    /// Enters a virtual host.
    Open<'a> = 40 "connection.open", Client, Sync {
        /// Which one.
        virtual_host: ShortStr<'a> = ShortStr::literal("/"),
        /// Reserved: empty.
        capabilities: ShortStr<'a>,
        /// Reserved: false.
        insist: bool,
    }

    /// The connection can be used.
    OpenOk<'a> = 41 "connection.open-ok", Server, Async {
        /// Reserved: empty.
        known_hosts: ShortStr<'a>,
    }

    /// Ends the connection; all that follows is ignored, but for the answer.
    Close<'a> = 50 "connection.close", Both, Sync {
        /// A [`ReplyCode`](crate::codec::ReplyCode)'s number.
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortStr<'a>,
        /// The class of the method that failed, or 0.
        class_id: u16,
        /// The method that failed, or 0.
        method_id: u16,
    }

    /// The connection has ended.
    CloseOk = 51 "connection.close-ok", Both, Async {}

    /// The server takes no more messages for now (RabbitMQ's extension).
    Blocked<'a> = 60 "connection.blocked", Server, Async {
        /// Such as `low on memory`.
        reason: ShortStr<'a>,
    }

    /// The server takes messages again (RabbitMQ's extension).
    Unblocked = 61 "connection.unblocked", Server, Async {}

    /// Replaces a token that runs out (RabbitMQ's extension).
    UpdateSecret<'a> = 70 "connection.update-secret", Client, Sync {
        /// The new token.
        new_secret: Secret<'a>,
        /// Why, in words.
        reason: ShortStr<'a>,
    }

    /// The new token is good.
    UpdateSecretOk = 71 "connection.update-secret-ok", Server, Async {}
}
