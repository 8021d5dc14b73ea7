//! What is promised of policies: silence ends, rates hold exactly, and nobody gets in who is one too
//! many.

mod common;

use std::cell::RefCell;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{
    Chance, Happened, Probe, Record, SERVER, assert_same, logs, once, pattern, seeds, turn_until,
};
use ropewalk_reactor::simulation::Peer;
use ropewalk_reactor::{
    Address, ConnectOptions, ConnectionOptions, Factory, ListenOptions, Policy, Rate, Reactor,
    Reason, Simulation, TrafficLog, Transport, WhenFull,
};

const SECOND: Duration = Duration::from_secs(1);
/// What a slow turn of a simulation costs at most, and some turns one after the other.
const SLACK: Duration = Duration::from_millis(300);

fn listen(simulation: &mut Simulation, policy: &Policy, factory: impl Factory) {
    listen_at(simulation, SERVER, policy, factory);
}

fn listen_at(simulation: &mut Simulation, address: &str, policy: &Policy, factory: impl Factory) {
    let options = ListenOptions::default().policy(policy.clone());
    simulation.reactor().listen_with(options, address, factory).expect("a free address");
}

fn dial(simulation: &mut Simulation) -> Peer {
    simulation.dial(SERVER).expect("a good address")
}

/// A probe for each connection, and what they record.
fn probes(records: &Rc<RefCell<Vec<Record>>>) -> impl FnMut(Address) -> Probe + use<> {
    let records = records.clone();
    move |_| {
        let record = Record::new();
        records.borrow_mut().push(record.clone());
        Probe::new(&record)
    }
}

fn refused_ones(peers: &[Peer]) -> usize {
    peers.iter().filter(|peer| peer.is_ended()).count()
}

// Time.

#[test]
fn an_idle_connection_is_closed_so_long_after_its_last_byte_and_no_sooner() {
    for seed in seeds(1000) {
        let mut chance = Chance::new(seed);
        let mut simulation = Simulation::new(seed);
        let limit = Duration::from_millis(2000 + chance.below(10_000));
        let policy = Policy::new().idle_timeout(limit);
        let record = Record::new();
        let last = Rc::new(RefCell::new(None));
        let (heard, lost) = (last.clone(), last.clone());
        let probe = Probe::new(&record)
            .on_data(move |transport, data| {
                *heard.borrow_mut() = Some(transport.now());
                data.clear();
                Ok(())
            })
            .on_lost(move |transport, _| {
                let silence = lost.borrow().map(|heard| transport.now().duration_since(heard));
                let silence = silence.expect("it heard something");
                assert!(silence >= limit, "seed {seed}: {silence:?} of {limit:?}");
                assert!(silence < limit + SLACK, "seed {seed}: {silence:?} of {limit:?}");
            });
        listen(&mut simulation, &policy, once(probe));
        let mut peer = dial(&mut simulation);
        for _ in 0..chance.below(10) + 1 {
            peer.write(b"x");
            simulation.run_for(Duration::from_millis(chance.below(1500)));
            // (Its own, and none more for the bytes that came.)
            assert!(simulation.reactor().timer_count() <= 1, "seed {seed}");
            assert!(!record.is_lost(), "seed {seed}");
        }
        simulation.run_until(|_| record.is_lost());
        let reason = record.reason();
        assert!(matches!(reason, Reason::IdleTimeout(of) if of == limit), "seed {seed}: {reason}");
        peer.shutdown();
        simulation.settle();
        let counts = policy.counts();
        assert_eq!((counts.timed_out, counts.connections), (1, 0), "seed {seed}");
        assert_eq!(simulation.reactor().timer_count(), 0, "seed {seed}");
    }
}

#[test]
fn what_is_sent_keeps_a_connection_from_being_idle_but_not_from_a_read_timeout() {
    for (policy, closes) in [
        (Policy::new().idle_timeout(10 * SECOND), false),
        (Policy::new().read_timeout(10 * SECOND), true),
    ] {
        let mut simulation = Simulation::calm();
        let record = Record::new();
        listen(&mut simulation, &policy, once(Probe::new(&record)));
        let mut peer = dial(&mut simulation);
        simulation.run_for(SECOND);
        for _ in 0..10 {
            if let Some(mut transport) = simulation.reactor().connection(record.id()) {
                transport.write(b"x");
            }
            simulation.run_for(2 * SECOND);
        }
        assert_eq!(peer.is_ended(), closes);
        if closes {
            peer.shutdown();
            simulation.settle();
            let reason = record.reason();
            assert!(matches!(reason, Reason::ReadTimeout(limit) if limit == 10 * SECOND));
            assert_eq!(reason.to_string(), "closed: nothing was received for 10s");
        }
    }
}

#[test]
fn a_pause_of_ones_own_is_no_silence_of_the_peer() {
    for policy in [Policy::new().idle_timeout(10 * SECOND), Policy::new().read_timeout(10 * SECOND)]
    {
        let mut simulation = Simulation::calm();
        let record = Record::new();
        let probe = Probe::new(&record).on_made(|transport| {
            transport.pause_reading();
            transport.call_later(100 * SECOND, |_: &mut Probe, transport| {
                transport.resume_reading();
            });
            Ok(())
        });
        listen(&mut simulation, &policy, once(probe));
        let _peer = dial(&mut simulation);
        simulation.run_for(109 * SECOND);
        assert!(!record.is_lost());
        simulation.run_for(4 * SECOND);
        assert!(record.is_lost(), "ten seconds after the pause, and two to wait for the FIN");
    }
}

#[test]
fn a_peer_is_not_silent_while_its_replies_keep_it_from_being_read() {
    for (policy, closes) in [
        (Policy::new().read_timeout(10 * SECOND), false),
        (Policy::new().idle_timeout(10 * SECOND), true),
    ] {
        let mut simulation = Simulation::calm();
        simulation.capacity(500);
        let record = Record::new();
        let probe = Probe::new(&record).on_data(|transport, data| {
            transport.write(&data.repeat(20));
            data.clear();
            Ok(())
        });
        let marks = ConnectionOptions::default().high_water_mark(1000).stop_reading_mark(3000);
        let options = ListenOptions::default().connection(marks).policy(policy);
        simulation.reactor().listen_with(options, SERVER, once(probe)).expect("a free address");
        let mut peer = dial(&mut simulation);
        peer.stop_reading();
        peer.write(&pattern(0, 500));
        simulation.run_for(65 * SECOND);
        assert_eq!(record.is_lost(), closes, "nothing moves, and that is the peer's doing");
        if !closes {
            peer.resume_reading();
            simulation.run_for(9 * SECOND);
            assert!(!record.is_lost(), "it is read for nine seconds");
            simulation.run_for(4 * SECOND);
            assert!(matches!(record.reason(), Reason::ReadTimeout(_)));
        }
    }
}

#[test]
fn a_peer_that_takes_nothing_is_aborted_and_a_slow_one_is_not() {
    let policy = Policy::new().write_timeout(10 * SECOND);
    let mut simulation = Simulation::calm();
    simulation.capacity(100);
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        transport.write(&[7; 1000]);
        Ok(())
    });
    listen(&mut simulation, &policy, once(probe));
    let mut peer = dial(&mut simulation);
    peer.stop_reading();
    for _ in 0..5 {
        simulation.run_for(9 * SECOND);
        assert_eq!(peer.read_at_most(100).len(), 100);
    }
    simulation.run_for(9 * SECOND);
    assert!(!record.is_lost());
    simulation.run_for(2 * SECOND);
    let reason = record.reason();
    assert!(matches!(reason, Reason::WriteTimeout(limit) if limit == 10 * SECOND), "{reason}");
    // Whoever has nothing to send has all the time.
    let record = Record::new();
    listen_at(&mut simulation, "10.0.0.1:8", &policy, once(Probe::echo(&record)));
    let mut peer = simulation.dial("10.0.0.1:8").expect("a good address");
    peer.write(b"hello");
    simulation.run_for(1000 * SECOND);
    assert!(!record.is_lost());
}

#[test]
fn a_busy_connection_ends_with_its_lifetime_and_what_it_wrote_arrives() {
    for seed in seeds(200) {
        let policy = Policy::new().max_lifetime(60 * SECOND);
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1 << 12);
        let record = Record::new();
        listen(&mut simulation, &policy, once(Probe::echo(&record)));
        let mut peer = dial(&mut simulation);
        let (mut sent, mut received) = (0, Vec::new());
        while !peer.is_ended() {
            peer.write(&pattern(sent, 10));
            sent += 10;
            simulation.run_for(SECOND);
            received.extend_from_slice(&peer.read());
            assert!(simulation.elapsed() < 70 * SECOND, "seed {seed}");
        }
        assert!(simulation.elapsed() >= 60 * SECOND, "seed {seed}");
        assert_same(&received, pattern(0, received.len()));
        assert_same(&received, record.data());
        peer.shutdown();
        simulation.settle();
        let reason = record.reason();
        assert!(matches!(reason, Reason::Lifetime(_)), "seed {seed}: {reason}");
    }
}

#[test]
fn a_slow_reader_cannot_draw_out_the_end_of_a_lifetime() {
    let policy = Policy::new().max_lifetime(60 * SECOND);
    let mut simulation = Simulation::calm();
    simulation.capacity(100);
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        transport.write(&[7; 10_000]);
        Ok(())
    });
    listen(&mut simulation, &policy, once(probe));
    let mut peer = dial(&mut simulation);
    peer.stop_reading();
    for second in 0..85 {
        peer.read_at_most(1);
        simulation.run_for(SECOND);
        assert!(!record.is_lost(), "after {second} seconds");
    }
    simulation.run_for(10 * SECOND);
    assert!(matches!(record.reason(), Reason::Lifetime(_)));
    assert!(peer.was_reset() || peer.read_at_most(1000).len() <= 101);
}

// Rates.

/// Writes down when bytes came, and looks that no more came than may.
struct Meter {
    rate: u64,
    burst: u64,
    first: Option<std::time::Instant>,
    bytes: u64,
}

impl Meter {
    fn new(rate: u64, burst: u64) -> Self {
        Self { rate, burst, first: None, bytes: 0 }
    }

    fn passed(&mut self, now: std::time::Instant, bytes: usize) {
        let first = *self.first.get_or_insert(now);
        self.bytes += bytes as u64;
        let most = self.burst + nanos_of(now.duration_since(first), self.rate);
        assert!(self.bytes <= most, "{} bytes instead of {most}", self.bytes);
    }
}

fn nanos_of(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / 1_000_000_000).expect("a few")
}

#[test]
fn what_a_connection_receives_keeps_to_its_rate_exactly() {
    for seed in seeds(500) {
        let mut chance = Chance::new(seed);
        let rate = 1 << (6 + chance.below(16));
        let burst = rate / 100 + 1 + chance.below(2 * rate);
        let mut simulation = match chance.one_in(2) {
            true => Simulation::calm(),
            false => Simulation::new(seed),
        };
        simulation.capacity(1 << (10 + chance.below(8)));
        let policy = Policy::new().rate_in(Rate::per_second(rate).burst(burst));
        let record = Record::new();
        let meter = Rc::new(RefCell::new(Meter::new(rate, burst)));
        let probe = Probe::new(&record).on_data(move |transport, data| {
            meter.borrow_mut().passed(transport.now(), data.len());
            data.clear();
            Ok(())
        });
        listen(&mut simulation, &policy, once(probe));
        let mut peer = dial(&mut simulation);
        let size = (chance.below(20) * rate / 4) as usize + 1;
        let sent = pattern(0, size.min(1 << 18));
        peer.write(&sent);
        peer.shutdown();
        let before = simulation.elapsed();
        simulation.run_until(|_| record.is_lost());
        assert_same(record.data(), &sent);
        assert_eq!(policy.counts().bytes_in, sent.len() as u64, "seed {seed}");
        let waited = simulation.elapsed() - before;
        let due = (sent.len() as u64).saturating_sub(burst) * 1000 / rate;
        assert!(waited >= Duration::from_millis(due), "seed {seed}: {waited:?} of {due} ms");
        simulation.settle();
        assert_eq!(simulation.reactor().timer_count(), 0, "seed {seed}");
    }
}

#[test]
fn on_a_calm_network_a_rate_is_used_up_to_the_last_byte() {
    for (rate, burst, size) in
        [(1000, 1000, 11_000), (1000, 10, 10_010), (1 << 20, 1 << 14, 3 << 20)]
    {
        let limit = Rate::per_second(rate).burst(burst);
        for policy in [Policy::new().rate_in(limit), Policy::new().total_rate_in(limit)] {
            let mut simulation = Simulation::calm();
            let record = Record::new();
            listen(&mut simulation, &policy, once(Probe::new(&record)));
            let mut peer = dial(&mut simulation);
            peer.write(&vec![7; size]);
            simulation.run_until(|_| record.story().data.len() == size);
            let due = Duration::from_nanos((size as u64 - burst) * 1_000_000_000 / rate);
            let took = simulation.elapsed();
            assert!(took >= due, "{took:?} instead of {due:?}");
            assert!(took <= due + due / 50, "{took:?} instead of {due:?}");
        }
    }
}

#[test]
fn waiting_for_a_rate_takes_a_hundred_turns_a_second_and_not_one_more() {
    let policy = Policy::new().rate_in(Rate::per_second(1 << 20).burst(1));
    let mut simulation = Simulation::calm();
    let record = Record::new();
    listen(&mut simulation, &policy, once(Probe::new(&record)));
    let mut peer = dial(&mut simulation);
    peer.write(&vec![7; 1 << 20]);
    simulation.run_until(|_| record.story().data.len() == 1 << 20);
    assert!(record.deliveries() <= 102, "{} deliveries", record.deliveries());
}

#[test]
fn what_is_written_in_trickles_waits_for_its_ration_as_well() {
    fn trickle(transport: &mut Transport<'_>) {
        transport.write(b"more!");
        transport.call_later(Duration::from_millis(1), |_: &mut Probe, transport| {
            trickle(transport);
        });
    }
    let limit = Rate::per_second(1000).burst(10);
    for policy in [Policy::new().rate_out(limit), Policy::new().total_rate_out(limit)] {
        let mut simulation = Simulation::calm();
        let probe = Probe::default().on_made(|transport| {
            trickle(transport);
            Ok(())
        });
        listen(&mut simulation, &policy, once(probe));
        let (record, other) = (Record::new(), simulation.add_reactor());
        let client = once(Probe::new(&record));
        simulation.reactor_at(other).connect(SERVER, client).forget();
        simulation.run_for(2 * SECOND);
        let (came, calls) = (record.story().data.len(), record.deliveries());
        assert!(came > 1800, "{came} bytes: {policy:?}");
        assert!(calls < 300, "{came} bytes in {calls} calls: {policy:?}");
    }
}

#[test]
fn what_a_connection_sends_keeps_to_its_rate_and_pauses_its_producer() {
    for seed in seeds(500) {
        let mut chance = Chance::new(seed);
        let rate = 1 << (8 + chance.below(12));
        let burst = rate / 100 + 1 + chance.below(2 * rate);
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1 << 20);
        let options = ConnectionOptions::default().high_water_mark(2000).low_water_mark(500);
        let limit = Rate::per_second(rate).burst(burst);
        let policy = match chance.one_in(2) {
            true => Policy::new().rate_out(limit),
            false => Policy::new().total_rate_out(limit),
        };
        let size = (chance.below(20) * rate / 4) as usize + 2500;
        let sent = pattern(0, size.min(1 << 18));
        let record = Record::new();
        let last_words = sent.clone();
        let probe = Probe::new(&record).on_made(move |transport| {
            transport.write(&last_words);
            Ok(())
        });
        let options = ListenOptions::default().connection(options).policy(policy.clone());
        simulation.reactor().listen_with(options, SERVER, once(probe)).expect("a free address");
        let mut peer = dial(&mut simulation);
        let began = simulation.elapsed();
        let mut received = Vec::new();
        simulation.run_until(|simulation| {
            received.extend_from_slice(&peer.read());
            let most = burst + nanos_of(simulation.elapsed() - began, rate);
            assert!(received.len() as u64 <= most, "seed {seed}: {} of {most}", received.len());
            received.len() == sent.len()
        });

        received.extend_from_slice(&peer.read());
        assert_same(&received, &sent);
        let paused = sent.len() as u64 > 2000 + burst;
        assert!(!paused || record.count(&Happened::Paused) == 1, "seed {seed}");
        simulation.run_for(SECOND);
        assert_eq!(
            record.count(&Happened::Resumed),
            1,
            "seed {seed}: its write was above the mark"
        );
        assert_eq!(policy.counts().bytes_out, sent.len() as u64, "seed {seed}");
    }
}

#[test]
fn a_close_that_a_rate_draws_out_loses_nothing() {
    for seed in seeds(100) {
        let limit = Rate::per_second(100).burst(10);
        let policy = match seed % 2 {
            0 => Policy::new().rate_out(limit),
            _ => Policy::new().total_rate_out(limit),
        };
        let mut simulation = Simulation::new(seed);
        let record = Record::new();
        let (one, other) = (record.clone(), Record::new());
        let mut records = vec![one, other];
        // Two of them, so that each waits for the other, too.
        listen(&mut simulation, &policy, move |_: Address| {
            Some(Probe::new(&records.pop()?).on_made(|transport| {
                transport.write(&pattern(0, 10_000));
                transport.lose_connection();
                Ok(())
            }))
        });
        let (mut one, mut other) = (dial(&mut simulation), dial(&mut simulation));
        let mut received = (Vec::new(), Vec::new());
        simulation.run_until(|_| {
            received.0.extend_from_slice(&one.read());
            received.1.extend_from_slice(&other.read());
            one.is_ended() && other.is_ended()
        });
        assert_same(&received.0, pattern(0, 10_000));
        assert_same(&received.1, pattern(0, 10_000));
        let least = if seed % 2 == 0 { 95 } else { 195 };
        assert!(simulation.elapsed() > Duration::from_secs(least), "seed {seed}");
        assert!(!one.was_reset() && !other.was_reset(), "seed {seed}");
    }
}

#[test]
fn no_deadline_blames_a_peer_for_a_wait_that_a_rate_makes() {
    let moment = Duration::from_millis(300);
    for (policy, closes) in [
        (Policy::new(), true),
        (Policy::new().write_timeout(moment), true),
        (Policy::new().idle_timeout(moment), false),
        (Policy::new().idle_timeout(moment).rate_in(1), false),
    ] {
        let mut simulation = Simulation::calm();
        let record = Record::new();
        let probe = Probe::new(&record).on_made(move |transport| {
            transport.write(&pattern(0, 10));
            if closes {
                transport.lose_connection();
            }
            Ok(())
        });
        let policy = policy.rate_out(1);
        let connection = ConnectionOptions::default().flush_timeout(moment);
        let options = ListenOptions::default().connection(connection).policy(policy.clone());
        simulation.reactor().listen_with(options, SERVER, once(probe)).expect("a free address");
        let mut peer = dial(&mut simulation);
        peer.write(&[7; 10]);
        simulation.run_for(20 * SECOND);
        assert_same(peer.read(), pattern(0, 10));
        assert!(closes || record.is_lost(), "then it is silent: {policy:?}");
    }
}

#[test]
fn connections_that_share_a_rate_get_equal_shares_of_it() {
    for seed in seeds(100) {
        let mut chance = Chance::new(seed);
        let rate = 1 << (12 + chance.below(6));
        let (burst, count) = (rate + chance.below(rate), 2 + chance.below(20) as usize);
        let policy = Policy::new().total_rate_in(Rate::per_second(rate).burst(burst));
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1 << 20);
        let records = Rc::default();
        listen(&mut simulation, &policy, probes(&records));
        listen_at(&mut simulation, "10.0.0.1:8", &policy, probes(&records));
        let mut peers = Vec::new();
        for index in 0..count {
            let address = [SERVER, "10.0.0.1:8"][index % 2];
            let mut peer = simulation.dial(address).expect("a good address");
            peer.write(&vec![7; 32 * rate as usize]);
            peers.push(peer);
        }
        simulation.run_for(10 * SECOND);
        let before: Vec<_> =
            records.borrow().iter().map(|it: &Record| it.story().data.len()).collect();
        simulation.run_for(20 * SECOND);
        let grown: Vec<_> = records
            .borrow()
            .iter()
            .zip(&before)
            .map(|(record, before)| record.story().data.len() - before)
            .collect();
        assert_eq!(grown.len(), count, "seed {seed}");
        let all: usize = grown.iter().sum();
        let due = 20 * rate as usize;
        assert!(all <= due + burst as usize, "seed {seed}: {all} of {due}");
        assert!(all >= due / 10 * 9, "seed {seed}: {all} of {due}");
        let fair = due / count;
        for share in &grown {
            // What one is handed at a time is a segment, or a share of what there is.
            let off = share.abs_diff(fair);
            assert!(off <= fair / 8 + 3000, "seed {seed}: {grown:?} of {fair}");
        }
    }
}

#[test]
fn whoever_joins_those_that_share_a_rate_or_leaves_them_disturbs_nobody() {
    for seed in seeds(300) {
        let mut chance = Chance::new(seed);
        let rate = 10_000;
        let limit = Rate::per_second(rate).burst(1000);
        let policy = Policy::new().total_rate_in(limit).total_rate_out(limit);
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1 << (8 + chance.below(8)));
        let records = Rc::<RefCell<Vec<Record>>>::default();
        let factory = records.clone();
        listen(&mut simulation, &policy, move |_: Address| {
            let record = Record::new();
            factory.borrow_mut().push(record.clone());
            Probe::echo(&record)
        });
        let mut peers = Vec::<(Peer, usize, Vec<u8>)>::new();
        for _ in 0..100 {
            match chance.below(6) {
                0 | 1 => peers.push((dial(&mut simulation), 0, Vec::new())),
                2 if !peers.is_empty() => {
                    let (mut gone, _, _) =
                        peers.swap_remove(chance.below(peers.len() as u64) as usize);
                    if chance.one_in(2) { gone.reset() } else { gone.close() }
                }
                _ => {
                    for (peer, sent, received) in &mut peers {
                        let more = chance.below(500) as usize;
                        peer.write(&pattern(*sent, more));
                        *sent += more;
                        received.extend_from_slice(&peer.read());
                    }
                }
            }
            simulation.run_for(Duration::from_millis(chance.below(300)));
        }
        // However it was shared out, in the end all have what is theirs.
        simulation.settle();
        for (peer, _, received) in &mut peers {
            received.extend_from_slice(&peer.read());
        }
        for (_, sent, received) in &peers {
            assert_same(received, pattern(0, *sent));
        }
        let counts = policy.counts();
        let most = 1000 + nanos_of(simulation.elapsed(), rate);
        assert!(counts.bytes_in <= most && counts.bytes_out <= most, "seed {seed}: {counts:?}");
        for (peer, _, _) in &mut peers {
            peer.close();
        }
        simulation.settle();
        assert_eq!(policy.counts().connections, 0, "seed {seed}");
        assert_eq!(simulation.reactor().timer_count(), 0, "seed {seed}");
    }
}

#[test]
fn a_reset_is_told_at_once_though_a_rate_keeps_it_from_being_read() {
    let policy = Policy::new().rate_in(Rate::per_second(1).burst(10));
    let mut simulation = Simulation::calm();
    let record = Record::new();
    listen(&mut simulation, &policy, once(Probe::new(&record)));
    let mut peer = dial(&mut simulation);
    peer.write(&[7; 1000]);
    simulation.run_for(SECOND / 2);
    assert_eq!(record.data().len(), 10);
    peer.reset();
    simulation.run_for(SECOND / 4);
    assert!(matches!(record.reason(), Reason::Reset(_)));
    simulation.settle();
    assert_eq!(simulation.reactor().timer_count(), 0);
}

#[test]
fn a_connection_that_is_made_from_here_has_a_policy_as_well() {
    let mut simulation = Simulation::calm();
    let (server, client) = (Record::new(), Record::new());
    simulation.reactor().listen(SERVER, once(Probe::new(&server))).expect("a free address");
    let policy = Policy::new().max_connections(0).idle_timeout(60 * SECOND).rate_out(100);
    let options = ConnectOptions::default().policy(policy.clone());
    let probe = Probe::new(&client).on_made(|transport| {
        transport.write(&[7; 1000]);
        Ok(())
    });
    simulation.reactor().connect_with(options, SERVER, once(probe)).forget();
    simulation.run_for(5 * SECOND + SECOND / 2);
    assert!((600..=650).contains(&server.data().len()), "{}", server.data().len());
    assert_eq!(policy.counts().connections, 1);
    simulation.settle();
    assert!(matches!(client.reason(), Reason::IdleTimeout(_)));
    assert_eq!(policy.counts().connections, 0);
}

#[cfg(feature = "_tls")]
#[test]
fn with_tls_the_bytes_of_the_wire_count_and_all_of_the_stream_arrives() {
    for seed in seeds(100) {
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1 << 12);
        let limit = Rate::per_second(5000).burst(1000);
        let paper = Paper::default();
        let policy = Policy::new()
            .rate_in(limit)
            .total_rate_out(limit)
            .traffic_log(TrafficLog::to(paper.clone()));
        let options =
            ListenOptions::default().tls(common::certificates::server()).policy(policy.clone());
        let (server, client) = (Record::new(), Record::new());
        let probe = Probe::echo(&server);
        simulation.reactor().listen_with(options, SERVER, once(probe)).expect("a free address");
        let sent = pattern(0, 20_000);
        let words = sent.clone();
        let probe = Probe::new(&client).on_handshake(move |transport| {
            transport.write(&words);
            Ok(())
        });
        let options = ConnectOptions::default().tls(common::certificates::client());
        simulation.reactor().connect_with(options, SERVER, once(probe)).forget();
        let all = simulation.run_until(|_| client.story().data.len() == sent.len());
        assert!(all, "seed {seed}");
        assert_same(client.data(), &sent);
        let counts = policy.counts();
        assert!(counts.bytes_in > 20_000 && counts.bytes_out > 20_000, "seed {seed}: {counts:?}");
        let most = 1000 + nanos_of(simulation.elapsed(), 5000);
        assert!(counts.bytes_in <= most && counts.bytes_out <= most, "seed {seed}: {counts:?}");
        simulation.run_for(SECOND);
        let text = paper.text();
        assert_same(bytes_of(&text, "in"), &sent);
        assert_same(bytes_of(&text, "out"), &sent);
    }
}

// Numbers.

#[test]
fn whoever_is_one_too_many_is_refused_and_is_let_in_when_another_has_left() {
    for seed in seeds(1000) {
        let mut chance = Chance::new(seed);
        let most = 1 + chance.below(5) as usize;
        let policy = Policy::new().max_connections(most);
        let mut simulation = Simulation::new(seed);
        let records = Rc::default();
        listen(&mut simulation, &policy, probes(&records));
        listen_at(&mut simulation, "10.0.0.1:8", &policy, probes(&records));
        let mut peers = Vec::new();
        for _ in 0..most + 3 {
            let address = [SERVER, "10.0.0.1:8"][chance.below(2) as usize];
            peers.push(simulation.dial(address).expect("a good address"));
            simulation.run_for(Duration::from_millis(chance.below(100)));
            assert!(policy.counts().connections <= most, "seed {seed}");
        }
        simulation.run_for(SECOND);
        assert_eq!(refused_ones(&peers), 3, "seed {seed}");
        assert_eq!(records.borrow().len(), most, "seed {seed}: no protocol for whoever is refused");
        assert_eq!(policy.counts().refused, 3, "seed {seed}");
        // Whoever goes, in whatever way, makes room for one.
        peers.retain(|peer| !peer.is_ended());
        let mut gone = peers.swap_remove(chance.below(most as u64) as usize);
        if chance.one_in(2) {
            gone.reset()
        } else {
            gone.shutdown()
        }
        simulation.run_for(5 * SECOND);
        assert_eq!(policy.counts().connections, most - 1, "seed {seed}");
        peers.extend([dial(&mut simulation), dial(&mut simulation)]);
        simulation.run_for(SECOND);
        assert_eq!(refused_ones(&peers), 1, "seed {seed}");
        for peer in &mut peers {
            peer.close();
        }
        simulation.settle();
        assert_eq!(policy.counts().connections, 0, "seed {seed}");
        assert_eq!(simulation.reactor().timer_count(), 0, "seed {seed}");
    }
}

#[test]
fn whoever_is_to_wait_is_served_when_another_has_left_whichever_reactor_has_the_listener() {
    for seed in seeds(500) {
        let mut chance = Chance::new(seed);
        let most = 1 + chance.below(5) as usize;
        let policy = Policy::new().max_connections(most).when_full(WhenFull::Wait);
        let mut simulation = Simulation::new(seed);
        simulation.add_reactor();
        let greeting = |_: Address| {
            Probe::default().on_made(|transport| {
                transport.write(b"x");
                Ok(())
            })
        };
        listen(&mut simulation, &policy, greeting);
        let options = ListenOptions::default().policy(policy.clone());
        let other = simulation.reactor_at(1);
        other.listen_with(options, "10.0.0.1:8", greeting).expect("a free address");
        let (mut waiting, mut served) = (Vec::new(), Vec::new());
        for _ in 0..most + 10 {
            let address = [SERVER, "10.0.0.1:8"][chance.below(2) as usize];
            waiting.push(simulation.dial(address).expect("a good address"));
            simulation.run_for(Duration::from_millis(chance.below(100)));
        }
        for left in (0..=10).rev() {
            simulation.run_for(3 * SECOND);
            for mut peer in std::mem::take(&mut waiting) {
                if peer.read().is_empty() { waiting.push(peer) } else { served.push(peer) }
            }
            assert_eq!((served.len(), waiting.len()), (most, left), "seed {seed}");
            assert_eq!(policy.counts().connections, most, "seed {seed}");
            let mut leaves = served.swap_remove(chance.below(most as u64) as usize);
            if chance.one_in(2) { leaves.reset() } else { leaves.shutdown() }
        }
        assert_eq!(policy.counts().refused, 0, "seed {seed}");
    }
}

#[test]
fn a_peer_has_no_more_connections_than_one_may_have_and_others_have_theirs() {
    let policy = Policy::new().max_connections_per_peer(2);
    let mut simulation = Simulation::calm();
    let records = Rc::default();
    let options = ListenOptions::default().policy(policy.clone());
    let address = "10.0.0.1:7?proxy=true";
    let listened = simulation.reactor().listen_with(options, address, probes(&records));
    listened.expect("a free address");
    let mut call = |from: &str| {
        let mut peer = dial(&mut simulation);
        let family = if from.contains(':') { "TCP6" } else { "TCP4" };
        peer.write(format!("PROXY {family} {from} {from} 1000 80\r\n").as_bytes());
        simulation.run_for(SECOND);
        peer
    };
    let mut one = [(); 3].map(|()| call("192.0.2.1"));
    assert_eq!(one.each_ref().map(Peer::is_ended), [false, false, true]);
    let other = [(); 3].map(|()| call("192.0.2.2"));
    assert_eq!(other.each_ref().map(Peer::is_ended), [false, false, true]);
    let network = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1"].map(&mut call);
    assert_eq!(network.each_ref().map(Peer::is_ended), [false, false, true, false]);
    assert_eq!(policy.counts().refused, 3);
    one[0].close();
    let back = call("192.0.2.1");
    assert!(!back.is_ended(), "one has left");
    assert!(call("192.0.2.1").is_ended());
}

#[test]
fn refusals_are_told_once_and_then_as_a_number() {
    logs::collect();
    let policy = Policy::new().max_connections(1);
    let mut simulation = Simulation::calm();
    listen(&mut simulation, &policy, probes(&Rc::default()));
    let mut peers: Vec<_> = (0..101).map(|_| dial(&mut simulation)).collect();
    simulation.run_for(59 * SECOND);
    assert_eq!(logs::count("closed, since there are 1 connections, which is the limit"), 1);
    assert_eq!(logs::lines().len(), 1, "{:?}", logs::lines());
    simulation.run_for(2 * SECOND);
    assert_eq!(logs::count("99 more connections were closed"), 1, "{:?}", logs::lines());
    simulation.run_for(600 * SECOND);
    assert_eq!(logs::lines().len(), 2, "{:?}", logs::lines());
    assert_eq!(simulation.reactor().timer_count(), 0);
    peers.push(dial(&mut simulation));
    simulation.run_for(SECOND);
    assert_eq!(logs::lines().len(), 3, "it is news again");
}

#[test]
fn a_header_that_never_comes_takes_a_seat_for_as_long_as_it_may_take() {
    let policy = Policy::new().max_connections(1);
    let mut simulation = Simulation::calm();
    let options = ListenOptions::default().policy(policy.clone());
    let address = "10.0.0.1:7?proxy=true";
    let listened = simulation.reactor().listen_with(options, address, probes(&Rc::default()));
    listened.expect("a free address");
    let silent = dial(&mut simulation);
    simulation.run_for(SECOND);
    assert_eq!(policy.counts().connections, 1);
    assert!(!silent.is_ended());
    let next = dial(&mut simulation);
    simulation.run_for(SECOND);
    assert!(next.is_ended());
    simulation.run_for(5 * SECOND);
    assert_eq!(policy.counts().connections, 0);
}

// Traffic.

/// What was written, readable by the test; once it is told to, it fails.
#[derive(Clone, Default)]
struct Paper {
    written: Arc<Mutex<Vec<u8>>>,
    is_full: Arc<AtomicBool>,
    /// It tells that it is full only when it is flushed, as what buffers does.
    fails_late: bool,
}

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.written.lock().expect("whole").clone()).expect("text")
    }
}

impl Write for Paper {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if self.is_full.load(Ordering::Relaxed) && !self.fails_late {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.written.lock().expect("whole").extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

/// The bytes of a dump, of the entries that say `what`.
fn bytes_of(text: &str, what: &str) -> Vec<u8> {
    let (mut bytes, mut wanted) = (Vec::new(), false);
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>()[..] {
            [at, _, _, head, ..] if at.contains('T') => wanted = head == what,
            _ if wanted && !line.starts_with('(') => {
                let (dump, _) = line[9..].split_once('|').expect("a dump");
                let digits = dump.split_whitespace();
                bytes.extend(digits.map(|it| u8::from_str_radix(it, 16).expect("a byte")));
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn a_traffic_log_has_all_that_came_and_went_in_order() {
    for seed in seeds(100) {
        let paper = Paper::default();
        let policy = Policy::new().traffic_log(TrafficLog::to(paper.clone()));
        let mut simulation = Simulation::new(seed);
        simulation.capacity(1 << 12);
        let record = Record::new();
        listen(&mut simulation, &policy, once(Probe::echo(&record)));
        let mut peer = dial(&mut simulation);
        let sent = pattern(0, 10_000);
        for part in sent.chunks(1000) {
            peer.write(part);
            simulation.run_for(Duration::from_millis(50));
        }
        peer.shutdown();
        simulation.settle();
        drop(simulation);
        let text = paper.text();
        assert_same(bytes_of(&text, "in"), &sent);
        assert_same(bytes_of(&text, "out"), &sent);
        let (first, last) = (text.lines().next(), text.lines().last());
        assert!(first.is_some_and(|line| line.ends_with(" made")), "seed {seed}: {first:?}");
        assert!(last.is_some_and(|line| line.contains(" lost: ")), "{last:?}");
    }
}

#[test]
fn a_traffic_log_goes_on_when_one_of_the_reactors_that_share_it_has_gone() {
    let paper = Paper::default();
    let policy = Policy::new().traffic_log(TrafficLog::to(paper.clone()));
    let mut simulation = Simulation::calm();
    let record = Record::new();
    listen(&mut simulation, &policy, once(Probe::new(&record)));
    let other = simulation.add_reactor();
    let options = ListenOptions::default().policy(policy.clone());
    let reactor = simulation.reactor_at(other);
    reactor.listen_with(options, "10.0.0.1:8", |_: Address| Probe::default()).expect("free");
    let _first = dial(&mut simulation);
    assert!(simulation.run_until(|_| record.is_made()));
    assert_eq!(paper.text(), "", "a thread was asked to write, and has not begun");
    simulation.crash(0);
    let mut peer = simulation.dial("10.0.0.1:8").expect("a good address");
    peer.write(b"hello");
    simulation.settle();
    assert_eq!(bytes_of(&paper.text(), "in"), b"hello");
}

#[test]
fn what_a_traffic_log_cannot_take_is_left_out_and_told() {
    let paper = Paper::default();
    let policy = Policy::new().traffic_log(TrafficLog::to(paper.clone()));
    let mut simulation = Simulation::calm();
    let record = Record::new();
    // All of it is written before the job that writes it down has its turn.
    let probe = Probe::new(&record).on_made(|transport| {
        for _ in 0..1000 {
            transport.write(&[7; 20_000]);
        }
        Ok(())
    });
    listen(&mut simulation, &policy, once(probe));
    let _peer = dial(&mut simulation);
    simulation.run_for(SECOND);
    let text = paper.text();
    assert!(text.contains("(and 3616 bytes more)"), "an entry is bounded");
    let kept = bytes_of(&text, "out").len() / 16384;
    assert!((200..=256).contains(&kept), "four megabytes: {kept}");
    let told = format!("({} entries are left out", 1000 - kept);
    assert!(text.contains(&told), "{told}: {:?}", text.lines().last());
}

#[test]
fn a_traffic_log_that_fails_is_told_once_and_disturbs_nobody() {
    for is_late in [false, true] {
        logs::collect();
        let paper = Paper { fails_late: is_late, ..Paper::default() };
        paper.is_full.store(true, Ordering::Relaxed);
        let policy = Policy::new().traffic_log(TrafficLog::to(paper.clone()));
        let mut simulation = Simulation::calm();
        let record = Record::new();
        listen(&mut simulation, &policy, once(Probe::echo(&record)));
        let mut peer = dial(&mut simulation);
        for _ in 0..10 {
            peer.write(b"hello");
            simulation.run_for(SECOND);
        }
        assert_eq!(peer.read().len(), 50);
        assert_eq!(logs::count("the traffic log ends here"), 1, "{:?}", logs::lines());
        assert_eq!(logs::lines().len(), 1, "{:?}", logs::lines());
    }
}

#[test]
fn a_file_of_traffic_is_its_owners_and_is_put_aside_when_it_is_large() {
    let name = format!("ropewalk-traffic-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let former = path.with_extension("1");
    let policy = Policy::new().traffic_log(TrafficLog::open(&path, 100_000).expect("a file"));
    let mut reactor = Reactor::new().expect("a poller");
    let options = ListenOptions::default().policy(policy);
    let record = Record::new();
    let probe = Probe::new(&record).on_made(|transport| {
        for _ in 0..4 {
            transport.write(&[7; 10_000]);
        }
        transport.lose_connection();
        Ok(())
    });
    let listener = reactor.listen_with(options, "127.0.0.1:0", once(probe));
    let address = reactor.address(listener.expect("a free port")).expect("it listens");
    let mut client = common::dial(address.socket_addr().expect("it is TCP"));
    let read = common::turn_while(&mut reactor, move || io::copy(&mut client, &mut io::sink()));
    assert_eq!(read.expect("all of it"), 40_000);
    turn_until(&mut reactor, |_| record.is_lost());
    reactor.stop();
    reactor.run().expect("it stops");
    drop(reactor);
    let (one, other) = (std::fs::read_to_string(&former), std::fs::read_to_string(&path));
    let mode = std::fs::metadata(&path).map(|it| it.permissions().mode() & 0o777);
    let _ = (std::fs::remove_file(&path), std::fs::remove_file(&former));
    let (one, other) = (one.expect("the former one"), other.expect("the new one"));
    assert!((100_000..200_000).contains(&one.len()), "{}", one.len());
    assert!(other.ends_with(" lost: closed here\n"), "{:?}", other.lines().last());
    // (Forty thousand bytes are four times as long in a dump, and longer.)
    assert!(one.len() + other.len() > 160_000);
    assert_eq!(mode.expect("it is there"), 0o600);
    let missing = TrafficLog::open("/nowhere/traffic", 1).expect_err("no directory").to_string();
    assert!(missing.starts_with("cannot open the traffic log /nowhere/traffic: "), "{missing}");
}

// Real sockets.

#[test]
fn on_real_sockets_callers_wait_in_the_backlog_until_another_has_left() {
    let policy = Policy::new().max_connections(1).when_full(WhenFull::Wait);
    let mut reactor = Reactor::new().expect("a poller");
    let records = Rc::<RefCell<Vec<Record>>>::default();
    let options = ListenOptions::default().policy(policy.clone());
    let listener = reactor.listen_with(options, "127.0.0.1:0", probes(&records));
    let address = reactor.address(listener.expect("a free port")).expect("it listens");
    let address = address.socket_addr().expect("it is TCP");
    let mut clients: Vec<_> = (0..3).map(|_| common::dial(address)).collect();
    for served in 1..=3 {
        turn_until(&mut reactor, |_| records.borrow().len() == served);
        for _ in 0..5 {
            reactor.turn(Some(Duration::from_millis(1))).expect("it goes on");
        }
        assert_eq!(reactor.connection_count(), 1);
        drop(clients.remove(0));
    }
    turn_until(&mut reactor, |reactor| reactor.connection_count() == 0);
    assert_eq!(policy.counts().connections, 0);
}
