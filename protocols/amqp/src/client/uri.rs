//! `amqp://` URIs, as RabbitMQ defines them.
//!
//! It takes a URI apart and knows which parts were left out; what takes their place is for
//! [`Options`](super::Options) to say. The one rule: nothing that goes wrong here repeats the
//! URI, for that may hold a password.
//!
//! Sources: RabbitMQ's "URI Specification" and "URI Query Parameters"; RFC 3986.

use std::fmt;
use std::time::Duration;

use super::options::Mechanism;

/// A parsed `amqp://` URI: what it says, and no defaults.
///
/// ```
/// # use ropewalk_amqp::client::Uri;
/// let uri: Uri = "amqp://user:p%40ss@host:10000/v%2fhost?heartbeat=5".parse()?;
/// assert_eq!(uri.password.as_deref(), Some("p@ss"));
/// assert_eq!(uri.vhost.as_deref(), Some("v/host"));
/// assert_eq!(uri.heartbeat, Some(5));
/// # Ok::<(), ropewalk_amqp::client::UriError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Uri {
    /// The user name; an empty one is not a missing one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// A host name or an address, that of IPv6 without its brackets.
    pub host: Option<String>,
    /// The TCP port.
    pub port: Option<u16>,
    /// The virtual host: `None` for no path at all, empty for the path `/`.
    pub vhost: Option<String>,
    /// `heartbeat`: seconds; 0 for none.
    pub heartbeat: Option<u16>,
    /// `connection_timeout`: given in milliseconds.
    pub connection_timeout: Option<Duration>,
    /// `channel_max`: the most channels; 0 for as many as the server allows.
    pub channel_max: Option<u16>,
    /// `frame_max`: the largest frame in octets, which most clients know besides RabbitMQ's four.
    pub frame_max: Option<u32>,
    /// `auth_mechanism`, which may come several times: in order of preference.
    pub mechanisms: Vec<Mechanism>,
    /// Parameters that mean nothing here, such as those of TLS: their names.
    pub ignored: Vec<String>,
}

/// Why a string is no `amqp://` URI that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// It does not begin with `amqp://`.
    Scheme,
    /// It begins with `amqps://`, and TLS is not there yet.
    Tls,
    /// A `%` without two hexadecimal digits behind it, in this part.
    PercentEncoding(&'static str),
    /// This part is not UTF-8 once decoded.
    NotUtf8(&'static str),
    /// A character that may not stand there, in this part.
    Illegal(&'static str),
    /// The port is not a number from 1 to 65535.
    Port,
    /// The virtual host is one segment: a `/` in its name is written `%2f`.
    VhostSegments,
    /// A query parameter's value cannot be used; this is its name.
    Parameter(&'static str),
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("an AMQP URI begins with amqp://"),
            Self::Tls => f.write_str("amqps:// needs TLS, which this client does not have yet"),
            Self::PercentEncoding(part) => {
                write!(f, "the {part} has a '%' without two hexadecimal digits; '%' itself is %25")
            }
            Self::NotUtf8(part) => write!(f, "the {part} is not UTF-8"),
            Self::Illegal(part) => {
                write!(f, "the {part} has a character that has to be percent-encoded")
            }
            Self::Port => f.write_str("the port is not a number from 1 to 65535"),
            Self::VhostSegments => {
                f.write_str("a '/' in the name of a virtual host is written %2f")
            }
            Self::Parameter(name) => write!(f, "the value of the parameter {name} cannot be used"),
        }
    }
}

impl std::error::Error for UriError {}

impl std::str::FromStr for Uri {
    type Err = UriError;

    fn from_str(given: &str) -> Result<Uri, UriError> {
        let (scheme, rest) = given.split_once("://").ok_or(UriError::Scheme)?;
        if scheme.eq_ignore_ascii_case("amqps") {
            return Err(UriError::Tls);
        }
        if !scheme.eq_ignore_ascii_case("amqp") {
            return Err(UriError::Scheme);
        }
        if rest.contains('#') {
            return Err(UriError::Illegal("URI (a fragment means nothing here)"));
        }
        let (rest, query) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let mut uri = Uri::default();
        // The last '@', for the sake of passwords in which one was not encoded.
        let address = match authority.rsplit_once('@') {
            Some((user, address)) => {
                uri.set_user(user)?;
                address
            }
            None => authority,
        };
        uri.set_address(address)?;
        if let Some(path) = path {
            if path.contains('/') {
                return Err(UriError::VhostSegments);
            }
            uri.vhost = Some(decode(path, "virtual host")?);
        }
        for parameter in query.unwrap_or("").split('&').filter(|parameter| !parameter.is_empty()) {
            uri.set_parameter(parameter)?;
        }
        Ok(uri)
    }
}

impl Uri {
    fn set_user(&mut self, given: &str) -> Result<(), UriError> {
        let (username, password) = match given.split_once(':') {
            Some((username, password)) => (username, Some(password)),
            None => (given, None),
        };
        self.username = Some(decode(username, "user name")?);
        self.password = password.map(|password| decode(password, "password")).transpose()?;
        // SASL's PLAIN (RFC 4616) ends each of them with a NUL.
        if self.username.iter().chain(&self.password).any(|text| text.contains('\0')) {
            return Err(UriError::Illegal("user name or password"));
        }
        Ok(())
    }

    fn set_address(&mut self, given: &str) -> Result<(), UriError> {
        let (host, port) = if let Some(rest) = given.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or(UriError::Illegal("host"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(UriError::Illegal("host"));
            }
            match (rest.strip_prefix(':'), rest.is_empty()) {
                (Some(port), _) => (host, Some(port)),
                (None, true) => (host, None),
                (None, false) => return Err(UriError::Illegal("host")),
            }
        } else {
            match given.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (given, None),
            }
        };
        if !host.is_empty() {
            self.host = Some(decode(host, "host")?);
        }
        self.port = match port {
            None | Some("") => None, // RFC 3986 section 3.2.3: an empty port is no port
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok().filter(|&port| port != 0).ok_or(UriError::Port)?)
            }
            Some(_) => return Err(UriError::Port),
        };
        Ok(())
    }

    fn set_parameter(&mut self, given: &str) -> Result<(), UriError> {
        fn number<T: std::str::FromStr>(value: &str, name: &'static str) -> Result<T, UriError> {
            value.parse().map_err(|_| UriError::Parameter(name))
        }
        let (name, value) = given.split_once('=').unwrap_or((given, ""));
        let name = decode(name, "query")?;
        let value = decode(value, "query")?;
        match name.as_str() {
            "heartbeat" => self.heartbeat = Some(number(&value, "heartbeat")?),
            "connection_timeout" => {
                let milliseconds = number(&value, "connection_timeout")?;
                self.connection_timeout = Some(Duration::from_millis(milliseconds));
            }
            "channel_max" => self.channel_max = Some(number(&value, "channel_max")?),
            "frame_max" => self.frame_max = Some(number(&value, "frame_max")?),
            "auth_mechanism" => {
                let mechanism = Mechanism::named(&value);
                self.mechanisms.push(mechanism.ok_or(UriError::Parameter("auth_mechanism"))?);
            }
            _ => self.ignored.push(name),
        }
        Ok(())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uri")
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("host", &self.host)
            .field("port", &self.port)
            .field("vhost", &self.vhost)
            .finish_non_exhaustive()
    }
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn decode(given: &str, part: &'static str) -> Result<String, UriError> {
    let mut octets = Vec::with_capacity(given.len());
    let mut rest = given.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => octets.push((high << 4 | low) as u8),
                    _ => return Err(UriError::PercentEncoding(part)),
                }
            }
            b'[' | b']' | b' ' | 0..=31 | 127 => return Err(UriError::Illegal(part)),
            _ => octets.push(octet),
        }
    }
    String::from_utf8(octets).map_err(|_| UriError::NotUtf8(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(given: &str) -> [Option<String>; 5] {
        let uri: Uri = given.parse().expect(given);
        [uri.username, uri.password, uri.host, uri.port.map(|port| port.to_string()), uri.vhost]
    }

    /// The table of examples in RabbitMQ's specification, and more of their kind.
    #[test]
    fn the_parts_are_those_of_the_specifications_table() {
        let cases: &[(&str, [Option<&str>; 5])] = &[
            (
                "amqp://user:pass@host:10000/vhost",
                [Some("user"), Some("pass"), Some("host"), Some("10000"), Some("vhost")],
            ),
            (
                "amqp://user%61:%61pass@ho%61st:10000/v%2fhost",
                [Some("usera"), Some("apass"), Some("hoast"), Some("10000"), Some("v/host")],
            ),
            ("amqp://", [None; 5]),
            ("amqp://:@/", [Some(""), Some(""), None, None, Some("")]),
            ("amqp://user@", [Some("user"), None, None, None, None]),
            ("amqp://user:pass@", [Some("user"), Some("pass"), None, None, None]),
            ("amqp://host", [None, None, Some("host"), None, None]),
            ("amqp://:10000", [None, None, None, Some("10000"), None]),
            ("amqp:///vhost", [None, None, None, None, Some("vhost")]),
            ("amqp://host/", [None, None, Some("host"), None, Some("")]),
            ("amqp://host/%2f", [None, None, Some("host"), None, Some("/")]),
            ("amqp://host/%2F", [None, None, Some("host"), None, Some("/")]),
            ("amqp://[::1]", [None, None, Some("::1"), None, None]),
            ("amqp://[::1]:5673/v", [None, None, Some("::1"), Some("5673"), Some("v")]),
            ("AMQP://host:", [None, None, Some("host"), None, None]),
            (
                "amqp://a%40b:c%3Ad%2Fe@h/%C3%BC",
                [Some("a@b"), Some("c:d/e"), Some("h"), None, Some("ü")],
            ),
            ("amqp://u:p@ss@h", [Some("u"), Some("p@ss"), Some("h"), None, None]),
            ("amqp://u:a:b@h", [Some("u"), Some("a:b"), Some("h"), None, None]),
            ("amqp://h?heartbeat=5", [None, None, Some("h"), None, None]),
            ("amqp://h/?heartbeat=5", [None, None, Some("h"), None, Some("")]),
        ];
        for (given, expected) in cases {
            assert_eq!(parts(given), expected.map(|part| part.map(str::to_owned)), "{given}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_reason() {
        let cases = [
            ("localhost", UriError::Scheme),
            ("http://host", UriError::Scheme),
            ("amqp:host", UriError::Scheme),
            ("amqps://host", UriError::Tls),
            ("AMQPS://host", UriError::Tls),
            ("amqp://host/a/b", UriError::VhostSegments),
            ("amqp://host//", UriError::VhostSegments),
            ("amqp://host:port", UriError::Port),
            ("amqp://host:0", UriError::Port),
            ("amqp://host:65536", UriError::Port),
            ("amqp://host:+1", UriError::Port),
            ("amqp://::1", UriError::Port),
            ("amqp://[::1", UriError::Illegal("host")),
            ("amqp://[host]", UriError::Illegal("host")),
            ("amqp://[::1]x", UriError::Illegal("host")),
            ("amqp://us%er@host", UriError::PercentEncoding("user name")),
            ("amqp://u:%4@host", UriError::PercentEncoding("password")),
            ("amqp://host/%", UriError::PercentEncoding("virtual host")),
            ("amqp://host/%ff", UriError::NotUtf8("virtual host")),
            ("amqp://u:a%00b@host", UriError::Illegal("user name or password")),
            ("amqp://host?heartbeat=soon", UriError::Parameter("heartbeat")),
            ("amqp://host?heartbeat=-1", UriError::Parameter("heartbeat")),
            ("amqp://host?heartbeat", UriError::Parameter("heartbeat")),
            ("amqp://host?channel_max=65536", UriError::Parameter("channel_max")),
            ("amqp://host?connection_timeout=1s", UriError::Parameter("connection_timeout")),
            ("amqp://host?auth_mechanism=magic", UriError::Parameter("auth_mechanism")),
        ];
        for (given, expected) in cases {
            assert_eq!(given.parse::<Uri>().expect_err(given), expected, "{given}");
        }
    }

    #[test]
    fn parameters_are_read_and_unknown_ones_named() {
        let given = "amqp://myhost?heartbeat=5&connection_timeout=10000&channel_max=7\
                     &auth_mechanism=external&auth_mechanism=plain&frame_max=8192&verify=x";
        let uri: Uri = given.parse().expect(given);
        assert_eq!(uri.heartbeat, Some(5));
        assert_eq!(uri.connection_timeout, Some(Duration::from_secs(10)));
        assert_eq!((uri.channel_max, uri.frame_max), (Some(7), Some(8192)));
        assert_eq!(uri.mechanisms, [Mechanism::External, Mechanism::Plain]);
        assert_eq!(uri.ignored, ["verify"]);
    }

    #[test]
    fn neither_debug_nor_an_error_tells_the_password() {
        let uri: Uri = "amqp://u:s3cret@h".parse().expect("a good URI");
        assert!(!format!("{uri:?}").contains("s3cret"));
        let error = "amqp://u:s3cret%@h".parse::<Uri>().expect_err("a bad '%'");
        assert!(!format!("{error} {error:?}").contains("s3cret"));
    }
}
