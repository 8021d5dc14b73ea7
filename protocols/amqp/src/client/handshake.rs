//! The greeting: how the client logs in, and which limits hold afterwards.

use super::core::Core;
use super::options::Mechanism;
use super::{Error, Options, Result};
use crate::codec::method::connection;
use crate::codec::{FRAME_MIN_SIZE, Secret, ShortStr, TableBuf};

/// What was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// The most channels, at least 1.
    pub(super) channel_max: u16,
    /// The largest frame, overhead included.
    pub(super) frame_max: u32,
    /// The interval of heartbeats in seconds; 0 for none.
    pub(super) heartbeat: u16,
}

impl Limits {
    /// What holds until the server has proposed something.
    pub(super) fn before_tuning(options: &Options) -> Limits {
        // The specification allows no more than 4096 octets yet; servers with long properties
        // do not care, and there is no harm in it.
        Limits { channel_max: u16::MAX, frame_max: options.frame_max, heartbeat: 0 }
    }

    /// The lesser of what each side wants, 0 being no limit.
    fn negotiated(options: &Options, tune: connection::Tune) -> Limits {
        let lesser = |ours: u32, theirs: u32| match (ours, theirs) {
            (0, limit) | (limit, 0) => limit,
            (ours, theirs) => ours.min(theirs),
        };
        let channels = lesser(options.channel_max.into(), tune.channel_max.into());
        Limits {
            channel_max: if channels == 0 { u16::MAX } else { channels as u16 },
            // Whatever a server says, there has to be room for a frame's fixed parts.
            frame_max: lesser(options.frame_max, tune.frame_max).max(FRAME_MIN_SIZE),
            heartbeat: options.heartbeat.unwrap_or(tune.heartbeat),
        }
    }
}

impl Core {
    /// Answers `connection.start`: logs in.
    pub(super) fn start(&mut self, start: &connection::Start<'_>) -> Result {
        self.server_properties = TableBuf::from(start.server_properties);
        let offered = String::from_utf8_lossy(&start.mechanisms).into_owned();
        let is_offered =
            |wanted: &&Mechanism| offered.split_whitespace().any(|name| name == wanted.name());
        let Some(&mechanism) = self.options.mechanisms.iter().find(is_offered) else {
            return Err(Error::NoMechanism { offered });
        };
        let properties = client_properties(&self.options);
        let response = response(mechanism, &self.options);
        let start_ok = connection::StartOk {
            client_properties: properties.as_table(),
            mechanism: ShortStr::literal(mechanism.name()),
            response: Secret(&response),
            locale: ShortStr::literal("en_US"),
        };
        self.send(0, &start_ok);
        Ok(())
    }

    /// Answers `connection.tune`, and enters the virtual host.
    pub(super) fn tune(&mut self, tune: connection::Tune) -> Result {
        let limits = Limits::negotiated(&self.options, tune);
        let Limits { channel_max, frame_max, heartbeat } = limits;
        self.send(0, &connection::TuneOk { channel_max, frame_max, heartbeat });
        self.limits = limits;
        let vhost = self.options.vhost.clone();
        let virtual_host =
            ShortStr::new(vhost.as_bytes()).ok_or(Error::TooLong("virtual host's name"))?;
        self.send(0, &connection::Open { virtual_host, ..Default::default() });
        Ok(())
    }
}

/// What the server shows its operators, and what this client can do.
fn client_properties(options: &Options) -> TableBuf {
    let capabilities = TableBuf::new()
        .with("publisher_confirms", true)
        .with("exchange_exchange_bindings", true)
        .with("basic.nack", true)
        .with("consumer_cancel_notify", true)
        .with("connection.blocked", true)
        .with("authentication_failure_close", true);
    let mut properties = TableBuf::new()
        .with("product", "Ropewalk")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("platform", "Rust")
        .with("capabilities", capabilities.as_table());
    for (name, value) in options.properties.as_table() {
        // Only what was inserted before, and little of that: it fits.
        let _ = properties.insert(name, value);
    }
    properties
}

/// What a mechanism asks for.
fn response(mechanism: Mechanism, options: &Options) -> Vec<u8> {
    match mechanism {
        Mechanism::Plain => {
            ["", &options.username, &options.password].join("\0").into_bytes() // RFC 4616
        }
        Mechanism::AmqPlain => {
            let mut login = TableBuf::new();
            let _ = login.insert("LOGIN", options.username.as_str());
            let _ = login.insert("PASSWORD", options.password.as_str());
            login.as_table().as_bytes().to_vec() // without the length in front
        }
        Mechanism::External => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(uri: &str, channel_max: u16, frame_max: u32, heartbeat: u16) -> (u16, u32, u16) {
        let options = Options::from_uri(uri).expect("a good URI");
        let tune = connection::Tune { channel_max, frame_max, heartbeat };
        let limits = Limits::negotiated(&options, tune);
        (limits.channel_max, limits.frame_max, limits.heartbeat)
    }

    #[test]
    fn the_lesser_limit_holds_and_0_is_none() {
        assert_eq!(negotiated("amqp://", 2047, 131_072, 60), (2047, 131_072, 60));
        assert_eq!(negotiated("amqp://", 0, 0, 0), (65_535, 131_072, 0));
        let uri = "amqp://?channel_max=10&frame_max=8192&heartbeat=7";
        assert_eq!(negotiated(uri, 2047, 131_072, 60), (10, 8192, 7));
        assert_eq!(negotiated(uri, 5, 4096, 0), (5, 4096, 7));
        assert_eq!(negotiated("amqp://?heartbeat=0", 0, 0, 60).2, 0);
        assert_eq!(negotiated("amqp://", 1, 1, 1), (1, 4096, 1));
    }
}
