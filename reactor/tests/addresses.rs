//! What is promised of addresses as strings: what is shown is read again as the same, what is
//! wrong is told with what is wrong about it and a right one, and nothing that is given panics.

mod common;

use std::net::SocketAddr;

use proptest::prelude::*;
use ropewalk_reactor::{
    Address, Endpoint, Error, ListenOptions, Passed, Reactor, Simulation, Target,
};

use common::Probe;

fn read(given: &str) -> Endpoint {
    given.parse().unwrap_or_else(|error| panic!("{given}: {error}"))
}

#[test]
fn addresses_are_read_in_each_of_their_forms_and_shown_in_one() {
    for (given, shown) in [
        ("127.0.0.1:5672", "tcp://127.0.0.1:5672"),
        ("tcp://127.0.0.1:0", "tcp://127.0.0.1:0"),
        ("[::1]:5672", "tcp://[::1]:5672"),
        ("tcp://[::1]:5672", "tcp://[::1]:5672"),
        ("tcp://[fe80::1%3]:80", "tcp://[fe80::1%3]:80"),
        ("tcp://example.org:80", "tcp://example.org:80"),
        ("localhost:7", "tcp://localhost:7"),
        ("127.0.0.1:7?reuse-port=true", "tcp://127.0.0.1:7?reuse-port=true"),
        ("tcp://0.0.0.0:7?backlog=16&proxy=false", "tcp://0.0.0.0:7?proxy=false&backlog=16"),
        ("udp://127.0.0.1:53", "udp://127.0.0.1:53"),
        ("udp://dns.test:53?reuse-port=true", "udp://dns.test:53?reuse-port=true"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
        ("unix:///run/app.sock", "unix:///run/app.sock"),
        ("unix:app.sock?mode=7", "unix:app.sock?mode=007"),
        ("unix:/a%20b%3F?mode=0660", "unix:/a%20b%3F?mode=660"),
        ("systemd:0", "systemd:0"),
        ("systemd:007?proxy=true", "systemd:7?proxy=true"),
        ("systemd:web.socket", "systemd:web.socket"),
        ("tls://example.org:443", "tls://example.org:443"),
        (
            "tls://[::]:443?key=a.key&cert=a%26b.pem&client-ca=/ca.pem&proxy=true",
            "tls://[::]:443?cert=a%26b.pem&key=a.key&client-ca=/ca.pem&proxy=true",
        ),
    ] {
        let endpoint = read(given);
        assert_eq!(endpoint.to_string(), shown);
        assert_eq!(read(shown), endpoint);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_begins_with_an_at_sign_is_abstract_and_a_path_can_be_written_that_does() {
    for (given, path, name) in [
        ("unix:@app", None, Some(&b"app"[..])),
        ("unix:@a%00b", None, Some(b"a\0b")),
        ("unix:%40app", Some("@app"), None),
        ("unix:./@app", Some("./@app"), None),
    ] {
        let endpoint = read(given);
        let Target::Address(Address::Unix(address)) = endpoint.target() else { panic!("{given}") };
        assert_eq!(address.path().and_then(|path| path.to_str()), path);
        assert_eq!(address.abstract_name(), name);
        assert_eq!(endpoint.to_string(), given);
    }
}

#[test]
fn the_parts_of_an_address_can_be_asked_for() {
    let endpoint = read("tls://example.org:443?cert=/c.pem&key=/k.pem&client-ca=/ca.pem");
    let Target::Name { host, port } = endpoint.target() else { panic!("{endpoint:?}") };
    assert_eq!((host.as_str(), *port), ("example.org", 443));
    let tls = endpoint.tls().expect("it is tls://");
    let file = |path: &Option<std::path::PathBuf>| path.clone().expect("a file");
    assert_eq!(file(&tls.certificate).to_str(), Some("/c.pem"));
    assert_eq!(file(&tls.key).to_str(), Some("/k.pem"));
    assert_eq!(file(&tls.client_ca).to_str(), Some("/ca.pem"));
    assert_eq!(read("systemd:2").target(), &Target::Systemd(Passed::Index(2)));
    assert_eq!(read("systemd:%32").target(), &Target::Systemd(Passed::Index(2)));
    assert_eq!(
        read("tcp://[::1]:7"),
        Endpoint::from(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 7)))
    );
}

#[test]
fn a_bad_address_is_told_with_what_is_wrong_and_a_right_one_of_its_kind() {
    let long = format!("unix:/{}", "x".repeat(108));
    let name = format!("{}.test:7", "x".repeat(254));
    for (given, problem, like) in [
        ("127.0.0.1:99999", "port 99999 is over 65535", "tcp://127.0.0.1:8080"),
        ("tcp://127.0.0.1:65536", "port 65536 is over 65535", "tcp://"),
        ("5672", "the port is missing", "tcp://127.0.0.1:8080"),
        ("example.org", "the port is missing", "tcp://"),
        ("127.0.0.1:", "the port is missing", "tcp://"),
        ("[::1]", "the port is missing", "tcp://"),
        ("127.0.0.1:http", "port \"http\" is not a number", "tcp://"),
        ("127.0.0.1:+80", "port \"+80\" is not a number", "tcp://"),
        ("::1:5672", "brackets", "tcp://"),
        ("::1", "brackets", "tcp://"),
        ("[::x]:80", "\"::x\" is not an IPv6 address", "tcp://"),
        ("[::1", "the port is missing", "tcp://"),
        (":80", "the host is missing", "tcp://"),
        ("256.1.1.1:80", "\"256.1.1.1\" is not an IPv4 address", "tcp://"),
        ("1.2.3:80", "is not an IPv4 address", "tcp://"),
        ("http://127.0.0.1:80", "http:// is not known here", "tcp://"),
        ("ho st:80", "\"ho st\" is not a host name", "tcp://"),
        (&name, "is not a host name", "tcp://"),
        ("/run/app.sock", "written unix:/run/app.sock", "tcp://"),
        ("127.0.0.1:80?", "an option is missing behind the ?", "tcp://"),
        ("127.0.0.1:80?mode=660", "tcp:// has no option \"mode\"", "tcp://"),
        ("127.0.0.1:80?backlog", "backlog= has no value", "tcp://"),
        ("127.0.0.1:80?backlog=-1", "backlog=-1 is not a number", "tcp://"),
        ("127.0.0.1:80?backlog=4000000000", "is not a number up to 2147483647", "tcp://"),
        ("127.0.0.1:80?proxy=yes", "proxy=yes is neither true nor false", "tcp://"),
        ("127.0.0.1:80?proxy=true&proxy=true", "proxy= is given twice", "tcp://"),
        ("udp://127.0.0.1", "the port is missing", "udp://127.0.0.1:8053"),
        ("udp://127.0.0.1:7?backlog=1", "udp:// has no option \"backlog\"", "udp://"),
        ("unix:", "the path is missing", "unix:/run/app.sock?mode=660"),
        ("unix:(unnamed)", "a socket without a name", "unix:/run"),
        ("unix:@", "the name is missing", "unix:/run"),
        (&long, "longer than 107 bytes", "unix:/run"),
        ("unix:/a%00b", "no NUL", "unix:/run"),
        ("unix:/100%", "two hexadecimal digits", "unix:/run"),
        ("unix:/x?mode=888", "mode=888 is not three octal digits", "unix:/run"),
        ("unix:/x?mode=4755", "mode=4755 is not three octal digits", "unix:/run"),
        ("unix:/x?reuse-port=true", "unix: has no option \"reuse-port\"", "unix:/run"),
        ("systemd:", "which socket is missing", "systemd:0"),
        ("systemd:a:b", "neither the place of a socket nor a name", "systemd:0"),
        ("systemd:99999999999999999999999", "there is no socket 9999", "systemd:0"),
        ("systemd:0?backlog=1", "systemd: has no option \"backlog\"", "systemd:0"),
        ("tls://127.0.0.1:443?cert=a", "needs its private key", "tls://127.0.0.1:8443?cert="),
        ("tls://127.0.0.1:443?key=a", "needs its certificate", "tls://127.0.0.1:8443?cert="),
        ("tls://127.0.0.1:443?cert=a%00&key=b", "no NUL", "tls://"),
    ] {
        let error = given.parse::<Endpoint>().expect_err(given);
        assert!(matches!(error, Error::BadAddress { .. }), "{given}: {error:?}");
        let error = error.to_string();
        assert!(error.contains(problem), "{given}: {error}");
        assert!(error.contains(&format!("write it like {like}")), "{given}: {error}");
        assert!(error.contains(&format!("{given:?}")), "{given}: {error}");
    }
}

#[test]
fn what_only_listens_cannot_be_connected_to() {
    let mut simulation = Simulation::calm();
    for given in ["10.0.0.1:7?backlog=1", "unix:/x?mode=600", "systemd:0"] {
        let connecting = simulation.reactor().connect(given, |_| Probe::default());
        let told = std::rc::Rc::new(std::cell::RefCell::new(None));
        let tell = told.clone();
        connecting.then(move |_, result| *tell.borrow_mut() = result.err());
        simulation.settle();
        let error = told.take().expect("it failed");
        assert!(matches!(error, Error::BadAddress { .. }), "{given}: {error}");
    }
}

#[test]
fn what_cannot_be_listened_on_is_an_error_that_says_why() {
    let mut reactor = Reactor::new().expect("a poller");
    let why = reactor.listen("systemd:0", |_| Probe::default()).expect_err("there is none");
    assert!(why.to_string().contains("systemd:0: systemd passed no socket"), "{why}");
    let why = reactor.listen("tls://127.0.0.1:0", |_| Probe::default()).expect_err("no files");
    let expected = match cfg!(feature = "_tls") {
        true => "a server needs a certificate: tls://host:port?cert=FILE&key=FILE",
        false => "tls://127.0.0.1:0: this program was built without TLS",
    };
    assert!(why.to_string().ends_with(expected), "{why}");
    // Nor does a listener that is there go on in plaintext.
    let listener = reactor.listen("127.0.0.1:0", |_| Probe::default()).expect("a free port");
    let options = ListenOptions::default();
    let changed =
        reactor.change_listener(listener, options, "tls://127.0.0.1:0", |_| Probe::default());
    let why = changed.expect_err("no files");
    assert!(why.to_string().ends_with(expected), "{why}");
}

/// Any string at all, and strings that look like addresses.
fn anything() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("tcp://".to_owned()),
        Just("tls://".to_owned()),
        Just("udp://".to_owned()),
        Just("unix:".to_owned()),
        Just("systemd:".to_owned()),
        Just("[::1]".to_owned()),
        Just("127.0.0.1".to_owned()),
        "[\\[\\]:@/?&=%. a-f0-9]{0,3}",
        "(mode|proxy|backlog|reuse-port|cert|key|client-ca)=(true|[0-7]{1,4}|%[0-9]{2})?",
        any::<String>(),
    ];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

/// Good addresses: written by this test, not by the code that is tested.
fn endpoint() -> impl Strategy<Value = String> {
    let host = prop_oneof![
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("{a}.{b}.{c}.{d}")),
        any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
        "[a-z][a-z0-9-]{0,20}(\\.[a-z][a-z0-9]{0,5}){0,3}",
    ];
    let escaped = proptest::collection::vec(1u8..=255, 1..25)
        .prop_map(|bytes| bytes.iter().map(|byte| format!("%{byte:02x}")).collect::<String>());
    let path = prop_oneof![Just("/run/app.sock".to_owned()), "[a-z./_-]{1,30}", escaped.clone()];
    let common = ["proxy=true", "proxy=false", "backlog=7"];
    let place = prop_oneof![
        (host.clone(), any::<u16>()).prop_map(|(host, port)| format!("{host}:{port}")),
        (host.clone(), any::<u16>()).prop_map(|(host, port)| format!("tcp://{host}:{port}")),
        (host.clone(), any::<u16>())
            .prop_map(|(host, port)| format!("udp://{host}:{port}?reuse-port=false")),
        (host, any::<u16>(), escaped.clone(), escaped.clone()).prop_map(
            |(host, port, cert, key)| format!("tls://{host}:{port}?cert={cert}&key={key}")
        ),
        (path, 0..=0o777u32).prop_map(|(path, mode)| format!("unix:{path}?mode={mode:o}")),
        escaped.prop_map(|name| format!("unix:@{name}")),
        (0..1000usize).prop_map(|index| format!("systemd:{index}")),
        "[a-z][a-zA-Z0-9._-]{0,30}".prop_map(|name| format!("systemd:{name}")),
    ];
    (place, proptest::sample::subsequence(common.to_vec(), 0..=3)).prop_map(|(place, options)| {
        let options: Vec<_> = match options[..] {
            [_, "proxy=false", ..] => options[1..].to_vec(),
            _ => options,
        };
        let options: Vec<_> = options
            .into_iter()
            .filter(|option| !place.starts_with("systemd:") || option.starts_with("proxy"))
            .filter(|_| !place.starts_with("udp:"))
            .collect();
        let first = if place.contains('?') { '&' } else { '?' };
        match options.is_empty() {
            true => place,
            false => format!("{place}{first}{}", options.join("&")),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_shown_is_read_as_the_same_endpoint(given in endpoint()) {
        let endpoint = given.parse::<Endpoint>();
        prop_assert!(endpoint.is_ok(), "{given}: {endpoint:?}");
        let endpoint = endpoint.expect("it is");
        let shown = endpoint.to_string();
        let again = shown.parse::<Endpoint>();
        prop_assert!(again.as_ref().is_ok_and(|again| *again == endpoint), "{shown}: {again:?}");
        prop_assert_eq!(again.expect("it is").to_string(), shown);
    }

    #[test]
    fn whatever_is_given_is_an_endpoint_that_round_trips_or_an_error_with_a_right_one(
        given in anything(),
    ) {
        match given.parse::<Endpoint>() {
            Ok(endpoint) => {
                let shown = endpoint.to_string();
                prop_assert_eq!(shown.parse::<Endpoint>().ok(), Some(endpoint), "{}", shown);
            }
            Err(error) => prop_assert!(error.to_string().contains("write it like "), "{error}"),
        }
    }
}
