//! Files over TLS: read a record's worth after the other, and sealed in their place.

use std::io::ErrorKind;
use std::sync::Arc;

use ropewalk_reactor::{Reason, Simulation, Written};

use crate::common::{Probe, Record, assert_same, file_of, logs, once, pattern, seeds};
use crate::support::*;

/// A client of ours that only reads, of a server that does as the test says.
fn serve(simulation: &mut Simulation, here: &Record, server_side: Probe) {
    listen(simulation.reactor(), server(), once(server_side));
    let options = connecting(client());
    simulation.reactor().connect_with(options, SERVER, once(Probe::new(here))).forget();
}

#[test]
fn files_arrive_in_order_with_what_was_written_before_and_behind_them() {
    for seed in seeds(50) {
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let server_side = Probe::new(&there).on_made(|transport| {
            // Before the handshake is done.
            let file = Arc::new(file_of(300_000));
            transport.write(b"head");
            let written = transport.write_file(file.clone(), 1000, 200_000);
            assert_eq!(written, Written::AboveHighWater);
            transport.write(b"middle");
            transport.write_file(file.clone(), 5, 20);
            transport.write_file(file, 0, 300_000);
            transport.write(b"end");
            transport.lose_connection();
            Ok(())
        });
        serve(&mut simulation, &here, server_side);
        soon(&mut simulation, || here.is_lost());
        let all = [
            b"head".to_vec(),
            pattern(1000, 200_000),
            b"middle".to_vec(),
            pattern(5, 20),
            pattern(0, 300_000),
            b"end".to_vec(),
        ];
        assert_same(here.data(), all.concat());
        assert!(here.reason().is_orderly(), "seed {seed}: {:?}", here.reason());
    }
}

#[test]
fn a_file_before_start_tls_goes_in_the_clear_and_one_behind_it_does_not() {
    const CLEAR: usize = 100_000;
    for seed in seeds(50) {
        let here = Record::new();
        let mut simulation = simulation(seed);
        let server_side = Probe::new(&Record::new()).on_made(|transport| {
            let file = Arc::new(file_of(300_000));
            transport.write_file(file.clone(), 0, CLEAR as u64);
            transport.start_tls(&server())?;
            transport.write_file(file, 100_000, 200_000);
            transport.lose_connection();
            Ok(())
        });
        let tls = client();
        let client_side = Probe::new(&here).on_data(move |transport, data| {
            if transport.tls().is_some() {
                data.clear();
            } else if data.len() >= CLEAR {
                assert_same(data.split_to(CLEAR), pattern(0, CLEAR));
                transport.start_tls(tls.to(NAME)?)?;
            }
            Ok(())
        });
        simulation.reactor().listen(SERVER, once(server_side)).expect("a free address");
        simulation.reactor().connect(SERVER, once(client_side)).forget();
        soon(&mut simulation, || here.data().len() >= 300_000 || here.is_lost());
        assert_same(here.data(), pattern(0, 300_000));
    }
}

#[test]
fn a_file_that_has_shrunk_ends_the_connection_without_a_goodbye() {
    for seed in seeds(20) {
        logs::collect();
        let (here, there) = (Record::new(), Record::new());
        let mut simulation = simulation(seed);
        let server_side = Probe::new(&there).on_made(|transport| {
            let file = Arc::new(file_of(300_000));
            transport.write_file(file.clone(), 0, 300_000);
            transport.lose_connection();
            file.set_len(100_000).expect("it is ours");
            Ok(())
        });
        serve(&mut simulation, &here, server_side);
        soon(&mut simulation, || here.is_lost() && there.is_lost());
        let Reason::File(failure) = there.reason() else { panic!("{:?}", there.reason()) };
        assert_eq!(failure.kind(), ErrorKind::UnexpectedEof);
        assert_eq!(logs::count("the file ends 200000 bytes before"), 1, "{:?}", logs::lines());
        assert!(matches!(here.reason(), Reason::Reset(_)), "seed {seed}: {:?}", here.reason());
        assert_same(here.data(), &pattern(0, 300_000)[..here.data().len()]);
    }
}
