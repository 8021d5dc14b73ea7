//! The class `basic`: messages to and from the server (section 1.8).

use super::class;
use crate::codec::{ShortStr, Table};

class! {
    class<'a> 60 "basic";

    /// Limits what may be delivered and not yet acknowledged.
    Qos = 10 "basic.qos", Client, Sync {
        /// Octets; 0 for no limit, and no other is served.
        prefetch_size: u32,
        /// Messages; 0 for no limit.
        prefetch_count: u16,
        /// For the channel as a whole, not for each consumer to come.
        global: bool,
    }

    /// The limit holds.
    QosOk = 11 "basic.qos-ok", Server, Async {}

    /// Asks for a queue's messages from now on.
    Consume<'a> = 20 "basic.consume", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The queue; empty for the last one declared.
        queue: ShortStr<'a>,
        /// The consumer's name on this channel; empty for one that the server chooses.
        consumer_tag: ShortStr<'a>,
        /// None that this connection published; RabbitMQ takes no notice.
        no_local: bool,
        /// Messages count as acknowledged once they are sent.
        no_ack: bool,
        /// No other consumer beside this one.
        exclusive: bool,
        /// Sends no answer.
        nowait: bool,
        /// Such as `x-priority`.
        arguments: Table<'a>,
    }

    /// Messages are on their way.
    ConsumeOk<'a> = 21 "basic.consume-ok", Server, Async {
        /// The consumer's name.
        consumer_tag: ShortStr<'a>,
    }

    /// Ends a consumer; from the server, says that one has ended (RabbitMQ's extension).
    Cancel<'a> = 30 "basic.cancel", Both, Sync {
        /// The consumer's name.
        consumer_tag: ShortStr<'a>,
        /// Sends no answer.
        nowait: bool,
    }

    /// The consumer has ended.
    CancelOk<'a> = 31 "basic.cancel-ok", Both, Async {
        /// The consumer's name.
        consumer_tag: ShortStr<'a>,
    }

    /// Sends a message.
    Publish<'a> = 40 "basic.publish", Client, Content {
        /// Reserved: 0.
        ticket: u16,
        /// The exchange; empty for the one that routes to the queue of the routing key's name.
        exchange: ShortStr<'a>,
        /// What the exchange routes by.
        routing_key: ShortStr<'a>,
        /// Returns the message if no queue gets it.
        mandatory: bool,
        /// Returns the message if no consumer is waiting; not served.
        immediate: bool,
    }

    /// Sends a message back.
    Return<'a> = 50 "basic.return", Server, Content {
        /// A [`ReplyCode`](crate::codec::ReplyCode)'s number.
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortStr<'a>,
        /// As it was published.
        exchange: ShortStr<'a>,
        /// As it was published.
        routing_key: ShortStr<'a>,
    }

    /// Delivers a message to a consumer.
    Deliver<'a> = 60 "basic.deliver", Server, Content {
        /// The consumer's name.
        consumer_tag: ShortStr<'a>,
        /// What to acknowledge it by, on this channel.
        delivery_tag: u64,
        /// It has been delivered before, perhaps.
        redelivered: bool,
        /// As it was published.
        exchange: ShortStr<'a>,
        /// As it was published.
        routing_key: ShortStr<'a>,
    }

    /// Asks for one message.
    Get<'a> = 70 "basic.get", Client, Sync {
        /// Reserved: 0.
        ticket: u16,
        /// The queue; empty for the last one declared.
        queue: ShortStr<'a>,
        /// It counts as acknowledged once it is sent.
        no_ack: bool,
    }

    /// Delivers the message asked for.
    GetOk<'a> = 71 "basic.get-ok", Server, Content {
        /// What to acknowledge it by, on this channel.
        delivery_tag: u64,
        /// It has been delivered before, perhaps.
        redelivered: bool,
        /// As it was published.
        exchange: ShortStr<'a>,
        /// As it was published.
        routing_key: ShortStr<'a>,
        /// Messages that are ready, without this one.
        message_count: u32,
    }

    /// There is no message.
    GetEmpty<'a> = 72 "basic.get-empty", Server, Async {
        /// Reserved: empty.
        cluster_id: ShortStr<'a>,
    }

    /// Acknowledges deliveries; from the server, confirms what was published (RabbitMQ's
    /// extension).
    Ack = 80 "basic.ack", Both, Async {
        /// Which one.
        delivery_tag: u64,
        /// All up to this one.
        multiple: bool,
    }

    /// Refuses a delivery.
    Reject = 90 "basic.reject", Client, Async {
        /// Which one.
        delivery_tag: u64,
        /// Puts it back; otherwise it is dropped, or dead-lettered.
        requeue: bool = true,
    }

    /// Has all deliveries made again, without an answer.
    RecoverAsync = 100 "basic.recover-async", Client, Async {
        /// To any consumer; false is not served.
        requeue: bool,
    }

    /// Has all deliveries made again.
    Recover = 110 "basic.recover", Client, Sync {
        /// To any consumer; false is not served.
        requeue: bool,
    }

    /// They are on their way.
    RecoverOk = 111 "basic.recover-ok", Server, Async {}

    /// Refuses deliveries; from the server, what was published (RabbitMQ's extension).
    Nack = 120 "basic.nack", Both, Async {
        /// Which one.
        delivery_tag: u64,
        /// All up to this one.
        multiple: bool,
        /// Puts them back; otherwise they are dropped, or dead-lettered.
        requeue: bool = true,
    }
}
