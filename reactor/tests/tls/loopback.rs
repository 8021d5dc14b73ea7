//! Real sockets: what a simulation cannot show, and rustls's own client as the peer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ropewalk_reactor::tls::TlsServer;
use ropewalk_reactor::tls::rustls::pki_types::ServerName;
use ropewalk_reactor::tls::rustls::version::{TLS12, TLS13};
use ropewalk_reactor::tls::rustls::{ClientConnection, StreamOwned, SupportedProtocolVersion};
use ropewalk_reactor::{ListenOptions, Reactor, Reason};

use crate::common::{
    Chance, Happened, Probe, Record, assert_same, descriptors, dial, in_its_own_process, once,
    pattern, spawn, turn_until, turn_while,
};
use crate::support::*;

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn call(address: SocketAddr, versions: &[&'static SupportedProtocolVersion]) -> Stream {
    let name = ServerName::try_from(NAME).expect("a name");
    let session = ClientConnection::new(Arc::new(raw_config(versions)), name).expect("a session");
    StreamOwned::new(session, dial(address))
}

fn serve(
    reactor: &mut Reactor,
    tls: TlsServer,
    factory: impl ropewalk_reactor::Factory,
) -> SocketAddr {
    let options = ListenOptions::default().tls(tls);
    let listener = reactor.listen_with(options, "127.0.0.1:0", factory).expect("a free port");
    reactor.address(listener).and_then(|address| address.socket_addr()).expect("TCP")
}

#[test]
fn megabytes_come_back_over_loopback_with_each_version() {
    for versions in [[&TLS12], [&TLS13]] {
        let mut reactor = Reactor::new().expect("a poller");
        let record = Record::new();
        let address = serve(&mut reactor, server(), once(Probe::echo(&record)));
        let came = turn_while(&mut reactor, move || {
            let mut stream = call(address, &versions);
            let mut came = vec![0; 8 << 20];
            for part in 0..8 {
                stream.write_all(&pattern(part << 20, 1 << 20)).expect("it takes it");
                stream.read_exact(&mut came[part << 20..(part + 1) << 20]).expect("it comes back");
            }
            stream.conn.send_close_notify();
            stream.flush().expect("it takes it");
            stream.read_to_end(&mut came).expect("a close_notify");
            came
        });
        assert_same(came, pattern(0, 8 << 20));
        turn_until(&mut reactor, |_| record.is_lost());
        assert!(matches!(record.reason(), Reason::Done), "{:?}", record.reason());
    }
}

#[test]
fn a_reset_and_a_cut_off_stream_are_told_apart_over_loopback() {
    let mut reactor = Reactor::new().expect("a poller");
    let (one, other) = (Record::new(), Record::new());
    let mut probes = vec![Probe::echo(&other), Probe::echo(&one)];
    let address = serve(&mut reactor, server(), move |_| probes.pop());
    for (record, resets) in [(&one, true), (&other, false)] {
        turn_while(&mut reactor, move || {
            let mut stream = call(address, &[&TLS13]);
            stream.write_all(b"hello").expect("it takes it");
            stream.read_exact(&mut [0; 5]).expect("it comes back");
            if resets {
                crate::common::reset(stream.sock);
            }
        });
        turn_until(&mut reactor, |_| record.is_lost());
        let told = match resets {
            true => matches!(record.reason(), Reason::Reset(_)),
            false => matches!(record.reason(), Reason::Truncated),
        };
        assert!(told, "{:?}", record.reason());
    }
}

#[test]
fn our_client_talks_to_our_server_over_loopback() {
    let mut reactor = Reactor::new().expect("a poller");
    let (here, there) = (Record::new(), Record::new());
    let address = serve(&mut reactor, server(), once(Probe::echo(&there)));
    let caller = Probe::new(&here).on_made(|transport| {
        transport.write(&pattern(0, 3 << 20));
        transport.lose_write_connection();
        Ok(())
    });
    reactor.connect_with(connecting(client()), address, once(caller)).forget();
    turn_until(&mut reactor, |_| here.is_lost() && there.is_lost());
    assert!(here.has(&Happened::ReadClosed));
    assert_same(there.data(), pattern(0, 3 << 20));
}

/// Connects, resets, half closes, pauses and reloads at random. `ROPEWALK_TLS_SECONDS=600` lets it
/// run for ten minutes, and prints what it found before and after.
#[test]
fn turmoil_leaks_neither_descriptors_nor_memory_nor_connections() {
    in_its_own_process(
        "loopback::turmoil_leaks_neither_descriptors_nor_memory_nor_connections",
        || {
            let seconds = std::env::var("ROPEWALK_TLS_SECONDS").ok().and_then(|it| it.parse().ok());
            turmoil(Duration::from_secs(seconds.unwrap_or(2)));
        },
    );
}

fn turmoil(time: Duration) {
    let mut reactor = Reactor::new().expect("a poller");
    let tls = server();
    let mut chance = Chance::new(7);
    let mut served = 0_u64;
    let count = std::rc::Rc::new(std::cell::Cell::new(0_u64));
    let counted = count.clone();
    let address = serve(&mut reactor, tls.clone(), move |_| {
        counted.set(counted.get() + 1);
        let mut chance = Chance::new(counted.get());
        Probe::new(&Record::new()).on_data(move |transport, data| {
            if chance.one_in(5) {
                transport.pause_reading();
                transport.call_later(Duration::from_millis(1), |_: &mut Probe, transport| {
                    transport.resume_reading();
                });
            }
            match chance.below(200) {
                0 => transport.abort_connection(),
                1 => return Err("a failure of the server's own".into()),
                2 => transport.lose_connection(),
                3 => transport.lose_write_connection(),
                _ => drop(transport.write(data)),
            }
            data.clear();
            Ok(())
        })
    });
    let began = std::time::Instant::now();
    let mut before = None;
    while began.elapsed() < time {
        let seed = chance.next();
        let versions: [&'static SupportedProtocolVersion; 1] =
            if chance.one_in(2) { [&TLS12] } else { [&TLS13] };
        turn_while(&mut reactor, move || storm(address, seed, &versions));
        if chance.one_in(3) {
            tls.reload().expect("good");
        }
        served += 1;
        turn_until(&mut reactor, |reactor| reactor.connection_count() == 0);
        let now = (descriptors(), reactor.timer_count(), resident());
        // What is allocated once is there after some rounds.
        if began.elapsed() > time / 4 && before.is_none() {
            before = Some(now);
        }
    }
    let before = before.expect("there were rounds");
    turn_until(&mut reactor, |reactor| reactor.connection_count() == 0);
    let after = (descriptors(), reactor.timer_count(), resident());
    println!(
        "{served} rounds, {} connections: (descriptors, timers, KiB) {before:?}, then {after:?}",
        count.get()
    );
    assert_eq!(before.0, after.0, "descriptors");
    assert_eq!(after.1, 0, "timers");
    assert!(after.2 < before.2 + 8 * 1024, "KiB: {} and then {}", before.2, after.2);
}

/// Ten clients, one after another, of which each does what chance says.
fn storm(address: SocketAddr, seed: u64, versions: &[&'static SupportedProtocolVersion]) {
    let mut chance = Chance::new(seed);
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let mut chance = Chance::new(chance.next());
            let versions = versions.to_vec();
            spawn(move || {
                let mut stream = call(address, &versions);
                if chance.one_in(6) {
                    return; // without a word
                }
                for _ in 0..chance.below(6) {
                    let data = pattern(0, 1 + chance.below(60_000) as usize);
                    if stream.write_all(&data).is_err() {
                        return;
                    }
                    let mut back = vec![0; data.len()];
                    if chance.one_in(8) || stream.read_exact(&mut back).is_err() {
                        break;
                    }
                }
                match chance.below(4) {
                    0 => crate::common::reset(stream.sock),
                    1 => {
                        stream.conn.send_close_notify();
                        let _ = stream.flush();
                        let _ = stream.sock.shutdown(std::net::Shutdown::Write);
                        let _ = std::io::copy(&mut stream, &mut std::io::sink());
                    }
                    2 => drop(stream.sock.shutdown(std::net::Shutdown::Write)),
                    _ => {}
                }
            })
        })
        .collect();
    for call in calls {
        call.join().expect("it gives up in order");
    }
}

/// KiB of memory that this process has.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
