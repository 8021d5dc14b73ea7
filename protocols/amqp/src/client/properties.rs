//! The properties of a message that is to be published: owned, and built by chaining.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::{Error, Result};
use crate::codec::{BasicProperties, ShortStr, TableBuf, Value};

/// A message's properties (AMQP 0-9-1 section 1.8.1). None of them has to be set.
///
/// ```
/// # use ropewalk_amqp::client::Properties;
/// let properties = Properties::new()
///     .persistent()
///     .content_type("application/json")
///     .header("attempt", 1_i32);
/// ```
#[derive(Clone, Default, PartialEq)]
pub struct Properties {
    content_type: Option<String>,
    content_encoding: Option<String>,
    headers: Option<TableBuf>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    correlation_id: Option<String>,
    reply_to: Option<String>,
    expiration: Option<String>,
    message_id: Option<String>,
    timestamp: Option<u64>,
    message_type: Option<String>,
    user_id: Option<String>,
    app_id: Option<String>,
}

macro_rules! texts {
    ($($(#[$doc:meta])* $name:ident;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: impl Into<String>) -> Self {
            self.$name = Some($name.into());
            self
        })*
    };
}

impl Properties {
    /// No property at all.
    #[must_use]
    pub fn new() -> Properties {
        Properties::default()
    }

    texts! {
        /// A MIME type: `application/json`.
        content_type;
        /// A MIME encoding: `gzip`.
        content_encoding;
        /// Which request this is the answer to.
        correlation_id;
        /// The queue for the answer.
        reply_to;
        /// The application's name for the message.
        message_id;
        /// The application's name for the kind of message (`type` on the wire).
        message_type;
        /// Who publishes; the server checks that it is so.
        user_id;
        /// Which application publishes.
        app_id;
    }

    /// Lets the message outlive a restart of the server, in a durable queue.
    #[must_use]
    pub fn persistent(self) -> Properties {
        self.delivery_mode(2)
    }

    /// 2 for a persistent message, 1 for one that is not.
    #[must_use]
    pub fn delivery_mode(mut self, mode: u8) -> Properties {
        self.delivery_mode = Some(mode);
        self
    }

    /// For a queue with priorities.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Properties {
        self.priority = Some(priority);
        self
    }

    /// How long the message may wait in a queue; cut to milliseconds.
    #[must_use]
    pub fn expiration(mut self, time_to_live: Duration) -> Properties {
        self.expiration = Some(time_to_live.as_millis().to_string());
        self
    }

    /// When the message was made; cut to seconds, and before 1970 to that.
    #[must_use]
    pub fn timestamp(mut self, time: SystemTime) -> Properties {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.timestamp = Some(since.as_secs());
        self
    }

    /// All headers at once, which replaces those set before.
    #[must_use]
    pub fn headers(mut self, headers: TableBuf) -> Properties {
        self.headers = Some(headers);
        self
    }

    /// One header.
    ///
    /// # Panics
    /// As [`TableBuf::with`]: if the name has more than 255 octets, or there are too many. Names
    /// that are not the program's own go into a [`TableBuf`] by its `insert`.
    #[must_use]
    pub fn header<'v>(mut self, name: &str, value: impl Into<Value<'v>>) -> Properties {
        self.headers = Some(self.headers.unwrap_or_default().with(name, value));
        self
    }

    /// Appends them as they stand in a content header.
    pub(super) fn encode(&self, out: &mut Vec<u8>) -> Result {
        fn short<'a>(text: &'a Option<String>, what: &'static str) -> Result<Option<ShortStr<'a>>> {
            let Some(text) = text else { return Ok(None) };
            ShortStr::new(text.as_bytes()).map(Some).ok_or(Error::TooLong(what))
        }
        let properties = BasicProperties {
            content_type: short(&self.content_type, "content type")?,
            content_encoding: short(&self.content_encoding, "content encoding")?,
            headers: self.headers.as_ref().map(TableBuf::as_table),
            delivery_mode: self.delivery_mode,
            priority: self.priority,
            correlation_id: short(&self.correlation_id, "correlation id")?,
            reply_to: short(&self.reply_to, "reply-to")?,
            expiration: short(&self.expiration, "expiration")?,
            message_id: short(&self.message_id, "message id")?,
            timestamp: self.timestamp,
            message_type: short(&self.message_type, "message type")?,
            user_id: short(&self.user_id, "user id")?,
            app_id: short(&self.app_id, "app id")?,
            cluster_id: None,
        };
        properties.encode(out);
        Ok(())
    }
}

/// Takes over what was received, to publish it again. Text that is not UTF-8 is mended.
impl From<BasicProperties<'_>> for Properties {
    fn from(received: BasicProperties<'_>) -> Properties {
        let text = |text: Option<ShortStr<'_>>| text.map(|text| text.to_string());
        Properties {
            content_type: text(received.content_type),
            content_encoding: text(received.content_encoding),
            headers: received.headers.map(TableBuf::from),
            delivery_mode: received.delivery_mode,
            priority: received.priority,
            correlation_id: text(received.correlation_id),
            reply_to: text(received.reply_to),
            expiration: text(received.expiration),
            message_id: text(received.message_id),
            timestamp: received.timestamp,
            message_type: text(received.message_type),
            user_id: text(received.user_id),
            app_id: text(received.app_id),
        }
    }
}

impl AsRef<Properties> for Properties {
    fn as_ref(&self) -> &Properties {
        self
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut encoded = Vec::new();
        if self.encode(&mut encoded).is_err() {
            return f.write_str("Properties(too long)");
        }
        f.debug_tuple("Properties").field(&BasicProperties::decode(&encoded).ok()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_written_as_they_were_set_and_absent_ones_are_absent() {
        let properties = Properties::new()
            .persistent()
            .correlation_id("c")
            .expiration(Duration::from_millis(1500))
            .timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
            .header("a", true);
        let mut encoded = Vec::new();
        properties.encode(&mut encoded).expect("short names");
        let read = BasicProperties::decode(&encoded).expect("just written");
        assert!(read.is_persistent());
        assert_eq!(read.correlation_id, Some(ShortStr::literal("c")));
        assert_eq!(read.expiration, Some(ShortStr::literal("1500")));
        assert_eq!((read.timestamp, read.priority), (Some(7), None));
        assert_eq!(read.headers.and_then(|headers| headers.get_bool("a")), Some(true));
        assert_eq!(Properties::from(read), properties);
    }

    #[test]
    fn a_text_that_does_not_fit_is_refused_and_not_cut() {
        let properties = Properties::new().message_id("x".repeat(256));
        let error = properties.encode(&mut Vec::new()).expect_err("too long");
        assert!(matches!(error, Error::TooLong("message id")), "{error}");
    }
}
