//! What is promised of protocols that are async functions.

mod common;

use std::cell::{Cell, RefCell};
use std::future::{Future as _, poll_fn};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use common::{
    Chance, Happened, Probe, Record, SERVER, assert_same, dial, dialled, listen, logs, once,
    pattern, reset, seeds, spawn, turn_until, turn_while,
};
use ropewalk_reactor::simulation::Peer;
use ropewalk_reactor::{
    AsyncFactory, AsyncStream, AsyncWriter, ConnectOptions, ConnectionOptions, Either, Error,
    Reactor, Reason, Result, Simulation, Written, async_protocol, either,
};

const SECOND: Duration = Duration::from_secs(1);

async fn echo(mut stream: AsyncStream) -> Result {
    while let Some(data) = stream.read().await? {
        stream.write(&data);
        stream.drain().await?;
    }
    Ok(())
}

/// A simulation that serves with `factory`, and a peer that dialled it.
fn served(seed: Option<u64>, factory: AsyncFactory) -> (Simulation, Peer) {
    dialled(seed, ConnectionOptions::default(), factory)
}

/// Where a test's function leaves what it saw.
type Seen<T> = Rc<RefCell<Vec<T>>>;

/// Serves one function that tells what it saw.
fn telling<T: 'static, O: Future<Output = Result> + 'static>(
    function: impl Fn(AsyncStream, Seen<T>) -> O + 'static,
) -> (AsyncFactory, Seen<T>) {
    let seen: Seen<T> = Rc::default();
    let told = seen.clone();
    (async_protocol(move |stream| function(stream, told.clone())), seen)
}

// Reading and writing.

#[test]
fn an_echo_gives_back_every_byte_and_the_end() {
    for seed in seeds(300) {
        let (mut simulation, mut peer) = served(Some(seed), async_protocol(echo));
        let sent = pattern(0, Chance::new(seed).below(5_000) as usize);
        peer.write(&sent);
        peer.shutdown();
        simulation.settle();
        assert_same(peer.read(), &sent);
        assert!(peer.is_ended(), "seed {seed}");
        assert!(!peer.was_reset(), "seed {seed}");
        assert_eq!(simulation.reactor().connection_count(), 0);
        assert_eq!(simulation.reactor().timer_count(), 0);
    }
}

#[test]
fn an_echo_on_real_sockets_gives_back_every_byte_and_the_end() {
    let mut reactor = Reactor::new().expect("a poller");
    let address = listen(&mut reactor, async_protocol(echo));
    let sent = pattern(0, 8_000_000);
    let expected = sent.clone();
    let back = turn_while(&mut reactor, move || {
        let mut client = dial(address);
        let mut writing = client.try_clone().expect("a socket");
        let writing = spawn(move || {
            writing.write_all(&sent).expect("room");
            writing.shutdown(Shutdown::Write).expect("open");
        });
        let mut back = Vec::new();
        client.read_to_end(&mut back).expect("no reset");
        writing.join().expect("all is written");
        back
    });
    assert_same(back, expected);
}

/// What the parts of a stream are read as, whatever pieces they come in.
#[test]
fn exact_counts_delimiters_and_lines_are_found_however_the_stream_was_cut() {
    async fn parts(mut stream: AsyncStream, seen: Seen<Vec<u8>>) -> Result {
        let tell = |part: Option<bytes::BytesMut>| {
            seen.borrow_mut().push(part.map_or(b"the end".to_vec(), |part| part.to_vec()));
        };
        tell(stream.read_exact(4).await?);
        tell(stream.read_until(b"||", 100).await?);
        tell(stream.read_line(5).await?);
        tell(stream.read_line(5).await?);
        tell(stream.read_exact(0).await?);
        tell(stream.read_exact(1).await?);
        tell(stream.read_line(5).await?);
        tell(stream.read().await?);
        Ok(())
    }
    for seed in seeds(300) {
        let (factory, seen) = telling(parts);
        let (mut simulation, mut peer) = served(Some(seed), factory);
        peer.write(b"headone|two||12345\r\n\n!");
        peer.shutdown();
        simulation.settle();
        let expected: [&[u8]; 8] =
            [b"head", b"one|two||", b"12345", b"", b"", b"!", b"the end", b"the end"];
        assert_eq!(*seen.borrow(), expected, "seed {seed}");
    }
}

#[test]
fn a_part_that_is_cut_off_or_too_long_is_an_error_and_what_there_is_can_still_be_read() {
    async fn parts(mut stream: AsyncStream, seen: Seen<String>) -> Result {
        let tell = |said: String| seen.borrow_mut().push(said);
        tell(stream.read_line(3).await.expect_err("too long").to_string());
        tell(format!("{:?}", stream.read_exact(5).await?));
        tell(stream.read_line(100).await.expect_err("half a line").to_string());
        tell(stream.read_exact(4).await.expect_err("half of it").to_string());
        tell(format!("{:?}", stream.read_to_end(3).await?));
        tell(format!("{:?}", stream.read_to_end(3).await?));
        Ok(())
    }
    let (factory, seen) = telling(parts);
    let (mut simulation, mut peer) = served(None, factory);
    peer.write(b"1234\nend");
    peer.shutdown();
    simulation.settle();
    let expected = [
        "more than 3 bytes made no whole message",
        "Some(b\"1234\\n\")",
        "the peer closed in the middle of a message",
        "the peer closed in the middle of a message",
        "b\"end\"",
        "b\"\"",
    ];
    assert_eq!(*seen.borrow(), expected);
}

#[test]
fn a_read_that_was_given_up_has_taken_nothing() {
    async fn impatient(mut stream: AsyncStream) -> Result {
        let local = stream.local();
        let mut given_up = 0;
        loop {
            match local.timeout(Duration::from_millis(1), stream.read_exact(10)).await {
                Err(_) => given_up += 1,
                Ok(ten) => {
                    let Some(ten) = ten? else { break };
                    stream.write(&ten);
                }
            }
        }
        stream.write(if given_up > 0 { b"!" } else { b"?" });
        Ok(())
    }
    for seed in seeds(100) {
        let (mut simulation, mut peer) = served(Some(seed), async_protocol(impatient));
        let sent = pattern(0, 1_000);
        for part in sent.chunks(7) {
            peer.write(part);
            simulation.run_for(Duration::from_millis(2));
        }
        peer.shutdown();
        simulation.settle();
        assert_same(peer.read(), [&sent[..], b"!"].concat());
    }
}

#[test]
fn what_is_unread_pauses_reading_and_nothing_is_lost() {
    let stories = seeds(100).map(|seed| (Some(seed), 5_000)).chain([(None, 500_000)]);
    for (seed, length) in stories {
        let (factory, seen) =
            telling(move |mut stream: AsyncStream, seen: Seen<usize>| async move {
                let local = stream.local();
                local.sleep(3 * SECOND).await?;
                let mut all = Vec::new();
                while let Some(data) = stream.read().await? {
                    seen.borrow_mut().push(data.len());
                    all.extend_from_slice(&data);
                    local.sleep(Duration::from_millis(10)).await?;
                }
                assert_same(&all, pattern(0, length));
                Ok(())
            });
        let (mut simulation, mut peer) = served(seed, factory.read_mark(1_000));
        peer.write(&pattern(0, length));
        peer.shutdown();
        simulation.settle();
        let seen = seen.borrow();
        assert_eq!(seen.iter().sum::<usize>(), length, "{seed:?}");
        assert!(seen.iter().all(|&count| count < 1_000 + 64 * 1024), "{seed:?}: {seen:?}");
    }
}

#[test]
fn a_function_that_does_not_read_holds_its_peer_back_on_real_sockets() {
    let mut reactor = Reactor::new().expect("a poller");
    let go = Rc::new(Cell::new(false));
    let gone = go.clone();
    let address = listen(
        &mut reactor,
        async_protocol(move |mut stream| {
            let go = go.clone();
            async move {
                while !go.get() {
                    stream.local().sleep(Duration::from_millis(1)).await?;
                }
                let mut count = 0;
                while let Some(data) = stream.read().await? {
                    count += data.len();
                }
                stream.write(count.to_string());
                Ok(())
            }
        }),
    );
    let mut client = dial(address);
    client.set_nonblocking(true).expect("a socket");
    let mut written = 0;
    // Until nothing has moved for so long that nothing can be under way.
    let mut still = 0;
    turn_until(&mut reactor, |_| {
        match client.write(&[7; 65536]) {
            Ok(count) => (written, still) = (written + count, 0),
            Err(_) => still += 1,
        }
        still > 40
    });
    gone.set(true);
    client.set_nonblocking(false).expect("a socket");
    let said = turn_while(&mut reactor, move || {
        client.shutdown(Shutdown::Write).expect("open");
        let mut said = String::new();
        client.read_to_string(&mut said).expect("the count");
        said
    });
    assert_eq!(said, written.to_string());
}

#[test]
fn drain_waits_while_the_peer_does_not_read_so_what_is_buffered_stays_bounded() {
    let options = ConnectionOptions::default().high_water_mark(1_000).low_water_mark(100);
    let (factory, seen) = telling(|stream: AsyncStream, seen: Seen<usize>| async move {
        for part in 0..100 {
            stream.write(pattern(part * 700, 700));
            stream.drain().await?;
            let buffered = stream.with(|transport| transport.buffered()).await?;
            seen.borrow_mut().push(buffered);
        }
        Ok(())
    });
    for seed in seeds(50) {
        seen.borrow_mut().clear();
        let (mut simulation, mut peer) = dialled(Some(seed), options.clone(), factory.clone());
        peer.stop_reading();
        simulation.run_for(7200 * SECOND);
        let before = seen.borrow().len();
        assert!(before < 100, "seed {seed}: it did not wait");
        simulation.run_for(60 * SECOND); // (the network itself holds up to 64 KiB)
        assert_eq!(seen.borrow().len(), before, "seed {seed}");
        peer.resume_reading();
        // The slowest network takes more than an hour for that.
        simulation.settle();
        simulation.settle();
        assert_same(peer.read(), pattern(0, 70_000));
        assert!(seen.borrow().iter().all(|&buffered| buffered <= 1_700), "seed {seed}");
    }
}

#[test]
fn a_write_says_what_became_of_it() {
    let (factory, seen) = telling(|stream: AsyncStream, seen: Seen<Written>| async move {
        let tell = |written| seen.borrow_mut().push(written);
        tell(stream.write(b"small"));
        tell(stream.write_bytes(Bytes::from(vec![7; 100_000])));
        tell(stream.writability());
        stream.drain().await?;
        tell(stream.writability());
        stream.lose_write_connection();
        tell(stream.write(b"too late"));
        assert!(matches!(stream.drain().await, Err(Error::Lost(_))));
        Ok(())
    });
    let (mut simulation, mut peer) = served(None, factory);
    simulation.settle();
    assert_eq!(peer.read().len(), 100_005);
    use Written::{AboveHighWater, Gone, Taken};
    assert_eq!(*seen.borrow(), [Taken, AboveHighWater, AboveHighWater, Taken, Gone]);
}

#[test]
fn an_answer_leaves_in_the_turn_in_which_its_question_came() {
    let mut simulation = Simulation::calm();
    simulation.reactor().listen(SERVER, async_protocol(echo)).expect("a free address");
    let mut peer = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    peer.write(b"ping");
    let mut turns = 0;
    let began = simulation.elapsed();
    while peer.read().is_empty() {
        simulation.step();
        turns += 1;
        assert!(turns < 20, "it never came");
    }
    // A turn costs a microsecond, and the calm network nothing: the clock has counted the turns.
    let turns = (simulation.elapsed() - began).as_micros();
    assert_eq!(turns, 1, "{turns} turns");
}

// Its end.

#[test]
fn the_end_of_the_function_closes_when_all_is_flushed() {
    for seed in seeds(100) {
        let factory = async_protocol(|stream: AsyncStream| async move {
            stream.write(pattern(0, 3_000));
            Ok(())
        });
        let (mut simulation, mut peer) = served(Some(seed), factory);
        peer.write(b"nobody reads this");
        simulation.settle();
        assert_same(peer.read(), pattern(0, 3_000));
        assert!(peer.is_ended() && !peer.was_reset(), "seed {seed}");
    }
}

#[test]
fn an_error_is_the_reason_after_what_was_written_is_flushed_and_is_logged_once() {
    logs::collect();
    let (factory, seen) = telling(|mut stream: AsyncStream, seen: Seen<AsyncWriter>| async move {
        seen.borrow_mut().push(stream.writer());
        stream.read().await?;
        stream.write(b"500 sorry\r\n");
        Err("out of ideas".into())
    });
    let (mut simulation, mut peer) = served(None, factory);
    peer.write(b"hello");
    simulation.settle();
    assert_eq!(peer.read(), "500 sorry\r\n");
    assert!(peer.is_ended() && !peer.was_reset());
    let reason = seen.borrow()[0].reason();
    assert!(matches!(&reason, Some(Reason::Error(_))), "{reason:?}");
    assert_eq!(logs::count("out of ideas"), 1);
    assert_eq!(simulation.reactor().timer_count(), 0);
}

#[test]
fn a_panic_aborts_the_connection_and_nobody_else_is_disturbed() {
    logs::collect();
    let (factory, seen) = telling(|mut stream: AsyncStream, seen: Seen<AsyncWriter>| async move {
        seen.borrow_mut().push(stream.writer());
        while let Some(line) = stream.read_line(100).await? {
            stream.write(&line);
            assert!(line != "panic"[..], "on purpose");
        }
        Ok(())
    });
    let (mut simulation, mut peer) = served(None, factory);
    let mut other = simulation.dial(SERVER).expect("a good address");
    simulation.settle();
    peer.write(b"panic\n");
    simulation.settle();
    assert!(peer.was_reset());
    let reason = seen.borrow()[0].reason();
    assert!(matches!(&reason, Some(Reason::Panic(message)) if message.contains("on purpose")));
    other.write(b"still there\n");
    simulation.settle();
    assert_eq!(other.read(), "still there");
}

#[test]
fn reading_gives_what_came_before_a_loss_and_then_the_error() {
    let (factory, seen) = telling(|mut stream: AsyncStream, seen: Seen<String>| async move {
        stream.local().sleep(SECOND).await?;
        let data = stream.read().await;
        seen.borrow_mut().push(format!("{data:?}"));
        let lost = stream.read().await.expect_err("it is lost");
        seen.borrow_mut().push(lost.to_string());
        assert_eq!(stream.write(b"nobody"), Written::Gone);
        assert!(matches!(stream.drain().await, Err(Error::Lost(_))));
        assert!(matches!(stream.with(|_| ()).await, Err(Error::Gone)));
        let reason = stream.lost().await;
        assert!(matches!(reason, Reason::Reset(_)), "{reason:?}");
        assert_eq!(stream.peer().to_string().split(':').next(), Some("tcp"));
        Err(lost.into()) // of a connection that is lost already: no news
    });
    logs::collect();
    let (mut simulation, mut peer) = served(None, factory);
    peer.write(b"last words");
    simulation.run_for(SECOND / 2);
    peer.reset();
    simulation.settle();
    let seen = seen.borrow();
    assert_eq!(seen[0], "Ok(Some(b\"last words\"))");
    assert!(seen[1].starts_with("the connection was lost: reset by the peer"), "{}", seen[1]);
    assert_eq!(logs::lines(), Vec::<String>::new());
    assert_eq!(simulation.reactor().timer_count(), 0, "what would have dropped it is cancelled");
}

#[test]
fn a_function_that_never_looks_is_dropped_some_time_after_the_loss() {
    struct Dropped(Rc<Cell<bool>>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }
    logs::collect();
    let dropped = Rc::new(Cell::new(false));
    let told = dropped.clone();
    let factory = async_protocol(move |stream: AsyncStream| {
        let guard = Dropped(told.clone());
        async move {
            let _guard = guard;
            stream.local().sleep(3600 * SECOND).await?;
            Ok(())
        }
    });
    let (mut simulation, mut peer) = served(None, factory.grace(5 * SECOND));
    simulation.run_for(SECOND);
    peer.reset();
    simulation.run_for(4 * SECOND);
    assert!(!dropped.get(), "it may finish what it was in the middle of");
    simulation.run_for(2 * SECOND);
    assert!(dropped.get());
    assert_eq!(logs::count("its function was dropped before its end"), 1);
    assert_eq!(simulation.reactor().timer_count(), 0);
}

#[test]
fn whatever_else_a_function_waits_for_can_end_with_the_connection() {
    let (factory, seen) = telling(|stream: AsyncStream, seen: Seen<Reason>| async move {
        let long = stream.local().sleep(3600 * SECOND);
        match either(stream.lost(), long).await {
            Either::Left(reason) => seen.borrow_mut().push(reason),
            Either::Right(_) => panic!("an hour has passed"),
        }
        Ok(())
    });
    let (mut simulation, mut peer) = served(None, factory);
    simulation.run_for(SECOND);
    peer.reset();
    simulation.run_for(SECOND);
    assert!(matches!(seen.borrow()[..], [Reason::Reset(_)]));
    assert_eq!(simulation.reactor().timer_count(), 0);
}

#[test]
fn the_peers_half_close_is_no_loss() {
    let factory = async_protocol(|mut stream: AsyncStream| async move {
        let question = stream.read_to_end(100).await?;
        stream.local().sleep(SECOND).await?;
        stream.write([&question[..], b" answered"].concat());
        Ok(())
    });
    for seed in seeds(50) {
        let (mut simulation, mut peer) = served(Some(seed), factory.clone());
        peer.write(b"question");
        peer.shutdown();
        simulation.settle();
        assert_eq!(peer.read(), "question answered", "seed {seed}");
    }
}

#[test]
fn a_stop_flushes_and_lets_functions_come_to_their_end() {
    let ended = Rc::new(Cell::new(false));
    let told = ended.clone();
    let factory = async_protocol(move |mut stream: AsyncStream| {
        let told = told.clone();
        async move {
            stream.write(pattern(0, 100_000));
            while let Ok(Some(_)) = stream.read().await {}
            assert!(matches!(stream.lost().await, Reason::Stopped));
            stream.local().sleep(SECOND).await?; // what there is to put away
            told.set(true);
            Ok(())
        }
    });
    let (mut simulation, mut peer) = served(None, factory);
    simulation.run_until(|simulation| simulation.reactor().connection_count() > 0);
    simulation.step();
    let (at_the_end, seen) = (Rc::new(Cell::new(false)), ended.clone());
    let told = at_the_end.clone();
    simulation.reactor().after_shutdown(move |_| told.set(seen.get()));
    simulation.reactor().stop();
    simulation.settle();
    assert_same(peer.read(), pattern(0, 100_000));
    assert!(at_the_end.get(), "the stop has waited for it");
    assert!(simulation.elapsed() < 5 * SECOND);
}

#[test]
fn a_stop_does_not_wait_for_ever_for_a_function_that_never_looks() {
    let factory = async_protocol(|stream: AsyncStream| async move {
        stream.local().sleep(3600 * SECOND).await?;
        Ok(())
    });
    let (mut simulation, _peer) = served(None, factory);
    simulation.run_for(SECOND);
    let stopped = Rc::new(Cell::new(None));
    let told = stopped.clone();
    simulation.reactor().after_shutdown(move |reactor| told.set(Some(reactor.now())));
    let began = simulation.reactor().now();
    simulation.reactor().stop();
    simulation.run_for(20 * SECOND);
    let took = stopped.get().expect("it has stopped") - began;
    assert!(took >= 9 * SECOND && took < 12 * SECOND, "{took:?}");
}

#[test]
fn a_reactor_that_is_dropped_drops_its_functions() {
    let inside = Rc::new(());
    let held = inside.clone();
    let mut reactor = Reactor::new().expect("a poller");
    let address = listen(
        &mut reactor,
        async_protocol(move |mut stream| {
            let held = held.clone();
            async move {
                let _held = held;
                stream.read().await?;
                Ok(())
            }
        }),
    );
    let _client = dial(address);
    turn_until(&mut reactor, |reactor| reactor.connection_count() == 1);
    reactor.turn(Some(Duration::ZERO)).expect("it begins");
    assert_eq!(Rc::strong_count(&inside), 3);
    drop(reactor);
    assert_eq!(Rc::strong_count(&inside), 1);
}

// Connecting, and other hands.

#[test]
fn a_future_connects_talks_and_closes() {
    for seed in seeds(100) {
        let mut simulation = Simulation::new(seed);
        let server = Record::new();
        let protocol = Probe::echo(&server);
        simulation.reactor().listen(SERVER, once(protocol)).expect("a free address");
        let client = simulation.add_reactor();
        let local = simulation.reactor_at(client).local();
        let answer = Rc::new(RefCell::new(Vec::new()));
        let told = answer.clone();
        let talk = async move {
            let mut stream = AsyncStream::connect(&local, SERVER).await?;
            stream.write(b"one\ntwo\n");
            for _ in 0..2 {
                let line = stream.read_line(100).await?.expect("a line");
                told.borrow_mut().push(line);
            }
            Ok::<_, Error>(())
        };
        simulation.reactor_at(client).spawn(talk).forget();
        simulation.settle();
        assert_eq!(*answer.borrow(), ["one", "two"], "seed {seed}");
        assert!(matches!(server.reason(), Reason::Done), "seed {seed}");
        assert!(server.has(&Happened::ReadClosed));
        assert_eq!(simulation.open_sockets(), 0);
    }
}

#[test]
fn a_connect_that_fails_or_is_given_up_leaves_nothing_behind() {
    let mut simulation = Simulation::calm();
    let local = simulation.reactor().local();
    let failed = Rc::new(RefCell::new(Vec::new()));
    let told = failed.clone();
    let trying = async move {
        let refused = AsyncStream::connect(&local, "10.9.9.9:1").await;
        told.borrow_mut().push(refused.expect_err("nobody listens").to_string());
        let bad = AsyncStream::connect(&local, "nonsense").await;
        told.borrow_mut().push(bad.expect_err("no address").to_string());
        let options = ConnectOptions::default();
        let slow = AsyncStream::connect_with(&local, options, "10.0.0.1:7");
        let late = local.timeout(Duration::from_nanos(1), slow).await;
        told.borrow_mut().push(late.map(|_| ()).expect_err("too soon").to_string());
    };
    simulation.reactor().spawn(trying).forget();
    let silent = |_| Probe::new(&Record::new());
    simulation.add_reactor();
    simulation.reactor_at(1).listen(SERVER, silent).expect("a free address");
    simulation.settle();
    let failed = failed.borrow();
    assert!(failed[0].starts_with("cannot connect to tcp://10.9.9.9:1"), "{failed:?}");
    assert!(failed[1].starts_with("bad address"), "{failed:?}");
    assert_eq!(failed[2], "timed out");
    assert_eq!(simulation.open_sockets(), 0);
    assert_eq!(simulation.reactor().connection_count(), 0);
}

#[test]
fn others_write_through_a_writer_and_it_keeps_nothing_open() {
    let (factory, seen) = telling(|mut stream: AsyncStream, seen: Seen<AsyncWriter>| async move {
        seen.borrow_mut().push(stream.writer());
        stream.read().await?;
        Ok(())
    });
    let (mut simulation, mut peer) = served(None, factory);
    simulation.settle();
    let writer = seen.borrow()[0].clone();
    writer.write(b"from outside");
    simulation.settle();
    assert_eq!(peer.read(), "from outside");
    peer.write(b"go");
    simulation.settle();
    assert!(peer.is_ended());
    assert_eq!(writer.write(b"nobody"), Written::Gone);
    assert!(writer.reason().is_some());
}

#[test]
fn a_write_wakes_nobody_who_does_not_wait_for_room() {
    let (factory, seen) = telling(|mut stream: AsyncStream, seen: Seen<AsyncWriter>| async move {
        seen.borrow_mut().push(stream.writer());
        stream.read().await?;
        Ok(())
    });
    let (mut simulation, mut peer) = served(None, factory);
    simulation.settle();
    let writer = seen.borrow()[0].clone();
    let polls = Rc::new(Cell::new(0));
    let (counted, mut lost) = (polls.clone(), Box::pin(writer.lost()));
    let waiting = poll_fn(move |context| {
        counted.set(counted.get() + 1);
        lost.as_mut().poll(context)
    });
    simulation.reactor().spawn(waiting).forget();
    for _ in 0..50 {
        writer.write(b"x");
        simulation.settle();
    }
    assert_eq!(polls.get(), 1, "it only waits for the loss");
    assert_eq!(peer.read().len(), 50);
    // Whoever waits for room, since more than the mark is queued in a turn, is woken.
    let drained = Rc::new(Cell::new(false));
    let done = drained.clone();
    let full = writer.clone();
    let waiting = async move {
        full.write(vec![7; 100_000]);
        full.drain().await.expect("it is open");
        done.set(true);
    };
    simulation.reactor().spawn(waiting).forget();
    simulation.settle();
    assert!(drained.get());
    peer.reset();
    simulation.settle();
    assert!(polls.get() > 1, "now it is lost");
}

#[test]
fn giving_up_waiting_leaves_no_waker_behind_and_a_replay_is_the_same() {
    let story = |seed| {
        let (factory, seen) = telling(|mut stream: AsyncStream, seen: Seen<String>| async move {
            loop {
                let nap = stream.local().sleep(Duration::from_millis(3));
                let lost = stream.lost();
                match either(either(lost, nap), stream.read_line(100)).await {
                    Either::Left(Either::Left(reason)) => {
                        seen.borrow_mut().push(reason.to_string());
                        return Ok(());
                    }
                    Either::Left(Either::Right(_)) => seen.borrow_mut().push("nap".to_owned()),
                    Either::Right(line) => {
                        let Some(line) = line? else { return Ok(()) };
                        seen.borrow_mut().push(String::from_utf8_lossy(&line).into_owned());
                    }
                }
            }
        });
        let (mut simulation, mut peer) = served(Some(seed), factory);
        for number in 0..20 {
            peer.write(format!("line {number}\n").as_bytes());
            simulation.run_for(Duration::from_millis(5));
        }
        peer.reset();
        simulation.settle();
        (seen.take(), simulation.elapsed())
    };
    for seed in seeds(50) {
        assert_eq!(story(seed), story(seed));
    }
}

#[test]
fn a_reset_on_a_real_socket_reaches_who_reads() {
    let mut reactor = Reactor::new().expect("a poller");
    let (factory, seen) = telling(|mut stream: AsyncStream, seen: Seen<Error>| async move {
        stream.write(b"hello");
        let lost = stream.read().await.expect_err("a reset");
        seen.borrow_mut().push(lost);
        Ok(())
    });
    let address = listen(&mut reactor, factory);
    let mut client = dial(address);
    turn_until(&mut reactor, |reactor| reactor.connection_count() == 1);
    turn_while(&mut reactor, move || {
        client.read_exact(&mut [0; 5]).expect("hello");
        reset(client);
    });
    turn_until(&mut reactor, |_| !seen.borrow().is_empty());
    assert!(matches!(&seen.borrow()[..], [Error::Lost(reason)] if reason.contains("reset")));
}
