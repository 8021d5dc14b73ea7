//! What the tests of TLS share: connections that are patient, and a peer made of rustls and raw bytes,
//! which can do what ours never does.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::simulation::Peer;
use ropewalk_reactor::tls::rustls::pki_types::ServerName;
use ropewalk_reactor::tls::rustls::pki_types::pem::PemObject;
use ropewalk_reactor::tls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version,
};
use ropewalk_reactor::tls::{TlsClient, TlsServer, provider, time};
use ropewalk_reactor::{
    Address, ConnectOptions, ConnectionOptions, Factory, ListenOptions, Reactor, Simulation,
};

pub(crate) use crate::common::certificates::*;

/// Where servers of these tests are.
pub(crate) const SERVER: &str = "10.0.0.1:443";

/// A network on which a handshake takes its time, but no hour.
pub(crate) fn simulation(seed: u64) -> Simulation {
    let mut simulation = Simulation::new(seed);
    simulation.capacity(1 << (9 + seed % 8));
    simulation
}

/// Listens at [`SERVER`] with TLS.
pub(crate) fn listen(reactor: &mut Reactor, tls: TlsServer, factory: impl Factory) {
    let options = ListenOptions::default().tls(tls).connection(patient());
    reactor.listen_with(options, SERVER, factory).expect("a free address");
}

pub(crate) fn connecting(tls: TlsClient) -> ConnectOptions {
    ConnectOptions::default().tls(tls).connection(patient())
}

fn patient() -> ConnectionOptions {
    ConnectionOptions::default().flush_timeout(PATIENT).linger_timeout(PATIENT)
}

/// What rustls's own client does in these tests.
pub(crate) fn raw_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    let pem = authority().certificate.as_bytes();
    roots.add(PemObject::from_pem_slice(pem).expect("PEM")).expect("a certificate");
    ClientConfig::builder_with_details(provider(), time())
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A client made of rustls and a peer that writes bytes by hand.
pub(crate) struct RawClient {
    pub(crate) peer: Peer,
    pub(crate) tls: ClientConnection,
    pub(crate) read: Vec<u8>,
}

impl RawClient {
    pub(crate) fn dial(simulation: &mut Simulation) -> Self {
        Self::dial_with(simulation, raw_config(&[&version::TLS13]))
    }

    pub(crate) fn dial_with(simulation: &mut Simulation, config: ClientConfig) -> Self {
        let peer = simulation.dial(SERVER).expect("a good address");
        Self::over(peer, config)
    }

    /// On a connection that is there.
    pub(crate) fn over(peer: Peer, config: ClientConfig) -> Self {
        let name = ServerName::try_from(NAME).expect("a name");
        let tls = ClientConnection::new(Arc::new(config), name).expect("a session");
        Self { peer, tls, read: Vec::new() }
    }

    /// What it has to say now, in bytes of the wire.
    pub(crate) fn wire(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).expect("memory");
        }
        wire
    }

    /// Takes what came, and says what there is to say.
    pub(crate) fn pump(&mut self) {
        let wire = self.wire();
        self.peer.write(&wire);
        let came = self.peer.read();
        let mut rest = &came[..];
        while !rest.is_empty() {
            self.tls.read_tls(&mut rest).expect("memory");
            let processed = self.tls.process_new_packets();
            let _ = self.tls.reader().read_to_end(&mut self.read);
            if processed.is_err() {
                break;
            }
        }
        let wire = self.wire();
        self.peer.write(&wire);
    }

    /// Lets the network move until the handshake is done.
    pub(crate) fn shake_hands(&mut self, simulation: &mut Simulation) {
        for _ in 0..1000 {
            self.pump();
            simulation.run_for(Duration::from_millis(1));
            if !self.tls.is_handshaking() {
                self.pump();
                simulation.run_for(Duration::from_millis(1));
                return self.pump();
            }
        }
        panic!("the handshake is never done");
    }

    /// Seals `data`: the records that it becomes.
    pub(crate) fn seal(&mut self, data: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(data).expect("memory");
        self.wire()
    }
}

/// Records in a piece of the wire, by their headers.
pub(crate) fn records(mut wire: &[u8]) -> usize {
    let mut count = 0;
    while let [_, _, _, high, low, rest @ ..] = wire {
        let length = usize::from(*high) << 8 | usize::from(*low);
        wire = rest.get(length..).expect("whole records");
        count += 1;
    }
    count
}

/// Runs until `done`, which has to come before any timer of TLS's own fires.
#[track_caller]
pub(crate) fn soon(simulation: &mut Simulation, mut done: impl FnMut() -> bool) {
    assert!(simulation.run_until(|_| done()), "seed {}: it never came to that", simulation.seed());
}

/// Every factory of these tests that serves more than once.
pub(crate) fn each<P: ropewalk_reactor::Protocol>(
    mut make: impl FnMut() -> P + 'static,
) -> impl FnMut(Address) -> P {
    move |_| make()
}

/// A directory of the test's own, gone when it is over.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ropewalk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a place for temporary files");
        Self(path)
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
