//! Which requests go through a proxy, and through which.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::Url;

use super::ClientError;
use super::error::shown;

/// The proxies of a client, and what goes without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Proxies {
    pub(super) http: Option<Proxy>,
    pub(super) https: Option<Proxy>,
    pub(super) exceptions: Vec<Exception>,
}

/// One proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// What goes into Proxy-Authorization.
    pub(super) credentials: Option<String>,
}

/// What goes without a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Exception {
    /// Everything.
    All,
    /// A host and all below it, perhaps on one port only.
    Host(String, Option<u16>),
    /// A network: an address, and how many bits of it count.
    Network(IpAddr, u8),
}

impl Proxies {
    /// The proxy through which `url` is asked.
    pub(super) fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.scheme() == "https" { &self.https } else { &self.http };
        let excepted = self.exceptions.iter().any(|exception| exception.is_for(url));
        proxy.as_ref().filter(|_| !excepted)
    }

    /// What the environment says, as curl reads it: `http_proxy`, `https_proxy`, `all_proxy`,
    /// `no_proxy`, or these in capitals; but HTTP_PROXY is not read, as a CGI program's client could
    /// set it with a field `Proxy`.
    pub(super) fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ClientError> {
        let any = |names: &[&str]| {
            names.iter().filter_map(|name| variable(name)).find(|value| !value.trim().is_empty())
        };
        let all = any(&["all_proxy", "ALL_PROXY"]);
        let proxy = |given: Option<String>| {
            given.or_else(|| all.clone()).map(|given| Proxy::parse(&given)).transpose()
        };
        Ok(Self {
            http: proxy(any(&["http_proxy"]))?,
            https: proxy(any(&["https_proxy", "HTTPS_PROXY"]))?,
            exceptions: exceptions(&any(&["no_proxy", "NO_PROXY"]).unwrap_or_default()),
        })
    }
}

impl Proxy {
    /// Reads `http://user:password@host:port`; without a scheme it is http.
    pub(super) fn parse(given: &str) -> Result<Self, ClientError> {
        let given = given.trim();
        let bad =
            |url: String, problem: &str| ClientError::BadUrl { url, problem: problem.to_owned() };
        let full = if given.contains("://") { given.to_owned() } else { format!("http://{given}") };
        let url = Url::parse(&full)
            .map_err(|error| bad("the proxy's address".to_owned(), &error.to_string()))?;
        if url.scheme() != "http" {
            let problem = "a proxy is reached by http:// here, and by nothing else";
            return Err(bad(shown(&url), problem));
        }
        let host = url.host_str().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad(shown(&url), "it names no host"))?.to_owned();
        Ok(Self {
            host,
            port: url.port_or_known_default().unwrap_or(80),
            credentials: credentials(&url),
        })
    }

    /// As it is shown, without its password.
    #[cfg(any(test, feature = "_tls"))]
    pub(super) fn shown(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }
}

/// The user and password of a URL, as Basic credentials (RFC 7617).
pub(super) fn credentials(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut pair: Vec<u8> = percent_decode_str(url.username()).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(format!("Basic {}", STANDARD.encode(pair)))
}

/// Reads a list as in `no_proxy`: hosts (with all below them), addresses, networks, or `*`, with commas
/// or spaces between.
pub(super) fn exceptions(list: &str) -> Vec<Exception> {
    let words = list.split([',', ' ']).map(str::trim).filter(|word| !word.is_empty());
    words.map(exception).collect()
}

fn exception(word: &str) -> Exception {
    if word == "*" {
        return Exception::All;
    }
    let (address, bits) = match word.split_once('/') {
        Some((address, bits)) => (address, bits.parse().ok()),
        None => (word, Some(128)),
    };
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    if let (Ok(address), Some(bits)) = (bare.parse::<IpAddr>(), bits) {
        return Exception::Network(address, bits);
    }
    let (host, port) = match word.rsplit_once(':') {
        Some((host, port)) => match port.parse() {
            Ok(port) => (host, Some(port)),
            Err(_) => (word, None),
        },
        None => (word, None),
    };
    let host = host.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
    Exception::Host(host.to_ascii_lowercase(), port)
}

impl Exception {
    fn is_for(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        match self {
            Self::All => true,
            Self::Host(name, port) => {
                let host = host.trim_end_matches('.');
                let below = host
                    .strip_suffix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                below && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            }
            Self::Network(network, bits) => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                bare.parse().is_ok_and(|address| is_within(address, *network, *bits))
            }
        }
    }
}

fn is_within(address: IpAddr, network: IpAddr, bits: u8) -> bool {
    let same = |one: u128, other: u128, width: u32| {
        let kept = u32::from(bits).min(width);
        kept == 0 || (one ^ other) >> (width - kept) == 0
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            same(u32::from(one).into(), u32::from(other).into(), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.into(), other.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_read_with_its_user_and_password() {
        let proxy = Proxy::parse("http://us%3Aer:p%40ss@proxy.test:3128").expect("valid");
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.test", 3128));
        let pair = format!("Basic {}", STANDARD.encode("us:er:p@ss"));
        assert_eq!(proxy.credentials, Some(pair));
        assert_eq!(proxy.shown(), "http://proxy.test:3128");
        let bare = Proxy::parse("proxy.test:8080").expect("valid");
        assert_eq!((bare.port, bare.credentials), (8080, None));
        for given in ["socks5://proxy.test", "https://proxy.test", "", "http://"] {
            assert!(Proxy::parse(given).is_err(), "{given:?}");
        }
        let secret = Proxy::parse("socks5://me:secret@proxy.test").expect_err("not http");
        assert!(!secret.to_string().contains("secret"));
    }

    #[test]
    fn exceptions_are_hosts_ports_and_networks() {
        let proxies = Proxies {
            http: Proxy::parse("proxy.test").ok(),
            https: None,
            exceptions: exceptions("localhost, .example.org,b.test:81 10.0.0.0/8,::1,192.168.1.1"),
        };
        for (url, proxied) in [
            ("http://localhost/", false),
            ("http://x.localhost/", false),
            ("http://example.org/", false),
            ("http://www.example.org/", false),
            ("http://notexample.org/", true),
            ("http://b.test/", true),
            ("http://b.test:81/", false),
            ("http://10.1.2.3/", false),
            ("http://11.1.2.3/", true),
            ("http://[::1]:80/", false),
            ("http://[::2]/", true),
            ("http://192.168.1.1/", false),
            ("http://192.168.1.2/", true),
            ("https://a.test/", false),
        ] {
            let parsed = Url::parse(url).expect("a URL");
            assert_eq!(proxies.of(&parsed).is_some(), proxied, "{url}");
        }
    }

    #[test]
    fn the_environment_is_read_as_curl_does() {
        let environment = |name: &str| match name {
            "HTTP_PROXY" => Some("evil.test".to_owned()),
            "HTTPS_PROXY" => Some("secure.test:1".to_owned()),
            "NO_PROXY" => Some("*".to_owned()),
            _ => None,
        };
        let proxies = Proxies::from_environment(environment).expect("valid");
        assert_eq!(proxies.http, None, "a CGI program's caller sets it");
        assert_eq!(proxies.https.map(|proxy| proxy.host), Some("secure.test".to_owned()));
        assert_eq!(proxies.exceptions, [Exception::All]);
    }
}
