//! TLS in mid-stream: one call on either side, and nothing of the time before passes for something of
//! the time after it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::BytesMut;
use ropewalk_reactor::tls::rustls::version::{TLS12, TLS13};
use ropewalk_reactor::tls::{Failure, TlsClient, TlsServer};
use ropewalk_reactor::{Protocol, Reason, Result, Simulation, Transport};

use crate::common::{Happened, Probe, Record, assert_same, once, pattern, seeds};
use crate::support::*;

/// Answers each line with the same line; `STARTTLS` with `READY`, and TLS.
struct LineServer {
    tls: TlsServer,
    said: Rc<RefCell<Said>>,
}

#[derive(Default)]
struct Said {
    lines: Vec<String>,
    reason: Option<Reason>,
}

impl Protocol for LineServer {
    fn data_received(&mut self, transport: &mut Transport<'_>, data: &mut BytesMut) -> Result {
        while transport.wants_data()
            && let Some(end) = data.iter().position(|&byte| byte == b'\n')
        {
            let line = data.split_to(end + 1);
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            self.said.borrow_mut().lines.push(line.clone());
            match line.as_str() {
                "STARTTLS" => {
                    transport.write(b"READY\n");
                    transport.start_tls(&self.tls)?;
                    assert!(transport.is_handshaking());
                    transport.write(b"now in secret\n");
                }
                line => {
                    transport.write(line.as_bytes());
                    transport.write(b"\n");
                }
            }
        }
        Ok(())
    }

    fn connection_lost(&mut self, _: &mut Transport<'_>, reason: &Reason) {
        self.said.borrow_mut().reason = Some(reason.clone());
    }
}

fn line_server() -> (LineServer, Rc<RefCell<Said>>) {
    let said = Rc::default();
    (LineServer { tls: server(), said: Rc::clone(&said) }, said)
}

#[test]
fn start_tls_in_mid_stream_keeps_the_protocol_on_either_side() {
    for seed in seeds(200) {
        let here = Record::new();
        let mut simulation = simulation(seed);
        let (server, said) = line_server();
        simulation.reactor().listen(SERVER, once(server)).expect("a free address");
        let tls = client();
        let mut stage = 0;
        let caller = Probe::new(&here)
            .on_made(|transport| {
                transport.write(b"in the open\nSTARTTLS\n");
                Ok(())
            })
            .on_data(move |transport, data| {
                // Never more than the line: what is behind READY is not for this time.
                while transport.wants_data()
                    && let Some(end) = data.iter().position(|&byte| byte == b'\n')
                {
                    let line = data.split_to(end + 1);
                    match (stage, &line[..]) {
                        (0, b"in the open\n") => {}
                        (1, b"READY\n") => {
                            transport.start_tls(tls.to(NAME)?)?;
                            transport.write(b"a secret\n");
                        }
                        (2, b"now in secret\n") => {
                            let agreed = transport.tls().ok_or("no TLS")?;
                            assert_eq!(agreed.server_name(), Some(NAME));
                            assert_eq!(agreed.peer_certificates().len(), 1);
                        }
                        (3, b"a secret\n") => transport.lose_connection(),
                        other => panic!("{other:?}"),
                    }
                    stage += 1;
                }
                Ok(())
            });
        simulation.reactor().connect(SERVER, once(caller)).forget();
        soon(&mut simulation, || here.is_lost());
        assert!(matches!(here.reason(), Reason::Closed), "seed {seed}: {:?}", here.reason());
        assert_eq!(said.borrow().lines, ["in the open", "STARTTLS", "a secret"], "seed {seed}");
        assert_eq!(here.count(&Happened::HandshakeCompleted), 1);
    }
}

#[test]
fn what_was_smuggled_in_before_start_tls_is_never_taken_for_something_after_it() {
    // The attacker puts a command behind the client's own, in the same segment or in the next one.
    for apart in [false, true] {
        let mut simulation = Simulation::calm();
        let (server, said) = line_server();
        simulation.reactor().listen(SERVER, once(server)).expect("a free address");
        let mut peer = simulation.dial(SERVER).expect("a good address");
        if apart {
            peer.write(b"STARTTLS\n");
            simulation.run_for(Duration::from_millis(1));
            peer.write(b"injected\n");
        } else {
            peer.write(b"STARTTLS\ninjected\n");
        }
        simulation.run_for(Duration::from_millis(1));
        let mut client = RawClient::over(peer, raw_config(&[&TLS13]));
        let hello = client.wire();
        client.peer.write(&hello);
        soon(&mut simulation, || said.borrow().reason.is_some());
        assert_eq!(said.borrow().lines, ["STARTTLS"], "apart: {apart}");
        let Some(Reason::Tls(failure)) = said.borrow().reason.clone() else { panic!("no failure") };
        assert!(matches!(&*failure, Failure::Handshake(_)), "{failure:?}");
        assert!(client.peer.read().starts_with(b"READY\n"), "what came before it was sent");
    }
}

#[test]
fn a_client_hello_in_the_segment_of_the_command_is_the_beginning_of_tls() {
    // A client that does not wait for READY may do so; bytewise, too.
    for bytewise in [false, true] {
        let mut simulation = Simulation::calm();
        let (server, said) = line_server();
        simulation.reactor().listen(SERVER, once(server)).expect("a free address");
        let peer = simulation.dial(SERVER).expect("a good address");
        let mut client = RawClient::over(peer, raw_config(&[&TLS12]));
        let wire = [b"STARTTLS\n".to_vec(), client.wire()].concat();
        for piece in wire.chunks(if bytewise { 1 } else { wire.len() }) {
            client.peer.write(piece);
            simulation.run_for(Duration::from_micros(100));
        }
        let answer = client.peer.read();
        let answer = answer.strip_prefix(b"READY\n").expect("in the open");
        client.tls.read_tls(&mut &answer[..]).expect("memory");
        client.tls.process_new_packets().expect("a handshake");
        client.shake_hands(&mut simulation);
        let wire = client.seal(b"a secret\n");
        client.peer.write(&wire);
        simulation.run_for(Duration::from_millis(1));
        client.pump();
        assert_same(&client.read, b"now in secret\na secret\n");
        assert_eq!(said.borrow().lines, ["STARTTLS", "a secret"]);
    }
}

#[test]
fn tls_can_begin_from_outside_of_data_received_with_what_is_held_back_as_its_first_bytes() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    let called = Probe::new(&there).on_data(|transport, _| {
        transport.pause_reading();
        Ok(())
    });
    simulation.reactor().listen(SERVER, once(called)).expect("a free address");
    let mut client = RawClient::dial(&mut simulation);
    let hello = client.wire();
    client.peer.write(&hello);
    simulation.run_for(Duration::from_millis(1));
    assert_eq!(there.deliveries(), 1, "it saw the hello, and left it");
    let mut transport = simulation.reactor().connection(there.id()).expect("it lives");
    transport.start_tls(&server()).expect("it is open");
    assert!(transport.start_tls(&server()).is_err(), "once is enough");
    client.shake_hands(&mut simulation);
    assert!(there.has(&Happened::HandshakeCompleted));
    assert_eq!(there.deliveries(), 1, "what was its hello is not delivered again");
}

#[test]
fn tls_cannot_begin_on_a_connection_that_is_closing() {
    let there = Record::new();
    let mut simulation = Simulation::calm();
    let called = Probe::new(&there).on_made(|transport| {
        transport.lose_write_connection();
        let refused = transport.start_tls(&server()).expect_err("half of it is closed");
        assert_eq!(
            refused.to_string(),
            "cannot use TLS: the connection is closing, or a half of it is closed"
        );
        Ok(())
    });
    simulation.reactor().listen(SERVER, once(called)).expect("a free address");
    let _peer = simulation.dial(SERVER).expect("a good address");
    soon(&mut simulation, || there.is_made());
    assert!(!there.is_lost());
}

#[test]
fn much_written_before_and_after_start_tls_arrives_in_order() {
    for seed in seeds(100) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let tls = server();
        let called = Probe::new(&there).on_made(move |transport| {
            transport.write(&pattern(0, 30_000));
            transport.start_tls(&tls)?;
            transport.write(&pattern(30_000, 30_000));
            Ok(())
        });
        simulation.reactor().listen(SERVER, once(called)).expect("a free address");
        let tls: TlsClient = client();
        let mut taken = 0;
        let caller = Probe::new(&here).on_data(move |transport, data| {
            let open = 30_000_usize.saturating_sub(taken).min(data.len());
            let part = if open > 0 { open } else { data.len() };
            taken += part;
            let _ = data.split_to(part);
            if taken == 30_000 {
                transport.start_tls(tls.to(NAME)?)?;
            }
            Ok(())
        });
        simulation.reactor().connect(SERVER, once(caller)).forget();
        soon(&mut simulation, || here.data().len() == 60_000);
        assert_same(here.data(), pattern(0, 60_000));
    }
}
