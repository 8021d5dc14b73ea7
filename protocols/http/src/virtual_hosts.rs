//! Which handler answers which host, on one address (RFC 9110 §7.2, §7.4).

use std::collections::BTreeMap;

use ropewalk_reactor::{Reason, Result};

use crate::{Exchange, ExchangeId, Handler, Intake, Reply, Request, Response, Status};

/// Hands each request to the handler of the host that it is for.
///
/// ```
/// use ropewalk_http::{Request, VirtualHosts};
///
/// let hosts = VirtualHosts::new()
///     .host("example.org", |_: &Request| "the site")
///     .host("*.example.org", |request: &Request| request.host().unwrap_or("").to_owned());
/// # let _ = hosts;
/// ```
///
/// Hosts are compared without regard to case, without the port and without a dot at the end. A name
/// with `*.` before it stands for every name that ends so, with one label or more in the place of the
/// `*`; the longest that fits wins, and a whole name before all of these. A request for another host,
/// or for none (HTTP/1.0), goes to [`otherwise`](Self::otherwise), or else is answered with 421.
#[derive(Default)]
pub struct VirtualHosts {
    hosts: BTreeMap<String, Box<dyn Handler>>,
    /// By what follows the `*`, dot included.
    suffixes: BTreeMap<String, Box<dyn Handler>>,
    otherwise: Option<Box<dyn Handler>>,
}

impl VirtualHosts {
    /// No hosts: 421 for all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Has requests for `host`, a name, an address, or `*.` and a name, answered by `handler`; it
    /// replaces one that was given for the same host before.
    #[must_use]
    pub fn host(mut self, host: &str, handler: impl Handler) -> Self {
        match host.strip_prefix('*') {
            Some(suffix) => self.suffixes.insert(normal(suffix), Box::new(handler)),
            None => self.hosts.insert(normal(host), Box::new(handler)),
        };
        self
    }

    /// Has requests for all other hosts answered by `handler`.
    #[must_use]
    pub fn otherwise(mut self, handler: impl Handler) -> Self {
        self.otherwise = Some(Box::new(handler));
        self
    }

    fn find(&mut self, request: &Request) -> Option<&mut dyn Handler> {
        let host = request.host().map(normal).unwrap_or_default();
        if let Some(handler) = self.hosts.get_mut(&host) {
            return Some(&mut **handler);
        }
        // The first dot begins the longest suffix.
        let suffixes = host.match_indices('.').map(|(at, _)| &host[at..]);
        let suffix = suffixes.filter(|it| it.len() < host.len());
        let mut found = suffix.filter(|suffix| self.suffixes.contains_key(*suffix));
        match found.next() {
            Some(suffix) => self.suffixes.get_mut(suffix),
            None => self.otherwise.as_mut(),
        }
        .map(|handler| &mut **handler)
    }
}

/// A host as it is compared.
fn normal(host: &str) -> String {
    let name = match host.rsplit_once(':') {
        // In brackets, colons are the address's own.
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn misdirected() -> Response {
    Response::status(Status::MISDIRECTED_REQUEST)
}

impl Handler for VirtualHosts {
    fn request_received(
        &mut self,
        request: &Request,
        exchange: &mut Exchange<'_>,
    ) -> Result<Reply> {
        match self.find(request) {
            Some(handler) => handler.request_received(request, exchange),
            None => Ok(misdirected().into()),
        }
    }

    fn body_expected(&mut self, request: &Request, exchange: &mut Exchange<'_>) -> Result<Intake> {
        match self.find(request) {
            Some(handler) => handler.body_expected(request, exchange),
            None => Ok(Intake::Refuse(misdirected())),
        }
    }

    /// Every handler is told; one that does not know the exchange has nothing to do.
    fn exchange_lost(&mut self, exchange: ExchangeId, reason: &Reason) {
        let all = self.hosts.values_mut().chain(self.suffixes.values_mut());
        for handler in all.chain(&mut self.otherwise) {
            handler.exchange_lost(exchange, reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use ropewalk_reactor::testing::Harness;

    use super::*;
    use crate::HttpServer;

    fn ask(hosts: VirtualHosts, head: &str) -> String {
        let mut harness = Harness::new(HttpServer::new(hosts));
        harness.feed(format!("{head}\r\n\r\n").as_bytes());
        let written = String::from_utf8_lossy(&harness.written()).into_owned();
        let (head, body) = written.split_once("\r\n\r\n").expect("a response");
        format!("{} {body}", &head[9..12])
    }

    fn hosts() -> VirtualHosts {
        let say = |text: &'static str| move |_: &Request| text;
        VirtualHosts::new()
            .host("Example.org", say("one"))
            .host("*.example.org", say("below"))
            .host("*.b.example.org", say("below b"))
            .host("[::1]", say("six"))
            .host("127.0.0.1", say("four"))
    }

    #[test]
    fn a_host_is_found_whatever_its_case_port_and_dot() {
        for (host, answer) in [
            ("example.org", "200 one"),
            ("EXAMPLE.ORG:8080", "200 one"),
            ("example.org.", "200 one"),
            ("example.org.:80", "200 one"),
            ("a.example.org", "200 below"),
            ("x.a.example.org", "200 below"),
            ("a.b.example.org", "200 below b"),
            ("b.example.org", "200 below"),
            ("[::1]", "200 six"),
            ("[::1]:80", "200 six"),
            ("127.0.0.1:80", "200 four"),
            ("badexample.org", "421 421 Misdirected Request\n"),
            (".example.org", "421 421 Misdirected Request\n"),
            ("", "421 421 Misdirected Request\n"),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: {host}");
            assert_eq!(ask(hosts(), &head), answer, "{host}");
        }
        let absolute = "GET http://example.org/ HTTP/1.1\r\nHost: other";
        assert_eq!(ask(hosts(), absolute), "200 one", "the target beats the field");
    }

    #[test]
    fn all_others_have_their_own_handler_if_they_are_given_one() {
        let hosts = || hosts().otherwise(|_: &Request| "else");
        assert_eq!(ask(hosts(), "GET / HTTP/1.1\r\nHost: other"), "200 else");
        assert_eq!(ask(hosts(), "GET / HTTP/1.0"), "200 else");
        assert_eq!(ask(hosts(), "GET / HTTP/1.1\r\nHost: example.org"), "200 one");
    }
}
