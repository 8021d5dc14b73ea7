//! TLS behind a proxy that says who the client is, before the handshake.

use std::cell::RefCell;
use std::io::Write;
use std::rc::Rc;
use std::time::Duration;

use ropewalk_reactor::tls::rustls::version;
use ropewalk_reactor::{Address, ListenOptions};

use crate::common::{Chance, Probe, Record, assert_same, seeds};
use crate::support::*;

#[test]
fn the_handshake_begins_right_behind_the_header_and_the_peer_is_whom_it_names() {
    for seed in seeds(100) {
        let mut chance = Chance::new(seed);
        let mut simulation = simulation(seed);
        let record = Record::new();
        let peers = Rc::new(RefCell::new(Vec::new()));
        let (named, mut probe) = (peers.clone(), Some(Probe::echo(&record)));
        let options = ListenOptions::default().tls(server()).proxy(true).proxy_timeout(PATIENT);
        let listening = simulation.reactor().listen_with(options, SERVER, move |peer: Address| {
            named.borrow_mut().push(peer.to_string());
            probe.take()
        });
        listening.expect("a free address");
        let peer = simulation.dial(SERVER).expect("a good address");
        let mut client = RawClient::over(peer, raw_config(&[&version::TLS13]));
        // In one piece, or with a cut anywhere in it.
        let hello = client.wire();
        let sent = [b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n", &hello[..]].concat();
        let (one, other) = sent.split_at(chance.below(sent.len() as u64) as usize);
        client.peer.write(one);
        if chance.one_in(2) {
            simulation.run_for(Duration::from_secs(1));
        }
        client.peer.write(other);
        client.tls.writer().write_all(b"hello").expect("memory");
        for _ in 0..1000 {
            client.pump();
            if client.read.len() >= 5 {
                break;
            }
            simulation.run_for(Duration::from_millis(100));
        }
        assert_same(&client.read, b"hello");
        assert_eq!(*peers.borrow(), ["tcp://192.0.2.1:5000"], "seed {seed}");
    }
}
