//! The class `channel`: conversations beside one another in a connection (section 1.5).

use super::class;
use crate::codec::{LongStr, ShortStr};

class! {
    class<'a> 20 "channel";

    /// Opens the channel that it comes on.
    Open<'a> = 10 "channel.open", Client, Sync {
        /// Reserved: empty.
        out_of_band: ShortStr<'a>,
    }

    /// The channel can be used.
    OpenOk<'a> = 11 "channel.open-ok", Server, Async {
        /// Reserved: empty.
        channel_id: LongStr<'a>,
    }

    /// Asks the peer to stop, or go on, sending content.
    Flow = 20 "channel.flow", Both, Sync {
        /// Whether content may be sent.
        active: bool,
    }

    /// Says that `channel.flow` is heeded.
    FlowOk = 21 "channel.flow-ok", Both, Async {
        /// What was asked for.
        active: bool,
    }

    /// Ends the channel; all that follows on it is ignored, but for the answer.
    Close<'a> = 40 "channel.close", Both, Sync {
        /// A [`ReplyCode`](crate::codec::ReplyCode)'s number.
        reply_code: u16,
        /// Why, in words.
        reply_text: ShortStr<'a>,
        /// The class of the method that failed, or 0.
        class_id: u16,
        /// The method that failed, or 0.
        method_id: u16,
    }

    /// The channel has ended.
    CloseOk = 41 "channel.close-ok", Both, Async {}
}
