//! A channel's name and a routing key: the same bytes, as far as both can be.

use std::fmt;

use ropewalk_amqp::codec::ShortStr;

/// Why a channel has no routing key of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameError {
    TooLong,
    NotText,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => {
                write!(f, "its name has more than the {} bytes of a routing key", ShortStr::MAX_LEN)
            }
            Self::NotText => f.write_str("its name is not UTF-8, as routing keys are"),
        }
    }
}

/// The routing key of a channel.
pub(crate) fn routing_key(channel: &[u8]) -> Result<&str, NameError> {
    if channel.len() > ShortStr::MAX_LEN {
        return Err(NameError::TooLong);
    }
    std::str::from_utf8(channel).map_err(|_| NameError::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_a_routing_key_if_it_can_be() {
        assert_eq!(routing_key(b"news.eu"), Ok("news.eu"));
        assert_eq!(routing_key(&[b'x'; 255]).map(str::len), Ok(255));
        assert_eq!(routing_key(&[b'x'; 256]), Err(NameError::TooLong));
        assert_eq!(routing_key(b"\xff"), Err(NameError::NotText));
    }
}
