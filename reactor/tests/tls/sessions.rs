//! What both sides agree on: names and certificates, application protocols, clients that prove who
//! they are, sessions that are resumed, certificates that are read again.

use std::rc::Rc;
use std::time::Duration;

use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use ropewalk_reactor::tls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error as TlsError, RootCertStore,
    SignatureScheme,
};
use ropewalk_reactor::tls::{Failure, TlsClient, TlsServer};
use ropewalk_reactor::{Reason, Simulation, Transport};

use crate::common::{Happened, Probe, Record, logs, once};
use crate::support::*;

/// What a protocol notes of its session.
#[derive(Debug, Clone, Default, PartialEq)]
struct Agreed {
    version: String,
    suite: String,
    alpn: Option<String>,
    server_name: Option<String>,
    peer: Vec<Vec<u8>>,
    resumed: bool,
}

fn agreed(transport: &Transport<'_>) -> Agreed {
    let tls = transport.tls().expect("the handshake is done");
    Agreed {
        version: tls.version().to_owned(),
        suite: tls.cipher_suite().to_owned(),
        alpn: tls.alpn().map(|name| String::from_utf8_lossy(name).into_owned()),
        server_name: tls.server_name().map(str::to_owned),
        peer: tls.peer_certificates().iter().map(|certificate| certificate.to_vec()).collect(),
        resumed: tls.is_resumed(),
    }
}

type Noted = Rc<std::cell::RefCell<Vec<Agreed>>>;

/// Notes what was agreed on; the client closes then, after a word each way, so that what comes after
/// a handshake (tickets) has come.
fn noting(notes: &Noted, record: &Record, calls: bool) -> Probe {
    let notes = notes.clone();
    Probe::new(record)
        .on_handshake(move |transport| {
            notes.borrow_mut().push(agreed(transport));
            if calls {
                transport.write(b"hello");
            }
            Ok(())
        })
        .on_data(move |transport, data| {
            data.clear();
            match calls {
                true => transport.lose_connection(),
                false => drop(transport.write(b"hello")),
            }
            Ok(())
        })
}

/// A server, and one client after the other.
struct Meeting {
    simulation: Simulation,
    server: Noted,
    client: Noted,
}

impl Meeting {
    fn new(tls: TlsServer) -> Self {
        let mut simulation = Simulation::calm();
        for name in [NAME, "other.test", "deep.wild.test", "unknown.test"] {
            simulation.name(name, ["10.0.0.1".parse().expect("an address")]);
        }
        let server = Noted::default();
        let notes = server.clone();
        listen(simulation.reactor(), tls, each(move || noting(&notes, &Record::new(), false)));
        Self { simulation, server, client: Noted::default() }
    }

    /// One call; what the client and the server noted, or why the client lost its connection.
    fn call(&mut self, tls: &TlsClient, host: &str) -> Result<(Agreed, Agreed), Reason> {
        let record = Record::new();
        let probe = noting(&self.client, &record, true);
        let options = connecting(tls.clone());
        let address = format!("{host}:443");
        let made = self.simulation.reactor().connect_with(options, &address, once(probe));
        made.then(|_, _| {});
        soon(&mut self.simulation, || record.is_lost());
        if !matches!(record.reason(), Reason::Closed) {
            return Err(record.reason());
        }
        self.simulation.settle();
        let (client, server) = (self.client.borrow(), self.server.borrow());
        Ok((client.last().expect("agreed").clone(), server.last().expect("agreed").clone()))
    }
}

fn der(pem: &str) -> Vec<u8> {
    use ropewalk_reactor::tls::rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM").to_vec()
}

#[test]
fn both_sides_can_read_what_was_agreed_on() {
    let tls = server_builder().alpn(["h2", "http/1.1"]).build().expect("good");
    let mut meeting = Meeting::new(tls);
    let client = client_builder().alpn(["http/1.1", "h2"]).build().expect("good");
    let (here, there) = meeting.call(&client, NAME).expect("they agree");
    for side in [&here, &there] {
        assert_eq!(side.version, "TLSv1.3");
        assert!(side.suite.starts_with("TLS_"), "{}", side.suite);
        assert_eq!(side.alpn.as_deref(), Some("h2"), "the server's preference counts");
        assert_eq!(side.server_name.as_deref(), Some(NAME));
        assert!(!side.resumed);
    }
    assert_eq!(here.peer, [der(&identity().certificate)]);
    assert!(there.peer.is_empty());
    // By address there is no name to ask for.
    let (_, there) = meeting.call(&client, "10.0.0.1").expect("they agree");
    assert_eq!(there.server_name, None);
}

#[test]
fn whoever_speaks_no_common_protocol_is_refused_and_whoever_names_none_is_not() {
    let mut meeting = Meeting::new(server_builder().alpn(["h2"]).build().expect("good"));
    let (here, _) = meeting.call(&client(), NAME).expect("no ALPN is no mistake");
    assert_eq!(here.alpn, None);
    let other = client_builder().alpn(["amqp"]).build().expect("good");
    let Err(Reason::Tls(failure)) = meeting.call(&other, NAME) else { panic!("they agreed") };
    assert_eq!(failure.alert(), Some(AlertDescription::NoApplicationProtocol));
    assert!(failure.to_string().ends_with("(no application protocol that both sides speak)"));
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let other = authority().sign(&["other.test"]);
    let wild = authority().sign(&["*.wild.test"]);
    let tls = server_builder()
        .certificate(other.certificate(), other.key())
        .certificate(wild.certificate(), wild.key())
        .build()
        .expect("good");
    let mut meeting = Meeting::new(tls);
    for (name, shown) in [
        (NAME, &identity().certificate),
        ("other.test", &other.certificate),
        ("OTHER.test", &other.certificate),
        ("deep.wild.test", &wild.certificate),
    ] {
        let address = name.to_ascii_lowercase();
        let client = client_builder().server_name(name).build().expect("good");
        let (here, there) = meeting.call(&client, &address).expect(name);
        assert_eq!(here.peer, [der(shown)], "{name}");
        assert_eq!(there.server_name, Some(address));
    }
    // A name that nobody has gets the first, and the client says what is wrong with it.
    let Err(Reason::Tls(failure)) = meeting.call(&client(), "unknown.test") else { panic!() };
    let Failure::Handshake(TlsError::InvalidCertificate(error)) = &*failure else { panic!() };
    assert!(matches!(error, CertificateError::NotValidForNameContext { .. }), "{error:?}");
}

#[test]
fn of_two_certificates_for_a_name_a_client_gets_one_of_a_kind_that_it_knows() {
    let modern = authority().sign_with(&[NAME], &PKCS_ED25519);
    let common = authority().sign_with(&[NAME], &PKCS_ECDSA_P256_SHA256);
    let tls = TlsServer::builder()
        .certificate(common.certificate(), common.key())
        .certificate(modern.certificate(), modern.key())
        .build()
        .expect("good");
    let mut meeting = Meeting::new(tls);
    let (here, _) = meeting.call(&client(), NAME).expect("they agree");
    assert_eq!(here.peer, [der(&common.certificate)], "the first that is known");
    let (here, _) = meeting.call(&only_ed25519(), NAME).expect("they agree");
    assert_eq!(here.peer, [der(&modern.certificate)], "the only one that is known");
}

/// A client that knows signatures of Ed25519 and no others.
fn only_ed25519() -> TlsClient {
    let mut provider = ropewalk_reactor::tls::provider().as_ref().clone();
    let known = provider.signature_verification_algorithms.mapping;
    let kept: Vec<_> =
        known.iter().filter(|(scheme, _)| *scheme == SignatureScheme::ED25519).copied().collect();
    let mapping = Vec::leak(kept);
    provider.signature_verification_algorithms.all = mapping[0].1;
    provider.signature_verification_algorithms.mapping = mapping;
    let mut roots = RootCertStore::empty();
    roots.add(der(&authority().certificate).into()).expect("a certificate");
    let config = ClientConfig::builder_with_details(provider.into(), ropewalk_reactor::tls::time())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsClient::from_rustls(config.into())
}

#[test]
fn only_clients_with_a_certificate_come_in_where_one_is_required() {
    let clients = Authority::new("an authority for clients");
    let anna = clients.sign(&["anna.client.test"]);
    let stranger = authority().sign(&["stranger.test"]);
    let tls = server_builder().require_client_certificate(clients.pem()).build().expect("good");
    let mut meeting = Meeting::new(tls);
    let with = |who: &Identity| {
        client_builder().certificate(who.certificate(), who.key()).build().expect("good")
    };
    let (_, there) = meeting.call(&with(&anna), NAME).expect("she is known");
    assert_eq!(there.peer, [der(&anna.certificate)]);
    let Err(Reason::Tls(failure)) = meeting.call(&client(), NAME) else { panic!("it came in") };
    assert_eq!(failure.alert(), Some(AlertDescription::CertificateRequired), "{failure}");
    let Err(Reason::Tls(failure)) = meeting.call(&with(&stranger), NAME) else { panic!() };
    assert!(failure.alert().is_some(), "{failure}");
    assert_eq!(meeting.server.borrow().len(), 1, "nobody else came in");
}

#[test]
fn a_certificate_that_is_only_asked_for_may_be_missing() {
    let clients = Authority::new("an authority for clients");
    let anna = clients.sign(&["anna.client.test"]);
    let tls = server_builder().request_client_certificate(clients.pem()).build().expect("good");
    let mut meeting = Meeting::new(tls);
    let (_, there) = meeting.call(&client(), NAME).expect("it may come in");
    assert!(there.peer.is_empty());
    let known = client_builder().certificate(anna.certificate(), anna.key()).build().expect("good");
    let (_, there) = meeting.call(&known, NAME).expect("she may come in");
    assert_eq!(there.peer, [der(&anna.certificate)]);
}

#[test]
fn a_second_connection_resumes_the_session_of_the_first() {
    let clients = Authority::new("an authority for clients");
    let anna = clients.sign(&["anna.client.test"]);
    let tls = server_builder().require_client_certificate(clients.pem()).build().expect("good");
    let mut meeting = Meeting::new(tls);
    let client =
        client_builder().certificate(anna.certificate(), anna.key()).build().expect("good");
    let (here, there) = meeting.call(&client, NAME).expect("they agree");
    assert!(!here.resumed && !there.resumed);
    let (here, there) = meeting.call(&client, NAME).expect("they agree");
    assert!(here.resumed && there.resumed);
    assert_eq!(there.peer, [der(&anna.certificate)], "it is still known who that is");
    assert_eq!(there.server_name.as_deref(), Some(NAME));
}

#[test]
fn certificates_are_read_again_for_new_connections_and_nobody_is_disturbed() {
    let directory = Scratch::new("reload");
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let write = |identity: &Identity| {
        std::fs::write(&certificate, &identity.certificate).expect("it is writable");
        std::fs::write(&key, &identity.key).expect("it is writable");
    };
    let (old, new) = (authority().sign(&[NAME]), authority().sign(&[NAME]));
    write(&old);
    let tls = TlsServer::new(&*certificate, &*key).expect("good");
    let mut meeting = Meeting::new(tls.clone());
    let lasting = Record::new();
    let stays = Probe::new(&lasting).on_data(|_, data| {
        data.clear();
        Ok(())
    });
    meeting
        .simulation
        .reactor()
        .connect_with(connecting(client()), "server.test:443", once(stays))
        .forget();
    soon(&mut meeting.simulation, || lasting.has(&Happened::HandshakeCompleted));
    let fresh = || client_builder().build().expect("good");
    assert_eq!(meeting.call(&fresh(), NAME).expect("they agree").0.peer, [der(&old.certificate)]);

    write(&new);
    assert_eq!(meeting.call(&fresh(), NAME).expect("they agree").0.peer, [der(&old.certificate)]);
    tls.reload().expect("good files");
    assert_eq!(meeting.call(&fresh(), NAME).expect("they agree").0.peer, [der(&new.certificate)]);

    // A bad file changes nothing, and says so.
    std::fs::write(&key, &old.key).expect("it is writable");
    let error = tls.reload().expect_err("they do not match").to_string();
    assert!(error.contains("key.pem") && error.contains("does not belong to"), "{error}");
    assert_eq!(meeting.call(&fresh(), NAME).expect("they agree").0.peer, [der(&new.certificate)]);

    let transport = meeting.simulation.reactor().connection(lasting.id());
    transport.expect("it lives").write(b"still here");
    soon(&mut meeting.simulation, || lasting.deliveries() > 0);
    assert!(!lasting.is_lost());
}

#[test]
fn files_that_change_are_noticed_and_read_when_they_have_settled() {
    logs::collect();
    let directory = Scratch::new("watch");
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    // As tools do that renew certificates: a new file is moved over the old one.
    let put = |path: &std::path::Path, contents: &str| {
        let fresh = directory.join("fresh");
        std::fs::write(&fresh, contents).expect("it is writable");
        std::fs::rename(&fresh, path).expect("the same directory");
    };
    let (old, new) = (authority().sign(&[NAME]), authority().sign(&[NAME]));
    put(&certificate, &old.certificate);
    put(&key, &old.key);
    let tls = TlsServer::builder()
        .certificate(&*certificate, &*key)
        .handshake_timeout(PATIENT)
        .build()
        .expect("good");
    let mut meeting = Meeting::new(tls.clone());
    let minute = Duration::from_secs(60);
    let watching = tls.watch(meeting.simulation.reactor(), minute);
    // The address is not in these certificates: it is asked for by name.
    let shown = |meeting: &mut Meeting| {
        let client = client_builder().server_name(NAME).build().expect("good");
        let record = Record::new();
        let probe = noting(&meeting.client, &record, true);
        let made =
            meeting.simulation.reactor().connect_with(connecting(client), SERVER, once(probe));
        made.then(|_, _| {});
        meeting.simulation.run_for(Duration::from_millis(100));
        meeting.client.borrow().last().expect("they agree").peer.clone()
    };
    assert_eq!(shown(&mut meeting), [der(&old.certificate)]);
    put(&certificate, &new.certificate);
    meeting.simulation.run_for(minute);
    assert_eq!(shown(&mut meeting), [der(&old.certificate)], "it may not have settled");
    put(&key, &new.key);
    meeting.simulation.run_for(2 * minute);
    assert_eq!(shown(&mut meeting), [der(&new.certificate)]);
    assert_eq!(logs::count("were read again"), 1, "{:?}", logs::lines());

    // A mistake is told once, and changes nothing.
    put(&key, &old.key);
    meeting.simulation.run_for(10 * minute);
    assert_eq!(shown(&mut meeting), [der(&new.certificate)]);
    assert_eq!(logs::count("stays in use: cannot use the key in "), 1, "{:?}", logs::lines());
    watching.stop();
    meeting.simulation.settle();
    assert_eq!(meeting.simulation.reactor().timer_count(), 0);
}

#[test]
fn sessions_go_on_over_a_reload_but_not_where_clients_are_verified() {
    let mut meeting = Meeting::new(server());
    let tls = server();
    let mut other = Meeting::new(tls.clone());
    let client = client();
    meeting.call(&client, NAME).expect("they agree");
    other.call(&client, NAME).expect("they agree");
    tls.reload().expect("good");
    assert!(other.call(&client, NAME).expect("they agree").1.resumed);

    let clients = Authority::new("an authority for clients");
    let anna = clients.sign(&["anna.client.test"]);
    let tls = server_builder().require_client_certificate(clients.pem()).build().expect("good");
    let mut meeting = Meeting::new(tls.clone());
    let client =
        client_builder().certificate(anna.certificate(), anna.key()).build().expect("good");
    meeting.call(&client, NAME).expect("they agree");
    tls.reload().expect("good");
    assert!(!meeting.call(&client, NAME).expect("they agree").1.resumed, "she is verified again");
}

#[test]
fn a_server_can_refuse_the_older_version() {
    let tls = server_builder().only_tls_1_3().build().expect("good");
    let mut meeting = Meeting::new(tls);
    let old = raw_config(&[&ropewalk_reactor::tls::rustls::version::TLS12]);
    let old = TlsClient::from_rustls(old.into());
    let Err(Reason::Tls(failure)) = meeting.call(&old, NAME) else { panic!("it came in") };
    assert_eq!(failure.alert(), Some(AlertDescription::ProtocolVersion));
    let mut meeting = Meeting::new(server());
    assert_eq!(meeting.call(&old, NAME).expect("they agree").0.version, "TLSv1.2");
}

#[test]
fn a_configuration_of_rustls_own_can_be_used() {
    use ropewalk_reactor::tls::rustls::ServerConfig;
    use ropewalk_reactor::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    let certificate = CertificateDer::from_pem_slice(identity().certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity().key.as_bytes()).expect("PEM");
    let config = ServerConfig::builder_with_details(
        ropewalk_reactor::tls::provider(),
        ropewalk_reactor::tls::time(),
    )
    .with_safe_default_protocol_versions()
    .expect("versions")
    .with_no_client_auth()
    .with_single_cert(vec![certificate.expect("PEM")], key)
    .expect("they match");
    let tls = TlsServer::from_rustls(config.into());
    let mut meeting = Meeting::new(tls.clone());
    let (_, there) = meeting.call(&client(), NAME).expect("they agree");
    assert_eq!(there.server_name.as_deref(), Some(NAME));
    assert!(tls.reload().is_err());
}

#[test]
fn what_was_agreed_on_can_be_read_to_the_end() {
    let (here, there) = (Record::new(), Record::new());
    let mut simulation = Simulation::calm();
    let told = Noted::default();
    let notes = told.clone();
    let called = Probe::new(&there).on_lost(move |transport, _| {
        notes.borrow_mut().push(agreed(transport));
    });
    listen(simulation.reactor(), server(), once(called));
    let caller = Probe::new(&here).on_handshake(|transport| {
        transport.lose_connection();
        Ok(())
    });
    simulation.reactor().connect_with(connecting(client()), SERVER, once(caller)).forget();
    soon(&mut simulation, || there.is_lost());
    assert_eq!(told.borrow().len(), 1);
}
