//! What an error or a panic of users' code does: to its own connection, and to nothing else.

mod common;

use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::panic::resume_unwind;
use std::rc::Rc;
use std::time::Duration;

use common::{
    Happened, Probe, Record, SERVER, assert_same, dial, listen, logs, once, pattern, seeds, served,
    turn_until, turn_while,
};
use ropewalk_reactor::{
    Address, DatagramProtocol, DatagramTransport, Protocol, Reactor, Reason, Result, Simulation,
    Transport,
};

/// A panic that prints nothing on the terminal: it is as it should be.
fn quiet_panic(message: &'static str) -> ! {
    resume_unwind(Box::new(message))
}

/// Which callback fails.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Where {
    Made,
    Data,
    ReadClosed,
    Pause,
    Resume,
}

/// Writes its last words in the callback that is told, and fails there.
fn failing(record: &Record, at: Where, fail: fn() -> Result) -> Probe {
    let fails = move |here: Where, transport: &mut Transport<'_>| {
        if here != at {
            return Ok(());
        }
        transport.write(b"500 ");
        transport.write(b"sorry");
        fail()
    };
    Probe::new(record)
        .on_made(move |transport| fails(Where::Made, transport))
        .on_data(move |transport, data| {
            data.clear();
            fails(Where::Data, transport)
        })
        .on_read_closed(move |transport| fails(Where::ReadClosed, transport))
}

#[test]
fn an_error_from_any_callback_closes_that_connection_with_it_once_its_last_words_are_out() {
    logs::collect();
    for seed in seeds(50) {
        for at in [Where::Made, Where::Data, Where::ReadClosed] {
            logs::collect();
            let record = Record::new();
            let server = failing(&record, at, || Err("bad request".into()));
            let (mut simulation, mut peer) = served(Some(seed), server);
            peer.write(b"GET");
            simulation.run_for(Duration::from_secs(2));
            peer.shutdown();
            simulation.settle();
            assert_eq!(peer.read(), "500 sorry", "{at:?}");
            assert!(peer.is_ended() && !peer.was_reset());
            match record.reason() {
                Reason::Error(error) => assert_eq!(error.to_string(), "bad request"),
                reason => panic!("{at:?}: {reason:?}"),
            }
            assert_eq!(logs::count("bad request"), 1, "{:?}", logs::lines());
            assert_eq!(logs::count("tcp://127.0.0.1:"), 1, "{:?}", logs::lines());
            assert_eq!(simulation.reactor().connection_count(), 0);
            assert_eq!(simulation.reactor().timer_count(), 0);
        }
    }
}

#[test]
fn a_panic_in_any_callback_aborts_that_connection_and_the_next_peer_is_served() {
    for seed in seeds(50) {
        for at in [Where::Made, Where::Data, Where::ReadClosed, Where::Pause, Where::Resume] {
            logs::collect();
            let record = Record::new();
            let mut server = Some(
                failing(&record, at, || quiet_panic("oops"))
                    .on_pause(move |_| {
                        if at == Where::Pause {
                            quiet_panic("oops");
                        }
                    })
                    .on_resume(move |_| {
                        if at == Where::Resume {
                            quiet_panic("oops");
                        }
                    }),
            );
            if matches!(at, Where::Pause | Where::Resume) {
                server = server.map(|server| {
                    server.on_made(|transport| {
                        transport.write(&pattern(0, 300_000));
                        Ok(())
                    })
                });
            }
            let mut simulation = Simulation::new(seed);
            simulation.capacity(20_000);
            let echo = Record::new();
            let next = echo.clone();
            simulation
                .reactor()
                .listen(SERVER, move |_| server.take().unwrap_or_else(|| Probe::echo(&next)))
                .expect("a free address");
            let mut peer = simulation.dial(SERVER).expect("a good address");
            peer.write(b"x");
            simulation.run_for(Duration::from_secs(20));
            peer.shutdown();
            simulation.settle();
            assert!(
                matches!(record.reason(), Reason::Panic(message) if &*message == "oops"),
                "{at:?}: {:?}",
                record.reason()
            );
            assert!(peer.was_reset(), "{at:?}");
            assert_eq!(logs::count("panicked: oops"), 1, "{:?}", logs::lines());
            assert_eq!(logs::count("tcp://127.0.0.1:"), 1, "{:?}", logs::lines());

            let mut peer = simulation.dial(SERVER).expect("a good address");
            peer.write(b"hello");
            simulation.settle();
            assert_eq!(peer.read(), "hello");
        }
    }
}

#[test]
fn on_sockets_the_error_reply_arrives_and_the_next_peer_is_served() {
    let mut reactor = Reactor::new().expect("a poller");
    let mut first = true;
    let address = listen(&mut reactor, move |_: Address| match std::mem::take(&mut first) {
        true => failing(&Record::new(), Where::Data, || Err("bad request".into())),
        false => Probe::echo(&Record::new()),
    });
    turn_while(&mut reactor, move || {
        let mut client = dial(address);
        client.write_all(&[b'x'; 100_000]).expect("it is read or thrown away");
        let mut reply = String::new();
        client.read_to_string(&mut reply).expect("the end, not a reset");
        assert_eq!(reply, "500 sorry");
        let mut client = dial(address);
        client.write_all(b"hello").expect("room");
        let mut reply = [0; 5];
        client.read_exact(&mut reply).expect("the echo");
        assert_same(reply, b"hello");
    });
}

#[test]
fn an_error_or_panic_in_connection_made_leaves_no_half_made_connection() {
    for seed in seeds(50) {
        for fails in [true, false] {
            let record = Record::new();
            let server = Probe::new(&record).on_made(move |transport| {
                transport.call_later(Duration::from_secs(9), |_: &mut Probe, _| {});
                match fails {
                    true => Err("not you".into()),
                    false => quiet_panic("not you"),
                }
            });
            let (mut simulation, mut peer) = served(Some(seed), server);
            peer.write(b"hello");
            peer.shutdown();
            simulation.settle();
            assert_eq!(record.story().events, [Happened::Made, Happened::Lost]);
            assert_eq!(simulation.reactor().connection_count(), 0);
            assert_eq!(simulation.reactor().timer_count(), 0);
            drop(peer);
            assert_eq!(simulation.open_sockets(), 0);
        }
    }
}

#[test]
fn a_panic_in_connection_lost_a_free_timer_or_a_call_from_a_thread_is_logged_and_all_goes_on() {
    for seed in seeds(20) {
        logs::collect();
        let record = Record::new();
        let server = Probe::new(&record).on_lost(|_, _| quiet_panic("in connection_lost"));
        let (mut simulation, mut peer) = served(Some(seed), server);
        let witness = Record::new();
        let listening = simulation.reactor().listen("10.0.0.2:7", once(Probe::echo(&witness)));
        listening.expect("a free address");
        let mut other = simulation.dial("10.0.0.2:7").expect("a good address");
        simulation.settle();
        let reactor = simulation.reactor();
        reactor.call_later(Duration::ZERO, |_| quiet_panic("in a timer"));
        let calling = reactor.handle().call_from_thread(|_| quiet_panic("in a call"));
        calling.expect("the reactor lives");
        reactor.local().call_soon(|_| quiet_panic("in a deferred call"));
        reactor.before_shutdown(|_| -> () { quiet_panic("in a trigger") });
        peer.shutdown();
        other.write(b"alive");
        simulation.settle();
        assert_eq!(other.read(), "alive");
        assert!(record.is_lost());
        assert!(!witness.is_lost());
        for place in ["in connection_lost", "in a timer", "in a call", "in a deferred call"] {
            assert_eq!(logs::count(place), 1, "{place}: {:?}", logs::lines());
        }
        other.shutdown();
        simulation.reactor().stop();
        simulation.settle();
        assert_eq!(logs::count("in a trigger"), 1);
        assert!(witness.is_lost());
    }
}

#[test]
fn a_panic_in_a_connections_own_timer_or_in_with_protocol_loses_that_connection() {
    for seed in seeds(20) {
        for by_timer in [true, false] {
            let record = Record::new();
            let server = Probe::new(&record).on_made(move |transport| {
                if by_timer {
                    transport.call_later(Duration::from_secs(1), |_: &mut Probe, _| {
                        quiet_panic("oops");
                    });
                }
                Ok(())
            });
            let (mut simulation, peer) = served(Some(seed), server);
            simulation.settle();
            if !by_timer {
                let id = record.id();
                let reactor = simulation.reactor();
                let answer = reactor.with_protocol::<Probe, ()>(id, |_, _| quiet_panic("oops"));
                assert_eq!(answer, None);
                assert!(!record.is_lost());
                assert!(reactor.connection(id).is_none());
                simulation.settle();
            }
            assert!(matches!(record.reason(), Reason::Panic(_)), "{:?}", record.reason());
            assert!(peer.was_reset());
        }
    }
}

#[test]
fn a_factory_that_refuses_closes_the_peer_and_one_that_panics_keeps_its_port() {
    for seed in seeds(50) {
        logs::collect();
        let record = Record::new();
        let (served, mut calls) = (record.clone(), 0);
        let mut simulation = Simulation::new(seed);
        let listening = simulation.reactor().listen(SERVER, move |_: Address| {
            calls += 1;
            match calls {
                1 => None,
                2 => quiet_panic("no protocol today"),
                _ => Some(Probe::echo(&served)),
            }
        });
        listening.expect("a free address");
        for _ in 0..2 {
            let peer = simulation.dial(SERVER).expect("a good address");
            simulation.settle();
            assert!(peer.is_ended());
        }
        assert_eq!(logs::count("no protocol today"), 1, "{:?}", logs::lines());
        assert_eq!(simulation.reactor().connection_count(), 0);
        let mut peer = simulation.dial(SERVER).expect("a good address");
        peer.write(b"hello");
        simulation.settle();
        assert_eq!(peer.read(), "hello");
    }
}

#[test]
fn a_connection_that_is_refused_by_the_connecting_side_fails_the_deferred() {
    for seed in seeds(20) {
        let mut simulation = Simulation::new(seed);
        simulation.reactor().listen(SERVER, |_| Probe::default()).expect("a free address");
        let results = Rc::new(RefCell::new(Vec::new()));
        for panics in [false, true] {
            let heard = results.clone();
            let factory = move |_: Address| match panics {
                true => quiet_panic("no protocol today"),
                false => None::<Probe>,
            };
            simulation.reactor().connect(SERVER, factory).then(move |_, result| {
                heard.borrow_mut().push(result.expect_err("refused").to_string());
            });
        }
        simulation.settle();
        assert_eq!(results.borrow().len(), 2);
        assert_eq!(simulation.reactor().connection_count(), 0);
        assert_eq!(simulation.open_sockets(), 0);
    }
}

#[test]
fn what_cannot_listen_is_dropped_when_the_callback_has_returned() {
    /// Its `Drop` is user code, and looks at what the callback has borrowed.
    struct Looks(Rc<RefCell<usize>>);
    impl Drop for Looks {
        fn drop(&mut self) {
            *self.0.borrow_mut() += 1;
        }
    }
    struct Mute(#[expect(dead_code, reason = "only dropped")] Looks);
    impl DatagramProtocol for Mute {
        fn datagram_received(
            &mut self,
            _: &mut DatagramTransport<'_>,
            _: &[u8],
            _: Address,
        ) -> Result {
            Ok(())
        }
    }
    let mut simulation = Simulation::calm();
    let (record, dropped) = (Record::new(), Rc::new(RefCell::new(0)));
    let shared = dropped.clone();
    let probe = Probe::new(&record).on_made(move |transport| {
        let factory = || {
            let looks = Looks(shared.clone());
            move |_: Address| {
                let _ = &looks;
                Probe::default()
            }
        };
        let (one, other) = (factory(), factory());
        let (mute, another) = (Mute(Looks(shared.clone())), Mute(Looks(shared.clone())));
        let _borrowed = shared.borrow_mut();
        assert!(transport.listen(SERVER, one).is_err(), "it is in use");
        assert!(transport.listen("nonsense", other).is_err());
        assert!(transport.listen_datagram("10.0.0.1:9?mode=660", mute).is_err());
        assert!(transport.listen_datagram("tls://10.0.0.1:9", another).is_err());
        Ok(())
    });
    simulation.reactor().listen(SERVER, once(probe)).expect("a free address");
    let peer = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    assert!(!record.is_lost() && !peer.was_reset());
    assert_eq!(*dropped.borrow(), 4);
    // So it is for a change of a listener that is refused, in a timer's call.
    let (changes, refused) = (dropped.clone(), dropped.clone());
    simulation.reactor().call_later(Duration::ZERO, move |reactor| {
        let looks = Looks(changes.clone());
        let listener = reactor.listen("10.0.0.1:8", |_: Address| Probe::default());
        let listener = listener.expect("a free address");
        let factory = move |_: Address| {
            let _ = &looks;
            Probe::default()
        };
        let _borrowed = changes.borrow_mut();
        let changed = reactor.change_listener(listener, Default::default(), "nonsense", factory);
        assert!(changed.is_err());
    });
    simulation.settle();
    assert_eq!(*refused.borrow(), 5);
}

#[test]
fn an_error_after_a_close_is_the_reason_since_it_explains_more() {
    for seed in seeds(20) {
        let record = Record::new();
        let server = Probe::new(&record).on_data(|transport, data| {
            data.clear();
            transport.write(b"bye");
            transport.lose_connection();
            Err("on the way out".into())
        });
        let (mut simulation, mut peer) = served(Some(seed), server);
        peer.write(b"x");
        peer.shutdown();
        simulation.settle();
        assert_eq!(peer.read(), "bye");
        assert!(matches!(record.reason(), Reason::Error(_)), "{:?}", record.reason());
    }
}

/// Has something to say when it is dropped.
struct Noisy(Rc<Cell<u32>>);

impl Drop for Noisy {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
        quiet_panic("in a drop");
    }
}

impl Protocol for Noisy {
    fn data_received(&mut self, _: &mut Transport<'_>, data: &mut bytes::BytesMut) -> Result {
        data.clear();
        Ok(())
    }
}

#[test]
fn a_protocol_that_panics_when_it_is_dropped_disturbs_nobody() {
    logs::collect();
    let drops = Rc::new(Cell::new(0));
    let noisy = drops.clone();
    let mut reactor = Reactor::new().expect("a poller");
    let address = listen(&mut reactor, move |_: Address| Noisy(noisy.clone()));
    drop(dial(address));
    drop(dial(address));
    turn_until(&mut reactor, |_| drops.get() == 2);
    assert_eq!(logs::count("in a drop"), 2);
    assert_eq!(reactor.connection_count(), 0);
}
